//! What becomes of events that fail: how often and how far apart they are tried, and by whose fault.
//!
//! Must never hold an attempt to more than the pause that was asked for: a machine may be slow.

use serde_json::{Value, json};

use crate::world::{World, rule};

fn starts(log: &Value) -> Vec<jiff::Timestamp> {
    let runs = log["runs"].as_array().expect("a list").iter();
    runs.map(|run| run["start"].as_str().expect("a time").parse().expect("a time")).collect()
}

/// As SCF does it, with another pause: two retries so far apart, then a dead letter in SCF's form.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scf_default_tries_three_times_so_far_apart_and_then_keeps_a_dead_letter() {
    let world = World::start(&rule("picky", "in/")).await;
    let code = "def main_handler(event, context): raise ValueError('no')";
    let shown = world.create("picky", code, &["--retry", "scf-default", "--retry-interval", "2"]).await;
    assert_eq!((&shown["retry"], &shown["retry_interval_s"]), (&json!("scf-default"), &json!(2)), "{shown}");
    world.put("in/one").await;
    let letters = world.until(&["dlq", "ls", "function:picky"], |v| v["total"] == 1).await;
    let letter = &letters["dead_letters"][0];
    assert_eq!(letter["attempts"], 3, "{letter}");
    assert!(letter["message"].as_str().expect("text").contains("given up after 2 retries"), "{letter}");
    let log = world.json(&["function", "logs", "picky"]).await;
    let starts = starts(&log);
    assert_eq!(starts.len(), 3, "{log}");
    for pair in starts.windows(2) {
        let apart = pair[1].as_millisecond() - pair[0].as_millisecond();
        assert!(apart >= 2_000, "{apart} ms: {log}");
    }
    // In SCF's own form.
    let offset = letter["offset"].to_string();
    let shown = world.json(&["dlq", "show", "function:picky", &offset]).await;
    let message = &shown["scf"];
    assert_eq!((&message["RequestId"], &message["ErrorCode"]), (&shown["event_id"], &json!(-1)), "{shown}");
    assert!(message["ErrorMessage"].as_str().expect("text").contains("ValueError: no"), "{message}");
    let body = &message["Body"];
    assert_eq!(
        (&body["FunctionName"], &body["Namespace"], &body["Qualifier"], &body["RetryNum"]),
        (&json!("picky"), &json!("default"), &json!("$DEFAULT"), &json!(2)),
        "{body}"
    );
    assert_eq!((&body["RequestId"], &body["RequestSource"]), (&shown["event_id"], &json!("TRIGGER_COS")));
    let event: Value = serde_json::from_str(body["ClientContext"].as_str().expect("text")).expect("JSON");
    assert_eq!(event["Records"][0]["cos"]["cosObject"]["key"], "/1250000000/bucket/in/one", "{event}");
}
