//! `?origin` as clients of both families set, see and remove it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::Method;

use super::real::Real;
use super::support::{assert_complete_error, told};
use crate::client::Response;

const ORIGIN: [(&str, &str); 1] = [("origin", "")];
const DOCUMENT: &str = "<OriginConfiguration>\n  <OriginRule><RulePriority>1</RulePriority><OriginType>Mirror\
    </OriginType><OriginCondition><HTTPStatusCode>404</HTTPStatusCode><Prefix>in/</Prefix></OriginCondition>\
    <OriginParameter><Protocol>HTTPS</Protocol></OriginParameter><OriginInfo><HostInfo>\
    <HostName>origin.example.com</HostName><Weight>10</Weight></HostInfo></OriginInfo></OriginRule>\n\
    </OriginConfiguration>";

impl Real {
    async fn origin(&self, method: Method, body: &str) -> Response {
        self.ask(method, "/bucket", &ORIGIN, &[], body.to_owned()).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_put_is_shown_until_it_is_removed() {
    let real = Real::with_bucket().await;
    let none = real.origin(Method::GET, "").await;
    assert_eq!(told(&none), (404, "OriginConfigurationNotFoundError"));
    assert_complete_error(&none);
    assert_eq!(real.origin(Method::PUT, DOCUMENT).await.status, 200);
    let real = real.restart().await;
    for (as_cos, shown) in [
        (false, real.origin(Method::GET, "").await),
        (true, real.cos(Method::GET, "/", &ORIGIN, &[], "").await),
    ] {
        assert_eq!((shown.status.as_u16(), &shown.body[..]), (200, DOCUMENT.as_bytes()), "{as_cos}");
        assert_eq!(shown.header("content-type"), Some("application/xml"));
        assert_eq!(shown.header("x-cos-request-id").is_some(), as_cos);
    }
    assert_eq!(real.origin(Method::DELETE, "").await.status, 204);
    assert_eq!(real.origin(Method::GET, "").await.status, 404);
    assert_eq!(real.origin(Method::DELETE, "").await.status, 204, "again");
    let md5 = BASE64.encode(<md5::Md5 as md5::Digest>::digest(DOCUMENT));
    let headers = [("content-md5", &*md5), ("content-type", "application/xml")];
    let put = real.cos(Method::PUT, "/", &ORIGIN, &headers, DOCUMENT).await;
    assert_eq!(put.status, 200, "{put:?}");
    assert_eq!(real.origin(Method::GET, "").await.body, DOCUMENT);
    assert_eq!(real.cos(Method::DELETE, "/", &ORIGIN, &[], "").await.status, 204);
    assert_eq!(real.events().len(), 0, "no object changed");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_origin_is_refused_and_changes_nothing() {
    let real = Real::with_bucket().await;
    assert_eq!(real.origin(Method::PUT, DOCUMENT).await.status, 200);
    let large = format!("<OriginConfiguration>{}</OriginConfiguration>", " ".repeat(64 << 10));
    for (document, code) in [
        ("", (400, "MalformedXML")),
        ("<OriginConfiguration></OriginConfiguration>", (400, "InvalidArgument")),
        ("<OriginConfiguration><OriginRule></OriginRule></OriginConfiguration>", (400, "MalformedXML")),
        (&DOCUMENT.replace("origin.example.com", "169.254.169.254"), (400, "InvalidArgument")),
        (&DOCUMENT.replace("404", "403"), (501, "NotImplemented")),
        (&large, (400, "MaxMessageLengthExceeded")),
    ] {
        let refused = real.origin(Method::PUT, document).await;
        assert_eq!(told(&refused), code, "{document:.80}: {refused:?}");
        assert_complete_error(&refused);
    }
    let md5 = BASE64.encode(<md5::Md5 as md5::Digest>::digest("another"));
    let other = DOCUMENT.replace("origin.", "other.");
    let wrong = real.ask(Method::PUT, "/bucket", &ORIGIN, &[("content-md5", &md5)], other.clone()).await;
    assert_eq!(told(&wrong), (400, "BadDigest"), "{wrong:?}");
    for (path, query, code) in [
        ("/bucket", &[("origin", ""), ("versioning", "")][..], (501, "NotImplemented")),
        ("/bucket/key", &ORIGIN, (501, "NotImplemented")),
        ("/nobody-has-this", &ORIGIN, (404, "NoSuchBucket")),
    ] {
        let refused = real.ask(Method::PUT, path, query, &[], other.clone()).await;
        assert_eq!(told(&refused), code, "{path}: {refused:?}");
    }
    let unknown = [("x-amz-something", "1")];
    let refused = real.ask(Method::PUT, "/bucket", &ORIGIN, &unknown, other).await;
    assert_eq!(told(&refused), (501, "NotImplemented"), "{refused:?}");
    assert_eq!(real.origin(Method::GET, "").await.body, DOCUMENT);
}
