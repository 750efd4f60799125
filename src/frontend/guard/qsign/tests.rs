//! The rules of q-sign, with the published examples, and every way to make a signature wrong.

use http::Request;

use crate::frontend::guard::{Claim, Refusal, Rules, check};

use super::*;

const START: i64 = 1_557_989_151;
const TIME: &str = "1557989151;1557996351";
const SECRET: &str = "planted-secret-of-q-sign";

fn rules() -> Rules {
    Rules { region: "ap-guangzhou".into(), unsigned_bodies: false }
}

/// A head in the making, signed as the published algorithm says, written down here once more.
#[derive(Clone)]
struct Head {
    method: &'static str,
    /// Encoded, with its query.
    target: String,
    headers: Vec<(String, String)>,
    header_list: String,
    parameter_list: String,
    key_time: String,
}

impl Head {
    fn new(method: &'static str, target: &str, headers: &[(&str, &str)]) -> Self {
        let mut names: Vec<_> = headers.iter().map(|(name, _)| *name).collect();
        names.sort_unstable();
        let query = target.split_once('?').map_or("", |(_, query)| query);
        let of = |part: &str| part.split('=').next().unwrap_or_default().to_ascii_lowercase();
        let mut parameters: Vec<_> = query.split('&').filter(|part| !part.is_empty()).map(of).collect();
        parameters.sort_unstable();
        Self {
            method,
            target: target.to_owned(),
            headers: headers.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect(),
            header_list: names.join(";"),
            parameter_list: parameters.join(";"),
            key_time: TIME.into(),
        }
    }

    fn get() -> Self {
        Self::new("GET", "/key?versionId=a%2Fb&response-expires=", &[("host", "b-1.example.com:9000")])
    }

    fn fields(&self, signature: &str) -> String {
        let (time, headers, parameters) = (&self.key_time, &self.header_list, &self.parameter_list);
        format!(
            "q-sign-algorithm=sha1&q-ak=AKIDEXAMPLE&q-sign-time={time}&q-key-time={time}\
             &q-header-list={headers}&q-url-param-list={parameters}&q-signature={signature}"
        )
    }

    /// Signs what is there, for the lists as they are.
    fn signature(&self) -> String {
        let (path, query) = self.target.split_once('?').unwrap_or((&self.target, ""));
        let path = decode(path, false).expect("a path");
        let canonical = |list: &str, pairs: Vec<(String, String)>| {
            let names = list.split(';').filter(|name| !name.is_empty());
            let value = |name: &str| {
                let found =
                    pairs.iter().find(|(known, _)| encode(known.as_bytes()).to_ascii_lowercase() == name);
                found.map_or(String::new(), |(_, value)| encode(value.as_bytes()))
            };
            names.map(|name| format!("{name}={}", value(name))).collect::<Vec<_>>().join("&")
        };
        let pair = |part: &str| {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let text = |text| decode(text, true).expect("a query").into_owned();
            (text(name), text(value))
        };
        let parameters = query.split('&').filter(|part| !part.is_empty()).map(pair).collect();
        let (method, key_time) = (self.method.to_ascii_lowercase(), &self.key_time);
        let parameters = canonical(&self.parameter_list, parameters);
        let headers = canonical(&self.header_list, self.headers.clone());
        let http = hex::encode(Sha1::digest(format!("{method}\n{path}\n{parameters}\n{headers}\n")));
        let text = format!("sha1\n{key_time}\n{http}\n");
        hex::encode(hmac_sha1(&signing_key(SECRET, key_time), &text))
    }

    fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Checks a head that carries `authorization`.
    fn check_as(&self, authorization: &str, now: i64) -> Result<Claim, Refusal> {
        let mut request = Request::builder().method(self.method).uri(&self.target);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let request = request.header("authorization", authorization).body(()).expect("a head");
        check(&request.into_parts().0, &rules(), true, now)
    }

    /// What comes of it, signed in its header.
    fn told(&self) -> Result<(), (u16, &'static str)> {
        self.told_with(&self.fields(&self.signature()))
    }

    fn told_with(&self, authorization: &str) -> Result<(), (u16, &'static str)> {
        let code = |refusal: Refusal| {
            let (status, code, _) = refusal.answer();
            (status.as_u16(), code)
        };
        let claim = self.check_as(authorization, START).map_err(code)?;
        match claim.qsign.expect("signed by COS's rules").is_by(SECRET) {
            true => Ok(()),
            false => Err((403, "SignatureDoesNotMatch")),
        }
    }

    /// The same head, signed in its query.
    fn presigned(&self) -> Self {
        let fields = self.fields(&self.signature()).replace(';', "%3B");
        let joint = if self.target.contains('?') { '&' } else { '?' };
        Self { target: format!("{}{joint}{fields}", self.target), ..self.clone() }
    }

    fn told_without_header(&self) -> Result<(), (u16, &'static str)> {
        let mut request = Request::builder().method(self.method).uri(&self.target);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let request = request.body(()).expect("a head");
        let claim = check(&request.into_parts().0, &rules(), false, START).map_err(|refusal| {
            let (status, code, _) = refusal.answer();
            (status.as_u16(), code)
        })?;
        match claim.qsign.expect("signed by COS's rules").is_by(SECRET) {
            true => Ok(()),
            false => Err((403, "SignatureDoesNotMatch")),
        }
    }
}

const DENIED: Result<(), (u16, &str)> = Err((403, "AccessDenied"));
const MISMATCH: Result<(), (u16, &str)> = Err((403, "SignatureDoesNotMatch"));
const MALFORMED: Result<(), (u16, &str)> = Err((400, "AuthorizationHeaderMalformed"));
const INVALID: Result<(), (u16, &str)> = Err((400, "InvalidRequest"));

/// The documentation's own examples; it hides the last digits of its signatures, which were computed.
#[test]
fn the_published_examples_verify() {
    let secret = "BQYIM75p8x0iWVFSIgqEKwFprpRSVHlz";
    let host = ("host", "examplebucket-1250000000.cos.ap-beijing.myqcloud.com");
    let path = "/exampleobject(%E8%85%BE%E8%AE%AF%E4%BA%91)";
    let put = Head::new(
        "PUT",
        path,
        &[
            ("content-length", "13"),
            ("content-md5", "mQ/fVh815F3k6TAUm8m0eg=="),
            ("content-type", "text/plain"),
            ("date", "Thu, 16 May 2019 06:45:51 GMT"),
            host,
            ("x-cos-acl", "private"),
            ("x-cos-grant-read", "uin=\"100000000011\""),
        ],
    );
    let get = Head::new(
        "GET",
        &format!(
            "{path}?response-content-type=application%2Foctet-stream&response-cache-control=max-age%3D600"
        ),
        &[("date", "Thu, 16 May 2019 06:55:53 GMT"), host],
    );
    let get = Head { key_time: "1557989753;1557996953".into(), ..get };
    for (head, key, signature) in [
        (put, "eb2519b498b02ac213cb1f3d1a3d27a3b3c9bc5f", "3b8851a11a569213c17ba8fa7dcf2abec6935172"),
        (get, "937914bf490e9e8c189836aad2052e4feeb35eaf", "01681b8c9d798a678e43b685a9f1bba0f6c0e012"),
    ] {
        let claim = head.check_as(&head.fields(signature), START + 700).expect("right");
        assert_eq!(&*claim.access_key, "AKIDEXAMPLE");
        let qsign = claim.qsign.expect("signed by COS's rules");
        assert!(qsign.is_of_key(key), "{signature}");
        assert!(!qsign.is_of_key(&key.replace('e', "f")));
        assert_eq!(signing_key(secret, &head.key_time), key);
        assert!(qsign.is_by(secret) && !qsign.is_by(SECRET));
        let other = format!("{}3", &signature[..39]);
        let claim = head.check_as(&head.fields(&other), START + 700).expect("well-formed");
        assert!(!claim.qsign.expect("there").is_of_key(key));
    }
}

#[test]
fn header_and_query_are_both_right() {
    assert_eq!(Head::get().told(), Ok(()));
    assert_eq!(Head::get().presigned().told_without_header(), Ok(()));
    let put = Head::new("PUT", "/key", &[("host", "h"), ("x-cos-meta-a", "ä b")]);
    assert_eq!(put.told(), Ok(()));
    assert_eq!(put.presigned().told_without_header(), Ok(()));
}

/// Some clients sign the host's port, some do not; no other host will do.
#[test]
fn the_host_is_signed_with_its_port_or_without() {
    let signed_for = |host: &str| {
        let signature = Head::new("GET", "/key", &[("host", host)]).signature();
        let sent = Head::new("GET", "/key", &[("host", "127.0.0.1:9000")]);
        sent.told_with(&sent.fields(&signature))
    };
    assert_eq!(signed_for("127.0.0.1:9000"), Ok(()));
    assert_eq!(signed_for("127.0.0.1"), Ok(()));
    assert_eq!(signed_for("127.0.0.1:9001"), MISMATCH);
    assert_eq!(signed_for("127.0.0.2"), MISMATCH);
    assert_eq!(signed_for(""), MISMATCH);
}

/// What is not in a list could have been put there by anybody.
#[test]
fn all_that_matters_is_listed() {
    let unlisted = |name: &str| Head { header_list: name.into(), ..Head::get() };
    assert_eq!(unlisted("").told(), DENIED, "no host");
    for (name, value) in [("x-cos-acl", "private"), ("x-cos-copy-source", "a/b"), ("x-cos-meta-a", "1")] {
        assert_eq!(Head::get().with(name, value).told(), DENIED, "{name}");
        assert_eq!(Head::get().presigned().with(name, value).told_without_header(), DENIED, "{name}");
    }
    assert_eq!(Head::get().with("x-cos-sdk-retry", "true").told(), Ok(()), "says nothing");
    assert_eq!(Head::get().with("accept", "*/*").told(), Ok(()));
    for parameter in ["acl", "versionId=other", "uploads", "prefix=a", "marker=a"] {
        let signed = Head::new("GET", "/key", &[("host", "h")]);
        let more = Head { target: format!("/key?{parameter}"), ..signed.clone() };
        assert_eq!(more.told(), DENIED, "{parameter}");
        let presigned = signed.presigned();
        let more = Head { target: format!("{}&{parameter}", presigned.target), ..presigned };
        assert_eq!(more.told_without_header(), DENIED, "{parameter}");
    }
    // The pages of a list may be turned, and nothing else.
    let list = Head::new("GET", "/", &[("host", "h")]);
    assert_eq!(Head { target: "/?marker=a&max-keys=1".into(), ..list.clone() }.told(), Ok(()));
    assert_eq!(Head { target: "/?prefix=a".into(), ..list.clone() }.told(), DENIED);
    assert_eq!(Head { method: "DELETE", target: "/?marker=a".into(), ..list }.told(), DENIED);
}

/// A list has one reading, and all that it names is there.
#[test]
fn lists_have_one_reading() {
    for list in ["host;host", "Host", "HOST", "host;", ";host", "host;;x", "host; x", "host,x", "host;x y"] {
        assert_eq!(Head { header_list: list.into(), ..Head::get() }.told(), MALFORMED, "{list}");
    }
    for list in ["response-expires;versionid;versionid", "response-expires;versionId", "a b"] {
        assert_eq!(Head { parameter_list: list.into(), ..Head::get() }.told(), MALFORMED, "{list}");
    }
    let gone = Head { header_list: "host;x-cos-acl".into(), ..Head::get() };
    assert_eq!(gone.told(), MISMATCH, "a signed header was taken away");
    let gone = Head { parameter_list: "prefix;response-expires;versionid".into(), ..Head::get() };
    assert_eq!(gone.told(), MISMATCH, "a signed parameter was taken away");
    let long: Vec<_> = (0..200).map(|n| format!("h{n}")).collect();
    assert_eq!(Head { header_list: format!("host;{}", long.join(";")), ..Head::get() }.told(), MALFORMED);
    let twice = Head::new("GET", "/", &[("host", "h"), ("accept", "a")]).with("accept", "b");
    assert_eq!(twice.told(), INVALID);
    let cases = Head::new("GET", "/?prefix=a&Prefix=b", &[("host", "h")]);
    assert_eq!(Head { parameter_list: "prefix".into(), ..cases }.told(), INVALID);
}

/// Names and values are compared as they are meant, however they are written.
#[test]
fn encoded_names_and_values_mean_the_same() {
    let list = Head::new("GET", "/?Prefix=x%20y%2B&%70rivate%2Fname=1", &[("host", "h")]);
    let list = Head { parameter_list: "prefix;private%2fname".into(), ..list };
    assert_eq!(list.told(), Ok(()));
    for target in ["/?prefix=x+y%2b&private%2Fname=1", "/?Prefix=x%20y%2B&private%2fname=1"] {
        let other = Head { target: target.into(), ..list.clone() };
        let told = other.told_with(&list.fields(&list.signature()));
        assert_eq!(told, Ok(()), "{target}");
    }
    for target in ["/?Prefix=x%20y&private%2Fname=1", "/?Prefix=X%20y%2B&private%2Fname=1"] {
        let other = Head { target: target.into(), ..list.clone() };
        assert_eq!(other.told_with(&list.fields(&list.signature())), MISMATCH, "{target}");
    }
    let key = Head::new("GET", "/a%2Fb%20c", &[("host", "h")]);
    let told =
        |target: &str| Head { target: target.into(), ..key.clone() }.told_with(&key.fields(&key.signature()));
    assert_eq!(told("/a/b%20c"), Ok(()), "the same key");
    assert_eq!(told("/a%252Fb%20c"), MISMATCH);
    assert_eq!(told("/a/b+c"), MISMATCH);
}

/// Every other request than the signed one is another request.
#[test]
fn a_signature_covers_what_it_is_used_for() {
    let signed = Head::new("PUT", "/key?tagging", &[("host", "h"), ("x-cos-meta-a", "1")]);
    let fields = signed.fields(&signed.signature());
    assert_eq!(signed.told_with(&fields), Ok(()));
    for (what, other) in [
        ("method", Head { method: "DELETE", ..signed.clone() }),
        ("path", Head { target: "/other?tagging".into(), ..signed.clone() }),
        ("value", Head { target: "/key?tagging=1".into(), ..signed.clone() }),
        (
            "header",
            Head {
                headers: vec![("host".into(), "h".into()), ("x-cos-meta-a".into(), "2".into())],
                ..signed
            },
        ),
    ] {
        assert_eq!(other.told_with(&fields), MISMATCH, "{what}");
    }
}

#[test]
fn the_fields_have_one_form() {
    let head = Head::get();
    let right = head.fields(&head.signature());
    let signature = head.signature();
    assert_eq!(head.told_with(&right), Ok(()));
    let mut turned: Vec<_> = right.split('&').collect();
    turned[1..].reverse();
    assert_eq!(head.told_with(&turned.join("&")), Ok(()), "the order is free");
    for (from, to, told) in [
        ("q-sign-algorithm=sha1", "q-sign-algorithm=sha256", DENIED),
        ("q-sign-algorithm=sha1", "q-sign-algorithm=", DENIED),
        ("q-ak=AKIDEXAMPLE", "q-ak=", Err((403, "InvalidAccessKeyId"))),
        ("q-ak=AKIDEXAMPLE", "q-ak=A%00B", Err((403, "InvalidAccessKeyId"))),
        ("&q-ak=AKIDEXAMPLE", "", MALFORMED),
        ("&q-ak=", "&Q-AK=", MALFORMED),
        ("&q-ak=", "&q-ak=A&q-ak=", MALFORMED),
        ("&q-header-list=host", "", MALFORMED),
        ("&q-signature=", "&q-more=1&q-signature=", MALFORMED),
        ("&q-signature=", "&&q-signature=", MALFORMED),
        (signature.as_str(), "", MISMATCH),
        (signature.as_str(), &signature.to_uppercase(), MISMATCH),
        (signature.as_str(), &signature[1..], MISMATCH),
    ] {
        assert!(right.contains(from), "{from}");
        assert_eq!(head.told_with(&right.replacen(from, to, 1)), told, "{from} -> {to}");
    }
    let presigned = head.presigned();
    for (from, to, told) in [
        ("q-ak=", "Q-Ak=", INVALID),
        ("q-ak=", "q-ak=A&q-ak=", INVALID),
        ("&q-ak=AKIDEXAMPLE", "", MALFORMED),
        ("q-ak=", "X-Amz-Credential=x&q-ak=", DENIED),
        ("q-ak=", "Signature=x&q-ak=", DENIED),
        ("q-ak=", "x-cos-security-token=t&q-ak=", DENIED),
    ] {
        let head = Head { target: presigned.target.replacen(from, to, 1), ..presigned.clone() };
        assert_eq!(head.told_without_header(), told, "{from} -> {to}");
    }
}

#[test]
fn times_are_within_their_bounds() {
    let at = |key_time: &str, now: i64| {
        let head = Head { key_time: key_time.into(), ..Head::get() };
        let told = head.check_as(&head.fields(&head.signature()), now);
        told.map(|_| ()).map_err(|refusal| refusal.answer().1)
    };
    let (denied, malformed) = (Err("AccessDenied"), Err("AuthorizationHeaderMalformed"));
    assert_eq!(at(TIME, START - 15 * 60), Ok(()), "clocks may differ");
    assert_eq!(at(TIME, START - 15 * 60 - 1), Err("RequestTimeTooSkewed"));
    assert_eq!(at(TIME, 1_557_996_351), Ok(()));
    assert_eq!(at(TIME, 1_557_996_352), denied, "expired");
    let week = 7 * 24 * 3600;
    assert_eq!(at(&format!("{};{}", START - 60, START + week), START), Ok(()));
    assert_eq!(at(&format!("{};{}", START - 61, START + week), START), denied);
    assert_eq!(at("0;9999999999", START), denied);
    for odd in [
        "",
        ";",
        "1557989151",
        "1557989151;",
        "2;1",
        "a;b",
        "+1557989151;1557996351",
        "1557989151;1557996351;1557996351",
        "-1;1557996351",
        "1557989151; 1557996351",
        "1e9;2e9",
        "99999999999999999999;99999999999999999999",
    ] {
        assert_eq!(at(odd, START), malformed, "{odd}");
    }
    let head = Head::get();
    let fields = head.fields(&head.signature()).replacen(TIME, "1557989151;1557996352", 1);
    assert_eq!(head.told_with(&fields), MALFORMED, "two times");
}

/// One signature, of one family; no token.
#[test]
fn exactly_one_signature() {
    let head = Head::get();
    let fields = head.fields(&head.signature());
    let both = head.presigned().told_with(&fields);
    assert_eq!(both, INVALID);
    let with_s3 = Head { target: "/key?X-Amz-Signature=x".into(), ..head.clone() };
    assert_eq!(with_s3.told(), INVALID);
    for name in ["x-amz-meta-a", "x-amz-acl", "x-amz-date", "x-amz-content-sha256", "x-amz-copy-source"] {
        assert_eq!(Head::new("GET", "/key", &[("host", "h"), (name, "1")]).told(), INVALID, "{name}");
    }
    for name in ["x-cos-security-token", "x-amz-security-token"] {
        let told = Head::new("GET", "/key", &[("host", "h"), (name, "1")]).told();
        assert!(matches!(told, Err((400, "InvalidToken" | "InvalidRequest"))), "{name}: {told:?}");
    }
    let in_query = Head::new("GET", "/key?x-cos-security-token=t", &[("host", "h")]);
    assert_eq!(in_query.told(), Err((400, "InvalidToken")));
}

/// A body that no signature covers is taken where nobody can have changed it.
#[test]
fn bodies_are_covered() {
    let covered = |more: &[(&str, &str)], listed: bool, local: bool| {
        let headers = [&[("host", "h"), ("content-length", "1")], more].concat();
        let mut head = Head::new("PUT", "/key", &headers);
        if !listed {
            head.header_list = "content-length;host".into();
        }
        let mut request = Request::builder().method("PUT").uri("/key");
        for (name, value) in &head.headers {
            request = request.header(name, value);
        }
        let request =
            request.header("authorization", head.fields(&head.signature())).body(()).expect("a head");
        check(&request.into_parts().0, &rules(), local, START).is_ok()
    };
    let md5 = [("content-md5", "mQ/fVh815F3k6TAUm8m0eg==")];
    assert!(covered(&[], true, true));
    assert!(!covered(&[], true, false));
    assert!(covered(&md5, true, false));
    assert!(!covered(&md5, false, false), "an MD5 that is not signed proves nothing");
}

/// What a proxy is asked for is what the host header names.
#[test]
fn absolute_targets_name_their_host() {
    let head = Head::new("GET", "/key", &[("host", "b-1.example.com")]);
    let fields = head.fields(&head.signature());
    let told = |target: &str| Head { target: target.into(), ..head.clone() }.told_with(&fields);
    assert_eq!(told("http://b-1.example.com/key"), Ok(()));
    assert_eq!(told("http://B-1.example.com/key"), Ok(()));
    assert_eq!(told("http://b-2.example.com/key"), INVALID);
    assert_eq!(told("http://b-1.example.com:80/key"), INVALID);
    assert_eq!(told("http://b-1.example.com/other"), MISMATCH);
}
