//! One task for each event, as many at once as the function may run.
//!
//! Must never wait for a run in `deliver`.

use std::sync::Arc;

use async_trait::async_trait;
use tidings_common::{Attempts, PAYLOAD_BYTES};
use tidings_connector::{Connector, Delivery, Limits, Report};

use crate::{Call, FunctionConfig};

/// The header that says how many runs of functions led to an event; left out where none did.
const HOPS: &str = "tidings-hops";

/// One function.
pub(crate) struct FunctionConnector {
    config: FunctionConfig,
    runs: Attempts,
}

impl FunctionConnector {
    pub(crate) fn new(config: FunctionConfig) -> Self {
        Self { runs: Attempts::new(config.concurrency.max(1)), config }
    }
}

#[async_trait]
impl Connector for FunctionConnector {
    fn limits(&self) -> Limits {
        let many = self.config.concurrency.max(1);
        Limits { in_flight: many, batch: many, bytes: PAYLOAD_BYTES }
    }

    async fn deliver(&self, batch: Vec<Delivery>) {
        self.runs.begin(batch, |delivery| attempt(self.config.clone(), delivery));
    }

    async fn close(self: Box<Self>) {
        self.runs.close().await;
    }
}

async fn attempt(config: FunctionConfig, delivery: Delivery) {
    let Delivery { message, attempt, receipt } = delivery;
    let retry = attempt.saturating_sub(1);
    let hops = message.headers.iter().find(|header| header.name == HOPS);
    // What nobody wrote so is no client's own change either.
    let hops = hops.map_or(0, |header| header.value.parse().unwrap_or(u8::MAX));
    let object: Arc<str> = String::from_utf8_lossy(&message.key).into();
    let call = Call {
        event: message.payload,
        request_id: Arc::clone(&message.id),
        event_id: Some(Arc::clone(&message.id)),
        object: Some(object),
        retry,
        hops,
    };
    let event = message.id;
    let ended = config.invoker.invoke(call).await;
    let report = Report { place: Some(ended.status.code().to_string().into()) };
    receipt.settle(config.policy.outcome(&ended, &config.tally, &event), Some(report));
}
