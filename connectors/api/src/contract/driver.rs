//! What a lane does, in its simplest form: make messages, attempt them, collect what settles.
//!
//! Must never settle a receipt itself: only the connector under test may.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::Target;
use crate::{Connector, Delivery, Fault, Header, Message, Outcome, Receipt, SettlementInbox, Ticket};

/// How long an attempt may take before the driver gives up on it, as a lane would.
pub(super) const ATTEMPT: Duration = Duration::from_secs(20);

/// `deliver` must be back within this: it waits for local buffers only.
pub(super) const PROMPT: Duration = Duration::from_secs(2);

/// One message whose payload names it: `key` and `n` can be read back from what arrived.
pub fn message(target: &Target, key: &str, n: usize) -> Message {
    // Its own for each event, since a far side may recognise repeats by it; the same at every attempt.
    let named = target.destination.bytes().chain(key.bytes());
    let named = named.fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    let id = format!("{named:08x}-0000-7000-8000-{n:012}");
    let headers = vec![
        Header { name: "content-type", value: "application/json".into() },
        Header { name: "x-event-id", value: id.as_str().into() },
    ];
    Message {
        id: id.into(),
        key: Bytes::from(format!("bucket/{key}")),
        payload: Bytes::from(format!("{{\"key\":\"{key}\",\"n\":{n}}}")),
        headers,
        destination: Arc::clone(&target.destination),
    }
}

/// `count` messages, each with a key of its own.
pub fn messages(target: &Target, count: usize) -> Vec<Message> {
    (0..count).map(|n| message(target, &format!("object-{n}"), n)).collect()
}

/// Collects what settles, and checks that nothing settles twice.
pub struct Driver {
    inbox: Arc<SettlementInbox>,
    outcomes: Vec<Option<Outcome>>,
    settled: usize,
}

impl Default for Driver {
    fn default() -> Self {
        Self::new()
    }
}

impl Driver {
    /// A driver that handed nothing over yet.
    pub fn new() -> Self {
        Self { inbox: SettlementInbox::new(), outcomes: Vec::new(), settled: 0 }
    }

    /// Hands messages over in batches within the connector's limits. Gives the number of the first.
    pub async fn hand_over(
        &mut self,
        connector: &dyn Connector,
        messages: &[Message],
        attempt: u32,
    ) -> usize {
        let first = self.outcomes.len();
        for batch in messages.chunks(connector.limits().batch) {
            let mut deliveries = Vec::with_capacity(batch.len());
            for message in batch {
                let ticket = Ticket { incarnation: 1, slot: self.outcomes.len() as u64, attempt };
                self.outcomes.push(None);
                let receipt = Receipt::new(ticket, &self.inbox);
                deliveries.push(Delivery { message: message.clone(), attempt, receipt });
            }
            let done = tokio::time::timeout(PROMPT, connector.deliver(deliveries)).await;
            assert!(done.is_ok(), "deliver waited for the far side: not back after {PROMPT:?}");
        }
        first
    }

    /// Takes what settled so far.
    pub fn drain(&mut self) {
        let mut settled = Vec::new();
        self.inbox.drain(&mut settled);
        for settlement in settled {
            let slot = &mut self.outcomes[settlement.ticket.slot as usize];
            assert!(slot.is_none(), "receipt {} settled twice", settlement.ticket.slot);
            *slot = Some(settlement.outcome);
            self.settled += 1;
        }
    }

    /// Waits until everything handed over settled, or the time is up. True: everything.
    pub async fn settle(&mut self, within: Duration) -> bool {
        let deadline = Instant::now() + within;
        loop {
            self.drain();
            if self.settled == self.outcomes.len() {
                return true;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if tokio::time::timeout(left, self.inbox.arrived()).await.is_err() {
                self.drain();
                return self.settled == self.outcomes.len();
            }
        }
    }

    /// What came of everything handed over since the start; `None`: not settled.
    pub fn outcomes(&self) -> &[Option<Outcome>] {
        &self.outcomes
    }

    /// Attempts messages once and waits for every receipt.
    pub async fn attempt(&mut self, connector: &dyn Connector, messages: &[Message]) -> Vec<Outcome> {
        let first = self.hand_over(connector, messages, 1).await;
        assert!(self.settle(ATTEMPT).await, "{} receipts never settled", self.outcomes.len() - self.settled);
        self.outcomes[first..].iter().flatten().cloned().collect()
    }

    /// Attempts messages until all are delivered, each at most `attempts` times; then panics.
    pub async fn deliver(&mut self, connector: &dyn Connector, messages: &[Message], attempts: u32) {
        let mut left = messages.to_vec();
        for _ in 0..attempts {
            let outcomes = self.attempt(connector, &left).await;
            let undelivered = |(message, outcome)| (outcome != Outcome::Delivered).then_some(message);
            left = left.into_iter().zip(outcomes).filter_map(undelivered).collect();
            if left.is_empty() {
                return;
            }
        }
        panic!(
            "{} of {} messages were not delivered: {:?}",
            left.len(),
            messages.len(),
            self.outcomes.last()
        );
    }
}

/// Connects, or says why not.
pub(super) async fn connect(target: &Target) -> Box<dyn Connector> {
    match target.config.connect().await {
        Ok(connector) => connector,
        Err(fault) => panic!("cannot connect: {fault} ({:?})", fault.outcome),
    }
}

/// Connects as soon as the far side is back.
pub(super) async fn reconnect(target: &Target) -> Box<dyn Connector> {
    let deadline = Instant::now() + 2 * ATTEMPT;
    loop {
        match target.config.connect().await {
            Ok(connector) => return connector,
            Err(fault) if Instant::now() > deadline => panic!("cannot connect again: {fault}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

/// A fault must say that the target cannot be used now, and nothing about any event.
pub(super) fn assert_fault(fault: &Fault) {
    let fits =
        matches!(fault.outcome, Outcome::Retry { .. } | Outcome::Throttled { .. } | Outcome::Faulted { .. });
    assert!(fits, "a fault that says {:?}", fault.outcome);
    assert!(!fault.message.is_empty(), "a fault without a sentence");
}
