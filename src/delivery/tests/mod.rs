//! What a lane promises, each promise against a far side that breaks it on purpose. Time is paused
//! throughout.
//!
//! Must never wait for the wall clock; every step of every test looks at the order and the books.

mod far;
mod faults;
mod health;
mod held;
mod letters;
mod lifecycle;
mod queue;
mod random;
mod sending;

use std::sync::Arc;
use std::time::Duration;

use far::{Act, Config, FarSide, Order, fails, faulted, ok, rejected, retry};
pub(in crate::delivery) use queue::entry;
use queue::{Queue, TARGET, encode};

use super::{Ambient, TargetHandle, TargetStatus};
use crate::config::{Budget, Encoding, OnReject, Target, TargetLimits};
use crate::queue::Pause;

/// Lets paused time pass, so that everything due by then happens in order.
async fn elapse(time: Duration) {
    let _ = tokio::time::timeout(time, std::future::pending::<()>()).await;
}

fn key(n: usize) -> String {
    format!("key-{n}")
}

/// One lane over a queue in memory and a scripted far side.
struct Bench {
    queue: Queue,
    far: Arc<FarSide>,
    handle: TargetHandle,
}

const SECOND: Duration = Duration::from_secs(1);

/// 10 s per attempt, backoff from 1 s to 60 s, room for 10,000 entries.
const LIMITS: TargetLimits = TargetLimits {
    attempt_timeout: Duration::from_secs(10),
    backoff_min: SECOND,
    backoff_max: Duration::from_secs(60),
    max_in_flight: 10_000,
    max_held: 1_000_000,
    rate_limit: None,
    on_reject: OnReject::DeadLetter,
    dead_letters_max_bytes: 1 << 20,
};

impl Bench {
    fn start(far: Arc<FarSide>, limits: TargetLimits) -> Self {
        Self::open(Queue::default(), far, limits, Pause::No)
    }

    /// A lane over a queue that may have been read before.
    fn open(queue: Queue, far: Arc<FarSide>, limits: TargetLimits, paused: Pause) -> Self {
        let connector = Arc::new(Config(Arc::clone(&far)));
        let target = Target {
            name: "orders".into(),
            encoding: Encoding::S3,
            rules: Vec::new(),
            budget: Budget::default(),
            limits,
            connector,
        };
        let handle = super::spawn(&target, TARGET, queue.open(), encode(), ambient(1), paused);
        Self { queue, far, handle }
    }

    fn append(&self, key: &str, events: usize) {
        for _ in 0..events {
            self.queue.append(key);
        }
    }

    /// Lets (paused) time pass until it is so. Everything that the lane shows is checked at every step.
    async fn until(&self, what: &str, is_so: impl Fn(&TargetStatus) -> bool) -> TargetStatus {
        for _ in 0..200_000 {
            let status = self.status();
            if is_so(&status) {
                return status;
            }
            self.pass(Duration::from_millis(20)).await;
        }
        panic!("not so in an hour: {what}: {:?}", self.status());
    }

    /// Lets (paused) time pass.
    async fn pass(&self, time: Duration) {
        elapse(time).await;
        self.status();
    }

    /// The status, checked against itself and the queue.
    fn status(&self) -> TargetStatus {
        self.queue.check_books();
        self.far.check();
        let status = self.handle.status();
        assert!(
            status.retrying <= status.waiting && status.in_flight <= status.in_flight.max(self.far.out())
        );
        status
    }

    async fn until_delivered(&self, events: usize) {
        self.until(&format!("{events} delivered"), |_| self.queue.delivered() >= events).await;
        assert_eq!(self.queue.delivered(), events);
    }
}

fn ambient(seed: u64) -> Ambient {
    Ambient { now: tokio::time::Instant::now, unix_ms: Arc::new(|| 1_000), seed, gone: Arc::default() }
}
