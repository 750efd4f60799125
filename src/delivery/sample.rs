//! One sample event through a connection of its own: what would the far side say?
//!
//! Must never touch the queue, the lane's connection or the books.

use tidings_connector::{Header, Outcome};

use super::TargetHandle;
use crate::queue::Stored;

/// Says that a message is a test and no event.
const HEADER: &str = "tidings-test";
/// The rule that a sample names.
const RULE: &str = "tidings-test";

impl TargetHandle {
    /// Sends a sample event, marked, and gives the far side's answer. Within twice an attempt's deadline
    /// and a few seconds.
    pub async fn test(&self, sample: &Stored) -> Outcome {
        let (_, encode, _) = self.means();
        let mut message = match encode(sample, RULE) {
            Ok(message) => message,
            Err(why) => return Outcome::Rejected { why },
        };
        message.headers.push(Header { name: HEADER, value: "true".into() });
        let line = match self.connect_apart().await {
            Ok(line) => line,
            Err(outcome) => return outcome,
        };
        let outcome = line.send(message).await;
        line.close().await;
        outcome
    }
}
