//! What a row needs of a far side: room of its own there, how much arrived, and a bare publisher.
//!
//! Must never make the bare publisher slower than its crate allows: it is what the lane is measured against.

use anyhow::Result;
use tidings::encode::Binding;
use tidings_connector::Message;

/// One far side.
pub(crate) trait Far: Sized {
    /// How events are bound to its messages.
    const BINDING: Binding;

    /// TOML of a target that gets every event.
    fn target(&self, name: &str) -> String;

    /// Messages that it took so far.
    async fn arrived(&self) -> Result<u64>;

    /// Publishes all of them with as many outstanding as the connector has by default, and returns when each
    /// is acknowledged.
    async fn publish(&self, messages: Vec<Message>) -> Result<()>;

    /// Removes what was made there.
    async fn remove(self) -> Result<()>;
}

/// TOML of the rule that takes every event.
pub(crate) fn every_event(name: &str) -> String {
    format!(
        "[[target.{name}.rule]]\nbucket = \"*\"\n\
         events = [\"s3:ObjectCreated:*\", \"s3:ObjectRemoved:*\"]\n"
    )
}
