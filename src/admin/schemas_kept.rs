//! Schemas of what is kept: the journal and the store.
//!
//! Must never hold a field that an answer has not.

use serde_json::{Value, json};

use super::shapes::{count, list, object, or_null, text};

pub(super) fn journal() -> Value {
    object(vec![
        ("epoch", count(), "The epoch of new entries."),
        ("first_offset", count(), "The first offset that is kept."),
        ("durable_end", count(), "One above the last durable offset."),
        ("applied_end", count(), "One above the last offset that the index has applied."),
        ("checkpointed_end", count(), "One above the last offset in the index's synced checkpoint."),
        ("segments", count(), "Segment files."),
        ("bytes", count(), "Disk that they take."),
        ("limit_bytes", count(), "Disk that they may take."),
        ("damage", list(damage()), "What was durable and cannot be read, as far as anybody noticed."),
    ])
}

pub(super) fn store() -> Value {
    let damage = object(vec![
        ("bucket", or_null(text()), "Its bucket; null for a part of an upload."),
        ("key", or_null(text()), "Its key; null for a part of an upload."),
        ("file", text(), "The file, under the data directory."),
        ("at", or_null(count()), "Where in it the bytes begin that are concerned."),
        ("what", text(), "What is wrong."),
    ]);
    object(vec![
        ("live_bytes", count(), "Bytes on the disk that an object or a part needs."),
        ("dead_bytes", count(), "Bytes on the disk that will be given back."),
        ("scrubbed_bytes", count(), "Bytes of bodies that the scrub read since the start."),
        ("scrub_passes", count(), "Times that it came to the end since the start."),
        ("damaged", count(), "Objects and parts that it found damaged when it looked at them last."),
        ("damage", list(damage), "The first 1,000 of them; `tidings store verify` finds all."),
    ])
}

fn damage() -> Value {
    let why = json!({ "type": "string", "enum": ["bytes", "header", "missing"] });
    object(vec![
        ("from", count(), "The first offset that cannot be read."),
        ("to", count(), "The last one; below `from` if no record is lost."),
        ("why", why, "What is wrong."),
        ("file", text(), "The file's name."),
        ("at", count(), "Where in it the damage begins, in bytes."),
    ])
}
