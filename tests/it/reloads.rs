//! Reloads and other changes by operators that meet, or that find no space.
//!
//! Must never need to be lucky: what is in the wrong order is seen whenever it happens.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use http::Method;
use serde_json::Value;
use tidings::app::{App, Source};
use tidings::config;

use crate::program::Program;
use crate::targets::world::target;

/// The one that read the file first must not be the one that has the last word.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_reloads_at_once_come_one_after_the_other() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("tidings.toml");
    let text = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\ndata = {:?}\n[admin]\nlisten = \"127.0.0.1:0\"\n",
        dir.path().join("data")
    );
    std::fs::write(&file, text).expect("written");
    let (inside, met) = (AtomicUsize::new(0), Arc::new(AtomicBool::new(false)));
    let seen = Arc::clone(&met);
    let source: Source = Arc::new(move || {
        let config = config::load(Some(&file), std::iter::empty());
        if inside.fetch_add(1, Ordering::SeqCst) > 0 {
            seen.store(true, Ordering::SeqCst);
        }
        // Long enough for another one to come in, if it may.
        (0..20_000).for_each(|_| std::thread::yield_now());
        inside.fetch_sub(1, Ordering::SeqCst);
        config
    });
    let config = source().expect("a good one");
    let app = App::start_with(config, Some(source), &[]).await.expect("starts");
    tokio::join!(app.reload(), app.reload(), app.reload());
    assert!(!met.load(Ordering::SeqCst), "one read the configuration while another one was at work");
    app.stop().await.expect("stops in order");
}

/// The log is so full that even a setting finds no space: who could not be paused is not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pause_that_could_not_be_noted_is_no_pause() {
    let more = "[queue]\nsegment_bytes = \"1MiB\"\nmax_bytes = \"4MiB\"\nretain_bytes = 0\n".to_owned()
        + &target("orders", "http://127.0.0.1:9/", "", "max_backlog = \"1GiB\"\n");
    let mut program = Program::new("reserve_timeout = \"100ms\"\n", &more);
    program.start().await;
    let client = program.client();
    assert_eq!(client.create_bucket("bucket").await.expect("an answer").status, 200);
    // Keys and not bodies: those are left out of what is kept.
    for n in 0.. {
        let put = client.put("bucket", &format!("{n:0>1000}"), "body").await.expect("an answer");
        if put.status == 503 {
            break;
        }
    }
    // Settings have the last prepared segment.
    for n in 1.. {
        let path = format!("/v1/buckets/bucket/quota?max_objects={}", 1_000_000 + n);
        match program.ask(Method::POST, &path).await {
            (200, _) => {}
            (503, _) => break,
            other => panic!("{other:?}"),
        }
    }
    let (status, answer) = program.ask(Method::POST, "/v1/targets/orders/pause").await;
    assert_eq!((status, answer.contains("nothing was changed")), (503, true), "{answer}");
    let (_, view) = program.get("/v1/targets/orders").await;
    let view: Value = serde_json::from_str(&view).expect("JSON");
    assert_ne!(view["state"], "paused", "{view}");
    assert_eq!(program.terminate().await, Some(0));
}
