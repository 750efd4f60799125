//! Budgets, registry, forget and reload of a whole tidings, as clients and operators see them.

pub(crate) mod world;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use tidings::app::KindChanged;

use self::world::{Receiver, WAIT, World, target};

/// A key of 1,000 bytes, so that a budget is soon full.
fn long(prefix: &str, n: usize) -> String {
    let width = 1_000 - prefix.len();
    format!("{prefix}{n:0>width$}")
}

/// PUTs until one is refused; gives how many were made, and the refusal.
async fn fill(world: &World, prefix: &str) -> (usize, String) {
    for n in 0.. {
        let answer = world.put(&long(prefix, n), "body").await;
        if answer.status != 200 {
            assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (503, Some("1")));
            return (n, String::from_utf8_lossy(&answer.body).into_owned());
        }
    }
    unreachable!("a budget ends")
}

fn blobs(world: &World) -> usize {
    let mut found = 0;
    let mut dirs = vec![world.data().join("blobs")];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            match entry.path().is_dir() {
                true => dirs.push(entry.path()),
                false => found += 1,
            }
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_budget_refuses_its_own_changes_with_a_sentence_and_nothing_happens() {
    let far = Receiver::start(false).await;
    let budget = "max_backlog = \"1MiB\"";
    let targets = |more| target("dead", &far.url, "in/", more) + &target("live", &far.url, "other/", "");
    let mut world = World::start(&targets(budget)).await;
    let (made, refusal) = fill(&world, "in/").await;
    assert!((600..1_000).contains(&made), "{made} entries of a little more than 1,000 bytes in 1 MiB");
    assert!(refusal.contains("<Code>SlowDown</Code>"), "{refusal}");
    assert!(refusal.contains("The target `dead` has") && refusal.contains("max_backlog"), "{refusal}");
    // Nothing happened: no object, no event, no file.
    let before = blobs(&world);
    assert_eq!(world.put(&long("in/", made), vec![7; 100_000]).await.status, 503);
    assert_eq!(world.s3().get("bucket", &long("in/", made)).await.expect("an answer").status, 404);
    // The file goes in the background.
    let gone = async {
        while blobs(&world) > before {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(WAIT, gone).await.expect("no file is left");
    assert_eq!(world.put("other/key", "body").await.status, 200, "another target's change");
    assert_eq!(world.put("nobody", "body").await.status, 200, "nobody's change");
    assert!(world.metric("tidings_changes_refused_total{reason=\"target_full\"}").await >= 2.0);
    assert_eq!(world.metric("tidings_target_budget_level_percent{target=\"dead\"}").await, 100.0);
    let (status, ready) = world.admin("GET", "/readyz").await;
    assert_eq!((status, &ready["ready"]), (200, &json!(true)));
    assert!(ready["notes"][0].as_str().expect("a note").contains("`dead` reached 100 %"), "{ready}");
    // A restart changes nothing of it.
    let view = world.target("dead").await;
    assert_eq!((&view["books"]["matched"], &view["budget"]["max_backlog"]), (&json!(made), &json!(1 << 20)));
    world.stop().await;
    world.open(&[]).await.expect("starts");
    assert_eq!(world.target("dead").await["budget"]["charged"], view["budget"]["charged"]);
    assert_eq!(world.put(&long("in/", made), "body").await.status, 503);
    // A larger one at a reload, and a lane that takes what waits.
    let done = world.reload(&targets("max_backlog = \"2MiB\"")).await;
    assert_eq!((&done["unchanged"], &done["rebuilt"]), (&json!(["dead", "live"]), &json!([])));
    assert_eq!(world.put(&long("in/", made), "body").await.status, 200);
    far.takes.send_replace(true);
    far.wait_for(made + 2).await;
    world.settled("dead").await;
    let budget = &world.target("dead").await["budget"];
    assert_eq!((&budget["charged"], &budget["level"]), (&json!(0), &json!(0)));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_target_keeps_its_backlog_until_it_is_added_again_or_forgotten() {
    let far = Receiver::start(false).await;
    let table = target("orders", &far.url, "", "max_backlog = \"3MiB\"\nwhen_full = \"shed\"");
    let mut world = World::start(&table).await;
    for n in 0..20 {
        assert_eq!(world.put(&format!("key-{n}"), "body").await.status, 200);
    }
    assert_eq!(world.reload("").await["removed"], json!(["orders"]));
    assert_eq!(world.put("after", "body").await.status, 200);
    let kept = |view: &Value| {
        let Value::Object(view) = view else { panic!("{view}") };
        (view["state"].clone(), view["books"]["backlog"].clone(), view["budget"].clone())
    };
    let removed = kept(&world.target("orders").await);
    assert_eq!((&removed.0, &removed.1), (&json!("removed"), &json!(20)));
    assert_eq!((&removed.2["max_backlog"], &removed.2["when_full"]), (&json!(3 << 20), &json!("shed")));
    world.stop().await;
    world.open(&[]).await.expect("starts");
    assert_eq!(kept(&world.target("orders").await), removed, "its policy too");
    // Added again, it gets what was kept, in order, and nothing of the time between.
    far.takes.send_replace(true);
    assert_eq!(world.reload(&table).await["resumed"], json!(["orders"]));
    let came = far.wait_for(20).await;
    world.settled("orders").await;
    assert_eq!(came.len(), 20);
    // One that is rejected, and three that wait.
    assert_eq!(world.put("bad", "body").await.status, 200);
    let buried = async { while world.target("orders").await["books"]["dead_lettered"] == 0 {} };
    tokio::time::timeout(WAIT, buried).await.expect("it is among the dead letters");
    far.takes.send_replace(false);
    for n in 0..3 {
        assert_eq!(world.put(&format!("more-{n}"), "body").await.status, 200);
    }

    let (status, why) = world.admin("POST", "/v1/targets/orders/forget").await;
    assert_eq!(status, 409, "it is configured: {why}");
    world.reload("").await;
    let (status, why) = world.admin("POST", "/v1/targets/orders/forget").await;
    assert_eq!(
        (status, why["error"]["message"].as_str().expect("a sentence").contains("4 events")),
        (409, true)
    );
    let (status, gone) = world.admin("POST", "/v1/targets/orders/forget?discard=true").await;
    assert_eq!(status, 200, "{gone}");
    let books = &gone["books"];
    let columns = ["matched", "delivered", "backlog", "held", "dead_lettered", "forgotten"]
        .map(|c| books[c].as_u64().expect("a count"));
    assert_eq!(columns, [24, 20, 0, 0, 0, 4]);
    assert_eq!(world.admin("GET", "/v1/targets/orders").await.0, 404);
    assert_eq!(world.admin("POST", "/v1/targets/orders/forget").await.0, 404);
    for dir in ["progress", "dead-letters"] {
        let kept = std::fs::read_dir(world.data().join(dir)).expect("there").count();
        assert_eq!(kept, 0, "nothing is kept for it in {dir}");
    }
    world.stop().await;
    world.open(&[]).await.expect("starts");
    assert_eq!(world.admin("GET", "/v1/targets/orders").await.0, 404, "for good");
    // The name is free, its number is not.
    assert_eq!(world.reload(&table).await["added"], json!(["orders"]));
    assert_eq!(world.target("orders").await["books"]["matched"], 0);
    assert!(world.data().join("progress/00000002.a").exists());
    let audit = std::fs::read_to_string(world.data().join("audit.log")).expect("there");
    assert!(audit.contains("target:forget") && audit.contains("config:reload"), "{audit}");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_builds_anew_what_changed_and_nothing_else() {
    let (old, new, other) =
        (Receiver::start(false).await, Receiver::start(true).await, Receiver::start(true).await);
    let with = |far: &Receiver| target("a", &far.url, "", "") + &target("b", &other.url, "", "");
    let mut world = World::start(&with(&old)).await;
    let mut sent: Vec<(String, String)> = Vec::new();
    for n in 0..200 {
        if n == 150 {
            let done = world.reload(&with(&new)).await;
            assert_eq!((&done["rebuilt"], &done["unchanged"]), (&json!(["a"]), &json!(["b"])), "{done}");
        }
        let key = format!("key-{}", n % 7);
        let answer = world.put(&key, format!("body {n}")).await;
        assert_eq!(answer.status, 200);
        sent.push((key, answer.header("x-amz-request-id").expect("named").to_owned()));
    }
    let of = |list: &[(String, String)], key: &str| -> Vec<String> {
        list.iter().filter(|(k, _)| k == key).map(|(_, request)| request.clone()).collect()
    };
    let (came, beside) = (new.wait_for(200).await, other.wait_for(200).await);
    for n in 0..7 {
        let key = format!("key-{n}");
        assert_eq!(of(&came, &key), of(&sent, &key), "complete and in order");
        assert_eq!(of(&beside, &key), of(&sent, &key));
    }
    world.settled("a").await;
    let ended = async |name: &str| {
        world.metric(&format!("tidings_connections_ended_total{{target=\"{name}\"}}")).await
    };
    assert_eq!((ended("a").await, ended("b").await), (1.0, 0.0), "b keeps its connection");
    assert_eq!(world.target("a").await["books"]["delivered"], 200);

    // A secret's file that changed, and nothing else: the next connection reads it.
    let secret = world.dir.path().join("secret");
    std::fs::write(&secret, "Bearer one").expect("written");
    let authorized = with(&new).replace(
        &format!("url = {:?}", new.url),
        &format!("url = {:?}\nauthorization_file = {secret:?}", new.url),
    );
    assert_eq!(world.reload(&authorized).await["rebuilt"], json!(["a"]));
    assert_eq!(world.reload(&authorized).await["rebuilt"], json!([]));
    std::fs::write(&secret, "Bearer two").expect("written");
    assert_eq!(world.reload(&authorized).await["rebuilt"], json!(["a"]));
    world.reload(&with(&new)).await;

    // What is wrong changes nothing, and is said.
    world.configure("[target.a]\nencodin = \"s3\"\n");
    let (status, why) = world.admin("POST", "/v1/reload").await;
    assert_eq!((status, &why["error"]["code"]), (422, &json!("invalid_configuration")));
    assert!(
        why["error"]["message"].as_str().expect("diagnostics").contains("did you mean `encoding`?"),
        "{why}"
    );
    assert_eq!(world.metric("tidings_config_last_reload_successful").await, 0.0);
    assert_eq!(world.put("key-0", "again").await.status, 200);
    assert_eq!(new.wait_for(201).await.len(), 201);

    // Keys that need a restart are named, and the rest takes effect.
    let done = world.reload(&format!("{}[queue]\nretain_age = \"2h\"\n", with(&new))).await;
    assert_eq!(
        (&done["needs_restart"], &done["unchanged"]),
        (&json!(["`queue.retain_age`"]), &json!(["a", "b"]))
    );
    assert_eq!(world.metric("tidings_config_last_reload_successful").await, 1.0);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_kind_of_connector_must_be_accepted() {
    let far = Receiver::start(false).await;
    let http = target("orders", &far.url, "", "");
    let kafka = "[target.orders.connector.kafka]\nbrokers = [\"127.0.0.1:1\"]\ntopic = \"events\"\n\
                 [[target.orders.rule]]\nevents = [\"cos:ObjectCreated:*\"]\n";
    let mut world = World::start(&http).await;
    assert_eq!(world.put("key", "body").await.status, 200);
    world.configure(kafka);
    let (status, why) = world.admin("POST", "/v1/reload").await;
    let sentence = why["error"]["message"].as_str().expect("a sentence").to_owned();
    assert_eq!(status, 409);
    assert!(
        sentence.contains("was a http target and is a kafka target now: its backlog of 1 events"),
        "{sentence}"
    );
    assert!(sentence.contains("--accept orders"), "{sentence}");
    world.stop().await;
    let refused = world.open(&[]).await.expect_err("at the start too");
    assert_eq!(refused.downcast_ref::<KindChanged>().expect("for that reason").to_string(), sentence);
    world.open(&["orders".to_owned()]).await.expect("accepted");
    assert_eq!(world.target("orders").await["kind"], "kafka");
    world.stop().await;
    world.open(&[]).await.expect("accepted for good");
    world.configure(&http);
    let (status, done) = world.admin("POST", "/v1/reload?accept=other&accept=orders").await;
    assert_eq!((status, &done["rebuilt"]), (200, &json!(["orders"])));
    far.takes.send_replace(true);
    assert_eq!(far.wait_for(1).await[0].0, "key", "the backlog went with it, there and back");
    world.settled("orders").await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_change_sees_the_old_rules_or_the_new_ones_whole() {
    let (one, two) = (Receiver::start(true).await, Receiver::start(true).await);
    // At any time exactly one of them gets every event.
    let only = |first: bool| {
        let (to_one, to_two) = if first { ("", "nobody/") } else { ("nobody/", "") };
        target("one", &one.url, to_one, "") + &target("two", &two.url, to_two, "")
    };
    let mut world = World::start(&only(true)).await;
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let (client, stop) = (world.s3(), Arc::clone(&stop));
            tokio::spawn(async move {
                let mut made = 0;
                while !stop.load(Ordering::Relaxed) {
                    let put = client.put("bucket", &format!("{writer}-{made}"), "body").await;
                    assert_eq!(put.expect("an answer").status, 200);
                    made += 1;
                }
                made
            })
        })
        .collect();
    for n in 0..20 {
        let done = world.reload(&only(n % 2 == 1)).await;
        assert_eq!(done["unchanged"], json!(["one", "two"]), "rules alone touch no lane");
    }
    stop.store(true, Ordering::Relaxed);
    let mut made = 0;
    for writer in writers {
        made += writer.await.expect("ran");
    }
    world.settled("one").await;
    world.settled("two").await;
    let matched = async |name| world.target(name).await["books"]["matched"].as_u64().expect("a count");
    let (one, two) = (matched("one").await, matched("two").await);
    assert_eq!(one + two, made, "each event has exactly one of them");
    assert!(one > 0 && two > 0);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_says_gone_is_left_alone_until_it_is_resumed_after_a_restart_too() {
    let far = Receiver::start(true).await;
    let table = target("orders", &far.url, "", "");
    let mut world = World::start(&table).await;
    assert_eq!(world.put("before", "body").await.status, 200);
    far.wait_for(1).await;
    let end = async |world: &World| world.admin("GET", "/v1/journal").await.1["durable_end"].as_u64();
    let before = end(&world).await.expect("an offset");
    far.gone.send_replace(true);
    assert_eq!(world.put("first", "body").await.status, 200);
    let told = async |world: &World| {
        let view = world.target("orders").await;
        let blocked = view["blocked"].as_str().is_some_and(|why| why.contains("tidings target resume"));
        (view["state"] == "faulted" && blocked).then_some(view)
    };
    let gone = async { while told(&world).await.is_none() {} };
    tokio::time::timeout(WAIT, gone).await.expect("it is shown");
    let view = told(&world).await.expect("still");
    assert!(view["last_failure"]["message"].as_str().expect("a text").contains("410"), "{view}");
    for n in 0..5 {
        assert_eq!(world.put(&format!("later-{n}"), "body").await.status, 200, "no change is refused");
    }
    // Kept with the changes: neither a restart nor a reload calls it again.
    let kept = async { while end(&world).await < Some(before + 7) {} };
    tokio::time::timeout(WAIT, kept).await.expect("the pause is durable");
    let asked = *far.asked.borrow();
    world.stop().await;
    world.open(&[]).await.expect("starts");
    assert!(told(&world).await.is_some(), "{}", world.target("orders").await);
    let slower = target("orders", &far.url, "", "max_in_flight = 7");
    assert_eq!(world.reload(&slower).await["rebuilt"], json!(["orders"]));
    assert_eq!(world.put("last", "body").await.status, 200);
    assert!(told(&world).await.is_some());
    assert_eq!(*far.asked.borrow(), asked, "nobody asked it again");
    // Resumed while it is as gone as before: asked once, and left alone again.
    assert_eq!(world.admin("POST", "/v1/targets/orders/resume").await.0, 200);
    let once = async { while *far.asked.borrow() == asked || told(&world).await.is_none() {} };
    tokio::time::timeout(WAIT, once).await.expect("it is asked");
    assert_eq!(*far.asked.borrow(), asked + 1);
    far.gone.send_replace(false);
    assert_eq!(world.admin("POST", "/v1/targets/orders/resume").await.0, 200);
    let came: Vec<_> = far.wait_for(8).await.into_iter().map(|(key, _)| key).collect();
    world.settled("orders").await;
    let mut keys: Vec<_> = (0..5).map(|n| format!("later-{n}")).collect();
    keys.extend(["before", "first", "last"].map(str::to_owned));
    assert!(came.len() == 8 && keys.iter().all(|key| came.contains(key)), "{came:?}");
    let view = world.target("orders").await;
    assert_eq!((&view["state"], &view["blocked"]), (&json!("up"), &Value::Null));
    world.stop().await;
    world.open(&[]).await.expect("starts");
    assert_eq!(world.target("orders").await["blocked"], Value::Null, "resumed for good");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_secret_faults_the_target_until_its_file_is_repaired_and_nobody_restarts_anything() {
    let far = Receiver::start(true).await;
    far.wants.send_replace(Some("Bearer right".to_owned()));
    let mut world = World::start("").await;
    let secret = world.dir.path().join("secret");
    std::fs::write(&secret, "Bearer wrong-and-planted").expect("written");
    let table = target("orders", &far.url, "", "");
    let url = format!("url = {:?}", far.url);
    let table = table.replace(&url, &format!("{url}\nauthorization_file = {secret:?}"));
    assert_eq!(world.reload(&table).await["added"], json!(["orders"]));
    for n in 0..30 {
        assert_eq!(world.put(&format!("key-{}", n % 10), format!("body {n}")).await.status, 200);
    }
    let faulted = async { while world.target("orders").await["state"] != "faulted" {} };
    tokio::time::timeout(WAIT, faulted).await.expect("it is told");
    let view = world.target("orders").await;
    assert_eq!((&view["books"]["backlog"], &view["dead_letters"]), (&json!(30), &json!(0)), "all is kept");
    assert_eq!(view["last_failure"]["class"], "auth", "{view}");
    assert!(!view.to_string().contains("planted"), "{view}");
    std::fs::write(&secret, "Bearer right").expect("written");
    assert_eq!(far.wait_for(30).await.len(), 30);
    world.settled("orders").await;
    assert_eq!(world.target("orders").await["state"], "up");
    world.stop().await;
}
