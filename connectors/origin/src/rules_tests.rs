//! Documents that are taken and refused, and what is asked of an origin.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::*;

/// A rule as COS's clients write it.
fn document(condition: &str, parameter: &str, info: &str) -> String {
    format!(
        "<OriginConfiguration><OriginRule><RulePriority>1</RulePriority><OriginType>Mirror</OriginType>\
         <OriginCondition><HTTPStatusCode>404</HTTPStatusCode>{condition}</OriginCondition><OriginParameter>\
         <Protocol>HTTP</Protocol>{parameter}</OriginParameter><OriginInfo>{info}</OriginInfo></OriginRule>\
         </OriginConfiguration>"
    )
}

const HOST: &str = "<HostInfo><HostName>origin.example.com:8080</HostName></HostInfo>";

fn rule(parameter: &str, info: &str) -> Rule {
    let rules = Rules::parse(&document("<Prefix></Prefix>", parameter, info), false).expect("valid");
    rules.rules()[0].clone()
}

#[test]
fn every_word_of_a_rule_is_read() {
    let parameter = "<FollowQueryString>true</FollowQueryString><HttpHeader><FollowAllHeaders>false\
        </FollowAllHeaders><NewHttpHeaders><Header><Key>X-Team</Key><Value>a&amp;b</Value></Header>\
        </NewHttpHeaders><FollowHttpHeaders><Header><Key>Accept</Key></Header></FollowHttpHeaders>\
        </HttpHeader>\
        <FollowRedirection>true</FollowRedirection><HttpRedirectCode>307</HttpRedirectCode>\
        <TransparentErrorCode>true</TransparentErrorCode>";
    let standby = "<StandbyHostName_1>second.example.com</StandbyHostName_1></HostInfo>";
    let hosts = HOST.replace("</HostInfo>", standby);
    let info = format!(
        "{hosts}<FileInfo><PrefixConfiguration><Prefix>a/</Prefix></PrefixConfiguration><SuffixConfiguration>\
         <Suffix>.jpg</Suffix></SuffixConfiguration></FileInfo>"
    );
    let rules = Rules::parse(&document("<Prefix>in/</Prefix>", parameter, &info), false).expect("valid");
    let wanted = Rule {
        priority: 1,
        kind: Kind::Mirror,
        prefix: "in/".to_owned(),
        suffix: String::new(),
        protocol: Protocol::Http,
        follow_query: true,
        transparent_errors: true,
        follow_redirects: true,
        redirect_code: 307,
        follow_headers: vec![HeaderName::from_static("accept")],
        follow_all_headers: false,
        new_headers: vec![(HeaderName::from_static("x-team"), HeaderValue::from_static("a&b"))],
        hosts: vec!["origin.example.com:8080".to_owned(), "second.example.com".to_owned()],
        file: File::Key { prefix: "a/".to_owned(), suffix: ".jpg".to_owned() },
    };
    assert_eq!(rules.rules(), [wanted]);
    let fixed = "<FileInfo><FixedFileConfiguration><FixedFilePath>x</FixedFilePath></FixedFileConfiguration>\
                 </FileInfo>";
    assert_eq!(rule("", &format!("{HOST}{fixed}")).file, File::Fixed("x".to_owned()));
}

#[test]
fn the_first_rule_by_priority_that_fits_counts() {
    let of = |priority, prefix: &str| {
        let condition = format!("<Prefix>{prefix}</Prefix>");
        let all =
            document(&condition, "", HOST).replace("<RulePriority>1<", &format!("<RulePriority>{priority}<"));
        all.replace("<OriginConfiguration>", "").replace("</OriginConfiguration>", "")
    };
    let all = format!("<OriginConfiguration>{}{}</OriginConfiguration>", of(7, ""), of(3, "in/"));
    let rules = Rules::parse(&all, false).expect("valid");
    assert_eq!(rules.for_key("in/a").map(|rule| rule.priority), Some(3));
    assert_eq!(rules.for_key("out").map(|rule| rule.priority), Some(7));
}

#[test]
fn what_is_not_understood_or_leads_inside_is_refused() {
    let parse = |condition: &str, parameter: &str, info: &str| {
        Rules::parse(&document(condition, parameter, info), false).expect_err("refused")
    };
    assert_eq!(parse("", "", ""), invalid("an origin rule needs a HostName"));
    for (condition, parameter) in [
        ("<FilterHost></FilterHost>", ""),
        ("<HTTPStatusCode>403</HTTPStatusCode>", ""),
        ("", "<CopyOriginData>true</CopyOriginData>"),
    ] {
        assert!(matches!(parse(condition, parameter, HOST), RuleError::NotImplemented(_)), "{condition}");
    }
    for parameter in ["<Protocol>FTP</Protocol>", "<FollowQueryString>maybe</FollowQueryString>"] {
        assert_eq!(parse("", parameter, HOST), RuleError::Malformed, "{parameter}");
    }
    for key in
        ["Authorization", "Cookie", "Host", "X-Amz-Date", "Range", "Transfer-Encoding", "a b", "x\r\ny"]
    {
        for list in ["NewHttpHeaders", "FollowHttpHeaders"] {
            let header =
                format!("<HttpHeader><{list}><Header><Key>{key}</Key></Header></{list}></HttpHeader>");
            assert!(matches!(parse("", &header, HOST), RuleError::Invalid(_)), "{key}");
        }
    }
    let smuggled = "<HttpHeader><NewHttpHeaders><Header><Key>x</Key><Value>a&#13;&#10;b: c</Value></Header>\
                    </NewHttpHeaders></HttpHeader>";
    assert!(matches!(parse("", smuggled, HOST), RuleError::Invalid(_)));
    for host in [
        "127.0.0.1",
        "2130706433",
        "0x7f.1",
        "[::1]:80",
        "169.254.169.254",
        "10.0.0.1:80",
        "user@example.com",
        "example.com/path",
        "example.com?x",
        "exa mple.com",
        "",
    ] {
        let info = format!("<HostInfo><HostName>{host}</HostName></HostInfo>");
        assert!(matches!(parse("", "", &info), RuleError::Invalid(_)), "{host}");
    }
    for not in
        ["", "<OriginConfiguration/>", "<OriginRule/>", "<OriginConfiguration><x/></OriginConfiguration>"]
    {
        assert!(Rules::parse(not, false).is_err(), "{not}");
    }
}

#[test]
fn a_key_is_a_path_of_the_origin_and_nothing_else() {
    let plain = rule("<FollowQueryString>true</FollowQueryString>", HOST);
    let url = |key, query| plain.url("origin.example.com", key, query, false).map(String::from);
    let is = |text: &str| Some(format!("http://origin.example.com/{text}"));
    assert_eq!(url("a/b c?d#e.jpg", None), is("a/b%20c%3Fd%23e.jpg"));
    assert_eq!(url("/a", None), is("a"));
    assert_eq!(url("//evil.example.com/", None), is("/evil.example.com/"));
    assert_eq!(url("a%2e%2e/b", None), is("a%252e%252e/b"));
    assert_eq!(url("é", None), is("%C3%A9"));
    for key in ["../secret", "a/../../b", "a/./b", ".."] {
        assert_eq!(url(key, None), None, "{key}");
    }
    let signed =
        "a=1&X-Amz-Signature=planted&x-amz-security-token=planted&q-ak=planted&sign=planted&b=2&%71-ak=p";
    assert_eq!(url("k", Some(signed)), is("k?a=1&b=2"));
    assert_eq!(url("k", Some("versionId=1&response-content-type=x")), is("k"));
    let mine = rule(
        "",
        &format!(
            "{HOST}<FileInfo><PrefixConfiguration><Prefix>p/</Prefix></PrefixConfiguration>\
                                  <SuffixConfiguration><Suffix>!s</Suffix></SuffixConfiguration></FileInfo>"
        ),
    );
    assert_eq!(mine.url("h", "k", Some("a=1"), true).map(String::from).as_deref(), Some("http://h/p/k%21s"));
    let follow = Rule { protocol: Protocol::Follow, ..mine };
    assert_eq!(follow.url("h", "k", None, true).map(String::from).as_deref(), Some("https://h/p/k%21s"));
}

#[test]
fn no_credential_of_a_client_goes_along() {
    let all = rule(
        "<HttpHeader><FollowAllHeaders>true</FollowAllHeaders><NewHttpHeaders><Header><Key>x-team</Key>\
                    <Value>ours</Value></Header></NewHttpHeaders></HttpHeader>",
        HOST,
    );
    let pairs = [
        ("authorization", "planted"),
        ("cookie", "planted"),
        ("x-amz-security-token", "planted"),
        ("x-cos-security-token", "planted"),
        ("host", "planted"),
        ("range", "bytes=0-1"),
        ("if-none-match", "*"),
        ("content-length", "5"),
        ("x-team", "theirs"),
        ("accept", "image/*"),
    ];
    let of_client: HeaderMap =
        pairs.iter().map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v))).collect();
    let headers = all.headers(&of_client);
    let mut names: Vec<_> = headers.iter().map(|(n, v)| (n.as_str(), v.to_str().expect("text"))).collect();
    names.sort_unstable();
    assert_eq!(names, [("accept", "image/*"), ("x-team", "ours")]);
    let none = rule("", HOST).headers(&of_client);
    assert!(none.is_empty());
}
