//! Dead letters of functions that go to a target: in SCF's form, again until it has them, never silently not.
//!
//! Must never take a letter for gone that the receiver did not take.

use serde_json::{Value, json};

use crate::urls::{Receiver, text};
use crate::world::{World, rule};

const FAILS: &str = "def main_handler(event, context): raise ValueError('no')";

/// A target `letters` that gets no event of its own.
fn target(receiver: &Receiver) -> String {
    format!(
        "[target.letters.connector.http]\nurl = \"{}/letters\"\nallow_private = true\npreset = \"scf\"\n\
         [[target.letters.rule]]\nbucket = \"other\"\nevents = [\"cos:ObjectCreated:*\"]\n",
        receiver.address
    )
}

async fn fails(world: &World) -> Value {
    world.create("fails", FAILS, &["--max-retries", "0", "--dead-letters", "letters"]).await
}

async fn none_left(world: &World) {
    world.until(&["dlq", "ls", "function:fails"], |v| v["total"] == 0).await;
}

/// What hinders the letters, once something does.
async fn problem(world: &World) -> String {
    let told = |v: &Value| v["dead_letters_problem"].is_string();
    let shown = world.until(&["function", "show", "fails"], told).await;
    shown["dead_letters_problem"].as_str().expect("text").to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_letter_stays_until_its_target_has_it_in_scf_s_form() {
    let receiver = Receiver::start().await;
    let world = World::start(&format!("{}{}", rule("fails", "in/"), target(&receiver))).await;
    receiver.answer("/letters", 503, &[], "");
    let shown = fails(&world).await;
    assert_eq!(shown["dead_letters"], "letters", "{shown}");
    world.put("in/one").await;
    assert!(problem(&world).await.contains("503"));
    let letters = world.json(&["dlq", "ls", "function:fails"]).await;
    assert_eq!(letters["total"], 1, "{letters}");
    let event_id = letters["dead_letters"][0]["event_id"].as_str().expect("an id").to_owned();
    receiver.answer("/letters", 200, &[], "");
    none_left(&world).await;
    world.until(&["function", "show", "fails"], |v| v["dead_letters_problem"].is_null()).await;
    let got = receiver.got("/letters", |seen| seen.body.clone());
    assert!(got.len() >= 2 && got.windows(2).all(|pair| pair[0] == pair[1]), "{got:?}");
    let letter = &got[0];
    assert_eq!((&letter["ErrorCode"], &letter["RequestId"]), (&json!(-1), &json!(event_id)), "{letter}");
    assert!(letter["ErrorMessage"].as_str().expect("text").contains("ValueError: no"), "{letter}");
    let body = &letter["Body"];
    assert_eq!((&body["FunctionName"], &body["RequestSource"]), (&json!("fails"), &json!("TRIGGER_COS")));
    let event: Value = serde_json::from_str(body["ClientContext"].as_str().expect("text")).expect("JSON");
    assert_eq!(event["Records"][0]["cos"]["cosObject"]["key"], "/1250000000/bucket/in/one", "{event}");
    // Whose it is, and that it is the same letter at every attempt but not the event itself.
    let of = |name: &'static str| receiver.got("/letters", move |seen| text(&seen.headers, name));
    assert!(of("tidings-dead-letter").iter().all(|whose| whose == "function:fails"));
    assert!(of("tidings-event-id").iter().all(|id| *id == event_id), "{:?}", of("tidings-event-id"));
    let ids = of("x-scf-request-id");
    assert!(ids[0].len() == 36 && ids[0] != event_id && ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    let books = world.json(&["target", "show", "function:fails"]).await;
    assert_eq!((&books["books"]["purged"], &books["books_imbalance"]), (&json!(1), &json!(0)), "{books}");
    // Nothing of it is kept any more.
    world.json(&["function", "rm", "fails"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn letters_for_a_target_that_is_gone_are_kept_and_told_until_it_is_back() {
    let receiver = Receiver::start().await;
    let (rules, target) = (rule("fails", "in/"), target(&receiver));
    let world = World::start(&format!("{rules}{target}")).await;
    for (to, why) in [("nobody", "no target `nobody` is configured"), ("function:other", "no target")] {
        let code = world.file("code.py", FAILS);
        let create = ["function", "create", "other", "--code", &code, "--dead-letters", to];
        let (exit, said) = world.run(&create).await;
        assert!(exit > 0 && said.contains(why), "{to}: {said}");
    }
    fails(&world).await;
    let (exit, said) = world.run(&["function", "update", "fails", "--dead-letters", "function:fails"]).await;
    assert!(exit > 0 && said.contains("carries no messages"), "{said}");
    world.configure(&rules);
    world.json(&["reload"]).await;
    world.put("in/one").await;
    assert!(problem(&world).await.contains("`letters` is not configured any more"));
    let (exit, said) = world.run(&["function", "rm", "fails"]).await;
    assert!(exit > 0 && said.contains("dead letters included"), "{said}");
    world.configure(&format!("{rules}{target}"));
    world.json(&["reload"]).await;
    none_left(&world).await;
    assert_eq!(receiver.got("/letters", |seen| seen.body["Body"]["FunctionName"].clone()), ["fails"]);
    // A letter that is refused keeps no other from going, and is not forgotten.
    receiver.answer("/letters", 400, &[], "");
    world.put("in/two").await;
    assert!(problem(&world).await.contains("it refused the letter"));
    let update = ["function", "update", "fails", "--dead-letters", "none"];
    assert!(world.json(&update).await["dead_letters"].is_null());
    assert_eq!(world.json(&["dlq", "ls", "function:fails"]).await["total"], 1);
}

/// The process dies when the target has the letter and nobody wrote that down: it gets it again.
#[cfg(feature = "faults")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_letter_that_was_sent_before_a_kill_is_sent_again_and_then_gone() {
    let receiver = Receiver::start().await;
    let mut world = World::start(&format!("{}{}", rule("fails", "in/"), target(&receiver))).await;
    fails(&world).await;
    assert!(world.stop().await.success());
    world.open_until(Some("letter.sent")).await;
    world.put("in/one").await;
    world.died().await;
    world.open().await;
    none_left(&world).await;
    let ids = receiver.got("/letters", |seen| text(&seen.headers, "x-scf-request-id"));
    assert!(ids.len() == 2 && ids[0].len() == 36 && ids[0] == ids[1], "{ids:?}");
}
