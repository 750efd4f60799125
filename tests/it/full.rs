//! A full log in the real program: changes are refused and counted, reads go on, after a restart too; when
//! the target that fills it comes back, changes are taken again, and nothing was lost. Nobody reloads
//! anything.
//!
//! Must never count by the program's own word what arrived.

use std::collections::BTreeSet;

use serde_json::Value;
use tidings::client::Client;
use tokio::time::timeout;

use crate::program::Program;
use crate::targets::world::{NOBODY, Receiver, WAIT, target};

/// A log that is soon full, and a target that may have all of it.
fn small(url: &str, more: &str) -> Program {
    let more = "[queue]\nsegment_bytes = \"1MiB\"\nmax_bytes = \"6MiB\"\nretain_bytes = 0\n".to_owned()
        + more
        + &target("orders", url, "", "max_backlog = \"1GiB\"\n");
    Program::new("reserve_timeout = \"100ms\"\n", &more)
}

/// Keys and not bodies: those are left out of what is kept.
fn key(n: usize) -> String {
    format!("{n:0>1000}")
}

/// Puts objects until the program says that its log is full. How many it took, and how often it refused.
async fn fill(program: &Program, client: &Client) -> (usize, usize) {
    assert_eq!(client.create_bucket("bucket").await.expect("an answer").status, 200);
    let (mut made, mut refused) = (0, 0);
    loop {
        let answer = client.put("bucket", &key(made), "body").await.expect("an answer");
        match answer.status.as_u16() {
            200 => made += 1,
            503 => {
                let told = (answer.error_code(), answer.header("retry-after"));
                assert_eq!(told, (Some("SlowDown"), Some("1")));
                refused += 1;
                // On a busy disk the next segment may not have been ready in time.
                let (status, why) = program.get("/readyz").await;
                if status == 503 && why.contains("max_bytes") {
                    return (made, refused);
                }
            }
            _ => panic!("{answer:?}"),
        }
    }
}

/// Everything that was made can be read, and nothing else.
async fn reads_go_on(client: &Client, made: usize) {
    let read = async |n| client.get("bucket", &key(n)).await.expect("an answer").status.as_u16();
    assert_eq!((read(0).await, read(made - 1).await, read(made).await), (200, 200, 404));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_log_takes_changes_again_once_its_target_is_back() {
    let far = Receiver::start(false).await;
    let mut program = small(&far.url, "[store]\ncheckpoint_interval = \"1s\"\n");
    program.start().await;
    let client = program.client();
    let (made, _) = fill(&program, &client).await;
    reads_go_on(&client, made).await;
    assert_eq!(far.taken().len(), 0);
    far.takes.send_replace(true);
    let taken =
        async { while client.put("bucket", &key(made), "body").await.expect("an answer").status != 200 {} };
    timeout(WAIT, taken).await.expect("changes are taken again");
    let ready = async { while program.get("/readyz").await.0 != 200 {} };
    timeout(WAIT, ready).await.expect("it says so");
    let came = far.wait_for(made + 1).await;
    let keys: BTreeSet<String> = came.iter().map(|(key, _)| key.clone()).collect();
    assert_eq!(keys, (0..=made).map(key).collect(), "of {} events", came.len());
    assert_eq!(program.metric("tidings_books_imbalance_events{target=\"orders\"}").await, 0.0);
    assert_eq!(program.terminate().await, Some(0));
}

/// A dead target fills the log; the server dies, comes up, serves what it has, and counts what it refuses.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_over_a_full_log_serves_reads_and_counts_refusals_by_reason() {
    let mut program = small(NOBODY, "");
    program.start().await;
    let (made, refused) = fill(&program, &program.client()).await;
    let counted = "tidings_changes_refused_total{reason=\"queue_full\"}";
    assert_eq!(program.metric(counted).await, refused as f64);
    program.kill().await;
    program.start().await;
    let client = program.client();
    reads_go_on(&client, made).await;
    let (status, why) = program.get("/readyz").await;
    assert_eq!(status, 503, "{why}");
    for _ in 0..2 {
        assert_eq!(client.put("bucket", "more", "body").await.expect("an answer").status, 503);
    }
    assert_eq!(program.metric(counted).await, 2.0);
    for other in ["target_full", "disk_full", "index_busy", "index_stalled"] {
        let series = format!("tidings_changes_refused_total{{reason=\"{other}\"}}");
        assert_eq!(program.metric(&series).await, 0.0, "{other}");
    }
    let (_, view) = program.get("/v1/targets/orders").await;
    let view: Value = serde_json::from_str(&view).expect("JSON");
    assert_eq!((&view["books"]["backlog"], &view["books_imbalance"]), (&made.into(), &0.into()), "{view}");
    assert_eq!(program.terminate().await, Some(0));
}
