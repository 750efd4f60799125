//! The oldest file of the log is taken away: what somebody still needed of it is named, and goes only when an
//! operator gives it up. What nobody needs may go, and nobody says a word.
//!
//! Must never take a file that the index or a target needs for one that may go.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;
use tokio::time::timeout;

use crate::program::Program;
use crate::rot::segments;
use crate::targets::world::{NOBODY, Receiver, WAIT, target};

/// Objects, each some 60 KB in the log.
const OBJECTS: usize = 120;
const SERVER: &str = "reserve_timeout = \"30s\"\n";

/// Small segments, none of them kept for replay; `checkpoint` is how long the index may lag behind.
fn more(url: &str, checkpoint: &str) -> String {
    format!(
        "[queue]\nsegment_bytes = \"1MiB\"\nmax_bytes = \"64MiB\"\nretain_bytes = 0\n\
         overlay_bytes = \"1MiB\"\n[store]\ncheckpoint_interval = \"{checkpoint}\"\n{}",
        target("kept", url, "kept/", "")
    )
}

async fn put_all(program: &Program, prefix: &str) {
    let client = program.client();
    for n in 0..OBJECTS {
        let answer = client.put("bucket", &format!("{prefix}/{n}"), vec![7; 60_000]).await;
        assert_eq!(answer.expect("an answer").status, 200);
    }
}

/// Takes the oldest file away.
fn take_oldest(program: &Program) {
    let files = segments(&program.data());
    let oldest = files.keys().next().expect("there");
    fs::remove_file(program.data().join("journal").join(oldest)).expect("removed");
}

async fn view(program: &Program) -> Value {
    let (status, view) = program.get("/v1/targets/kept").await;
    assert_eq!(status, 200, "{view}");
    serde_json::from_str(&view).expect("JSON")
}

/// What `verify` says is damaged, and it is one range: from, to.
async fn damaged(program: &Program) -> (u64, u64) {
    let (code, said, _) = program.output(&["journal", "verify", "--json"]).await;
    assert_eq!(code, Some(3), "{said}");
    let found: Value = serde_json::from_str(said.lines().next().expect("a line")).expect("JSON");
    let damage = found["damage"].as_array().expect("a list");
    assert_eq!(damage.len(), 1, "{damage:?}");
    assert_eq!(damage[0]["why"], "missing", "{damage:?}");
    let number = |name: &str| damage[0][name].as_u64().expect("a number");
    (number("from"), number("to"))
}

/// Gives the range up; how many events of the target went with it.
async fn give_up(program: &Program, (from, to): (u64, u64)) -> u64 {
    let (code, said, error) =
        program.output(&["journal", "accept-loss", &format!("{from}..{to}"), "--json"]).await;
    assert_eq!(code, Some(0), "{said}{error}");
    let loss: Value = serde_json::from_str(said.lines().next().expect("a line")).expect("JSON");
    let lost = loss["quarantined"].as_object().expect("a table").values();
    lost.map(|n| n.as_u64().expect("a number")).sum()
}

/// Everything that is left arrives, and books and figures say how much does not.
async fn arrives(program: &mut Program, checkpoint: &str, lost: u64) {
    let far = Receiver::start(true).await;
    program.configure(SERVER, &more(&far.url, checkpoint));
    program.start().await;
    let left = OBJECTS - usize::try_from(lost).expect("few");
    let came: BTreeSet<_> = far.wait_for(left).await.into_iter().map(|(key, _)| key).collect();
    let expected: BTreeSet<_> = (OBJECTS - left..OBJECTS).map(|n| format!("kept/{n}")).collect();
    assert_eq!(came, expected);
    let settled = async { while view(program).await["books"]["delivered"] != left {} };
    assert!(timeout(WAIT, settled).await.is_ok(), "{}", view(program).await);
    let view = view(program).await;
    let books = &view["books"];
    assert_eq!((&books["matched"], &books["quarantined"]), (&OBJECTS.into(), &lost.into()), "{view}");
    assert_eq!(view["books_imbalance"], 0, "{view}");
    assert_eq!(program.metric("tidings_events_lost_total{reason=\"missing\"}").await, lost as f64);
    assert_eq!(program.metric("tidings_events_lost_total{reason=\"corrupt\"}").await, 0.0);
    assert_eq!(program.metric("tidings_queue_corrupt_records_total").await, 0.0, "it was given up");
    let answer = program.client().put("bucket", "more", "body").await.expect("an answer");
    assert_eq!(answer.status, 200, "it goes on");
    assert_eq!(program.terminate().await, Some(0));
    let (code, said) = program.run(&["journal", "verify"]).await;
    assert_eq!(code, Some(0), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_oldest_file_that_a_target_needs_is_named_until_it_is_given_up() {
    let mut program = Program::new(SERVER, &more(NOBODY, "1s"));
    program.start().await;
    assert_eq!(program.client().create_bucket("bucket").await.expect("an answer").status, 200);
    // Nobody needs these: their files are given up in the course of things, and none of that is damage.
    put_all(&program, "gone").await;
    put_all(&program, "kept").await;
    assert_eq!(program.terminate().await, Some(0));
    let (code, said) = program.run(&["journal", "verify"]).await;
    assert_eq!(code, Some(0), "{said}");
    take_oldest(&program);
    let (from, to) = damaged(&program).await;

    // The target waits and is told; the range counts once, whoever met it.
    program.start().await;
    let named = format!("records {from} to {to} are damaged");
    let told =
        async { while !view(&program).await["blocked"].as_str().is_some_and(|why| why.contains(&named)) {} };
    assert!(timeout(WAIT, told).await.is_ok(), "not {named}: {}", view(&program).await);
    let corrupt = program.metric("tidings_queue_corrupt_records_total").await;
    assert_eq!(corrupt, (to + 1 - from) as f64);
    assert_eq!(damaged(&program).await, (from, to), "beside the server, too");
    assert_eq!(program.terminate().await, Some(0));
    assert_eq!(damaged(&program).await, (from, to));

    let lost = give_up(&program, (from, to)).await;
    assert!((1..=to + 1 - from).contains(&lost), "{lost} of {from} to {to}");
    arrives(&mut program, "1s", lost).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_oldest_file_that_the_index_needs_is_named_until_it_is_given_up() {
    let mut program = Program::new(SERVER, &more(NOBODY, "1h"));
    program.start().await;
    assert_eq!(program.client().create_bucket("bucket").await.expect("an answer").status, 200);
    put_all(&program, "kept").await;
    program.kill().await;
    take_oldest(&program);
    let (from, to) = damaged(&program).await;

    // What the index has can be read, changes are refused, and the range counts once.
    program.start().await;
    let answer = program.client().put("bucket", "more", "body").await.expect("an answer");
    assert_eq!(answer.status, 503);
    let corrupt = program.metric("tidings_queue_corrupt_records_total").await;
    assert_eq!(corrupt, (to + 1 - from) as f64);
    assert_eq!(program.terminate().await, Some(0));
    assert_eq!(damaged(&program).await, (from, to));

    let lost = give_up(&program, (from, to)).await;
    assert!((1..=to + 1 - from).contains(&lost), "{lost} of {from} to {to}");
    // The bucket was in that file: it is made again before anything can be put in it.
    assert_eq!(from, 1);
    program.start().await;
    let client = program.client();
    assert_eq!(client.put("bucket", "kept/first", "body").await.expect("an answer").status, 404);
    assert_eq!(client.create_bucket("bucket").await.expect("an answer").status, 200);
    assert_eq!(program.terminate().await, Some(0));
    arrives(&mut program, "1h", lost).await;
}
