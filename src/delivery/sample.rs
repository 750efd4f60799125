//! One sample event through a connection of its own: what would the far side say?
//!
//! Must never touch the queue, the lane's connection or the books.

use tidings_connector::{Cause, Delivery, ErrorClass, Header, Outcome, Receipt, SettlementInbox, Ticket};
use tokio::time::timeout;

use super::{CLOSE_BOUND, DELIVER_BOUND, TargetHandle};
use crate::queue::Stored;

/// Says that a message is a test and no event.
const HEADER: &str = "tidings-test";
/// The rule that a sample names.
const RULE: &str = "tidings-test";

fn unknown(class: ErrorClass, text: &str) -> Outcome {
    Outcome::Retry { after: None, why: Cause::new(class, text) }
}

impl TargetHandle {
    /// Sends a sample event, marked, and gives the far side's answer. Within twice an attempt's deadline
    /// and a few seconds.
    pub async fn test(&self, sample: &Stored) -> Outcome {
        let (connector, encode, bound) = self.means();
        let mut message = match encode(sample, RULE) {
            Ok(message) => message,
            Err(why) => return Outcome::Rejected { why },
        };
        message.headers.push(Header { name: HEADER, value: "true".into() });
        let connected = match timeout(bound, connector.connect()).await {
            Ok(Ok(connected)) => connected,
            Ok(Err(fault)) => return fault.outcome,
            Err(_) => return unknown(ErrorClass::Timeout, "connecting took too long"),
        };
        let inbox = SettlementInbox::new();
        let receipt = Receipt::new(Ticket { incarnation: 0, slot: 0, attempt: 1 }, &inbox);
        let delivered = connected.deliver(vec![Delivery { message, attempt: 1, receipt }]);
        let answered = async {
            if timeout(DELIVER_BOUND, delivered).await.is_err() {
                return unknown(ErrorClass::Timeout, "the connector did not take the message in time");
            }
            let mut answers = Vec::new();
            while answers.is_empty() {
                inbox.arrived().await;
                inbox.drain(&mut answers);
            }
            answers.remove(0).outcome
        };
        let late = unknown(ErrorClass::Timeout, "no answer within the attempt's deadline");
        let outcome = timeout(bound, answered).await.unwrap_or(late);
        let _ = timeout(CLOSE_BOUND, connected.close()).await;
        outcome
    }
}
