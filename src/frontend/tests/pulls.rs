//! Objects that are not here and come from an origin, over the real store and real HTTP.

mod fails;
mod origin;

use std::time::Duration;

use futures_util::future::join_all;
use http::Method;

use self::origin::{Origin, Says};
use super::real::Real;
use super::support::{origin_config, told};
use crate::client::Response;
use crate::event::EventKind;

/// What takes longer than this never happens.
const PATIENCE: Duration = Duration::from_secs(20);
/// Larger than what travels in a record.
const LARGE: usize = 1 << 20;

impl Real {
    /// From now on the bucket's objects come from there.
    async fn set_origin(&self, document: String) {
        let set = self.ask(Method::PUT, "/bucket", &[("origin", "")], &[], document).await;
        assert_eq!(set.status, 200, "{set:?}");
    }

    async fn miss(&self, key: &str) -> Response {
        self.running.client.get("bucket", key).await.expect("answered")
    }

    /// Kind and key of every event.
    fn happened(&self) -> Vec<(EventKind, String)> {
        self.events().iter().map(|event| (event.kind, event.key.to_string())).collect()
    }

    /// Waits until so many events happened.
    async fn until_happened(&self, count: usize) -> Vec<(EventKind, String)> {
        let happened = async {
            while self.events().len() < count {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, happened).await.expect("an event is missing");
        self.happened()
    }

    /// No object, no event, no file.
    async fn nothing_was_kept(&self, key: &str) {
        assert_eq!(self.happened(), []);
        let head = self.ask(Method::HEAD, &format!("/bucket/{key}"), &[], &[], "").await;
        assert_eq!(head.status, 404, "{key} was kept");
        let gone = async {
            while self.blob_files() > 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, gone).await.expect("a file was left behind");
    }
}

fn made(key: &str) -> (EventKind, String) {
    (EventKind::CreatedOrigin, key.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_here_comes_from_the_origin_and_is_an_event() {
    let real = Real::with_bucket().await;
    let large: Vec<u8> = (0..LARGE).map(|n| (n % 251) as u8).collect();
    let all = large.clone();
    let origin = Origin::start(move |path| match path {
        "/small" => Says::ok("body")
            .header("content-type: text/plain")
            .header("cache-control: max-age=60")
            .header("x-cos-meta-color: blue")
            .header("etag: \"theirs\"")
            .header("set-cookie: theirs=1"),
        "/empty" => Says::ok(""),
        "/large" => Says::ok(all.clone()),
        "/chunked" => Says { chunked: true, ..Says::ok(all.clone()) },
        _ => Says::status("404 Not Found"),
    });
    let origin = origin.await;
    real.set_origin(origin.document("Mirror", "")).await;
    for _ in 0..2 {
        let got = real.miss("small").await;
        assert_eq!((got.status.as_u16(), &got.body[..]), (200, &b"body"[..]));
        assert_eq!(got.header("etag"), Some("\"841a2d689ad86bd1611447453c22c6fc\""));
        assert_eq!(
            (got.header("content-type"), got.header("cache-control")),
            (Some("text/plain"), Some("max-age=60"))
        );
        assert_eq!((got.header("x-amz-meta-color"), got.header("set-cookie")), (Some("blue"), None));
    }
    assert_eq!(origin.asked().len(), 1, "the second time it was here");
    let event = real.events().remove(0);
    assert_eq!((event.kind, &*event.key, event.size), (EventKind::CreatedOrigin, "small", 4));
    assert_eq!(&*event.etag, "841a2d689ad86bd1611447453c22c6fc");
    assert_eq!(real.miss("empty").await.status, 200);
    let range = [("range", "bytes=3-5")];
    let part = real.ask(Method::GET, "/bucket/large", &[], &range, "").await;
    assert_eq!((part.status.as_u16(), &part.body[..]), (206, &large[3..6]), "{part:?}");
    assert_eq!(real.miss("large").await.body, large, "all of it was kept");
    assert_eq!(real.miss("chunked").await.body, large);
    assert_eq!(origin.asked().len(), 4);
    assert_eq!(real.happened(), [made("small"), made("empty"), made("large"), made("chunked")]);
    // What the origin has not either is not here; and nobody but a GET of the current object asks it.
    assert_eq!(told(&real.miss("none").await), (404, "NoSuchKey"));
    assert_eq!(origin.asked().len(), 5);
    let head = real.ask(Method::HEAD, "/bucket/other", &[], &[], "").await;
    let version = real.ask(Method::GET, "/bucket/other", &[("versionId", "null")], &[], "").await;
    let copy = [("x-amz-copy-source", "bucket/other")];
    let copied = real.ask(Method::PUT, "/bucket/copy", &[], &copy, "").await;
    assert_eq!((head.status.as_u16(), version.status.as_u16(), copied.status.as_u16()), (404, 404, 404));
    let elsewhere = real.running.client.get("nobody-has-this", "small").await.expect("answered");
    assert_eq!(told(&elsewhere), (404, "NoSuchBucket"));
    assert_eq!((origin.asked().len(), real.events().len()), (5, 4));
    let real = real.restart().await;
    assert_eq!(real.miss("large").await.body, large);
    // What was removed is missing like everything else that is not here.
    real.running.client.delete("bucket", "small").await.expect("answered");
    assert_eq!(real.miss("small").await.status, 200);
    assert_eq!(real.events().last().map(|event| event.kind), Some(EventKind::CreatedOrigin));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_origin_is_asked_as_its_rule_says() {
    let real = Real::with_bucket().await;
    let second = Origin::start(|_| Says::ok("second")).await;
    let to = format!("location: http://127.0.0.1:{}/elsewhere", second.port);
    let origin = Origin::start(move |path| match path {
        "/moved" => Says::status("302 Found").header(&to),
        "/down" => Says::status("500 No"),
        "/down-there" => Says::status("404 Not Found"),
        _ => Says::ok("first"),
    });
    let origin = origin.await;
    let rule = |prefix: &str, parameter: &str, hosts: &str, file: &str| {
        format!(
            "<OriginRule><OriginType>Mirror</OriginType><OriginCondition><HTTPStatusCode>404</HTTPStatusCode>\
             <Prefix>{prefix}</Prefix></OriginCondition><OriginParameter>{parameter}</OriginParameter>\
             <OriginInfo><HostInfo><HostName>127.0.0.1:{}</HostName>{hosts}</HostInfo>\
             <FileInfo>{file}</FileInfo></OriginInfo></OriginRule>",
            origin.port
        )
    };
    let rules = [
        rule(
            "headers/",
            "<FollowQueryString>true</FollowQueryString><HttpHeader><NewHttpHeaders><Header><Key>x-team</Key>\
             <Value>ours</Value></Header></NewHttpHeaders><FollowHttpHeaders><Header>\
             <Key>accept-language</Key></Header></FollowHttpHeaders></HttpHeader>",
            "",
            "",
        ),
        rule(
            "path/",
            "",
            "",
            "<PrefixConfiguration><Prefix>a/</Prefix></PrefixConfiguration>\
             <SuffixConfiguration><Suffix>.jpg</Suffix></SuffixConfiguration>",
        ),
        rule("moved", "<FollowRedirection>true</FollowRedirection>", "", ""),
        rule("down", "", &format!("<StandbyHostName_1>127.0.0.1:{}</StandbyHostName_1>", second.port), ""),
    ];
    real.set_origin(format!("<OriginConfiguration>{}</OriginConfiguration>", rules.concat())).await;
    let headers =
        [("accept-language", "de"), ("cookie", "planted"), ("x-amz-expected-bucket-owner", "1250000000")];
    let got = real.ask(Method::GET, "/bucket/headers/ü", &[("a", "1")], &headers, "").await;
    assert_eq!((got.status.as_u16(), &got.body[..]), (200, &b"first"[..]), "{got:?}");
    let asked = origin.asked().remove(0);
    assert!(asked.starts_with("GET /headers/%C3%BC?a=1 HTTP/1.1\r\n"), "{asked}");
    assert!(asked.contains("x-team: ours\r\n") && asked.contains("accept-language: de\r\n"), "{asked}");
    for not in ["authorization", "planted", "x-amz-", "1250000000"] {
        assert!(!asked.to_ascii_lowercase().contains(not), "{not} is in {asked}");
    }
    // A presigned URL's signature stays here, too.
    let url = real.running.client.presign(&Method::GET, "bucket", "headers/2", 60);
    let target = url.split_once(&real.running.address.to_string()).expect("a URL").1.to_owned();
    assert_eq!(real.running.send(Method::GET, &target, &[], "").await.status, 200);
    assert!(origin.asked()[1].starts_with("GET /headers/2 HTTP/1.1\r\n"), "{:?}", origin.asked()[1]);
    assert_eq!(real.miss("path/k").await.status, 200);
    assert!(origin.asked()[2].starts_with("GET /a/path/k.jpg HTTP/1.1\r\n"), "{:?}", origin.asked()[2]);
    assert_eq!(real.miss("moved").await.body, "second");
    assert!(second.asked()[0].starts_with("GET /elsewhere HTTP/1.1\r\n"), "{:?}", second.asked()[0]);
    assert_eq!(real.miss("down").await.body, "second", "who stands by has it");
    assert_eq!(told(&real.miss("down-there").await), (404, "NoSuchKey"), "that it has none is an answer");
    // No rule is for it.
    assert_eq!(told(&real.miss("other").await), (404, "NoSuchKey"));
    assert_eq!((origin.asked().len(), second.asked().len()), (6, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_fetch_serves_all_who_miss_the_key() {
    let real = Real::with_bucket().await;
    let origin = Origin::start(|_| Says { held: true, ..Says::ok(vec![b'x'; LARGE]) }).await;
    real.set_origin(origin.document("Mirror", "")).await;
    let many = join_all((0..60).map(|_| real.miss("key")));
    let opened = async {
        origin.came(1).await;
        // The others come, too.
        for _ in 0..3 {
            assert_eq!(real.ask(Method::HEAD, "/bucket", &[], &[], "").await.status, 200);
        }
        origin.open();
    };
    let (all, ()) = tokio::join!(many, opened);
    for got in all {
        assert_eq!((got.status.as_u16(), got.body.len()), (200, LARGE), "{:?}", got.error_code());
    }
    assert_eq!(origin.asked().len(), 1);
    assert_eq!(real.happened(), [made("key")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_puts_meanwhile_is_newer() {
    for size in [4, LARGE] {
        let real = Real::with_bucket().await;
        let origin = Origin::start(move |_| Says { held: true, ..Says::ok(vec![b'x'; size]) }).await;
        real.set_origin(origin.document("Mirror", "")).await;
        let putting = async {
            origin.came(1).await;
            let put = real.running.client.put("bucket", "key", "newer").await.expect("answered");
            assert_eq!(put.status, 200);
            origin.open();
        };
        let (got, ()) = tokio::join!(real.miss("key"), putting);
        assert_eq!((got.status.as_u16(), &got.body[..]), (200, &b"newer"[..]));
        assert_eq!(real.miss("key").await.body, "newer");
        assert_eq!(real.happened(), [(EventKind::CreatedPut, "key".to_owned())]);
    }
}

/// What a client removed stays removed, though an origin has it: nobody who asks again is told otherwise by a
/// fetch that began before.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_removes_meanwhile_stays_removed() {
    for versioned in [false, true] {
        let real = Real::with_bucket().await;
        let origin = Origin::start(|_| Says { held: true, ..Says::ok("body") }).await;
        real.set_origin(origin.document("Mirror", "")).await;
        if versioned {
            let on = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
            let set = real.ask(Method::PUT, "/bucket", &[("versioning", "")], &[], on).await;
            assert_eq!(set.status, 200, "{set:?}");
        }
        let removing = async {
            origin.came(1).await;
            let put = real.running.client.put("bucket", "key", "newer").await.expect("answered");
            let gone = real.running.client.delete("bucket", "key").await.expect("answered");
            assert_eq!((put.status.as_u16(), gone.status.as_u16()), (200, 204));
            origin.open();
        };
        let (got, ()) = tokio::join!(real.miss("key"), removing);
        assert_eq!(told(&got), (404, "NoSuchKey"), "{versioned}");
        let removed = if versioned { EventKind::RemovedMarker } else { EventKind::RemovedDelete };
        let happened = [EventKind::CreatedPut, removed].map(|kind| (kind, "key".to_owned()));
        assert_eq!(real.happened(), happened, "{versioned}");
        // A change of another key, even one that never came, costs nothing.
        real.running.client.delete("bucket", "never").await.expect("answered");
        assert_eq!(real.miss("other").await.body, "body", "{versioned}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_is_sent_to_the_origin_and_the_object_is_kept_later() {
    let real = Real::with_bucket().await;
    let origin = Origin::start(|_| Says { held: true, ..Says::ok("body") }).await;
    let follow = "<HttpRedirectCode>307</HttpRedirectCode><FollowQueryString>true</FollowQueryString>";
    real.set_origin(origin.document("Proxy", follow)).await;
    for _ in 0..2 {
        let got = real.ask(Method::GET, "/bucket/a key", &[("a", "1")], &[], "").await;
        assert_eq!(got.status, 307, "{got:?}");
        let there = format!("http://127.0.0.1:{}/a%20key?a=1", origin.port);
        assert_eq!(got.header("location"), Some(&*there));
    }
    assert_eq!(real.happened(), [], "nobody waits for it");
    origin.open();
    assert_eq!(real.until_happened(1).await, [made("a key")]);
    assert_eq!(real.miss("a key").await.body, "body");
    assert_eq!(origin.asked().len(), 1);
    // Whom only a redirect was promised gets nothing else.
    real.set_origin(origin.document("Redirect", "")).await;
    assert_eq!(real.miss("other").await.status, 302);
    assert_eq!((real.events().len(), origin.asked().len()), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn places_are_bounded_and_who_waits_for_one_gets_it() {
    let bounds = crate::config::Origin { max_fetches_per_bucket: 1, max_waiting: 1, ..origin_config() };
    let real = Real::with_origin(bounds).await;
    let origin = Origin::start(|path| Says { held: path == "/held", ..Says::ok("body") }).await;
    real.set_origin(origin.document("Mirror", "")).await;
    let busy = async {
        origin.came(1).await;
        let got = real.miss("other").await;
        assert_eq!(told(&got), (503, "SlowDown"));
        assert_eq!(got.header("retry-after"), Some("1"));
        real.set_origin(origin.document("Proxy", "")).await;
        for key in ["waits", "left-out"] {
            assert_eq!(real.miss(key).await.status, 302);
        }
        assert_eq!(origin.asked().len(), 1);
        origin.open();
    };
    let (held, ()) = tokio::join!(real.miss("held"), busy);
    assert_eq!(held.status, 200);
    assert_eq!(real.until_happened(2).await, [made("held"), made("waits")]);
    real.set_origin(origin.document("Mirror", "")).await;
    assert_eq!(real.miss("left-out").await.status, 200, "asked for again, it comes");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_fetched_for_nobody_does_not_hold_up_a_stop() {
    let real = Real::with_bucket().await;
    let origin = Origin::start(|_| Says { held: true, ..Says::ok(vec![b'x'; LARGE]) }).await;
    real.set_origin(origin.document("Proxy", "")).await;
    assert_eq!(real.miss("key").await.status, 302);
    origin.came(1).await;
    let real = tokio::time::timeout(PATIENCE, real.restart()).await.expect("a stop waited for an origin");
    real.nothing_was_kept("key").await;
}
