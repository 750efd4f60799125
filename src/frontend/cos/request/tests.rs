//! What COS's words are in S3's, one by one.

use http::Request;

use super::*;

/// A translated request: its target, and its headers as `name: value`, sorted, without the host.
fn translated(method: &str, target: &str, headers: &[(&str, &str)]) -> Result<(String, Vec<String>), u16> {
    let hosts = Hosts::new(Some("s3.test"), "ap-guangzhou");
    let host = if headers.iter().any(|(name, _)| *name == "host") { "" } else { "b-1.s3.test" };
    let mut request = Request::builder().method(method).uri(target);
    if !host.is_empty() {
        request = request.header("host", host);
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let (mut parts, ()) = request.body(()).expect("a head").into_parts();
    translate(&mut parts, &hosts).map_err(|refusal| refusal.answer().0.as_u16())?;
    let text =
        |(name, value): (&HeaderName, &HeaderValue)| format!("{name}: {}", value.to_str().expect("text"));
    let mut headers: Vec<_> =
        parts.headers.iter().map(text).filter(|line| !line.starts_with("host")).collect();
    headers.sort();
    Ok((parts.uri.to_string(), headers))
}

#[test]
fn headers_become_those_of_s3() {
    for (name, value, translated_to) in [
        ("x-cos-meta-color", "Blue", "x-amz-meta-color: Blue"),
        ("x-cos-storage-class", "STANDARD_IA", "x-amz-storage-class: STANDARD_IA"),
        ("x-cos-tagging", "a=b", "x-amz-tagging: a=b"),
        ("x-cos-metadata-directive", "Replaced", "x-amz-metadata-directive: REPLACE"),
        ("x-cos-metadata-directive", "Copy", "x-amz-metadata-directive: COPY"),
        ("x-cos-tagging-directive", "replaced", "x-amz-tagging-directive: REPLACE"),
        ("x-cos-acl", "default", "x-amz-acl: private"),
        ("x-cos-acl", "private", "x-amz-acl: private"),
        ("x-cos-acl", "public-read", "x-amz-acl: public-read"),
        ("x-cos-grant-read", "id=\"1\"", "x-amz-grant-read: id=\"1\""),
        ("x-cos-copy-source-if-match", "\"e\"", "x-amz-copy-source-if-match: \"e\""),
        ("x-cos-copy-source-range", "bytes=0-1", "x-amz-copy-source-range: bytes=0-1"),
        ("x-cos-forbid-overwrite", "true", "if-none-match: *"),
        ("content-md5", "abc", "content-md5: abc"),
    ] {
        let told = translated("PUT", "/key", &[(name, value), ("authorization", "secret")]);
        assert_eq!(told.expect("known"), ("/key".to_owned(), vec![translated_to.to_owned()]), "{name}");
    }
    for name in ["x-cos-sdk-retry", "x-cos-forbid-overwrite"] {
        let value = if name == "x-cos-sdk-retry" { "true" } else { "false" };
        assert_eq!(translated("PUT", "/key", &[(name, value)]).expect("known").1, [""; 0], "{name}");
    }
}

#[test]
fn what_has_no_translation_is_refused() {
    for (name, value, status) in [
        ("x-cos-traffic-limit", "819200", 501),
        ("x-cos-server-side-encryption", "AES256", 501),
        ("x-cos-content-sha256", "UNSIGNED-PAYLOAD", 501),
        ("x-cos-decoded-content-length", "1", 501),
        ("x-cos-date", "20261123T040000Z", 501),
        ("x-cos-trailer", "x", 501),
        ("x-cos-callback", "x", 501),
        ("x-cos-metadata-directive", "REPLACE", 400),
        ("x-cos-forbid-overwrite", "yes", 400),
        ("x-cos-copy-source", "b-1/key", 400),
        ("x-cos-copy-source", "key", 400),
        ("x-cos-copy-source", "b-1.cos.ap-beijing.myqcloud.com/key", 400),
        ("x-cos-copy-source", "evil.example.org/b-1/key", 400),
    ] {
        assert_eq!(translated("PUT", "/key", &[(name, value)]), Err(status), "{name}: {value}");
    }
    let both = [("x-cos-forbid-overwrite", "true"), ("if-none-match", "*")];
    assert_eq!(translated("PUT", "/key", &both), Err(400));
    let forbids = [("x-cos-forbid-overwrite", "true")];
    assert_eq!(translated("PUT", "/key?partNumber=1&uploadId=a", &forbids), Err(501));
    assert_eq!(translated("POST", "/key?uploads", &forbids), Err(501));
    assert!(translated("POST", "/key?uploadId=a", &forbids).is_ok());
    for query in ["domain", "imageMogr2%2Fthumbnail%2F!50p", "ci-process=snapshot", "append&position=0"] {
        assert_eq!(translated("GET", &format!("/?{query}"), &[]), Err(501), "{query}");
    }
}

#[test]
fn a_source_is_a_host_and_a_key() {
    let of = |value: &str, host: &str| {
        let headers = translated("PUT", "/key", &[("host", host), ("x-cos-copy-source", value)])?.1;
        Ok::<_, u16>(headers[0]["x-amz-copy-source: ".len()..].to_owned())
    };
    let here = "127.0.0.1:9000";
    for (value, source) in [
        ("b-1.cos.ap-guangzhou.myqcloud.com/a/%20b", "b-1/a/%20b"),
        ("b-1.cos.ap-guangzhou.tencentcos.cn/a?versionId=v", "b-1/a?versionId=v"),
        ("b-1.s3.test:9000/a", "b-1/a"),
        ("s3.test/b-1/a", "b-1/a"),
        ("127.0.0.1:9000/b-1/a", "b-1/a"),
    ] {
        assert_eq!(of(value, here).as_deref(), Ok(source), "{value}");
    }
    assert_eq!(of("127.0.0.2:9000/b-1/a", here), Err(400));
}

#[test]
fn targets_lose_their_signature_and_nothing_else() {
    let signature = "q-sign-algorithm=sha1&q-ak=A&q-sign-time=1%3B2&q-key-time=1%3B2&q-header-list=host\
                     &q-url-param-list=&q-signature=ab";
    let target = |method: &str, target: &str| translated(method, target, &[]).map(|(target, _)| target);
    assert_eq!(target("GET", &format!("/a%20b?{signature}")).as_deref(), Ok("/a%20b"));
    assert_eq!(
        target("GET", &format!("/a?versionId=1%2B&{signature}&response-expires=x")).as_deref(),
        Ok("/a?versionId=1%2B&response-expires=x")
    );
    assert_eq!(target("PUT", &format!("/?{signature}&versioning")).as_deref(), Ok("/?versioning"));
    assert_eq!(target("GET", &format!("http://b-1.s3.test/a?{signature}")).as_deref(), Ok("/a"));
}

#[test]
fn the_service_lists_buckets() {
    let of = |query: &str| {
        let told = translated("GET", &format!("/?{query}"), &[("host", "service.cos.myqcloud.com")]);
        told.map(|(target, _)| target)
    };
    assert_eq!(of("marker=&max-keys=2000").as_deref(), Ok("/?max-buckets=2000"));
    let all = of("marker=b-1&max-keys=2&region=ap-guangzhou");
    assert_eq!(all.as_deref(), Ok("/?continuation-token=b-1&max-buckets=2&bucket-region=ap-guangzhou"));
    assert_eq!(of("tagkey=a&tagvalue=b"), Err(501));
    // The same words mean pages of objects where there is a bucket.
    let told = translated("GET", "/?marker=&max-keys=2", &[]).map(|(target, _)| target);
    assert_eq!(told.as_deref(), Ok("/?marker=&max-keys=2"));
}
