//! A copy of the data directory is put back, and `journal restored` says so: what comes then lies above
//! everything that was given behind the copy, also when the same copy is put back again.
//!
//! Must never compare with anything but what a receiver got.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::program::Program;
use crate::rot::copy;
use crate::targets::world::{Receiver, target};

const SERVER: &str = "reserve_timeout = \"30s\"\n";

/// Puts some objects, and waits for their events: `came` is how many had come before.
async fn put(program: &Program, far: &Receiver, came: &mut usize) {
    let client = program.client();
    for n in 0..5 {
        let answer = client.put("bucket", &format!("kept/{n}"), "body").await.expect("an answer");
        assert_eq!(answer.status, 200);
    }
    *came += 5;
    far.wait_for(*came).await;
}

/// The sequencers that came, and those among the last `last` of them.
fn sequencers(far: &Receiver, last: usize) -> (Vec<String>, Vec<String>) {
    let of = |record: &Value| record["s3"]["object"]["sequencer"].as_str().expect("a text").to_owned();
    let mut before: Vec<_> = far.records().iter().map(of).collect();
    let new = before.split_off(before.len() - last);
    (before, new)
}

#[expect(clippy::disallowed_methods, reason = "the program has the system's clock")]
fn seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_after_a_copy_was_put_back_lies_above_all_that_came_before() {
    let far = Receiver::start(true).await;
    let mut came = 0;
    let mut program = Program::new(SERVER, &target("kept", &far.url, "kept/", ""));
    program.start().await;
    assert_eq!(program.client().create_bucket("bucket").await.expect("an answer").status, 200);
    put(&program, &far, &mut came).await;
    let (code, said) = program.run(&["journal", "restored"]).await;
    assert_eq!(code, Some(1), "beside the server: {said}");
    assert!(said.contains(&program.pid().to_string()), "{said}");
    assert_eq!(program.terminate().await, Some(0));
    let backup = tempfile::tempdir().expect("a directory");
    copy(&program.data(), backup.path());
    // Behind the copy the server goes on, and dies twice: each start has a new epoch.
    for _ in 0..2 {
        program.start().await;
        put(&program, &far, &mut came).await;
        program.kill().await;
    }
    let mut epochs = Vec::new();
    for _ in 0..2 {
        fs::remove_dir_all(program.data()).expect("removed");
        copy(backup.path(), &program.data());
        let (code, said, error) = program.output(&["journal", "restored", "--json"]).await;
        assert_eq!(code, Some(0), "{said}{error}");
        let said: Value = serde_json::from_str(&said).expect("JSON");
        epochs.push(said["epoch"].as_u64().expect("a number"));
        let restored = seconds();
        program.start().await;
        put(&program, &far, &mut came).await;
        assert_eq!(program.terminate().await, Some(0));
        let (before, new) = sequencers(&far, 5);
        assert!(before.iter().max() < new.iter().min(), "{new:?} after {before:?}");
        let (code, said) = program.run(&["journal", "verify"]).await;
        assert_eq!(code, Some(0), "{said}");
        // Two restores of one copy differ if the clock moved on between them.
        while seconds() == restored {
            tokio::task::yield_now().await;
        }
    }
    assert!(epochs[0] < epochs[1], "{epochs:?}");
}
