//! How a target's events are written.
//!
//! Must never differ for two lanes of one target while the server runs.

use std::sync::Arc;

use super::targets::Targets;
use crate::config;
use crate::delivery::EncodeFn;
use crate::encode::{Binding, Encoder, Origin};

impl Targets {
    /// Turns entries into messages for a target.
    pub(super) fn encoder(&self, target: &config::Target) -> EncodeFn {
        let binding = match target.connector.kind() {
            "kafka" => Binding::Kafka,
            "nats" => Binding::Nats,
            "amqp" => Binding::Amqp,
            _ => Binding::Http,
        };
        let origin = Origin {
            region: &self.around.server.region,
            appid: &self.around.account.appid,
            domain: self.around.server.domain.as_deref(),
            target: &target.name,
        };
        let encoder = Encoder::new(target.encoding, binding, origin, target.connector.destination());
        Arc::new(move |stored, rule| encoder.message(stored, rule))
    }
}
