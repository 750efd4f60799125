//! Origins that fail, clients that may not, and room that is not there: what is answered, and that nothing is
//! left behind.

use http::Method;

use super::origin::{Origin, Says, document};
use super::{LARGE, made};
use crate::commit::Quota;
use crate::config;
use crate::frontend::tests::real::Real;
use crate::frontend::tests::support::{assert_complete_error, told};

const FAILED: (u16, &str) = (424, "OriginFailed");

#[tokio::test(flavor = "multi_thread")]
async fn an_origin_that_fails_leaves_nothing_behind() {
    let real = Real::with_bucket().await;
    let metadata = format!("x-amz-meta-a: {}", "v".repeat(2048));
    let origin = Origin::start(move |path| match path {
        "/500" => Says::status("500 No").header("x-secret: planted"),
        "/403" => Says::status("403 No"),
        "/moved" => Says::status("302 Found").header("location: /ok"),
        "/partial" => Says { status: "206 Partial Content", ..Says::ok("body") },
        "/cut" => Says { cut: true, ..Says::ok("body") },
        "/cut-large" => Says { cut: true, ..Says::ok(vec![b'x'; LARGE]) },
        "/cut-chunked" => Says { cut: true, chunked: true, ..Says::ok(vec![b'x'; LARGE]) },
        "/metadata" => Says::ok("body").header(&metadata),
        "/too-large" => Says { held: true, chunked: true, ..Says::ok(vec![b'x'; 20 << 20]) },
        _ => Says::ok("body"),
    });
    let origin = origin.await;
    real.set_origin(origin.document("Mirror", "")).await;
    for key in ["500", "403", "moved", "partial", "cut", "cut-large", "cut-chunked", "metadata", "too-large"]
    {
        let got = real.miss(key).await;
        assert_eq!(told(&got), FAILED, "{key}: {got:?}");
        assert_complete_error(&got);
        real.nothing_was_kept(key).await;
    }
    assert!(origin.asked().len() >= 9);
    // Nobody listens there.
    real.set_origin(document("Mirror", "127.0.0.1:1", "")).await;
    assert_eq!(told(&real.miss("ok").await), FAILED);
    // An origin whose own answer is wanted is heard.
    real.set_origin(origin.document("Mirror", "<TransparentErrorCode>true</TransparentErrorCode>")).await;
    assert_eq!(told(&real.miss("500").await), (500, "OriginFailed"));
    assert_eq!(told(&real.miss("403").await), (403, "OriginFailed"));
    assert_eq!(told(&real.miss("cut").await), FAILED, "it had answered 200");
    real.nothing_was_kept("cut").await;
    assert_eq!(real.miss("ok").await.status, 200, "the next one is none the worse");
    assert_eq!(real.happened(), [made("ok")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_may_not_be_called_is_not() {
    let real = Real::with_origin(config::Origin::default()).await;
    let origin = Origin::start(|_| Says::ok("body")).await;
    let refused =
        real.ask(Method::PUT, "/bucket", &[("origin", "")], &[], origin.document("Mirror", "")).await;
    assert_eq!(told(&refused), (400, "InvalidArgument"), "{refused:?}");
    // What a name leads to is judged when it is called.
    real.set_origin(document("Mirror", &format!("localhost:{}", origin.port), "")).await;
    let got = real.miss("key").await;
    assert_eq!(told(&got), FAILED, "{got:?}");
    real.nothing_was_kept("key").await;
    assert_eq!(origin.asked(), [""; 0]);
    // As is an address that was allowed when it was set.
    let open = Real::with_bucket().await;
    let metadata = document("Mirror", "169.254.169.254", "");
    let refused = open.ask(Method::PUT, "/bucket", &[("origin", "")], &[], metadata).await;
    assert_eq!(told(&refused), (400, "InvalidArgument"), "whatever is allowed: {refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_room_the_body_is_answered_and_not_kept() {
    let real = Real::with_bucket().await;
    let origin = Origin::start(|path| match path {
        "/large" => Says::ok(vec![b'x'; LARGE]),
        "/chunked" => Says { chunked: true, ..Says::ok(vec![b'x'; LARGE]) },
        "/cut" => Says { cut: true, ..Says::ok(vec![b'x'; LARGE]) },
        "/none" => Says::status("404 Not Found"),
        _ => Says::ok("body").header("content-type: text/plain").header("x-oss-meta-a: 1"),
    });
    let origin = origin.await;
    real.set_origin(origin.document("Mirror", "")).await;
    let answered = async |key: &str, length: usize| {
        let got = real.miss(key).await;
        assert_eq!((got.status.as_u16(), got.body.len()), (200, length), "{:?}", got.error_code());
        real.nothing_was_kept(key).await;
        got
    };
    // The log is full.
    real.full.store(true, std::sync::atomic::Ordering::Release);
    let got = answered("small", 4).await;
    assert_eq!((got.header("content-type"), got.header("x-amz-meta-a")), (Some("text/plain"), Some("1")));
    assert_eq!(got.header("etag"), None, "it is nobody's object here");
    answered("large", LARGE).await;
    answered("chunked", LARGE).await;
    assert_eq!(told(&real.miss("none").await), (404, "NoSuchKey"));
    let only_if = real.ask(Method::GET, "/bucket/small", &[], &[("if-match", "\"a\"")], "").await;
    assert_eq!(told(&only_if), (503, "SlowDown"), "nobody knows");
    let cut = real.running.client.get("bucket", "cut").await;
    assert!(cut.is_err(), "half of it was answered for all: {cut:?}");
    real.full.store(false, std::sync::atomic::Ordering::Release);
    // The bucket may not hold more.
    real.commit
        .set_quota("bucket", Some(Quota { max_bytes: Some(100), max_objects: None }))
        .await
        .expect("set");
    answered("large", LARGE).await;
    // Bodies take all that they may.
    real.commit.limit_bodies(100, || 0);
    answered("chunked", LARGE).await;
    assert_eq!(real.miss("small").await.status, 200);
    assert_eq!(real.happened(), [made("small")], "and what has room is kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_of_an_origin_that_was_taken_away_is_not_kept() {
    let real = Real::with_bucket().await;
    let origin = Origin::start(|_| Says { held: true, ..Says::ok("body") }).await;
    real.set_origin(origin.document("Mirror", "")).await;
    let taking = async {
        origin.came(1).await;
        let gone = real.ask(Method::DELETE, "/bucket", &[("origin", "")], &[], String::new()).await;
        assert_eq!(gone.status, 204);
        origin.open();
    };
    let (got, ()) = tokio::join!(real.miss("key"), taking);
    assert_eq!(told(&got), (404, "NoSuchKey"), "{got:?}");
    real.nothing_was_kept("key").await;
    assert_eq!(real.happened(), []);
}
