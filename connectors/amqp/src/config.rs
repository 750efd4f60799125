//! What `[target.NAME.connector.amqp]` may say, as typed and as checked.
//!
//! Must never hold a value that was not checked here.

use async_trait::async_trait;
use serde::Deserialize;
use tidings_connector::{Connector, ConnectorConfig, Fault, Finding};

/// The keys of `[target.NAME.connector.amqp]` as they were typed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct AmqpOptions {}

/// A checked target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AmqpConfig {}

impl AmqpOptions {
    /// Checks everything that can be known without asking the broker. `Err` is a sentence that begins with
    /// the key.
    pub fn checked(self, _target: &str) -> Result<AmqpConfig, String> {
        Err("the amqp connector is not there yet".to_owned())
    }
}

#[async_trait]
impl ConnectorConfig for AmqpConfig {
    async fn connect(&self) -> Result<Box<dyn Connector>, Fault> {
        match *self {}
    }

    async fn check(&self) -> Vec<Finding> {
        match *self {}
    }

    fn kind(&self) -> &'static str {
        "amqp"
    }

    fn destination(&self) -> Option<&tidings_connector::Template> {
        match *self {}
    }

    fn fingerprint(&self) -> String {
        match *self {}
    }
}
