//! Each finding by itself, and a topic without any.

use tidings_connector::Severity;

use super::*;

const SAFE: &[(&str, &str)] = &[
    ("min.insync.replicas", "2"),
    ("unclean.leader.election.enable", "false"),
    ("cleanup.policy", "delete"),
    ("retention.ms", "604800000"),
    ("retention.bytes", "-1"),
    ("max.message.bytes", "1048588"),
];

fn of(copies: usize, changed: &[(&str, &str)]) -> Vec<Finding> {
    judge("t", copies, |key| {
        let found = changed.iter().chain(SAFE).find(|(name, _)| *name == key);
        found.map(|(_, value)| (*value).to_owned())
    })
}

#[test]
fn a_safe_topic_has_no_finding() {
    assert_eq!(of(3, &[]), []);
    assert_eq!(of(3, &[("retention.ms", "-1")]), [], "for ever");
    assert_eq!(judge("t", 3, |_| None), [], "what is not told is not judged");
    // Retention is of no effect where only compaction cleans up.
    let compacted = [("cleanup.policy", "compact"), ("retention.ms", "1"), ("retention.bytes", "1")];
    assert_eq!(of(3, &compacted).len(), 1);
}

#[test]
fn every_danger_is_found_by_itself() {
    let cases = [
        (Severity::Warning, "2 of 3 recommended copies", 2, ("min.insync.replicas", "2")),
        (Severity::Warning, "min.insync.replicas to 2", 3, ("min.insync.replicas", "1")),
        (Severity::Error, "nothing can be written", 3, ("min.insync.replicas", "4")),
        (Severity::Warning, "missed acknowledged events", 3, ("unclean.leader.election.enable", "true")),
        (Severity::Warning, "is compacted", 3, ("cleanup.policy", "compact,delete")),
        (Severity::Warning, "after 60 min", 3, ("retention.ms", "3600000")),
        (Severity::Warning, "beyond 1000 bytes", 3, ("retention.bytes", "1000")),
        (Severity::Warning, "takes 999999 bytes", 3, ("max.message.bytes", "999999")),
    ];
    for (severity, says, copies, change) in cases {
        let found = of(copies, &[change]);
        assert_eq!(found.len(), 1, "{says}: {found:?}");
        assert!(found[0].severity == severity && found[0].message.contains(says), "{says}: {found:?}");
    }
}
