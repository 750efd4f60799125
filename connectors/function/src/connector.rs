//! One task for each event, as many at once as the function may run.
//!
//! Must never wait for a run in `deliver`.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use tidings_common::{CLOSE_WAIT, PAYLOAD_BYTES, window_full};
use tidings_connector::{Connector, Delivery, Limits, Report};
use tokio::task::JoinSet;

use crate::{Call, FunctionConfig};

/// The header that says how many runs of functions led to an event; left out where none did.
const HOPS: &str = "tidings-hops";

/// One function.
pub(crate) struct FunctionConnector {
    config: FunctionConfig,
    runs: Mutex<JoinSet<()>>,
}

impl FunctionConnector {
    pub(crate) fn new(config: FunctionConfig) -> Self {
        Self { config, runs: Mutex::default() }
    }
}

#[async_trait]
impl Connector for FunctionConnector {
    fn limits(&self) -> Limits {
        let many = self.config.concurrency.max(1);
        Limits { in_flight: many, batch: many, bytes: PAYLOAD_BYTES }
    }

    async fn deliver(&self, batch: Vec<Delivery>) {
        let mut runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        while runs.try_join_next().is_some() {}
        for delivery in batch {
            // A task that just settled may still be counted here, hence twice the window.
            if runs.len() >= 2 * self.config.concurrency.max(1) {
                delivery.receipt.settle(window_full(), None);
                continue;
            }
            runs.spawn(attempt(self.config.clone(), delivery));
        }
    }

    async fn close(self: Box<Self>) {
        let mut runs = self.runs.into_inner().unwrap_or_else(PoisonError::into_inner);
        let all = async { while runs.join_next().await.is_some() {} };
        // What has not ended by then: its receipt is dropped, and settles as Retry.
        let _ = tokio::time::timeout(CLOSE_WAIT, all).await;
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
