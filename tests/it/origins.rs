//! An object from an origin through a whole tidings: its event arrives as `tidings event sample` shows it,
//! and the metrics say what came of the fetch.

use std::process::Command;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use http::Method;
use serde_json::Value;
use tokio::net::TcpListener;

use crate::targets::world::{Receiver, World, target};

/// The same members of the same kinds, whatever they say.
fn same_shape(shown: &Value, came: &Value, at: &str) {
    match (shown, came) {
        (Value::Object(shown), Value::Object(came)) => {
            let names = |object: &serde_json::Map<String, Value>| object.keys().cloned().collect::<Vec<_>>();
            assert_eq!(names(shown), names(came), "{at}");
            shown.iter().for_each(|(name, value)| same_shape(value, &came[name], &format!("{at}.{name}")));
        }
        _ => assert_eq!(std::mem::discriminant(shown), std::mem::discriminant(came), "{at}: {came}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_from_an_origin_arrives_as_the_sample_shows_it() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let host = listener.local_addr().expect("bound");
    let router = Router::new().route("/in/cat.jpg", get(|| async { "a cat" }));
    let router = router.route("/broken", get(|| async { StatusCode::BAD_GATEWAY }));
    tokio::spawn(async move { axum::serve(listener, router).await });
    let receiver = Receiver::start(true).await;
    let private = "[origin]\nallow_private = true\n".to_owned();
    let world = World::start(&(private + &target("far", &receiver.url, "", ""))).await;
    let document = format!(
        "<OriginConfiguration><OriginRule><OriginType>Mirror</OriginType><OriginInfo><HostInfo>\
         <HostName>{host}</HostName></HostInfo></OriginInfo></OriginRule></OriginConfiguration>"
    );
    let set = world.s3().request(Method::PUT, "/bucket", &[("origin", "")], &[], document.into()).await;
    assert_eq!(set.expect("an answer").status, 200);
    let got = world.s3().get("bucket", "in/cat.jpg").await.expect("an answer");
    assert_eq!((got.status.as_u16(), &got.body[..]), (200, &b"a cat"[..]));
    for (key, status) in [("none", 404), ("broken", 424)] {
        assert_eq!(world.s3().get("bucket", key).await.expect("an answer").status, status);
    }
    receiver.wait_for(1).await;
    world.settled("far").await;
    let came = receiver.records();
    let [came] = &came[..] else { panic!("one event and no other: {came:?}") };
    let mut sample = Command::new(env!("CARGO_BIN_EXE_tidings"));
    sample.args(["event", "sample", "cos:ObjectCreated:Origin", "--bucket=bucket", "--json"]);
    let shown: Value = serde_json::from_slice(&sample.output().expect("started").stdout).expect("JSON");
    let shown: Value = serde_json::from_str(shown["payload"].as_str().expect("text")).expect("JSON");
    let shown = &shown["Records"][0];
    same_shape(shown, came, "the record");
    assert_eq!(came["eventName"], "ObjectCreated:Origin");
    for same in ["eventVersion", "eventSource", "awsRegion", "eventName"] {
        assert_eq!(shown[same], came[same], "{same}");
    }
    assert_eq!(shown["s3"]["object"]["key"], came["s3"]["object"]["key"]);
    assert_eq!((&came["s3"]["object"]["size"], &came["s3"]["bucket"]["name"]), (&5.into(), &"bucket".into()));
    for (result, count) in [("kept", 1.0), ("not_found", 1.0), ("failed", 1.0), ("not_kept", 0.0)] {
        let series = format!("tidings_origin_fetches_total{{result=\"{result}\"}}");
        assert_eq!(world.metric(&series).await, count, "{result}");
    }
}
