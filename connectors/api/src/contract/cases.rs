//! The cases of the contract, one function each.
//!
//! Must never know a protocol: everything about the far side goes through the harness.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::driver::{ATTEMPT, Driver, PROMPT, assert_fault, connect, message, messages, reconnect};
use super::{Arrived, Harness};
use crate::{Header, Message, Outcome, Scope, Severity};

/// `close` with nothing outstanding must end within this.
const CLOSE_IDLE: Duration = Duration::from_secs(3);

/// `close` must end within this whatever the far side does.
const CLOSE_HELD: Duration = Duration::from_secs(15);

/// A configuration of the harness must fail to connect within this.
const CONNECT: Duration = Duration::from_secs(15);

pub(super) async fn delivers(harness: &dyn Harness) {
    let target = harness.target(false).await;
    let connector = connect(&target).await;
    let sent = messages(&target, 1_000);
    let mut driver = Driver::new();
    let window = connector.limits().in_flight;
    for part in sent.chunks(window) {
        let outcomes = driver.attempt(&*connector, part).await;
        assert!(outcomes.iter().all(|o| *o == Outcome::Delivered), "not all delivered: {outcomes:?}");
    }
    connector.close().await;
    driver.drain();
    assert_payloads(&sent, &harness.arrived(&target, sent.len()).await);
}

pub(super) async fn unchanged(harness: &dyn Harness) {
    let target = harness.target(false).await;
    assert_arrive_unchanged(harness, &target, messages(&target, 20)).await;
}

pub(super) async fn odd(harness: &dyn Harness) {
    let target = harness.target(false).await;
    let keys =
        ["bucket/\0", "bucket/a\nb\r", "bucket/ключ 🔑", "b/%2F../..//", "b/\u{7f}\u{80}\u{ffff}", "b/ "];
    let mut sent: Vec<Message> = Vec::new();
    for (n, key) in keys.iter().enumerate() {
        let mut odd = message(&target, "odd", n);
        odd.key = Bytes::copy_from_slice(key.as_bytes());
        sent.push(odd);
    }
    let mut add = |change: &dyn Fn(&mut Message)| {
        let mut odd = message(&target, &format!("odd-{}", sent.len()), sent.len());
        change(&mut odd);
        sent.push(odd);
    };
    add(&|m| m.key = Bytes::from(vec![b'k'; 1_024 + 64]));
    add(&|m| m.payload = Bytes::from((0..=255).collect::<Vec<u8>>()));
    add(&|m| m.payload = Bytes::from_static(b"\xff\xfe\0\xc3"));
    add(&|m| m.payload = Bytes::from(vec![b'x'; 60_000]));
    add(&|m| m.headers.push(Header { name: "x-odd", value: "naïve \u{1f511} value".into() }));
    add(&|m| m.headers.push(Header { name: "x-empty", value: "".into() }));
    assert_arrive_unchanged(harness, &target, sent).await;

    let target = harness.target(false).await;
    let mut empty = message(&target, "empty", 1);
    empty.payload = Bytes::new();
    assert_arrive_unchanged(harness, &target, vec![empty]).await;
}

pub(super) async fn repeats(harness: &dyn Harness) {
    let target = harness.target(false).await;
    let connector = connect(&target).await;
    let sent = messages(&target, 5);
    let mut driver = Driver::new();
    for attempt in 1..=2 {
        driver.hand_over(&*connector, &sent, attempt).await;
        assert!(driver.settle(ATTEMPT).await, "attempt {attempt} did not settle");
    }
    assert!(driver.outcomes().iter().all(|o| *o == Some(Outcome::Delivered)), "{:?}", driver.outcomes());
    connector.close().await;
    let arrived = harness.arrived(&target, 10).await;
    for message in &sent {
        let same: Vec<&Arrived> = arrived.iter().filter(|a| a.payload == message.payload).collect();
        assert_eq!(same.len(), 2, "both attempts of {} must arrive", message.id);
        for arrived in same {
            assert_same(harness, message, arrived);
        }
    }
}

pub(super) async fn keeps_order(harness: &dyn Harness) {
    const KEYS: usize = 20;
    const STEPS: usize = 15;
    let target = harness.target(false).await;
    let connector = connect(&target).await;
    let mut driver = Driver::new();
    for step in 0..STEPS {
        let sent: Vec<Message> = (0..KEYS).map(|key| message(&target, &format!("key-{key}"), step)).collect();
        driver.deliver(&*connector, &sent, 3).await;
    }
    connector.close().await;
    let mut seen: HashMap<String, Vec<usize>> = HashMap::new();
    for arrived in harness.arrived(&target, KEYS * STEPS).await {
        let text = String::from_utf8(arrived.payload.to_vec()).expect("the driver sends text");
        let (key, n) = text.split_once(",\"n\":").expect("the driver's own form");
        let n = n.trim_end_matches('}').parse().expect("a number");
        seen.entry(key.to_owned()).or_default().push(n);
    }
    assert_eq!(seen.len(), KEYS, "every key arrives");
    for (key, mut steps) in seen {
        steps.dedup();
        assert_eq!(steps, (0..STEPS).collect::<Vec<_>>(), "the order of {key}");
    }
}

pub(super) async fn prompt(harness: &dyn Harness) {
    let target = harness.target(false).await;
    let connector = connect(&target).await;
    harness.hold(&target).await;
    let sent = messages(&target, connector.limits().in_flight);
    let mut driver = Driver::new();
    // `hand_over` fails if a call of `deliver` waits.
    driver.hand_over(&*connector, &sent, 1).await;
    driver.drain();
    let early = driver.outcomes().iter().flatten().count();
    assert_eq!(early, 0, "settled although the far side answered nothing: {:?}", driver.outcomes()[0]);
    harness.release(&target).await;
    assert!(driver.settle(3 * ATTEMPT).await, "not everything settled after the far side answered again");
    assert!(driver.outcomes().iter().all(|o| *o == Some(Outcome::Delivered)), "{:?}", driver.outcomes()[0]);
    connector.close().await;
}

pub(super) async fn dropped(harness: &dyn Harness) {
    let target = harness.target(false).await;
    let connector = connect(&target).await;
    harness.hold(&target).await;
    let sent = messages(&target, connector.limits().in_flight.min(500));
    let mut driver = Driver::new();
    driver.hand_over(&*connector, &sent, 1).await;
    drop(connector);
    let all = driver.settle(PROMPT).await;
    harness.release(&target).await;
    assert!(all, "receipts were left without an outcome after the connector was dropped");
    for outcome in driver.outcomes().iter().flatten() {
        assert!(matches!(outcome, Outcome::Retry { .. }), "dropped, and yet {outcome:?}");
    }
}

pub(super) async fn outage(harness: &dyn Harness) {
    let target = harness.target(false).await;
    let connector = connect(&target).await;
    let sent = messages(&target, connector.limits().in_flight.min(200));
    harness.stop(&target).await;
    let mut driver = Driver::new();
    driver.hand_over(&*connector, &sent, 1).await;
    driver.settle(Duration::from_secs(2)).await;
    // What did not settle is given up as a lane gives up: by dropping the connector.
    drop(connector);
    assert!(driver.settle(PROMPT).await, "receipts were left without an outcome");
    for outcome in driver.outcomes().iter().flatten() {
        assert!(matches!(outcome, Outcome::Retry { .. }), "the far side was away, and yet {outcome:?}");
    }
    let fault = match target.config.connect().await {
        Ok(_) => panic!("connected to a far side that is away"),
        Err(fault) => fault,
    };
    assert_fault(&fault);
    assert!(matches!(fault.outcome, Outcome::Retry { .. }), "waiting mends it, but: {:?}", fault.outcome);
    harness.start(&target).await;
    let connector = reconnect(&target).await;
    Driver::new().deliver(&*connector, &sent, 5).await;
    connector.close().await;
    assert_payloads(&sent, &harness.arrived(&target, sent.len()).await);
}

pub(super) async fn returns(harness: &dyn Harness) {
    let target = harness.target(false).await;
    let mut connector = connect(&target).await;
    let sent = messages(&target, 20);
    Driver::new().deliver(&*connector, &sent, 3).await;
    harness.stop(&target).await;
    harness.start(&target).await;
    let again: Vec<Message> = (0..20).map(|n| message(&target, &format!("later-{n}"), 100 + n)).collect();
    let mut left = again.clone();
    for _ in 0..20 {
        // As a lane does before every batch: a connector may notice late that its far side was away.
        if !connector.healthy() {
            connector = reconnect(&target).await;
        }
        let outcomes = Driver::new().attempt(&*connector, &left).await;
        let undelivered = |(message, outcome)| (outcome != Outcome::Delivered).then_some(message);
        left = left.into_iter().zip(outcomes).filter_map(undelivered).collect();
    }
    assert!(left.is_empty(), "{} of {} messages were not delivered", left.len(), again.len());
    connector.close().await;
    let all: Vec<Message> = sent.into_iter().chain(again).collect();
    assert_payloads(&all, &harness.arrived(&target, all.len()).await);
}

pub(super) async fn missing_target(harness: &dyn Harness) {
    let target = harness.missing(false).await;
    let sent = messages(&target, 3);
    match target.config.connect().await {
        Err(fault) => assert_faulted(&fault.outcome, Scope::Target),
        Ok(connector) => {
            for outcome in Driver::new().attempt(&*connector, &sent).await {
                assert_faulted(&outcome, Scope::Target);
            }
            connector.close().await;
        }
    }
    harness.create(&target).await;
    let connector = reconnect(&target).await;
    Driver::new().deliver(&*connector, &sent, 5).await;
    connector.close().await;
    assert_payloads(&sent, &harness.arrived(&target, sent.len()).await);
}

pub(super) async fn missing_destination(harness: &dyn Harness) {
    let good = harness.target(true).await;
    let missing = harness.missing(true).await;
    let connector = connect(&good).await;
    let (mates, lost) = (messages(&good, 10), messages(&missing, 1));
    let batch: Vec<Message> = mates.iter().chain(&lost).cloned().collect();
    let mut outcomes = Driver::new().attempt(&*connector, &batch).await;
    let of_missing = outcomes.pop().expect("one outcome for each message");
    assert_faulted(&of_missing, Scope::Destination);
    assert!(outcomes.iter().all(|o| *o == Outcome::Delivered), "a missing mate held others up: {outcomes:?}");
    harness.create(&missing).await;
    let deadline = Instant::now() + ATTEMPT;
    while Driver::new().attempt(&*connector, &lost).await != [Outcome::Delivered] {
        assert!(Instant::now() < deadline, "the destination exists now, and yet nothing is delivered there");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    connector.close().await;
    assert_payloads(&mates, &harness.arrived(&good, mates.len()).await);
    assert_payloads(&lost, &harness.arrived(&missing, 1).await);
}

pub(super) async fn too_large(harness: &dyn Harness) {
    let target = harness.target(false).await;
    let connector = connect(&target).await;
    let mut left = messages(&target, 9);
    left[4].payload = incompressible(harness.too_large());
    let mates: Vec<Message> = left.iter().filter(|m| m.payload.len() < 1_000).cloned().collect();
    let mut rejected = Vec::new();
    for _ in 0..3 {
        // Distinct keys: the messages of one batch may be refused together, and are told apart at the next
        // attempt.
        let outcomes = Driver::new().attempt(&*connector, &left).await;
        let mut again = Vec::new();
        for (message, outcome) in left.into_iter().zip(outcomes) {
            match outcome {
                Outcome::Delivered => {}
                Outcome::Rejected { .. } => rejected.push(message),
                Outcome::Retry { .. } => again.push(message),
                other => panic!("neither delivered, rejected nor retried: {other:?}"),
            }
        }
        left = again;
    }
    connector.close().await;
    assert!(left.is_empty(), "{} messages are still undecided", left.len());
    let sizes: Vec<usize> = rejected.iter().map(|m| m.payload.len()).collect();
    assert_eq!(sizes, [harness.too_large()], "the large message is rejected, and no other");
    assert_payloads(&mates, &harness.arrived(&target, mates.len()).await);
}

pub(super) async fn closes(harness: &dyn Harness) {
    let target = harness.target(false).await;
    let idle = connect(&target).await;
    let ended = tokio::time::timeout(CLOSE_IDLE, idle.close()).await;
    assert!(ended.is_ok(), "close with nothing outstanding took more than {CLOSE_IDLE:?}");

    let busy = connect(&target).await;
    let mut driver = Driver::new();
    let sent = messages(&target, busy.limits().in_flight.min(200));
    driver.hand_over(&*busy, &sent, 1).await;
    let ended = tokio::time::timeout(CLOSE_HELD, busy.close()).await;
    assert!(ended.is_ok(), "close took more than {CLOSE_HELD:?}");
    driver.drain();
    // A close that waits for what is outstanding has no reason to give up messages at a far side that
    // answers.
    assert!(driver.outcomes().iter().all(|o| *o == Some(Outcome::Delivered)), "{:?}", driver.outcomes());
}

pub(super) async fn closes_held(harness: &dyn Harness) {
    let target = harness.target(false).await;
    let connector = connect(&target).await;
    harness.hold(&target).await;
    let mut driver = Driver::new();
    driver.hand_over(&*connector, &messages(&target, 10), 1).await;
    let ended = tokio::time::timeout(CLOSE_HELD, connector.close()).await;
    let all = driver.settle(PROMPT).await;
    harness.release(&target).await;
    assert!(ended.is_ok(), "close waited longer than {CLOSE_HELD:?} for a far side that answers nothing");
    assert!(all, "receipts were left without an outcome after close");
    for outcome in driver.outcomes().iter().flatten() {
        assert!(matches!(outcome, Outcome::Retry { .. }), "nothing was answered, and yet {outcome:?}");
    }
}

pub(super) async fn dead_address(harness: &dyn Harness) {
    match tokio::time::timeout(CONNECT, harness.dead().connect()).await {
        Err(_) => panic!("no answer from connect within {CONNECT:?}"),
        Ok(Ok(_)) => panic!("connected where nobody listens"),
        Ok(Err(fault)) => assert_fault(&fault),
    }
}

pub(super) async fn checks(harness: &dyn Harness) {
    let target = harness.target(false).await;
    let good = target.config.check().await;
    assert!(!good.is_empty(), "check of a good target says nothing");
    assert!(good.iter().all(|f| f.severity < Severity::Error), "a good target: {good:?}");
    let dead = harness.dead().check().await;
    assert!(dead.iter().any(|f| f.severity == Severity::Error), "a dead target: {dead:?}");
    assert!(harness.arrived(&target, 0).await.is_empty(), "check sent an event");
}

pub(super) async fn secrets(harness: &dyn Harness) {
    let secrets = harness.secrets();
    assert!(!secrets.is_empty(), "plant a secret, or waive the case");
    let target = harness.target(false).await;
    let missing = harness.missing(false).await;
    let mut said = vec![target.config.fingerprint(), harness.dead().fingerprint()];
    for config in [harness.dead(), missing.config.clone()] {
        said.extend(config.check().await.into_iter().map(|finding| finding.message));
        match config.connect().await {
            Err(fault) => said.push(format!("{fault} {fault:?}")),
            Ok(connector) => {
                let outcomes = Driver::new().attempt(&*connector, &messages(&missing, 1)).await;
                said.push(format!("{outcomes:?}"));
            }
        }
    }
    said.extend(target.config.check().await.into_iter().map(|finding| finding.message));
    for (text, secret) in said.iter().flat_map(|text| secrets.iter().map(move |secret| (text, secret))) {
        assert!(!text.contains(secret.as_str()), "a secret shows in: {text}");
    }
}

async fn assert_arrive_unchanged(harness: &dyn Harness, target: &super::Target, sent: Vec<Message>) {
    let connector = connect(target).await;
    Driver::new().deliver(&*connector, &sent, 3).await;
    connector.close().await;
    let arrived = harness.arrived(target, sent.len()).await;
    assert_payloads(&sent, &arrived);
    for message in &sent {
        let id = message.id.as_bytes();
        let of_it = |a: &&Arrived| a.headers.iter().any(|(n, v)| n == "x-event-id" && v == id);
        assert_same(harness, message, arrived.iter().find(of_it).expect("the event id arrives"));
    }
}

fn assert_same(harness: &dyn Harness, sent: &Message, arrived: &Arrived) {
    assert_eq!(sent.payload, arrived.payload, "the payload changed");
    if let Some(key) = &arrived.key {
        assert_eq!(sent.key, key, "the key changed");
    }
    let carried = |header: &&Header| header.name == "x-event-id" || harness.carries_headers();
    for header in sent.headers.iter().filter(carried) {
        let values: Vec<&Bytes> =
            arrived.headers.iter().filter(|(name, _)| name == header.name).map(|(_, value)| value).collect();
        assert_eq!(values, [header.value.as_bytes()], "header {}", header.name);
    }
}

/// Bytes that no compression makes smaller: a far side may measure what travelled.
fn incompressible(len: usize) -> Bytes {
    let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    std::iter::repeat_with(next).take(len).collect()
}

/// Everything sent arrived, at least once, and nothing else.
fn assert_payloads(sent: &[Message], arrived: &[Arrived]) {
    let mut missing = sent.iter().filter(|m| !arrived.iter().any(|a| a.payload == m.payload));
    if let Some(first) = missing.next() {
        panic!("{} of {} messages did not arrive, first {}", 1 + missing.count(), sent.len(), first.id);
    }
    let strange = arrived.iter().find(|a| !sent.iter().any(|m| a.payload == m.payload));
    assert!(strange.is_none(), "something arrived that was not sent: {strange:?}");
}

fn assert_faulted(outcome: &Outcome, expected: Scope) {
    match outcome {
        Outcome::Faulted { scope, .. } if *scope == expected => {}
        other => panic!("expected Faulted for the {expected:?}, got {other:?}"),
    }
}
