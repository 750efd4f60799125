//! Stand-ins for tests: a queue in memory, a far side that follows a script, and a checker of what arrived there.
//!
//! Must never be lenient: each of them asserts what the real one would rely on.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tidings_connector::{
    Cause, Connector, ConnectorConfig, Delivery, ErrorClass, Fault, Finding, Limits, Message, Outcome,
    Receipt, Scope, Template,
};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::{Ambient, EncodeFn, TargetHandle, TargetStatus};
use crate::config::{Encoding, Target, TargetLimits};
use crate::event::{Event, EventKind, Position, RequestInfo};
use crate::queue::{
    Change, Column, DeliveryTo, Entry, ObjectMeta, ReadError, Reader, Stored, TargetNo, progress::Progress,
};

pub(super) const TARGET: TargetNo = TargetNo(7);

/// A queue in memory: what was appended, what was taken, what was settled.
#[derive(Default)]
pub(super) struct Log {
    pub(super) entries: Vec<Arc<Stored>>,
    pub(super) position: usize,
    pub(super) holes: BTreeMap<u64, Arc<Stored>>,
    pub(super) delivered: Vec<u64>,
    pub(super) repeated: u64,
    pub(super) flushed: usize,
    pub(super) fail_next: Option<ReadError>,
}

/// One reader of a [`Log`], and the test's view of it.
#[derive(Clone, Default)]
pub(super) struct Queue {
    pub(super) log: Arc<Mutex<Log>>,
    more: Arc<Notify>,
    pub(super) progress: Arc<Progress>,
}

/// The reader given to a lane. Opened anew, it gives every hole first.
pub(super) struct MemoryReader {
    queue: Queue,
    holes: VecDeque<Arc<Stored>>,
}

impl Queue {
    /// Appends one event of `key`.
    pub(super) fn append(&self, key: &str) {
        let mut log = self.log.lock().expect("no test panics while it holds this");
        let offset = log.entries.len() as u64 + 1;
        log.entries.push(Arc::new(entry(offset, key)));
        drop(log);
        self.more.notify_one();
    }

    /// Opens the reader.
    pub(super) fn open(&self) -> Box<dyn Reader> {
        let log = self.log.lock().expect("no test panics while it holds this");
        let holes = log.holes.values().cloned().collect();
        Box::new(MemoryReader { queue: self.clone(), holes })
    }

    /// Looks at the log.
    pub(super) fn see<T>(&self, look: impl FnOnce(&mut Log) -> T) -> T {
        look(&mut self.log.lock().expect("no test panics while it holds this"))
    }

    /// How many entries are delivered.
    pub(super) fn delivered(&self) -> usize {
        self.see(|log| log.delivered.len())
    }

    /// Checks the books: matched = delivered + backlog + held.
    pub(super) fn check_books(&self) {
        let held = self.progress.books().held as usize;
        self.see(|log| {
            let unread = log.entries.len() - log.position;
            assert!(held <= log.holes.len(), "more entries held than not settled");
            assert_eq!(
                log.entries.len(),
                log.delivered.len() + log.holes.len() + unread,
                "the books do not balance"
            );
        });
    }
}

#[async_trait]
impl Reader for MemoryReader {
    async fn next(&mut self, max: usize) -> Result<Vec<Arc<Stored>>, ReadError> {
        assert!(max > 0);
        loop {
            if let Some(error) = self.queue.see(|log| log.fail_next.take()) {
                return Err(error);
            }
            if !self.holes.is_empty() {
                return Ok(self.holes.drain(..max.min(self.holes.len())).collect());
            }
            let taken = self.queue.see(|log| {
                let end = log.entries.len().min(log.position + max);
                let taken: Vec<_> = log.entries[log.position..end].to_vec();
                log.position = end;
                log.holes.extend(taken.iter().map(|s| (s.position.offset, Arc::clone(s))));
                taken
            });
            if !taken.is_empty() {
                return Ok(taken);
            }
            self.queue.more.notified().await;
        }
    }

    fn settle(&mut self, settled: &[(u64, Column)]) {
        self.queue.see(|log| {
            for (offset, column) in settled {
                assert_eq!(*column, Column::Delivered);
                assert!(log.holes.remove(offset).is_some(), "{offset} is settled, but was no hole");
                log.delivered.push(*offset);
            }
        });
    }

    fn repeated(&mut self, count: u64) {
        self.queue.see(|log| log.repeated += count);
    }

    fn progress(&self) -> Arc<Progress> {
        Arc::clone(&self.queue.progress)
    }

    async fn flush(&mut self) -> Result<(), ReadError> {
        self.queue.see(|log| log.flushed = log.delivered.len());
        Ok(())
    }
}

/// One entry for the target, one microsecond of event time per offset.
pub(super) fn entry(offset: u64, key: &str) -> Stored {
    let event = Event {
        id: uuid::Uuid::from_u128(u128::from(offset)),
        kind: EventKind::CreatedPut,
        time_us: offset as i64,
        bucket: "bucket".into(),
        key: key.into(),
        version: None,
        size: 1,
        etag: "etag".into(),
        request: RequestInfo { id: "request".into(), source_ip: None, principal: "key".into() },
    };
    let deliveries = vec![DeliveryTo { target: TARGET, rule: "rule-1".into() }];
    Stored {
        position: Position { epoch: 1, offset },
        entry: Entry { change: Change::PutObject(ObjectMeta::default()), event: Some(event), deliveries },
        body: Bytes::new(),
        charge: 0,
    }
}

/// The key as message key, the offset as payload; a key that begins with `unencodable` cannot be encoded, and one
/// that begins with `panics` makes the encoder panic.
pub(super) fn encode() -> EncodeFn {
    Arc::new(|stored, rule| {
        assert_eq!(rule, "rule-1");
        let event = stored.entry.event.as_ref().expect("every test entry has an event");
        assert!(!event.key.starts_with("panics"), "on purpose");
        if event.key.starts_with("unencodable") {
            return Err(Cause::new(ErrorClass::Encode, "on purpose"));
        }
        Ok(Message {
            id: event.id.to_string().into(),
            key: Bytes::copy_from_slice(event.key.as_bytes()),
            payload: Bytes::copy_from_slice(&stored.position.offset.to_be_bytes()),
            headers: Vec::new(),
            destination: "".into(),
        })
    })
}

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
            limits: Mutex::new(Limits { in_flight: 1_000, batch: 100, bytes: 1 << 20 }),
        })
    }

    /// Follows another script from now on.
    pub(super) fn follow(&self, script: impl FnMut(&str, u64, u32) -> Act + Send + 'static) {
        *self.script.lock().expect("held briefly") = Box::new(script);
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

    /// Checks the order of everything that was sent, whatever came of it: per key, an event is never new after a
    /// newer one was sent. `1 2 3 2` is legal, `1 3 2` is not.
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
                    sleep_until(Instant::now() + late).await;
                    answered(&far, &key);
                    receipt.settle(outcome, None);
                });
            }
            Act::Drop => {
                answered(&self.0, &key);
            }
            Act::Keep => self.0.kept.lock().expect("held briefly").push((key, receipt)),
            Act::Panic => panic!("deliver panics on purpose"),
            Act::Hang => std::future::pending().await,
        }
    }
}

/// One lane over a queue in memory and a scripted far side.
pub(super) struct Bench {
    pub(super) queue: Queue,
    pub(super) far: Arc<FarSide>,
    pub(super) handle: TargetHandle,
}

pub(super) const SECOND: Duration = Duration::from_secs(1);

/// 10 s per attempt, backoff from 1 s to 60 s, room for 10,000 entries.
pub(super) const LIMITS: TargetLimits = TargetLimits {
    attempt_timeout: Duration::from_secs(10),
    backoff_min: SECOND,
    backoff_max: Duration::from_secs(60),
    max_in_flight: 10_000,
    rate_limit: None,
};

impl Bench {
    pub(super) fn start(far: Arc<FarSide>, limits: TargetLimits) -> Self {
        Self::open(Queue::default(), far, limits, false)
    }

    /// A lane over a queue that may have been read before.
    pub(super) fn open(queue: Queue, far: Arc<FarSide>, limits: TargetLimits, paused: bool) -> Self {
        let connector = Arc::new(Config(Arc::clone(&far)));
        let target =
            Target { name: "orders".into(), encoding: Encoding::S3, rules: Vec::new(), limits, connector };
        let handle = super::spawn(&target, TARGET, queue.open(), encode(), ambient(1), paused);
        Self { queue, far, handle }
    }

    pub(super) fn append(&self, key: &str, events: usize) {
        for _ in 0..events {
            self.queue.append(key);
        }
    }

    /// Lets (paused) time pass until it is so. Everything that the lane shows is checked at every step.
    pub(super) async fn until(&self, what: &str, is_so: impl Fn(&TargetStatus) -> bool) -> TargetStatus {
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
    pub(super) async fn pass(&self, time: Duration) {
        sleep_until(Instant::now() + time).await;
        self.status();
    }

    /// The status, checked against itself and the queue.
    pub(super) fn status(&self) -> TargetStatus {
        self.queue.check_books();
        self.far.check();
        let status = self.handle.status();
        assert!(
            status.retrying <= status.waiting && status.in_flight <= status.in_flight.max(self.far.out())
        );
        status
    }

    pub(super) async fn until_delivered(&self, events: usize) {
        self.until(&format!("{events} delivered"), |_| self.queue.delivered() >= events).await;
        assert_eq!(self.queue.delivered(), events);
    }
}

pub(super) fn ambient(seed: u64) -> Ambient {
    Ambient { unix_ms: Arc::new(|| 1_000), seed }
}
