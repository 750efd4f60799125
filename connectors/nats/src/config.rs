//! What `[target.NAME.connector.nats]` may say, as typed and as checked.
//!
//! Must never hold a value that was not checked here.

use async_trait::async_trait;
use serde::Deserialize;
use tidings_connector::{Connector, ConnectorConfig, Fault, Finding};

/// The keys of `[target.NAME.connector.nats]` as they were typed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct NatsOptions {}

/// A checked target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NatsConfig {}

impl NatsOptions {
    /// Checks everything that can be known without asking the broker. `Err` is a sentence that begins with
    /// the key.
    pub fn checked(self, _target: &str) -> Result<NatsConfig, String> {
        Err("the nats connector is not there yet".to_owned())
    }
}

#[async_trait]
impl ConnectorConfig for NatsConfig {
    async fn connect(&self) -> Result<Box<dyn Connector>, Fault> {
        match *self {}
    }

    async fn check(&self) -> Vec<Finding> {
        match *self {}
    }

    fn kind(&self) -> &'static str {
        "nats"
    }

    fn destination(&self) -> Option<&tidings_connector::Template> {
        match *self {}
    }

    fn fingerprint(&self) -> String {
        match *self {}
    }
}
