//! What the contract does not ask of every connector: ids, identities, limits and findings, against a running
//! NATS server, whose address is in `TIDINGS_TEST_NATS`.
//!
//! Must never take for stored what only travelled.

#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use async_nats::Client;
use async_nats::jetstream::stream;
use support::{client, fresh, make, options, secret, server, stored, stream_of};
use tidings_connector::contract::{Arrived, Driver, Target, message, messages};
use tidings_connector::{
    ConnectorConfig, ErrorClass, Fault, Finding, Header, Message, Outcome, Scope, Severity, Span,
};
use tidings_nats::{NatsConfig, NatsOptions};

/// A stream with one subject of the same name.
async fn place(client: &Client) -> String {
    let name = fresh("live");
    make(client, stream_of(&name, &[&name])).await;
    name
}

fn target(options: NatsOptions, name: &str, destination: &str) -> (NatsConfig, Target) {
    let config = options.checked(name).unwrap();
    (config.clone(), Target { config: std::sync::Arc::new(config), destination: destination.into() })
}

async fn attempt(config: &NatsConfig, sent: &[Message]) -> Vec<Outcome> {
    let connector = config.connect().await.unwrap_or_else(|fault| panic!("{fault}"));
    let outcomes = Driver::new().attempt(&*connector, sent).await;
    connector.close().await;
    outcomes
}

fn delivered(outcomes: &[Outcome]) -> bool {
    outcomes.iter().all(|outcome| *outcome == Outcome::Delivered)
}

fn faulted(outcome: &Outcome, class: ErrorClass) -> bool {
    matches!(outcome, Outcome::Faulted { scope: Scope::Target, why } if why.class == class)
}

async fn refused(config: &NatsConfig) -> Fault {
    match config.connect().await {
        Ok(_) => panic!("connected"),
        Err(fault) => fault,
    }
}

fn ids(arrived: &[Arrived]) -> Vec<String> {
    let id = |one: &Arrived| {
        let (_, id) = one.headers.iter().find(|(name, _)| name == "Nats-Msg-Id").unwrap();
        String::from_utf8(id.to_vec()).unwrap()
    };
    arrived.iter().map(id).collect()
}

#[tokio::test]
async fn a_repeat_is_stored_once_and_two_targets_share_a_stream() {
    let client = client().await;
    let name = place(&client).await;
    let (first, one) = target(options(&server(), &name, &name), "first", &name);
    let (second, _) = target(options(&server(), &name, &name), "second", &name);
    let sent = messages(&one, 3);
    for config in [&first, &first, &second, &second] {
        assert!(delivered(&attempt(config, &sent).await));
    }
    let found = ids(&stored(&client, &name, &name).await);
    let of = |target: &str| sent.iter().map(|m| format!("{}/{target}", m.id)).collect::<Vec<_>>();
    let mut expected = [of("first"), of("second")].concat();
    let mut sorted = found.clone();
    expected.sort();
    sorted.sort();
    assert_eq!(sorted, expected, "each target's events once, no id in common");
}

#[tokio::test]
async fn what_an_operator_sends_again_is_stored_again_and_once_for_each_time() {
    let client = client().await;
    let name = place(&client).await;
    let (config, target) = target(options(&server(), &name, &name), "orders", &name);
    let first = message(&target, "k", 1);
    let replayed = |counter: &str| {
        let mut again = first.clone();
        again.headers.push(Header { name: "tidings-replay", value: counter.into() });
        again
    };
    for sent in [first.clone(), replayed("1"), replayed("1"), replayed("2")] {
        assert!(delivered(&attempt(&config, &[sent]).await));
    }
    let id = &first.id;
    let expected = [format!("{id}/orders"), format!("{id}/orders/1"), format!("{id}/orders/2")];
    assert_eq!(ids(&stored(&client, &name, &name).await), expected);
}

#[tokio::test]
async fn a_wrong_password_is_a_fault_that_heals_without_a_restart() {
    let client = client().await;
    let name = place(&client).await;
    let file = secret("wrong");
    let options =
        NatsOptions { password_file: file.to_str().unwrap().to_owned(), ..options(&server(), &name, &name) };
    let (config, target) = target(options, "t", &name);
    let fault = refused(&config).await;
    assert!(faulted(&fault.outcome, ErrorClass::Auth), "{fault} {:?}", fault.outcome);
    assert!(config.check().await.iter().any(|finding| finding.severity == Severity::Error));
    std::fs::write(&file, support::PASSWORD).unwrap();
    assert!(delivered(&attempt(&config, &messages(&target, 2)).await));
    std::fs::remove_file(&file).unwrap();
    assert!(faulted(&refused(&config).await.outcome, ErrorClass::Auth), "a secret that is gone");
}

#[tokio::test]
async fn an_nkey_opens_and_another_one_does_not() {
    let client = client().await;
    let name = place(&client).await;
    let open = |byte: u8| {
        let seed =
            nkeys::KeyPair::new_from_raw(nkeys::KeyPairType::User, [byte; 32]).unwrap().seed().unwrap();
        let nkey_file = secret(&seed).to_str().unwrap().to_owned();
        NatsOptions {
            username: String::new(),
            password_file: String::new(),
            nkey_file,
            ..options(&server(), &name, &name)
        }
    };
    let (config, good) = target(open(7), "t", &name);
    assert!(delivered(&attempt(&config, &messages(&good, 2)).await));
    let (config, _) = target(open(8), "t", &name);
    assert!(faulted(&refused(&config).await.outcome, ErrorClass::Auth));
}

#[tokio::test]
async fn a_subject_that_this_user_may_not_use_is_a_fault_of_that_subject() {
    let client = client().await;
    let name = fresh("live");
    let (denied, allowed) = (format!("denied.{name}"), format!("allowed.{name}"));
    make(&client, stream_of(&name, &[&denied, &allowed])).await;
    let options = NatsOptions { username: "mute".to_owned(), ..options(&server(), &name, "{kind}.{bucket}") };
    let (config, to_denied) = target(options, "t", &denied);
    let to_allowed = Target { destination: allowed.as_str().into(), ..to_denied.clone() };
    let sent = [messages(&to_denied, 1), messages(&to_allowed, 5)].concat();
    let outcomes = attempt(&config, &sent).await;
    let (of_denied, others) = outcomes.split_first().unwrap();
    let Outcome::Faulted { scope, why } = of_denied else { panic!("{of_denied:?}") };
    assert_eq!((*scope, why.class), (Scope::Destination, ErrorClass::Auth));
    assert!(delivered(others), "{others:?}");
    assert!(stored(&client, &name, &denied).await.is_empty());
}

#[tokio::test]
async fn a_user_that_may_only_publish_delivers_and_check_says_what_it_could_not_see() {
    let client = client().await;
    let name = place(&client).await;
    let options = NatsOptions { username: "narrow".to_owned(), ..options(&server(), &name, &name) };
    let (config, target) = target(options, "t", &name);
    assert!(delivered(&attempt(&config, &messages(&target, 3)).await));
    let found = config.check().await;
    let told = |f: &Finding| f.severity == Severity::Warning && f.message.contains("$JS.API.STREAM.INFO");
    assert!(found.iter().any(told), "{found:?}");
}

#[tokio::test]
async fn a_user_that_may_not_hear_acknowledgements_is_a_fault() {
    let client = client().await;
    let name = place(&client).await;
    let options = NatsOptions { username: "deaf".to_owned(), ..options(&server(), &name, &name) };
    let (config, _) = target(options, "t", &name);
    let fault = refused(&config).await;
    assert!(faulted(&fault.outcome, ErrorClass::Auth), "{fault} {:?}", fault.outcome);
}

#[tokio::test]
async fn a_stream_that_is_away_for_a_moment_is_retried_and_one_that_stays_away_is_a_fault() {
    let client = client().await;
    let name = fresh("live");
    make(&client, stream_of(&name, &[&name])).await;
    let (config, sent) = target(
        NatsOptions { leaderless_for: Span(Duration::from_secs(1)), ..options(&server(), &name, &name) },
        "t",
        &name,
    );
    let connector = config.connect().await.unwrap();
    let mut driver = Driver::new();
    // As a stream whose leader is being elected: nobody takes its subject.
    async_nats::jetstream::new(client.clone()).delete_stream(&name).await.unwrap();
    let sent = messages(&sent, 1);
    let retried = driver.attempt(&*connector, &sent).await;
    assert!(
        matches!(&retried[..], [Outcome::Retry { why, .. }] if why.class == ErrorClass::Unroutable),
        "{retried:?}"
    );
    let fault = tokio::time::timeout(Duration::from_secs(60), async {
        loop {
            let told = driver.attempt(&*connector, &sent).await;
            if !matches!(&told[..], [Outcome::Retry { .. }]) {
                return told;
            }
        }
    });
    let fault = fault.await.expect("it does not stay a retry");
    assert!(faulted(&fault[0], ErrorClass::Unroutable), "{fault:?}");
    make(&client, stream_of(&name, &[&name])).await;
    assert!(delivered(&driver.attempt(&*connector, &sent).await), "it heals by itself");
}

#[tokio::test]
async fn another_stream_than_the_expected_one_gets_nothing() {
    let client = client().await;
    let (name, other) = (place(&client).await, place(&client).await);
    // The subject belongs to the other stream.
    let (config, target) = target(options(&server(), &name, &other), "t", &other);
    let outcomes = attempt(&config, &messages(&target, 2)).await;
    assert!(outcomes.iter().all(|outcome| faulted(outcome, ErrorClass::Unroutable)), "{outcomes:?}");
    assert!(stored(&client, &other, &other).await.is_empty());
}

#[tokio::test]
async fn a_full_stream_is_retried_and_goes_on_when_there_is_room() {
    let client = client().await;
    let name = fresh("live");
    let full =
        stream::Config { max_messages: 1, discard: stream::DiscardPolicy::New, ..stream_of(&name, &[&name]) };
    let stream = make(&client, full).await;
    let (config, target) = target(options(&server(), &name, &name), "t", &name);
    let sent = messages(&target, 2);
    assert!(delivered(&attempt(&config, &sent[..1]).await));
    let outcomes = attempt(&config, &sent[1..]).await;
    for outcome in outcomes {
        let Outcome::Retry { why, .. } = outcome else { panic!("{outcome:?}") };
        assert_eq!(why.class, ErrorClass::Throttle);
    }
    stream.purge().await.unwrap();
    assert!(delivered(&attempt(&config, &sent[1..]).await));
}

#[tokio::test]
async fn what_is_larger_than_the_server_takes_is_rejected_and_the_connection_lives() {
    let client = client().await;
    let name = fresh("live");
    let large = stream::Config { max_message_size: -1, ..stream_of(&name, &[&name]) };
    make(&client, large).await;
    let (config, target) = target(options(&server(), &name, &name), "t", &name);
    let limit = client.server_info().max_payload;
    let mut sent = messages(&target, 3);
    // The headers count too: the payload alone would fit.
    sent[1].payload = vec![b'x'; limit - 10].into();
    let connector = config.connect().await.unwrap();
    let outcomes = Driver::new().attempt(&*connector, &sent).await;
    assert!(
        matches!(&outcomes[1], Outcome::Rejected { why } if why.class == ErrorClass::TooLarge),
        "{outcomes:?}"
    );
    assert!(outcomes[0] == Outcome::Delivered && outcomes[2] == Outcome::Delivered, "{outcomes:?}");
    assert!(connector.healthy());
}

#[tokio::test]
async fn core_nats_delivers_to_who_listens_and_says_what_it_is() {
    let client = client().await;
    let name = fresh("core");
    let options =
        NatsOptions { stream: String::new(), allow_at_most_once: true, ..options(&server(), "", &name) };
    let (config, target) = target(options, "t", &name);
    let mut subscriber = client.subscribe(name.clone()).await.unwrap();
    // A round trip behind the subscription.
    client.request("nobody.is.here", "".into()).await.unwrap_err();
    let sent = messages(&target, 2_000);
    assert!(delivered(&attempt(&config, &sent).await));
    let heard = support::heard(&mut subscriber, sent.len()).await;
    assert!(heard.iter().zip(&sent).all(|(heard, sent)| heard.payload == sent.payload));
    let found = config.check().await;
    assert!(found.iter().any(|f| f.severity == Severity::Warning && f.message.contains("lost")), "{found:?}");
}

#[tokio::test]
async fn check_finds_a_missing_stream_and_the_dangers_of_one_that_is_there() {
    let client = client().await;
    let name = place(&client).await;
    let config = options(&server(), &name, &name).checked("t").unwrap();
    let found = config.check().await;
    let says = |severity: Severity, text: &str| {
        assert!(
            found.iter().any(|f| f.severity == severity && f.message.contains(text)),
            "{text}: {found:?}"
        );
    };
    says(Severity::Ok, "NATS answers");
    says(Severity::Warning, "is in memory");
    says(Severity::Warning, "has 1 of 3");
    let missing = options(&server(), &fresh("none"), &name).checked("t").unwrap().check().await;
    let told = missing.iter().any(|f| f.severity == Severity::Error && f.message.contains("does not exist"));
    assert!(told, "{missing:?}");
}

#[tokio::test]
async fn the_second_server_is_used_when_the_first_is_away() {
    let client = client().await;
    let name = place(&client).await;
    let away = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let servers = vec![format!("nats://{away}"), format!("nats://{}", server())];
    let (config, target) = target(NatsOptions { servers, ..options(&server(), &name, &name) }, "t", &name);
    assert!(delivered(&attempt(&config, &messages(&target, 2)).await));
}
