//! The shapes of the admin API's answers, as JSON schemas of the OpenAPI document.
//!
//! Must never be looser than the answers are: every field is required and no other is allowed, so that the
//! tests, which hold every answer against its schema, notice a field that is missing here or there.

use serde_json::{Value, json};

use super::{schemas_functions, schemas_kept};

use tidings_connector::ErrorClass;

use super::answer::Code;
use super::shapes::{Field, count, flag, list, object, or_null, seconds, text, time};
use super::{buckets, rules};
use crate::metrics::TargetState;

/// A pointer to a schema of [`all`].
pub(super) fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

/// Every schema by its name.
pub(super) fn all() -> Value {
    let codes: Vec<_> = Code::ALL.iter().map(|c| c.name()).collect();
    let error = object(vec![
        ("code", json!({ "type": "string", "enum": codes }), "Stable; for programs."),
        ("message", text(), "What happened."),
        ("hint", text(), "What to do next."),
    ]);
    json!({
        "Error": object(vec![("error", error, "Why the request was not answered as asked.")]),
        "Live": object(vec![("live", json!({ "const": true }), "The process answers.")]),
        "Ready": object(vec![
            ("ready", json!({ "const": true }), "Changes are accepted durably."),
            ("notes", list(text()), "What people should know all the same."),
        ]),
        "Targets": object(vec![("targets", list(reference("Target")), "By name.")]),
        "Target": target(),
        "Books": books(),
        "DeadLetterPage": object(vec![
            ("dead_letters", list(reference("DeadLetter")), "By offset."),
            ("next", or_null(count()), "`after` of the next page; null on the last one."),
            ("total", count(), "All of the target's, whatever was asked for."),
        ]),
        "DeadLetter": object(dead_letter()),
        "DeadLetterShown": object([dead_letter(), vec![(
            "scf",
            or_null(json!({ "type": "object" })),
            "A function's, in the form of SCF's dead letter queues.",
        )]].concat()),
        "Replaying": object(vec![("replaying", count(), "So many will be sent again.")]),
        "Purged": object(vec![("purged", count(), "So many are gone.")]),
        "Quarantined": object(vec![("quarantined", count(), "So many were missing.")]),
        "Rewound": object(vec![
            ("from", count(), "The first offset that is given again."),
            ("until", count(), "Where it ends: the position from before, or (rematch) the log's end."),
            ("rematch", flag(), "What today's rules match is given too."),
        ]),
        "Tested": tested(),
        "Forgotten": object(vec![
            ("name", text(), "Free again."),
            ("books", reference("Books"), "As they ended."),
        ]),
        "Reloaded": reloaded(),
        "Functions": object(vec![("functions", list(reference("Function")), "By name.")]),
        "Function": schemas_functions::function(),
        "RemovedFunction": schemas_functions::removed(),
        "Invoked": schemas_functions::invoked(),
        "Runs": schemas_functions::runs(),
        "Templates": schemas_functions::templates(),
        "Buckets": object(vec![("buckets", list(reference("Bucket")), "By name.")]),
        "Bucket": buckets::schema(),
        "Rule": rules::schema(),
        "Rules": object(vec![
            ("rules", list(reference("Rule")), "The configuration's first, then by bucket, in their order."),
            ("more", flag(), "There are more than one answer may hold: ask for one bucket."),
        ]),
        "Triggers": object(vec![
            ("triggers", list(reference("Rule")), "By bucket, in their order."),
            ("more", flag(), "There are more than one answer may hold: ask for one bucket."),
        ]),
        "Journal": schemas_kept::journal(),
        "Store": schemas_kept::store(),
        "OpenApi": json!({ "type": "object" }),
        "Scf": object(vec![("Response", json!({ "type": "object" }), "The action's, or `Error`.")]),
    })
}

fn target() -> Value {
    let states: Vec<_> = TargetState::ALL.iter().map(|s| s.label()).collect();
    object(vec![
        ("name", text(), "Its name."),
        ("kind", text(), "Its connector's kind."),
        ("encoding", or_null(text()), "How its events are written; null if it is no longer configured."),
        ("destination", or_null(text()), "Topic, subject or routing key as configured, with placeholders."),
        ("state", json!({ "type": "string", "enum": states }), "How its lane stands."),
        ("up", flag(), "Connected, and delivering or ready to."),
        ("books", reference("Books"), "Its books."),
        ("books_imbalance", json!({ "type": "integer" }), "Matched minus all columns: not 0 is a bug."),
        ("budget", budget(), "What it may owe, and what it owes."),
        ("rate_limit", or_null(count()), "Events per second at most; null without a limit."),
        ("undelivered", undelivered(), "Backlog and held, by where they stand."),
        ("in_flight_limit", count(), "How many events its connector may have outstanding."),
        ("oldest_undelivered_age_seconds", seconds(), "0 if it has all."),
        ("last_success", or_null(time()), "When it last confirmed an event."),
        ("last_failure", or_null(failure()), "The last attempt that did not deliver."),
        ("dead_letters", count(), "Events in its dead letters."),
        ("dead_letter_bytes", count(), "Their bytes."),
        ("dead_letter_limit_bytes", count(), "How many there may be."),
        ("dead_letter_oldest_age_seconds", seconds(), "0 without one."),
        ("replaying", count(), "Dead letters that wait to be sent again, or are being sent."),
        (
            "replay",
            or_null(reference("Rewound")),
            "What is delivered once more, from the lowest that is not yet.",
        ),
        ("blocked", or_null(text()), "Why nothing is sent although nobody paused it."),
    ])
}

fn books() -> Value {
    object(vec![
        ("matched", count(), "Equals the sum of the columns from `delivered` to `quarantined`."),
        ("delivered", count(), "The far side has them."),
        ("backlog", count(), "Durable and not settled, and not held."),
        ("held", count(), "Not settled because their key is stuck."),
        ("dead_lettered", count(), "In the dead letters."),
        ("purged", count(), "Purged by an operator."),
        ("forgotten", count(), "Forgotten by an operator."),
        ("quarantined", count(), "Damaged, and the loss accepted by an operator."),
        ("shed", count(), "Beside the balance: never accepted, since the target's budget was full."),
        ("repeated", count(), "Beside the balance: delivered again."),
        ("rematched", count(), "Beside the balance: matched by today's rules, delivered by a replay."),
    ])
}

fn budget() -> Value {
    object(vec![
        ("charged", count(), "Bytes accepted and not settled."),
        ("max_backlog", or_null(count()), "How many there may be; null without a bound."),
        ("when_full", json!({ "type": "string", "enum": ["refuse", "shed"] }), "What happens at the bound."),
        ("level", json!({ "enum": [0, 50, 80, 95, 100] }), "The highest percentage reached and not left."),
    ])
}

fn undelivered() -> Value {
    object(vec![
        ("ready", count(), "Nothing stands in their way."),
        ("retrying", count(), "Waiting in memory for their next attempt."),
        ("in_flight", count(), "Handed to the connector, not settled."),
        ("held", count(), "Their key is stuck."),
        ("paused", count(), "Their target is paused."),
    ])
}

fn failure() -> Value {
    let classes: Vec<_> = ErrorClass::ALL.iter().map(|c| c.label()).collect();
    object(vec![
        ("time", time(), "When."),
        ("class", json!({ "type": "string", "enum": classes }), "The class of the error, as in metrics."),
        ("message", text(), "For people."),
    ])
}

fn dead_letter() -> Vec<Field> {
    vec![
        ("offset", count(), "Its offset in the log: its name in every path."),
        ("sequencer", text(), "Orders the events of one object."),
        ("event_id", or_null(text()), "The same at every attempt."),
        ("event", or_null(text()), "Its kind, such as `cos:ObjectCreated:Put`."),
        ("bucket", or_null(text()), "The object's bucket."),
        ("key", or_null(text()), "The object's key."),
        ("version", or_null(text()), "The object's version."),
        ("size", or_null(count()), "The object's size in bytes."),
        ("etag", or_null(text()), "The object's ETag."),
        ("event_time", or_null(time()), "When the change was committed."),
        ("rule", or_null(text()), "The rule under which the target gets it."),
        ("class", text(), "The class of the last outcome."),
        ("message", text(), "What the far side said."),
        ("attempts", count(), "Since the start of the server that wrote it, replays included."),
        ("replays", count(), "Replays that failed."),
        ("first_attempt", or_null(time()), "When it was first tried."),
        ("last_attempt", or_null(time()), "When it was last tried."),
        ("since", or_null(time()), "Since when it has been a dead letter."),
    ]
}

fn reloaded() -> Value {
    let names = || list(text());
    object(vec![
        ("added", names(), "New: they get what is committed from now on."),
        ("resumed", names(), "They go on with the backlog that was kept for them."),
        ("rebuilt", names(), "Their lanes and connections were built anew."),
        ("unchanged", names(), "Nothing of their lanes changed."),
        ("removed", names(), "Not configured any more: their backlogs are kept."),
        ("failed", names(), "Configured, and their lanes cannot be started: see the log."),
        ("credentials_added", names(), "Access keys that may sign requests from now on."),
        ("credentials_changed", names(), "Access keys with another secret, scope or other buckets."),
        ("credentials_removed", names(), "Access keys that are void from now on."),
        ("needs_restart", names(), "Keys that changed and take effect with a restart."),
        ("warnings", names(), "What is allowed and probably not meant."),
    ])
}

fn tested() -> Value {
    let outcomes = ["delivered", "retry", "throttled", "rejected", "faulted"];
    object(vec![
        ("outcome", json!({ "type": "string", "enum": outcomes }), "What the far side made of it."),
        ("class", or_null(text()), "The class of the failure; null if it was delivered."),
        ("message", or_null(text()), "What happened."),
    ])
}
