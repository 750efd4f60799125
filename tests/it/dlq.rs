//! `tidings dlq` against the real program, each command of it: what it says to people and programs, how wrong
//! usage ends, `on_reject`, and going on without letters that a broken disk took.
//!
//! Must never reach into the process: it reads what a person at the shell reads.

use std::path::Path;

use serde_json::{Value, json};

use crate::console::{Console, configure};
use crate::targets::world::{Receiver, target};

/// A server whose target rejected these keys, in this order, and took one other.
async fn with_letters(far: &Receiver, keys: &[&str]) -> (Console, Vec<String>) {
    let console = Console::start(&target("orders", &far.url, "", "")).await;
    for (n, key) in keys.iter().enumerate() {
        console.put(key).await;
        console.put(&format!("good/{n}")).await;
    }
    // The page and the total are of two moments: what is buried in between is in the total alone.
    let listed = |page: &Value| page["dead_letters"].as_array().is_some_and(|all| all.len() == keys.len());
    let page = console.until(&["dlq", "ls", "orders"], listed).await;
    assert_eq!(page["total"], keys.len(), "{page}");
    let letters = page["dead_letters"].as_array().expect("a list");
    assert!(letters.iter().map(|l| &l["key"]).eq(keys), "{page}");
    let offsets = letters.iter().map(|letter| letter["offset"].to_string()).collect();
    (console, offsets)
}

fn balanced(view: &Value, columns: &[(&str, u64)]) {
    assert_eq!(view["books_imbalance"], 0, "{view}");
    columns.iter().for_each(|(column, count)| assert_eq!(view["books"][column], *count, "{column}: {view}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn letters_are_chosen_by_offset_class_time_and_object() {
    let far = Receiver::start(true).await;
    let keys = ["bad/a", "bad/b c&=#", "bad/\u{1b}[31m", "bad/d"];
    let (console, offsets) = with_letters(&far, &keys).await;
    let ls = async |more: &[&str]| -> Vec<Value> {
        let page = console.json(&[&["dlq", "ls", "orders"], more].concat()).await;
        page["dead_letters"].as_array().expect("a list").iter().map(|l| l["key"].clone()).collect()
    };
    assert_eq!(ls(&["--class", "http_4xx"]).await, keys);
    assert_eq!(ls(&["--class", "too_large"]).await, [""; 0]);
    assert_eq!(ls(&["--since", "2020-01-01T00:00:00Z"]).await, keys);
    assert_eq!(ls(&["--until", "2020-01-01T00:00:00Z"]).await, [""; 0]);
    for key in keys {
        assert_eq!(ls(&["--bucket", "bucket", "--key", key]).await, [key]);
    }
    let page = console.json(&["dlq", "ls", "orders", "--limit", "3"]).await;
    let next = page["next"].to_string();
    assert_eq!(ls(&["--limit", "3", "--after", &next]).await, ["bad/d"]);

    // For people: aligned, and no key steers their terminal.
    let (code, said) = console.run_as(&["dlq", "ls", "orders"]).await;
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!((code, lines.len()), (Some(0), 6), "{said}");
    assert!(lines[0].trim_start().starts_with("OFFSET  SINCE") && lines[0].ends_with("OBJECT"), "{said}");
    let column = lines[0].find("OBJECT").expect("a heading");
    assert!(lines[1..5].iter().all(|line| line[column..].starts_with("bucket/bad/")), "{said}");
    assert!(!said.contains('\u{1b}') && said.contains("bad/\\u{1b}[31m"), "{said}");
    assert_eq!(lines[5], "4 of 4 dead letters");
    let (code, said) = console.run_as(&["dlq", "show", "orders", &offsets[2]]).await;
    assert!(code == Some(0) && said.contains("http_4xx") && !said.contains('\u{1b}'), "{said}");

    // By what they are chosen for reading, they are chosen for the rest.
    let some = ["dlq", "purge", "orders", "--bucket", "bucket", "--key", keys[1]];
    assert_eq!(console.json(&some).await, json!({ "purged": 1 }));
    assert_eq!(console.json(&["dlq", "purge", "orders", "--class", "too_large"]).await["purged"], 0);
    assert_eq!(console.json(&["dlq", "purge", "orders", &offsets[0], "99999"]).await["purged"], 1);
    let (code, said) = console.run_as(&["dlq", "purge", "orders", "--all"]).await;
    assert_eq!((code, said.split_whitespace().collect::<Vec<_>>()), (Some(0), vec!["purged", "2"]));
    let view = console.json(&["target", "show", "orders"]).await;
    balanced(&view, &[("matched", 8), ("delivered", 4), ("purged", 4), ("dead_lettered", 0)]);
    assert_eq!(console.json(&["dlq", "accept-loss", "orders"]).await, json!({ "quarantined": 0 }));
    console.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_usage_changes_nothing_and_says_what_would_be_right() {
    let far = Receiver::start(true).await;
    let (console, offsets) = with_letters(&far, &["bad/a"]).await;
    let wrong: &[(&[&str], i32, &str)] = &[
        (&["dlq"], 2, "Usage: tidings dlq"),
        (&["dlq", "ls"], 2, "<TARGET>"),
        (&["dlq", "purge", "orders"], 2, "say which"),
        (&["dlq", "replay", "orders"], 2, "say which"),
        (&["dlq", "purge", "orders", "x"], 2, "invalid value 'x'"),
        (&["dlq", "ls", "orders", "--key", "k"], 2, "--bucket"),
        (&["dlq", "ls", "orders", "--limit", "0"], 1, "limit"),
        (&["dlq", "ls", "orders", "--since", "yesterday"], 1, "must be a time"),
        (&["dlq", "ls", "or/ders"], 1, "not a target's name"),
        (&["dlq", "ls", "nobody"], 1, "404"),
        (&["dlq", "show", "orders", "99999"], 1, "404"),
        (&["dlq", "purge", "nobody", "--all"], 1, "404"),
        (&["dlq", "accept-loss", "nobody"], 1, "404"),
        (&["dlq", "purge", "orders", &offsets[0], "--all"], 1, "400"),
    ];
    for (arguments, code, word) in wrong {
        for arguments in [arguments.to_vec(), [arguments, &["--json"][..]].concat()] {
            let (ended, said) = console.run_as(&arguments).await;
            assert_eq!((ended, said.contains(word)), (Some(*code), true), "{arguments:?}: {said}");
        }
    }
    balanced(&console.json(&["target", "show", "orders"]).await, &[("dead_lettered", 1), ("purged", 0)]);
    console.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_can_be_waited_for_and_a_restart_goes_on_with_it() {
    let far = Receiver::start(true).await;
    let (console, offsets) = with_letters(&far, &["bad/a", "bad/b"]).await;
    // Rejected again: the command says so with its exit code.
    let (code, said) = console.run(&["dlq", "replay", "orders", &offsets[0], "--wait"]).await;
    assert_eq!((code, said.contains("1 of 1 could not be delivered")), (Some(3), true), "{said}");
    // A wish that nobody could fulfil before the end of the process.
    console.json(&["target", "pause", "orders"]).await;
    assert_eq!(console.json(&["dlq", "replay", "orders", "--all"]).await["replaying"], 2);
    let console = console.restart(|_| {}).await;
    let view = console.json(&["target", "show", "orders"]).await;
    assert_eq!((&view["state"], &view["replaying"]), (&json!("paused"), &json!(2)), "{view}");
    console.json(&["target", "resume", "orders"]).await;
    console.until(&["dlq", "show", "orders", &offsets[1]], |letter| letter["replays"] == 1).await;
    console.until(&["dlq", "show", "orders", &offsets[0]], |letter| letter["replays"] == 2).await;
    let (code, said) = console.run(&["target", "replay", "orders", "--from", "1", "--wait"]).await;
    assert_eq!(code, Some(0), "{said}");
    let view = console.json(&["target", "show", "orders"]).await;
    assert_eq!(view["replay"], Value::Null);
    balanced(&view, &[("repeated", 2), ("dead_lettered", 2)]);
    console.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_reject_hold_key_keeps_the_key_and_a_reload_lets_it_go_on() {
    let far = Receiver::start(true).await;
    let with = |on_reject: &str| target("orders", &far.url, "", &format!("on_reject = \"{on_reject}\""));
    let console = Console::start(&with("hold-key")).await;
    for key in ["bad/a", "good/1", "bad/a", "bad/b", "good/2"] {
        console.put(key).await;
    }
    let held = |view: &Value| view["books"]["held"] == 3 && view["books"]["delivered"] == 2;
    let view = console.until(&["target", "show", "orders"], held).await;
    balanced(&view, &[("matched", 5), ("dead_lettered", 0), ("backlog", 0)]);
    assert_eq!(console.json(&["dlq", "ls", "orders"]).await["total"], 0);
    let console = console.restart(|_| {}).await;
    let view = console.until(&["target", "show", "orders"], held).await;
    balanced(&view, &[("matched", 5), ("dead_lettered", 0)]);

    configure(&console.dir, &with("dead-letter"));
    console.json(&["reload"]).await;
    console.put("good/3").await;
    let all = |view: &Value| view["books"]["dead_lettered"] == 3 && view["books"]["delivered"] == 3;
    balanced(&console.until(&["target", "show", "orders"], all).await, &[("held", 0), ("backlog", 0)]);
    configure(&console.dir, &with("nobody-knows"));
    let (code, said) = console.run(&["reload"]).await;
    assert_eq!((code, said.contains("on_reject")), (Some(2), true), "{said}");
    console.stop().await;
}

/// Turns one bit of the first letter in a target's log of dead letters.
fn damage(data: &Path) {
    let file = data.join("dead-letters/00000001.dead");
    let mut bytes = std::fs::read(&file).expect("there");
    let at = bytes.windows(5).position(|five| five == b"bad/a").expect("its key");
    bytes[at] ^= 1;
    std::fs::write(&file, bytes).expect("written");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn letters_that_are_lost_hold_the_target_until_an_operator_accepts_it() {
    let far = Receiver::start(true).await;
    let (console, _) = with_letters(&far, &["bad/a", "bad/b", "bad/c"]).await;
    let console = console.restart(damage).await;
    console.put("good/after").await;
    let blocked = |view: &Value| view["blocked"].as_str().is_some_and(|why| why.contains("damaged"));
    let view = console.until(&["target", "show", "orders"], blocked).await;
    assert_eq!((&view["state"], &view["books"]["backlog"]), (&json!("faulted"), &json!(1)), "{view}");
    let why = view["blocked"].as_str().expect("a sentence");
    assert!(why.contains("tidings dlq accept-loss"), "{why}");
    let accepted = console.json(&["dlq", "accept-loss", "orders"]).await;
    let lost = accepted["quarantined"].as_u64().expect("a count");
    assert!((1..=3).contains(&lost), "{accepted}");
    let view = console.until(&["target", "show", "orders"], |v| v["books"]["delivered"] == 4).await;
    balanced(&view, &[("matched", 7), ("quarantined", lost), ("dead_lettered", 3 - lost)]);
    assert_eq!(console.json(&["dlq", "accept-loss", "orders"]).await["quarantined"], 0, "once");
    // It is so after a restart, too, and what is left can be read.
    let console = console.restart(|_| {}).await;
    let view = console.until(&["target", "show", "orders"], |v| v["blocked"].is_null()).await;
    balanced(&view, &[("matched", 7), ("quarantined", lost), ("dead_lettered", 3 - lost)]);
    assert_eq!(console.json(&["dlq", "ls", "orders"]).await["total"], 3 - lost);
    console.stop().await;
}
