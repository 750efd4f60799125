//! The lane over the whole stack, and a far side that says nothing.
//!
//! Must never count as arrived what the far side did not take: it notes on the trace what it took, when it
//! did.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tidings::config::{Budget, Encoding, OnReject, Target, TargetLimits};
use tidings::delivery::{Ambient, TargetHandle, spawn};
use tidings_connector::{
    Connector, ConnectorConfig, Delivery, Fault, Finding, Limits, Message, Outcome, Receipt, Template,
};
use tokio::sync::watch;

use crate::disk::{Mark, SimDisk};
use crate::kills;
use crate::rules::after;
use crate::stack::{NEVER, Stack, Story, TARGET, change, empty, judge};

/// What the far side does with an attempt.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Forgets the first attempt of every message without a word, takes the second one.
    SilentAtFirst,
    /// Keeps every attempt open, and takes nothing.
    Open,
}

#[derive(Clone)]
struct Far {
    disk: Arc<SimDisk>,
    way: Way,
    open: Arc<Mutex<Vec<Receipt>>>,
    attempts: watch::Sender<usize>,
}

#[async_trait]
impl ConnectorConfig for Far {
    async fn connect(&self) -> Result<Box<dyn Connector>, Fault> {
        Ok(Box::new(self.clone()))
    }

    async fn check(&self) -> Vec<Finding> {
        Vec::new()
    }

    fn kind(&self) -> &'static str {
        "http"
    }

    fn destination(&self) -> Option<&Template> {
        None
    }

    fn fingerprint(&self) -> String {
        "far".to_owned()
    }
}

#[async_trait]
impl Connector for Far {
    fn limits(&self) -> Limits {
        Limits { in_flight: 16, batch: 16, bytes: 1 << 20 }
    }

    async fn deliver(&self, batch: Vec<Delivery>) {
        let count = batch.len();
        for delivery in batch {
            match self.way {
                Way::SilentAtFirst if delivery.attempt == 1 => drop(delivery.receipt),
                Way::SilentAtFirst => {
                    let n = u64::from_le_bytes(
                        (&*delivery.message.payload).try_into().expect("a payload of ours"),
                    );
                    self.disk.mark(Mark::Delivered(n));
                    delivery.receipt.settle(Outcome::Delivered, None);
                }
                Way::Open => self.open.lock().expect("nobody panics here").push(delivery.receipt),
            }
        }
        self.attempts.send_modify(|n| *n += count);
    }

    async fn close(self: Box<Self>) {}
}

fn lane(reader: Box<dyn tidings::queue::Reader>, far: &Far) -> TargetHandle {
    let limits = TargetLimits {
        attempt_timeout: Duration::from_secs(30),
        backoff_min: Duration::from_millis(1),
        backoff_max: Duration::from_millis(2),
        max_in_flight: 16,
        rate_limit: None,
        on_reject: OnReject::DeadLetter,
        dead_letters_max_bytes: 1 << 20,
    };
    let target = Target {
        name: "target".into(),
        encoding: Encoding::S3,
        rules: Vec::new(),
        budget: Budget::default(),
        limits,
        connector: Arc::new(far.clone()),
    };
    let encode = Arc::new(|stored: &tidings::queue::Stored, _: &str| {
        Ok(Message {
            id: "id".into(),
            key: stored.entry.event.as_ref().map(|e| e.key.to_string()).unwrap_or_default().into(),
            payload: change(stored).to_le_bytes().to_vec().into(),
            headers: Vec::new(),
            destination: "".into(),
        })
    });
    let ambient = Ambient { now: tokio::time::Instant::now, unix_ms: Arc::new(|| 1_000), seed: 3 };
    spawn(&target, TARGET, reader, encode, ambient, false)
}

/// Three changes, a lane, a stop in order, a new start: what the far side never took arrives now.
fn arrives(way: Way) -> Result<(), String> {
    let disk = empty();
    let mut story = Story::default();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.map_err(|e| e.to_string())?.block_on(async {
        let stack = Stack::open(&disk, NEVER).await?;
        let far = Far { disk: Arc::clone(&disk), way, open: Arc::default(), attempts: watch::Sender::new(0) };
        let lane = lane(stack.reader().await?, &far);
        for n in 1..4 {
            story.plan.insert(n, (format!("key-{n}"), false));
            stack.put(&format!("key-{n}"), n).await.map_err(|e| e.to_string())?;
        }
        let mut attempts = far.attempts.subscribe();
        let all = tokio::time::timeout(Duration::from_secs(10), attempts.wait_for(|n| *n >= 3)).await;
        all.map_err(|_| "the lane sends nothing")?.map_err(|e| e.to_string())?;
        if way == Way::SilentAtFirst {
            let settled = tokio::time::timeout(Duration::from_secs(10), stack.progress.settled()).await;
            settled.map_err(|_| "silence is never tried again")?;
        }
        let stopped = lane.stop(Duration::ZERO).await;
        if let Some(why) = stopped.not_durable {
            return Err(why);
        }
        stack.stop().await;
        Ok::<_, String>(())
    })?;
    disk.see(|trace| trace.iter().for_each(|op| story.pass(op)));
    judge(&after(disk.cached()), &story)
}

#[test]
fn mutant_unknown_as_delivered() {
    kills("unknown-as-delivered", || arrives(Way::SilentAtFirst));
}

#[test]
fn mutant_progress_before_ack() {
    kills("progress-before-ack", || arrives(Way::Open));
}
