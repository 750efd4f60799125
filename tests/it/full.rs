//! A full log in the real program: changes are refused and reads go on while a target is away; when it comes
//! back, changes are taken again, and nothing was lost. Nobody restarts or reloads anything.
//!
//! Must never count by the program's own word what arrived.

use std::collections::BTreeSet;

use tokio::time::timeout;

use crate::program::Program;
use crate::targets::world::{Receiver, WAIT, target};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_log_takes_changes_again_once_its_target_is_back() {
    let far = Receiver::start(false).await;
    let more = "[queue]\nsegment_bytes = \"1MiB\"\nmax_bytes = \"6MiB\"\nretain_bytes = 0\n\
                [store]\ncheckpoint_interval = \"1s\"\n"
        .to_owned()
        + &target("orders", &far.url, "", "max_backlog = \"1GiB\"\n");
    let mut program = Program::new("reserve_timeout = \"100ms\"\n", &more);
    program.start().await;
    let client = program.client();
    assert_eq!(client.create_bucket("bucket").await.expect("an answer").status, 200);
    // Keys and not bodies: those are left out of what is kept.
    let key = |n: usize| format!("{n:0>1000}");
    let mut made = 0;
    loop {
        let answer = client.put("bucket", &key(made), "body").await.expect("an answer");
        match answer.status.as_u16() {
            200 => made += 1,
            503 => {
                assert_eq!(answer.error_code(), Some("SlowDown"));
                // On a busy disk the next segment may not have been ready in time.
                let (status, why) = program.get("/readyz").await;
                if status == 503 && why.contains("max_bytes") {
                    break;
                }
            }
            _ => panic!("{answer:?}"),
        }
    }
    let read = async |n| client.get("bucket", &key(n)).await.expect("an answer").status.as_u16();
    assert_eq!((read(0).await, read(made - 1).await, read(made).await), (200, 200, 404));
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
