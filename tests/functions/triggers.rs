//! Functions bound to buckets by triggers: the four steps, and what becomes of events when a trigger or its
//! function goes.
//!
//! Must never look for anything that the commands do not show.

use serde_json::{Value, json};
use tokio::time::timeout;

use crate::world::{WAIT, World};

const CREATED: &str = "cos:ObjectCreated:*";
const GOOD: &str = "def main_handler(e, c): return 1";
const BAD: &str = "def main_handler(e, c): raise ValueError('no')";

/// `trigger add` for the bucket that there is.
async fn bind(world: &World, function: &str, more: &[&str]) -> Value {
    let add = ["trigger", "add", function, "--bucket", "bucket", "--event", CREATED];
    world.json(&[&add[..], more].concat()).await
}

fn runs(log: &Value) -> &[Value] {
    log["runs"].as_array().map_or(&[], Vec::as_slice)
}

fn objects(log: &Value) -> Vec<&str> {
    runs(log).iter().filter_map(|run| run["object"].as_str()).collect()
}

async fn delivered(world: &World, function: &str, count: u64) {
    let whole = |v: &Value| v["books"]["delivered"] == count && v["books_imbalance"] == 0;
    world.until(&["target", "show", &format!("function:{function}")], whole).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn create_invoke_trigger_put_and_the_log_shows_it() {
    let mut world = World::start("").await;
    world.json(&["function", "create", "hello", "--from", "hello"]).await;
    let tried = world.json(&["function", "invoke", "hello", "--template", "cos-put"]).await;
    assert_eq!(tried["status"], 200, "{tried}");
    let made = bind(&world, "hello", &["--prefix", "in/", "--suffix", ".jpg"]).await;
    assert_eq!((&made["target"], &made["active"]), (&json!("function:hello"), &json!(true)), "{made}");
    for key in ["in/cat.jpg", "in/cat.png", "out/cat.jpg"] {
        world.put(key).await;
    }
    let log = world.until(&["function", "logs", "hello"], |v| runs(v).len() == 2).await;
    let run = &log["runs"][1];
    assert_eq!((&run["object"], &run["status"]), (&json!("bucket/in/cat.jpg"), &json!(200)), "{run}");
    let said = "cos:ObjectCreated:Put bucket in/cat.jpg\n";
    assert_eq!((&run["log"], &run["request_id"]), (&json!(said), &run["event_id"]), "{run}");
    // The bucket's own configuration is the other view, and a restart changes neither.
    let query = [("notification", "")];
    let shown = world.s3().request(http::Method::GET, "/bucket", &query, &[], Default::default()).await;
    let shown = String::from_utf8(shown.expect("an answer").body.to_vec()).expect("UTF-8");
    let arn = "<CloudFunction>arn:tidings:lambda:ap-guangzhou:1250000000:function:hello</CloudFunction>";
    assert!(shown.contains(arn), "{shown}");
    assert!(world.stop().await.success());
    world.open().await;
    world.put("in/dog.jpg").await;
    let log = world.until(&["function", "logs", "hello"], |v| runs(v).len() == 3).await;
    assert_eq!(objects(&log), ["bucket/in/cat.jpg", "bucket/in/dog.jpg"]);
}

/// A trigger that is switched off or removed matches nothing more; what it matched is delivered all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trigger_that_is_switched_off_or_gone_keeps_what_it_matched() {
    let world = World::start("").await;
    world.create("hello", BAD, &[]).await;
    let made = bind(&world, "hello", &[]).await;
    let id = made["id"].as_str().expect("a text");
    world.put("on/1").await;
    world.until(&["function", "logs", "hello"], |v| !runs(v).is_empty()).await;
    assert_eq!(world.json(&["trigger", "disable", id]).await["enabled"], false);
    world.put("off/1").await;
    world.json(&["function", "update", "hello", "--text", GOOD]).await;
    delivered(&world, "hello", 1).await;
    world.json(&["trigger", "enable", id]).await;
    world.json(&["function", "update", "hello", "--text", BAD]).await;
    world.put("on/2").await;
    world.until(&["function", "logs", "hello"], |v| objects(v).contains(&"bucket/on/2")).await;
    world.json(&["trigger", "rm", id]).await;
    world.put("off/2").await;
    world.json(&["function", "update", "hello", "--text", GOOD]).await;
    delivered(&world, "hello", 2).await;
    let log = world.json(&["function", "logs", "hello", "--limit", "1000"]).await;
    assert!(!objects(&log).iter().any(|object| object.starts_with("bucket/off/")), "{log}");
}

/// A function that goes while events wait for it takes them only if somebody says so; its trigger stays, is
/// told, and is for the next function of that name.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_function_that_is_removed_while_events_wait_leaves_its_trigger_behind() {
    let world = World::start("").await;
    world.create("hello", BAD, &[]).await;
    bind(&world, "hello", &[]).await;
    world.put("before").await;
    world.until(&["function", "logs", "hello"], |v| !runs(v).is_empty()).await;
    let (code, said) = world.run(&["function", "rm", "hello"]).await;
    assert!(code == 1 && said.contains("would be lost"), "{said}");
    assert_eq!(world.json(&["trigger", "ls"]).await["triggers"][0]["active"], true, "as it was");
    world.json(&["function", "rm", "hello", "--discard"]).await;
    world.put("between").await;
    let listed = world.json(&["trigger", "ls", "--function", "hello"]).await;
    let trigger = &listed["triggers"][0];
    assert_eq!((&trigger["active"], &trigger["enabled"]), (&json!(false), &json!(true)), "{listed}");
    let ready = world.json(&["ready"]).await;
    assert!(ready["notes"].to_string().contains("name `function:hello`"), "{ready}");
    world.create("hello", GOOD, &[]).await;
    world.put("after").await;
    delivered(&world, "hello", 1).await;
    let log = world.json(&["function", "logs", "hello"]).await;
    assert_eq!(objects(&log), ["bucket/after"], "{log}");
}

/// The limits of COS, with its names, for functions that run here.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn triggers_of_functions_have_the_limits_of_cos() {
    let world = World::start("").await;
    for name in ["hello", "other"] {
        world.create(name, GOOD, &[]).await;
    }
    bind(&world, "hello", &["--prefix", "in/", "--suffix", ".jpg"]).await;
    for (event, more, says) in [
        (CREATED, vec!["--prefix", "in/a", "--suffix", ".jpg"], "NotifyRulePrefixConflict"),
        (CREATED, vec![], "NotifyRulePrefixConflict"),
        ("cos:ObjectCreated:Put", vec!["--prefix", "in/", "--suffix", ".jpg"], "NotifyRuleEventConflict"),
        (CREATED, vec!["--suffix", "jpg"], "must begin with `.`"),
        ("cos:ObjectCreated:Everything", vec![], "not supported"),
    ] {
        let add = ["trigger", "add", "other", "--bucket", "bucket", "--event", event];
        let (code, said) = world.run(&[&add[..], &more].concat()).await;
        assert!(code == 1 && said.contains(says), "{event} {more:?}: {said}");
    }
    for (function, bucket) in [("nobody", "bucket"), ("hello", "nobody")] {
        let (code, said) =
            world.run(&["trigger", "add", function, "--bucket", bucket, "--event", CREATED]).await;
        assert_eq!(code, 1, "{said}");
    }
    for n in 1..10 {
        bind(&world, "hello", &["--prefix", &format!("{n}/")]).await;
    }
    let (code, said) = world
        .run(&["trigger", "add", "hello", "--bucket", "bucket", "--event", CREATED, "--prefix", "x/"])
        .await;
    assert!(code == 1 && said.contains("has 10 triggers already"), "{said}");
    // Two functions for the same changes, where somebody means it.
    bind(&world, "other", &["--allow-overlap"]).await;
    world.put("in/cat.jpg").await;
    delivered(&world, "hello", 1).await;
    delivered(&world, "other", 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logs_follow_runs_and_show_those_that_failed_or_one_request() {
    let world = World::start("").await;
    let picky = "def main_handler(e, c):\n if e['Records'][0]['cos']['cosObject']['key'].endswith('bad'):\n  \
                 raise ValueError('bad')\n";
    world.create("picky", picky, &["--retry", "scf-default", "--max-retries", "0"]).await;
    bind(&world, "picky", &[]).await;
    let (_child, mut lines) = world.follow(&["function", "logs", "picky", "--follow"]);
    let mut followed = Vec::<Value>::new();
    for key in ["one", "bad", "two"] {
        world.put(key).await;
        let line = timeout(WAIT, lines.next_line()).await.expect("in time").expect("readable");
        followed.push(serde_json::from_str(&line.expect("a line")).expect("JSON"));
    }
    let statuses: Vec<_> = followed.iter().map(|run| (&run["object"], &run["status"])).collect();
    let (one, bad, two) = (json!("bucket/one"), json!("bucket/bad"), json!("bucket/two"));
    assert_eq!(statuses, [(&one, &json!(200)), (&bad, &json!(430)), (&two, &json!(200))]);
    let failed = world.json(&["function", "logs", "picky", "--status", "failed"]).await;
    assert_eq!(runs(&failed), [followed[1].clone()], "{failed}");
    let id = followed[2]["request_id"].as_str().expect("a text");
    let of = world.json(&["function", "logs", "picky", "--request-id", id]).await;
    assert_eq!(runs(&of), [followed[2].clone()]);
    // SCF's policy, with no retry: the event that the code failed at is a dead letter, linked by its id.
    let letters = world.until(&["dlq", "ls", "function:picky"], |v| v["total"] == 1).await;
    let letter = &letters["dead_letters"][0];
    assert_eq!((&letter["key"], &letter["attempts"]), (&json!("bad"), &json!(1)), "{letter}");
    assert_eq!(letter["event_id"], followed[1]["event_id"], "{letter}");
    let said = letter["message"].as_str().expect("a text");
    assert!(said.contains("430") && said.contains("given up after 0 retries"), "{letter}");
}
