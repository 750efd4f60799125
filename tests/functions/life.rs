//! How functions live and end: restarts, kills, idle instances, removal, and many at once.
//!
//! Must never leave a process behind, which is what it looks for.

use serde_json::{Value, json};

use crate::world::{World, rule};

const COUNTS: &str =
    "import os, time\nn = 0\ndef main_handler(e, c):\n global n\n n += 1\n return [os.getpid(), n]";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_leaves_no_instance_and_loses_no_event() {
    let mut world = World::start(&rule("slow", "")).await;
    let marker = format!("marker-{}", world.id());
    let forks = format!("if os.fork() == 0: os.execv('/bin/sleep', ['{marker}', '86000'])");
    let code = format!("import os, time\ndef main_handler(e, c):\n {forks}\n time.sleep(60)\n");
    world.create("slow", &code, &["--timeout", "90"]).await;
    world.put("one").await;
    // It runs, and so does what it forked.
    let began = async {
        while world.processes(&marker).is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(crate::world::WAIT, began).await.expect("runs");
    world.kill().await;
    let ended = async {
        while !world.processes(&marker).is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(crate::world::WAIT, ended).await.expect("what it forked ends with the server");
    world.open().await;
    assert_eq!(world.json(&["function", "show", "slow"]).await["version"], 1);
    let text = "def main_handler(e, c): return 1";
    world.json(&["function", "update", "slow", "--text", text]).await;
    let whole = |v: &Value| v["books"]["delivered"] == 1 && v["books_imbalance"] == 0;
    world.until(&["target", "show", "function:slow"], whole).await;
    assert!(world.stop().await.success());
}

/// An abandoned run must not go on beside the one that takes its place: its object's later events would come
/// before what it still does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_an_update_abandons_is_ended() {
    let world = World::start(&rule("slow", "")).await;
    let marker = format!("marker-{}", world.id());
    let sleeps = format!("subprocess.run(['sh', '-c', 'sleep 86000; : {marker}'])");
    let code = format!("import subprocess\ndef main_handler(e, c):\n {sleeps}\n");
    world.create("slow", &code, &["--timeout", "900"]).await;
    world.put("one").await;
    let began = async {
        while world.processes(&marker).is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(crate::world::WAIT, began).await.expect("runs");
    let text = "def main_handler(e, c): return 1";
    world.json(&["function", "update", "slow", "--text", text]).await;
    world.until(&["target", "show", "function:slow"], |v| v["books"]["delivered"] == 1).await;
    assert_eq!(world.processes(&marker), Vec::<u32>::new(), "the first run goes on");
    let runs = world.json(&["function", "logs", "slow"]).await;
    let statuses: Vec<_> = runs["runs"].as_array().expect("a list").iter().map(|r| &r["status"]).collect();
    assert_eq!(statuses, [&json!(499), &json!(200)], "{runs}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_is_used_again_until_it_is_idle_for_too_long() {
    let mut world = World::start("[functions]\nidle_timeout = \"1s\"\nmax_instances = 1\n").await;
    world.create("counts", COUNTS, &[]).await;
    let one = |v: &Value| v["result"].as_str().expect("one").to_owned();
    let (first, second) = (world.invoke("counts").await, world.invoke("counts").await);
    assert!(one(&first).ends_with(", 1]") && one(&second).ends_with(", 2]"), "{first} {second}");
    // There is room for one: another function's instance takes it.
    world.create("other", COUNTS, &[]).await;
    assert!(one(&world.invoke("other").await).ends_with(", 1]"));
    assert!(one(&world.invoke("counts").await).ends_with(", 1]"));
    let run = world.data().join("functions/run");
    let run = run.to_str().expect("UTF-8").to_owned();
    let ended = async {
        while !world.processes(&run).is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(crate::world::WAIT, ended).await.expect("idle instances end");
    assert!(world.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_as_many_run_at_once_as_may() {
    let world = World::start("").await;
    let code = "import time\ndef main_handler(e, c): time.sleep(3)";
    world.create("narrow", code, &["--concurrency", "1", "--timeout", "30"]).await;
    let (first, second) = tokio::join!(world.invoke("narrow"), world.invoke("narrow"));
    let mut ended = [first["status"].clone(), second["status"].clone()];
    ended.sort_by_key(Value::as_u64);
    assert_eq!(ended, [json!(200), json!(432)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_function_with_events_is_removed_only_if_somebody_says_so() {
    let world = World::start(&rule("gone", "")).await;
    world.create("gone", "def main_handler(e, c): raise ValueError", &[]).await;
    world.put("one").await;
    world.until(&["function", "logs", "gone"], |v| v["runs"] != json!([])).await;
    let (code, said) = world.run(&["function", "rm", "gone"]).await;
    assert!(code == 1 && said.contains("would be lost"), "{said}");
    // It is as it was, and what changes while it is refused counts.
    let meanwhile = async {
        for n in 0..40 {
            world.put(&format!("meanwhile-{n}")).await;
        }
    };
    let ((code, _), ()) = tokio::join!(world.run(&["function", "rm", "gone"]), meanwhile);
    assert_eq!(code, 1);
    let text = "def main_handler(e, c): return 1";
    world.json(&["function", "update", "gone", "--text", text]).await;
    world.until(&["target", "show", "function:gone"], |v| v["books"]["delivered"] == 41).await;
    world.json(&["function", "rm", "gone"]).await;
    assert_eq!(world.json(&["function", "ls"]).await, json!({ "functions": [] }));
    assert_eq!(world.json(&["target", "ls"]).await["targets"], json!([]));
    assert_eq!(std::fs::read_dir(world.data().join("functions/code")).expect("listed").count(), 0);
    let (code, _) = world.run(&["function", "show", "gone"]).await;
    assert_eq!(code, 1);
    // Its name is free, and its rule still stands: a new one gets what comes now.
    world.create("gone", text, &[]).await;
    world.put("two").await;
    world.until(&["target", "show", "function:gone"], |v| v["books"]["delivered"] == 1).await;
}

/// What cannot be removed goes on, and what is inconsistent costs itself alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_cannot_be_removed_or_put_in_force_harms_nobody() {
    let mut world = World::start(&(rule("stays", "") + &rule("other", ""))).await;
    let text = "def main_handler(e, c): return 1";
    for name in ["stays", "other"] {
        world.create(name, text, &[]).await;
    }
    let file = world.data().join("functions/registry/stays.json");
    let record = std::fs::read_to_string(&file).expect("there");
    // Nobody removes a folder as if it were a file.
    std::fs::remove_file(&file).expect("removed");
    std::fs::create_dir(&file).expect("made");
    let (code, said) = world.run(&["function", "rm", "stays"]).await;
    assert!(code == 1 && said.contains("cannot be removed"), "{said}");
    world.put("one").await;
    let whole = |v: &Value| v["books"]["delivered"] == 1 && v["books_imbalance"] == 0;
    world.until(&["target", "show", "function:stays"], whole).await;
    assert_eq!(world.invoke("stays").await["result"], "1");
    // A record that names a version which it has not.
    std::fs::remove_dir(&file).expect("removed");
    let mut wrong: Value = serde_json::from_str(&record).expect("JSON");
    wrong["current"] = json!(7);
    std::fs::write(&file, wrong.to_string()).expect("written");
    assert!(world.stop().await.success());
    world.open().await;
    let functions = world.json(&["function", "ls"]).await;
    let names: Vec<_> =
        functions["functions"].as_array().expect("a list").iter().map(|f| &f["name"]).collect();
    assert_eq!(names, [&json!("other")], "{functions}");
    let log = std::fs::read_to_string(world.dir.path().join("log")).expect("there");
    assert!(log.contains("it has no version 7 of its code"), "{log}");
    world.put("two").await;
    world.until(&["target", "show", "function:other"], |v| v["books"]["delivered"] == 2).await;
    // Mended, it is there again with its code.
    std::fs::write(&file, record).expect("written");
    assert!(world.stop().await.success());
    world.open().await;
    assert_eq!(world.invoke("stays").await["result"], "1");
    world.json(&["function", "rm", "stays"]).await;
}

/// Whatever the moment of a death, a function is as it was before the change or after it, whole; and the same
/// change, made again, succeeds or says that it is made.
#[cfg(feature = "faults")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_death_in_the_middle_leaves_a_function_whole_or_not_there() {
    let mut world = World::start(&rule("hello", "")).await;
    let text = |n: u32| format!("def main_handler(e, c): return {n}");
    for (point, there) in [
        ("function.code.synced", false),
        ("function.code.named", false),
        ("function.record.synced", false),
        ("function.record.named", true),
        ("function.create.durable", true),
    ] {
        world.stop().await;
        world.open_until(Some(point)).await;
        let (code, _) = world.run(&["function", "create", "hello", "--text", &text(1)]).await;
        assert_eq!(code, 1, "{point}: nobody answered");
        world.died().await;
        world.open().await;
        let (code, said) = world.run(&["function", "create", "hello", "--text", &text(1)]).await;
        assert_eq!(code == 0, !there, "{point}: {said}");
        assert_eq!(world.invoke("hello").await["result"], "1", "{point}");
        // It is a target that gets events.
        world.put(point).await;
        world.until(&["target", "show", "function:hello"], |v| v["books"]["delivered"] == 1).await;
        if there {
            continue_with_an_update(&mut world, point, &text(2)).await;
        }
        world.json(&["function", "rm", "hello"]).await;
        let left = std::fs::read_dir(world.data().join("functions/code")).expect("listed").count();
        assert_eq!(left, 0, "{point}");
    }
    world.create("hello", &text(1), &[]).await;
    world.stop().await;
    world.open_until(Some("function.remove.forgotten")).await;
    let (code, _) = world.run(&["function", "rm", "hello"]).await;
    assert_eq!(code, 1);
    world.died().await;
    world.open().await;
    // Its target was forgotten, the function not: it is a new target.
    world.put("after").await;
    world.until(&["target", "show", "function:hello"], |v| v["books"]["delivered"] == 1).await;
    world.json(&["function", "rm", "hello"]).await;
    assert_eq!(world.json(&["target", "ls"]).await["targets"], json!([]));
}

/// An update that dies leaves the version before it, or the one after.
#[cfg(feature = "faults")]
async fn continue_with_an_update(world: &mut World, point: &str, text: &str) {
    if point == "function.create.durable" {
        return;
    }
    world.stop().await;
    world.open_until(Some(point)).await;
    let (code, _) = world.run(&["function", "update", "hello", "--text", text]).await;
    assert_eq!(code, 1, "{point}");
    world.died().await;
    world.open().await;
    assert_eq!(world.invoke("hello").await["result"], "2", "{point}");
}
