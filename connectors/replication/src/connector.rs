//! One task for each change, as many at once as may be on their way.
//!
//! Must never wait for the peer in `deliver`.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use tidings_common::{CLOSE_WAIT, PAYLOAD_BYTES, window_full};
use tidings_connector::{Connector, Delivery, Limits};
use tokio::task::JoinSet;

use crate::sender::Sender;

/// One peer.
pub(crate) struct ReplicationConnector {
    sender: Arc<Sender>,
    many: usize,
    requests: Mutex<JoinSet<()>>,
}

impl ReplicationConnector {
    pub(crate) fn new(sender: Sender, many: usize) -> Self {
        Self { sender: Arc::new(sender), many, requests: Mutex::default() }
    }
}

#[async_trait]
impl Connector for ReplicationConnector {
    fn limits(&self) -> Limits {
        Limits { in_flight: self.many, batch: self.many, bytes: PAYLOAD_BYTES }
    }

    async fn deliver(&self, batch: Vec<Delivery>) {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        while requests.try_join_next().is_some() {}
        for Delivery { message, receipt, .. } in batch {
            // A task that just settled may still be counted here, hence twice the window.
            if requests.len() >= 2 * self.many {
                receipt.settle(window_full(), None);
                continue;
            }
            let sender = Arc::clone(&self.sender);
            requests.spawn(async move {
                let (outcome, report) = sender.send(&message).await;
                receipt.settle(outcome, report);
            });
        }
    }

    async fn close(self: Box<Self>) {
        let mut requests = self.requests.into_inner().unwrap_or_else(PoisonError::into_inner);
        let all = async { while requests.join_next().await.is_some() {} };
        // What has not ended by then: its receipt is dropped, and settles as Retry.
        let _ = tokio::time::timeout(CLOSE_WAIT, all).await;
    }
}
