//! One task for each message: for far sides that are asked once for each event, many at a time.
//!
//! Must never wait for an answer while a batch is taken, nor let a task outlive its connection: what ends
//! unsettled is a Retry.

use std::sync::{Mutex, PoisonError};

use tidings_connector::Delivery;
use tokio::task::JoinSet;

use crate::{CLOSE_WAIT, window_full};

/// Attempts that are under way.
pub struct Attempts {
    tasks: Mutex<JoinSet<()>>,
    window: usize,
}

impl Attempts {
    /// `window`: how many the lane may have out.
    pub fn new(window: usize) -> Self {
        Self { tasks: Mutex::default(), window }
    }

    /// Begins an attempt for each delivery.
    pub fn begin<F>(&self, batch: Vec<Delivery>, attempt: impl Fn(Delivery) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        for delivery in batch {
            // A task that just settled may still be counted here, hence twice the window.
            if tasks.len() >= 2 * self.window {
                delivery.receipt.settle(window_full(), None);
                continue;
            }
            tasks.spawn(attempt(delivery));
        }
    }

    /// Waits until all have ended, at most [`CLOSE_WAIT`]. What has not by then is cut: its receipt is
    /// dropped, and settles as Retry.
    pub async fn close(self) {
        let mut tasks = self.tasks.into_inner().unwrap_or_else(PoisonError::into_inner);
        let all = async { while tasks.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(CLOSE_WAIT, all).await;
    }
}
