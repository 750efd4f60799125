//! The connector contract and the findings of `check` against a running Kafka, whose address is in
//! `TIDINGS_TEST_KAFKA`.
//!
//! Must never pass without a broker.

#![allow(clippy::unwrap_used)]

mod live;
mod support;

use live::{Live, address};
use tidings_connector::contract::run_all;
use tidings_connector::{ConnectorConfig as _, Severity};

fn plain() -> Live {
    let brokers = address("TIDINGS_TEST_KAFKA");
    Live::new(Box::new(move |topic| support::options(&brokers, topic)), &[])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keeps_the_contract() {
    run_all(plain()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_dangerous_setting_of_a_topic_is_found() {
    let (live, brokers) = (plain(), address("TIDINGS_TEST_KAFKA"));
    let cases = [
        (Severity::Warning, "1 of 3 recommended copies", ("retention.ms", "-1")),
        (Severity::Warning, "min.insync.replicas to 2", ("min.insync.replicas", "1")),
        (Severity::Error, "nothing can be written", ("min.insync.replicas", "2")),
        (Severity::Warning, "missed acknowledged", ("unclean.leader.election.enable", "true")),
        (Severity::Warning, "is compacted", ("cleanup.policy", "compact")),
        (Severity::Warning, "after 60 min", ("retention.ms", "3600000")),
        (Severity::Warning, "beyond 1048576 bytes", ("retention.bytes", "1048576")),
        (Severity::Warning, "takes 200000 bytes", ("max.message.bytes", "200000")),
    ];
    for (severity, says, setting) in cases {
        let topic = support::fresh("tidings-check");
        live.make(&topic, &[setting]).await;
        let found = support::options(&brokers, &topic).checked("t").unwrap().check().await;
        let said = found.iter().find(|finding| finding.message.contains(says));
        assert_eq!(said.map(|finding| finding.severity), Some(severity), "{says}: {found:?}");
        // Of one broker there are always these: one copy, and one that acknowledges.
        let others = found.iter().filter(|f| f.severity > Severity::Ok && !f.message.contains(says));
        assert!(others.clone().count() <= 2, "{says}: {:?}", others.collect::<Vec<_>>());
    }
    let missing = support::options(&brokers, &support::fresh("tidings-check")).checked("t").unwrap();
    let found = missing.check().await;
    assert_eq!((found.len(), found[0].severity), (1, Severity::Error), "{found:?}");
    assert!(found[0].message.contains("does not exist"), "{found:?}");
}
