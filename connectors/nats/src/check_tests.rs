//! Each finding by itself, and a stream without any.

use tidings_connector::Severity;

use super::*;
use crate::NatsOptions;

fn target(subject: &str) -> NatsConfig {
    let options = NatsOptions {
        servers: vec!["127.0.0.1:4222".to_owned()],
        stream: "S".to_owned(),
        subject: subject.to_owned(),
        ..NatsOptions::default()
    };
    options.checked("t").expect("valid")
}

fn safe() -> Config {
    Config {
        name: "S".to_owned(),
        subjects: vec!["objects.>".to_owned()],
        discard: DiscardPolicy::New,
        max_bytes: 1 << 30,
        num_replicas: 3,
        duplicate_window: SAFE_WINDOW,
        ..Config::default()
    }
}

#[test]
fn a_safe_stream_is_called_safe() {
    let found = judge(&target("objects.a"), &safe(), 0);
    assert_eq!((found.len(), found[0].severity), (1, Severity::Ok), "{found:?}");
    // Which subjects a template makes is known when it makes them.
    assert_eq!(judge(&target("elsewhere.{bucket}"), &safe(), 0)[0].severity, Severity::Ok);
}

#[test]
fn every_danger_is_found_by_itself() {
    type Change = fn(&mut Config);
    let cases: [(Severity, &str, Change); 13] = [
        (Severity::Error, "does not take subject", |c| c.subjects = vec!["other".to_owned()]),
        (Severity::Error, "acknowledges nothing", |c| c.no_ack = true),
        (Severity::Error, "is sealed", |c| c.sealed = true),
        (Severity::Error, "every event would vanish", |c| c.retention = RetentionPolicy::Interest),
        (Severity::Warning, "work queue", |c| c.retention = RetentionPolicy::WorkQueue),
        (Severity::Warning, "(max_bytes)", |c| c.discard = DiscardPolicy::Old),
        (Severity::Warning, "(max_msgs)", |c| {
            (c.discard, c.max_bytes, c.max_messages) = (DiscardPolicy::Old, -1, 9);
        }),
        (Severity::Warning, "(max_msgs_per_subject)", |c| {
            (c.discard, c.max_bytes, c.max_messages_per_subject) = (DiscardPolicy::Old, -1, 1);
        }),
        (Severity::Warning, "after 60 s", |c| c.max_age = Duration::from_secs(60)),
        (Severity::Warning, "in memory", |c| c.storage = StorageType::Memory),
        (Severity::Warning, "has 1 of 3", |c| c.num_replicas = 1),
        (Severity::Warning, "before it writes", |c| c.persist_mode = Some(PersistenceMode::Async)),
        (Severity::Warning, "for 500 ms only", |c| c.duplicate_window = Duration::from_millis(500)),
    ];
    for (severity, says, change) in cases {
        let mut stream = safe();
        change(&mut stream);
        let found = judge(&target("objects.a"), &stream, 0);
        assert_eq!(found.len(), 1, "{says}: {found:?}");
        assert!(found[0].severity == severity && found[0].message.contains(says), "{says}: {found:?}");
    }
    let heard = Config { retention: RetentionPolicy::Interest, ..safe() };
    assert_eq!(judge(&target("objects.a"), &heard, 1)[0].severity, Severity::Warning);
    let unlimited = Config { discard: DiscardPolicy::Old, max_bytes: -1, ..safe() };
    assert_eq!(judge(&target("objects.a"), &unlimited, 0)[0].severity, Severity::Ok);
}

#[test]
fn subjects_are_matched_by_tokens() {
    for pattern in ["a.b", "a.*", "*.b", "a.>", ">", "*.*"] {
        assert!(matches(pattern, "a.b"), "{pattern}");
    }
    for pattern in ["a", "a.b.c", "a.b.*", "a.b.>", "b.>", "*", "a.bb"] {
        assert!(!matches(pattern, "a.b"), "{pattern}");
    }
}
