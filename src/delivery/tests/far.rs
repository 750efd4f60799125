//! A far side that follows a script, remembers what it was sent, and notes what a lane must not do.
//!
//! Must never panic on a lane's mistake: that would only look like a broken connector.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tidings_connector::{
    Cause, Connector, ConnectorConfig, Delivery, ErrorClass, Fault, Finding, Limits, Outcome, Receipt, Scope,
    Template,
};

use super::elapse;

/// What the far side does with one attempt.
pub(super) enum Act {
    /// Answers at once, or later.
    Answer(Outcome, Duration),
    /// Drops the receipt.
    Drop,
    /// Never answers; the far side keeps the receipt.
    Keep,
    /// The connector panics.
    Panic,
    /// `deliver` never returns.
    Hang,
}

pub(super) fn ok() -> Act {
    Act::Answer(Outcome::Delivered, Duration::ZERO)
}

pub(super) fn fails() -> Act {
    Act::Answer(retry(), Duration::ZERO)
}

pub(super) fn retry() -> Outcome {
    Outcome::Retry { after: None, why: Cause::new(ErrorClass::Connect, "on purpose") }
}

pub(super) fn rejected() -> Outcome {
    Outcome::Rejected { why: Cause::new(ErrorClass::TooLarge, "on purpose") }
}

pub(super) fn faulted(scope: Scope) -> Outcome {
    Outcome::Faulted { scope, why: Cause::new(ErrorClass::Auth, "on purpose") }
}

type Script = Box<dyn FnMut(&str, u64, u32) -> Act + Send>;

/// A far side: follows a script of (key, offset, attempt), and remembers what it was sent.
pub(super) struct FarSide {
    script: Mutex<Script>,
    /// Every attempt in order: key, offset, and whether it had or later got the event.
    pub(super) seen: Mutex<Vec<(String, u64)>>,
    order: Mutex<Order>,
    /// Attempts that are out, by key.
    out: Mutex<HashSet<String>>,
    pub(super) most_out: Mutex<usize>,
    pub(super) largest_batch: Mutex<usize>,
    pub(super) kept: Mutex<Vec<(String, Receipt)>>,
    pub(super) connects: Mutex<usize>,
    pub(super) closed: Mutex<usize>,
    /// Answers to `connect`, oldest first; when none is left, it succeeds.
    pub(super) refuse: Mutex<VecDeque<Option<Fault>>>,
    pub(super) limits: Mutex<Limits>,
    /// What messages said of their replay, in order.
    marks: Mutex<Vec<String>>,
    /// Unhealthy until it is connected anew.
    pub(super) broken: AtomicBool,
    /// What a lane did that it must not do. A panic here would only look like a broken connector.
    violations: Mutex<Vec<&'static str>>,
}

impl FarSide {
    pub(super) fn new(script: impl FnMut(&str, u64, u32) -> Act + Send + 'static) -> Arc<Self> {
        Arc::new(Self {
            script: Mutex::new(Box::new(script)),
            seen: Mutex::default(),
            order: Mutex::default(),
            out: Mutex::default(),
            most_out: Mutex::default(),
            largest_batch: Mutex::default(),
            kept: Mutex::default(),
            connects: Mutex::default(),
            closed: Mutex::default(),
            refuse: Mutex::default(),
            violations: Mutex::default(),
            marks: Mutex::default(),
            broken: AtomicBool::default(),
            limits: Mutex::new(Limits { in_flight: 1_000, batch: 100, bytes: 1 << 20 }),
        })
    }

    /// Follows another script from now on.
    pub(super) fn follow(&self, script: impl FnMut(&str, u64, u32) -> Act + Send + 'static) {
        *self.script.lock().expect("held briefly") = Box::new(script);
    }

    /// What messages said of their replay, in order.
    pub(super) fn marks(&self) -> Vec<String> {
        self.marks.lock().expect("held briefly").clone()
    }

    /// How many attempts were made.
    pub(super) fn attempts(&self) -> usize {
        self.seen.lock().expect("held briefly").len()
    }

    /// Keys that the far side has not answered yet.
    pub(super) fn out(&self) -> usize {
        self.out.lock().expect("held briefly").len()
    }

    /// The test answered by hand: nothing is out any more.
    pub(super) fn forget_out(&self) {
        self.out.lock().expect("held briefly").clear();
    }

    fn expect(&self, kept: bool, rule: &'static str) {
        if !kept {
            self.violations.lock().expect("held briefly").push(rule);
        }
    }

    /// Checks the order of everything that was sent, whatever came of it: per key, an event is never new
    /// after a newer one was sent. `1 2 3 2` is legal, `1 3 2` is not.
    pub(super) fn check(&self) {
        assert_eq!(*self.violations.lock().expect("held briefly"), Vec::<&str>::new());
        let (seen, mut order) =
            (self.seen.lock().expect("held briefly"), self.order.lock().expect("held briefly"));
        order.check(&seen).expect("order per key");
    }
}

/// Checks the order per key of what was sent, as it grows.
#[derive(Default)]
pub(super) struct Order {
    checked: usize,
    keys: HashMap<String, (u64, HashSet<u64>)>,
}

impl Order {
    /// The first violation in what came since the last check, if there is one.
    pub(super) fn check(&mut self, seen: &[(String, u64)]) -> Result<(), String> {
        for (key, offset) in &seen[self.checked..] {
            let (newest, known) = self.keys.entry(key.clone()).or_default();
            if !known.contains(offset) && offset < newest {
                return Err(format!("{key}: {offset} came first after {newest}"));
            }
            known.insert(*offset);
            *newest = (*newest).max(*offset);
        }
        self.checked = seen.len();
        Ok(())
    }
}

/// The far side as a connector's configuration.
pub(super) struct Config(pub(super) Arc<FarSide>);

#[async_trait]
impl ConnectorConfig for Config {
    async fn connect(&self) -> Result<Box<dyn Connector>, Fault> {
        *self.0.connects.lock().expect("held briefly") += 1;
        let answer = self.0.refuse.lock().expect("held briefly").pop_front();
        match answer {
            Some(Some(fault)) => return Err(fault),
            Some(None) => panic!("connect panics on purpose"),
            None => {}
        }
        // What an older connection had out is unknown to the new one.
        self.0.out.lock().expect("held briefly").clear();
        self.0.broken.store(false, Ordering::Relaxed);
        Ok(Box::new(Scripted(Arc::clone(&self.0))))
    }
    async fn check(&self) -> Vec<Finding> {
        Vec::new()
    }
    fn kind(&self) -> &'static str {
        "scripted"
    }
    fn destination(&self) -> Option<&Template> {
        None
    }
    fn fingerprint(&self) -> String {
        String::new()
    }
}

struct Scripted(Arc<FarSide>);

#[async_trait]
impl Connector for Scripted {
    fn limits(&self) -> Limits {
        *self.0.limits.lock().expect("held briefly")
    }

    async fn deliver(&self, batch: Vec<Delivery>) {
        let limits = self.limits();
        self.0.expect(batch.len() <= limits.batch, "a batch above the limit");
        {
            let mut largest = self.0.largest_batch.lock().expect("held briefly");
            *largest = (*largest).max(batch.len());
        }
        for delivery in batch {
            let key = String::from_utf8(delivery.message.key.to_vec()).expect("test keys are text");
            let mark = delivery.message.headers.iter().find(|header| header.name == "tidings-replay");
            let mark = mark.map(|header| header.value.to_string());
            self.0.marks.lock().expect("held briefly").extend(mark);
            let payload = delivery.message.payload.as_ref().try_into().expect("eight bytes");
            let offset = u64::from_be_bytes(payload);
            self.0.seen.lock().expect("held briefly").push((key.clone(), offset));
            {
                let mut out = self.0.out.lock().expect("held briefly");
                self.0.expect(out.insert(key.clone()), "two events of one key are out together");
                self.0.expect(out.len() <= limits.in_flight, "more out than the limit");
                let mut most = self.0.most_out.lock().expect("held briefly");
                *most = (*most).max(out.len());
            }
            let act = (self.0.script.lock().expect("held briefly"))(&key, offset, delivery.attempt);
            self.act(act, key, delivery.receipt).await;
        }
    }

    fn healthy(&self) -> bool {
        !self.0.broken.load(Ordering::Relaxed)
    }

    async fn close(self: Box<Self>) {
        *self.0.closed.lock().expect("held briefly") += 1;
    }
}

impl Scripted {
    async fn act(&self, act: Act, key: String, receipt: Receipt) {
        let answered = |far: &FarSide, key: &str| far.out.lock().expect("held briefly").remove(key);
        match act {
            Act::Answer(outcome, Duration::ZERO) => {
                answered(&self.0, &key);
                receipt.settle(outcome, None);
            }
            Act::Answer(outcome, late) => {
                let far = Arc::clone(&self.0);
                tokio::spawn(async move {
                    elapse(late).await;
                    answered(&far, &key);
                    receipt.settle(outcome, None);
                });
            }
            Act::Drop => drop(answered(&self.0, &key)),
            Act::Keep => self.0.kept.lock().expect("held briefly").push((key, receipt)),
            Act::Panic => panic!("deliver panics on purpose"),
            Act::Hang => std::future::pending().await,
        }
    }
}
