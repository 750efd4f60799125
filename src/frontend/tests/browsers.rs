//! Pages of other origins: what rules let them do, and what nobody without a signature learns.

use http::Method;

use super::multipart::text;
use super::real::Real;
use super::support::{assert_complete_error, told};
use crate::client::Response;

const CORS: [(&str, &str); 1] = [("cors", "")];
const RULES: &str = "<CORSConfiguration><CORSRule><ID>app</ID>\
     <AllowedOrigin>https://*.example.com</AllowedOrigin><AllowedMethod>GET</AllowedMethod>\
     <AllowedMethod>PUT</AllowedMethod><AllowedHeader>x-amz-*</AllowedHeader>\
     <ExposeHeader>ETag</ExposeHeader><MaxAgeSeconds>60</MaxAgeSeconds></CORSRule><CORSRule>\
     <AllowedOrigin>*</AllowedOrigin><AllowedMethod>HEAD</AllowedMethod></CORSRule></CORSConfiguration>";

impl Real {
    /// A preflight as a browser sends it: without a signature.
    async fn preflight(&self, path: &str, headers: &[(&str, &str)]) -> Response {
        let host = self.running.address.to_string();
        let headers = [headers, &[("host", host.as_str())]].concat();
        self.running.client.send(Method::OPTIONS, path, &headers, "").await.expect("answered")
    }

    async fn rules(&self, body: impl Into<bytes::Bytes>) -> Response {
        self.ask(Method::PUT, "/bucket", &CORS, &[], body).await
    }
}

fn asks<'a>(origin: &'a str, method: &'a str) -> [(&'a str, &'a str); 2] {
    [("origin", origin), ("access-control-request-method", method)]
}

#[tokio::test(flavor = "multi_thread")]
async fn preflights_say_what_a_rule_says() {
    let real = Real::with_bucket().await;
    let none = real.ask(Method::GET, "/bucket", &CORS, &[], "").await;
    assert_eq!(told(&none), (404, "NoSuchCORSConfiguration"));
    let app = "https://app.example.com";
    let before = real.preflight("/bucket/key", &asks(app, "PUT")).await;
    let nowhere = real.preflight("/nowhere/key", &asks(app, "PUT")).await;
    assert_eq!((told(&before), told(&nowhere)), ((403, "AccessForbidden"), (403, "AccessForbidden")));
    let said = |answer: &Response| text(answer, "Message");
    assert_eq!(said(&before), said(&nowhere), "nobody learns which buckets there are");
    assert_eq!(real.rules(RULES).await.status, 200);
    let real = real.restart().await;

    let headers = ("access-control-request-headers", "X-Amz-Date, x-amz-content-sha256");
    let answer = real.preflight("/bucket/key", &[&asks(app, "PUT")[..], &[headers]].concat()).await;
    assert_eq!((answer.status.as_u16(), answer.body.len()), (200, 0), "{answer:?}");
    for (name, value) in [
        ("access-control-allow-origin", app),
        ("access-control-allow-credentials", "true"),
        ("access-control-allow-methods", "GET, PUT"),
        ("access-control-allow-headers", "x-amz-date, x-amz-content-sha256"),
        ("access-control-expose-headers", "ETag"),
        ("access-control-max-age", "60"),
        ("vary", "Origin, Access-Control-Request-Headers, Access-Control-Request-Method"),
    ] {
        assert_eq!(answer.header(name), Some(value), "{name}");
    }
    let anybody = real.preflight("/bucket", &asks("null", "HEAD")).await;
    assert_eq!(anybody.header("access-control-allow-origin"), Some("*"));
    assert_eq!(anybody.header("access-control-allow-credentials"), None, "not for everybody");
    let other = ("access-control-request-headers", "x-amz-date,content-type");
    for headers in [
        asks("https://example.com", "PUT").to_vec(),
        asks("https://evil.com?.example.co", "PUT").to_vec(),
        asks(app, "DELETE").to_vec(),
        asks(app, "put").to_vec(),
        [&asks(app, "PUT")[..], &[other]].concat(),
    ] {
        let refused = real.preflight("/bucket/key", &headers).await;
        assert_eq!(told(&refused), (403, "AccessForbidden"), "{headers:?}");
        assert_eq!(refused.header("access-control-allow-origin"), None);
        assert_complete_error(&refused);
    }
    let many = (0..200).map(|n| format!("x-amz-{n}")).collect::<Vec<_>>().join(",");
    let many = [&asks(app, "PUT")[..], &[("access-control-request-headers", many.as_str())]].concat();
    assert_eq!(told(&real.preflight("/bucket/key", &many).await), (403, "AccessForbidden"));
    let no_question = real.preflight("/bucket", &[("origin", app)]).await;
    assert_eq!(told(&no_question), (403, "AccessDenied"), "no preflight: it needs a signature");
    assert_eq!(told(&real.preflight("/", &asks(app, "GET")).await), (403, "AccessForbidden"));
    assert_eq!(real.events().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_may_be_seen_by_whom_a_rule_names() {
    let real = Real::with_bucket().await;
    assert_eq!(real.rules(RULES).await.status, 200);
    real.running.client.put("bucket", "key", "hello").await.expect("answered");
    let get = async |origin: &str| real.ask(Method::GET, "/bucket/key", &[], &[("origin", origin)], "").await;
    let app = "https://app.example.com";
    let got = get(app).await;
    assert_eq!((got.status.as_u16(), &got.body[..]), (200, &b"hello"[..]));
    assert_eq!(got.header("access-control-allow-origin"), Some(app));
    assert_eq!(got.header("access-control-expose-headers"), Some("ETag"));
    let got = get("https://other.org").await;
    assert_eq!((got.status.as_u16(), got.header("access-control-allow-origin")), (200, None));
    assert!(got.header("vary").is_some(), "caches must not give this answer to the other origin");
    let plain = real.ask(Method::GET, "/bucket/key", &[], &[], "").await;
    assert!(plain.header("vary").is_some() && plain.header("access-control-allow-origin").is_none());
    // A page sees why it was refused, too.
    let host = real.running.address.to_string();
    let unsigned = [("host", host.as_str()), ("origin", app)];
    let refused =
        real.running.client.send(Method::GET, "/bucket/key", &unsigned, "").await.expect("answered");
    assert_eq!(told(&refused), (403, "AccessDenied"));
    assert_eq!(refused.header("access-control-allow-origin"), Some(app));

    let got = real.ask(Method::GET, "/bucket", &CORS, &[], "").await;
    assert_eq!((&*text(&got, "AllowedOrigin"), &*text(&got, "ID")), ("https://*.example.com", "app"));
    // Other rules count from the next request on.
    assert_eq!(real.rules(RULES.replace("example.com", "example.org")).await.status, 200);
    assert_eq!(get(app).await.header("access-control-allow-origin"), None);
    assert_eq!(real.ask(Method::DELETE, "/bucket", &CORS, &[], "").await.status, 204);
    assert_eq!(get("https://app.example.org").await.header("vary"), None);
    let head = real.ask(Method::HEAD, "/bucket", &[], &[], "").await;
    assert_eq!(head.status, 200, "the bucket is still there");
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_rules_are_not_set() {
    let real = Real::with_bucket().await;
    assert_eq!(real.rules(RULES).await.status, 200);
    let rule = "<CORSRule><AllowedOrigin>*</AllowedOrigin><AllowedMethod>GET</AllowedMethod></CORSRule>";
    let many = format!("<CORSConfiguration>{}</CORSConfiguration>", rule.repeat(101));
    let large = RULES.replace("<ID>app", &format!("<!--{}--><ID>app", "x".repeat(70_000)));
    for (what, body, code) in [
        ("stars", RULES.replace("https://*", "https://*.*"), "InvalidRequest"),
        ("a method", RULES.replace("PUT", "OPTIONS"), "InvalidRequest"),
        ("too many", many, "InvalidRequest"),
        ("too large", large, "InvalidRequest"),
        ("none", "<CORSConfiguration></CORSConfiguration>".into(), "MalformedXML"),
        ("no method", RULES.replace("<AllowedMethod>HEAD</AllowedMethod>", ""), "MalformedXML"),
        ("no XML", "rules".into(), "MalformedXML"),
    ] {
        assert_eq!(told(&real.rules(body).await), (400, code), "{what}");
    }
    let still = real.ask(Method::GET, "/bucket", &CORS, &[], "").await;
    assert_eq!(text(&still, "AllowedOrigin"), "https://*.example.com");
    let nowhere = real.ask(Method::PUT, "/nowhere", &CORS, &[], RULES).await;
    assert_eq!(told(&nowhere), (404, "NoSuchBucket"));
}
