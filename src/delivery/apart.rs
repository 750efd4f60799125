//! A connection of its own to a target's far side, beside its lane's: for what is no entry of the queue.
//!
//! Must never touch the queue, the lane's connection or the books.

use std::time::Duration;

use tidings_connector::{
    Cause, Connector, Delivery, ErrorClass, Message, Outcome, Receipt, SettlementInbox, Ticket,
};
use tokio::time::timeout;

use super::{CLOSE_BOUND, DELIVER_BOUND, TargetHandle};

/// See [`TargetHandle::connect_apart`].
pub struct Apart {
    connection: Box<dyn Connector>,
    bound: Duration,
}

fn unknown(class: ErrorClass, text: &str) -> Outcome {
    Outcome::Retry { after: None, why: Cause::new(class, text) }
}

impl TargetHandle {
    /// Connects to the target's far side, beside its lane. Within an attempt's deadline.
    ///
    /// # Errors
    /// What the far side said, or that it said nothing.
    pub async fn connect_apart(&self) -> Result<Apart, Outcome> {
        let (connector, _, bound) = self.means();
        match timeout(bound, connector.connect()).await {
            Ok(Ok(connection)) => Ok(Apart { connection, bound }),
            Ok(Err(fault)) => Err(fault.outcome),
            Err(_) => Err(unknown(ErrorClass::Timeout, "connecting took too long")),
        }
    }
}

impl Apart {
    /// Sends one message and waits for what becomes of it, at most an attempt's deadline.
    pub async fn send(&self, message: Message) -> Outcome {
        let inbox = SettlementInbox::new();
        let receipt = Receipt::new(Ticket { incarnation: 0, slot: 0, attempt: 1 }, &inbox);
        let delivered = self.connection.deliver(vec![Delivery { message, attempt: 1, receipt }]);
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
        timeout(self.bound, answered).await.unwrap_or(late)
    }

    /// Lets go of the far side. Bounded.
    pub async fn close(self) {
        let _ = timeout(CLOSE_BOUND, self.connection.close()).await;
    }
}
