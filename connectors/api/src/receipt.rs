//! The one-shot token of one delivery attempt, and the inbox it reports to.
//!
//! A receipt dropped unsettled reports `Retry`: forgetting, panicking and disconnecting can never look like
//! success.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use crate::{Cause, ErrorClass, Outcome, Report};

/// Which attempt a receipt stands for. Only the lane that made it can say what the numbers mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ticket {
    /// The lane's incarnation: raised whenever a connector is dropped, so that late answers are recognised.
    pub incarnation: u64,
    /// The slot of the event in the lane.
    pub slot: u64,
    /// The attempt's number.
    pub attempt: u32,
}

/// What came back for one ticket.
#[derive(Debug)]
pub struct Settlement {
    /// Which attempt.
    pub ticket: Ticket,
    /// What came of it.
    pub outcome: Outcome,
    /// What the far side said beside it.
    pub report: Option<Report>,
}

/// Where receipts report: filled from any thread without waiting, drained in batches by one lane.
///
/// Bounded by construction: it never holds more settlements than receipts were made.
#[derive(Debug, Default)]
pub struct SettlementInbox {
    settled: Mutex<Vec<Settlement>>,
    arrived: Notify,
}

impl SettlementInbox {
    /// An empty inbox.
    pub fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// Swaps everything that arrived into `into` (which is cleared first). Never waits.
    pub fn drain(&self, into: &mut Vec<Settlement>) {
        into.clear();
        std::mem::swap(&mut *self.settled.lock().unwrap_or_else(PoisonError::into_inner), into);
    }

    /// Waits until something may have arrived. Cancel safe; may wake without reason.
    pub async fn arrived(&self) {
        self.arrived.notified().await;
    }

    fn push(&self, settlement: Settlement) {
        let first = {
            let mut settled = self.settled.lock().unwrap_or_else(PoisonError::into_inner);
            settled.push(settlement);
            settled.len() == 1
        };
        // One wake-up per drained batch: whoever finds the inbox empty wakes the lane.
        if first {
            self.arrived.notify_one();
        }
    }
}

/// The one-shot token of one delivery attempt.
#[derive(Debug)]
pub struct Receipt {
    ticket: Ticket,
    inbox: Option<Arc<SettlementInbox>>,
}

impl Receipt {
    /// A receipt for one attempt. Called by the lane (and by contract tests) only.
    pub fn new(ticket: Ticket, inbox: &Arc<SettlementInbox>) -> Self {
        Self { ticket, inbox: Some(Arc::clone(inbox)) }
    }

    /// Reports what came of the attempt. Never waits.
    pub fn settle(mut self, outcome: Outcome, report: Option<Report>) {
        if let Some(inbox) = self.inbox.take() {
            inbox.push(Settlement { ticket: self.ticket, outcome, report });
        }
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        if let Some(inbox) = self.inbox.take() {
            let why = Cause::new(ErrorClass::Unknown, "the connector gave no answer for this attempt");
            let outcome = Outcome::Retry { after: None, why };
            inbox.push(Settlement { ticket: self.ticket, outcome, report: None });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dropped_unsettled_is_retry() {
        let inbox = SettlementInbox::new();
        drop(Receipt::new(Ticket { incarnation: 1, slot: 7, attempt: 2 }, &inbox));
        let mut got = Vec::new();
        inbox.drain(&mut got);
        assert_eq!(got.len(), 1);
        assert_eq!(got[0].ticket.slot, 7);
        assert!(matches!(got[0].outcome, Outcome::Retry { after: None, .. }));
    }

    #[test]
    fn settled_reports_once() {
        let inbox = SettlementInbox::new();
        Receipt::new(Ticket { incarnation: 1, slot: 7, attempt: 1 }, &inbox).settle(Outcome::Delivered, None);
        let mut got = Vec::new();
        inbox.drain(&mut got);
        assert_eq!(got.len(), 1);
        assert_eq!(got[0].outcome, Outcome::Delivered);
        inbox.drain(&mut got);
        assert!(got.is_empty());
    }
}
