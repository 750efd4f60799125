//! Schemas of functions, their runs and their templates.
//!
//! Must never hold a field that an answer has not.

use serde_json::{Value, json};

use super::shapes::{count, list, object, or_null, text, time};

pub(super) fn function() -> Value {
    let version = object(vec![
        ("number", count(), "Its number."),
        ("hash", text(), "SHA-256 of its files."),
        ("bytes", count(), "Bytes of all files."),
        ("time", time(), "When it was handed in."),
    ]);
    let grant = object(vec![
        ("scope", json!({ "type": "string", "enum": ["read", "write"] }), "What it may do."),
        ("buckets", list(text()), "In which buckets: names, or patterns with `*`."),
    ]);
    object(vec![
        ("name", text(), "Its name."),
        ("namespace", text(), "Its namespace."),
        ("target", text(), "The target through which it gets events."),
        ("description", text(), "For people."),
        ("runtime", json!({ "type": "string", "enum": ["python3", "nodejs", "custom"] }), "What runs it."),
        ("handler", text(), "`FILE.FUNCTION`; without meaning for `custom`."),
        ("memory_mb", count(), "MiB that its processes may hold together."),
        ("timeout_s", count(), "Seconds that one run may take."),
        ("start_timeout_s", count(), "Seconds that its start may take."),
        ("concurrency", count(), "Runs at once."),
        ("environment", list(text()), "The names of its variables."),
        ("network", json!({ "type": "string", "enum": ["none", "all"] }), "What it may reach."),
        ("url", or_null(text()), "Where it runs, if not here: scheme, host and port."),
        ("preset", or_null(text()), "How it is called there."),
        ("role", list(grant), "What it may do with objects; empty: nothing."),
        (
            "retry",
            json!({ "type": "string", "enum": ["forever", "scf-default"] }),
            "What events that fail do.",
        ),
        ("max_retries", or_null(count()), "Retries after failures of the code, instead of those."),
        ("retry_interval_s", or_null(count()), "Seconds between two attempts, instead of those of `retry`."),
        ("dead_letters", or_null(text()), "The target that gets its dead letters."),
        ("dead_letters_problem", or_null(text()), "Why they do not get there: they are kept meanwhile."),
        ("version", count(), "Which version of its code runs."),
        ("versions", list(version), "The versions that are kept, the latest last."),
        ("templates", list(text()), "The names of its own event templates."),
        ("created", time(), "When it was made."),
        ("updated", time(), "When it was changed last."),
        ("problem", or_null(text()), "Why it cannot run on this machine."),
    ])
}

pub(super) fn removed() -> Value {
    object(vec![("name", text(), "Its name, free again.")])
}

pub(super) fn invoked() -> Value {
    object(vec![
        ("request_id", text(), "Names the run in the log."),
        ("version", count(), "The version that ran."),
        ("status", count(), "SCF's code: 200 is success."),
        ("outcome", text(), "The same in words."),
        ("result", or_null(text()), "What the function gave back; null if it failed."),
        ("message", text(), "What went wrong; empty if nothing did."),
        ("duration_ms", count(), "Milliseconds that it took, without its start."),
        ("memory_bytes", count(), "The most memory that was seen."),
        ("log", text(), "The last 4 KiB of what it wrote."),
    ])
}

pub(super) fn runs() -> Value {
    object(vec![
        ("runs", list(run()), "The runs, in their order."),
        ("next", count(), "What `after` should be for those that follow."),
    ])
}

fn run() -> Value {
    object(vec![
        ("seq", count(), "Counts the function's runs."),
        ("request_id", text(), "The same at every attempt of an event."),
        ("function", text(), "The function."),
        ("version", count(), "The version of its code."),
        ("event_id", or_null(text()), "The event; null if somebody typed it."),
        ("object", or_null(text()), "Bucket and key of the object."),
        ("start", or_null(time()), "When it began."),
        ("duration_ms", count(), "Milliseconds that it took, without its start."),
        ("memory_bytes", count(), "The most memory that was seen."),
        ("status", count(), "SCF's code: 200 is success."),
        ("outcome", text(), "The same in words."),
        ("retry", count(), "0 at the first attempt."),
        ("message", text(), "What went wrong; empty if nothing did."),
        ("log", text(), "The last 4 KiB of what it wrote."),
    ])
}

pub(super) fn templates() -> Value {
    let template = || object(vec![("name", text(), "Its name."), ("description", text(), "What it is.")]);
    object(vec![
        ("events", list(template()), "Events to try functions with."),
        ("functions", list(template()), "Functions to begin with."),
    ])
}
