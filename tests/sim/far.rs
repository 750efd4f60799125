//! The lane over the whole stack, and a far side that says nothing.
//!
//! Must never count as arrived what the far side did not take: it notes on the trace what it took, when it
//! did.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tidings::config::{Budget, Encoding, OnReject, Target, TargetLimits};
use tidings::delivery::{Ambient, TargetHandle, spawn};
use tidings::queue::Pause;
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
    /// Keeps the first attempt of every message open, takes the second one.
    OpenAtFirst,
    /// Takes everything.
    Takes,
}

#[derive(Clone)]
struct Far {
    disk: Arc<SimDisk>,
    way: Way,
    /// What is open: its key and its receipt.
    open: Arc<Mutex<Vec<(String, Receipt)>>>,
    attempts: watch::Sender<usize>,
    /// Messages that said which replay they are of.
    marked: Arc<Mutex<Vec<String>>>,
}

impl Far {
    fn new(disk: &Arc<SimDisk>, way: Way) -> Self {
        Self {
            disk: Arc::clone(disk),
            way,
            open: Arc::default(),
            attempts: watch::Sender::new(0),
            marked: Arc::default(),
        }
    }

    fn take(&self, delivery: Delivery) {
        let n = u64::from_le_bytes((&*delivery.message.payload).try_into().expect("a payload of ours"));
        self.disk.mark(Mark::Delivered(n));
        delivery.receipt.settle(Outcome::Delivered, None);
    }

    /// Waits until so many attempts were made.
    async fn attempts(&self, many: usize) -> Result<(), String> {
        let mut attempts = self.attempts.subscribe();
        let all = tokio::time::timeout(Duration::from_secs(20), attempts.wait_for(|n| *n >= many)).await;
        all.map_err(|_| format!("{many} attempts are not made"))?.map(drop).map_err(|e| e.to_string())
    }
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
            let replay = delivery.message.headers.iter().filter(|h| h.name == "tidings-replay");
            self.marked.lock().expect("nobody panics here").extend(replay.map(|h| h.value.to_string()));
            let first = delivery.attempt == 1;
            match self.way {
                Way::SilentAtFirst if first => drop(delivery.receipt),
                Way::OpenAtFirst if !first => self.take(delivery),
                Way::SilentAtFirst | Way::Takes => self.take(delivery),
                Way::Open | Way::OpenAtFirst => {
                    let key = String::from_utf8(delivery.message.key.to_vec()).expect("keys are text");
                    self.open.lock().expect("nobody panics here").push((key, delivery.receipt));
                }
            }
        }
        self.attempts.send_modify(|n| *n += count);
    }

    async fn close(self: Box<Self>) {}
}

fn lane(reader: Box<dyn tidings::queue::Reader>, far: &Far) -> TargetHandle {
    patient_lane(reader, far, Duration::from_secs(30))
}

fn patient_lane(
    reader: Box<dyn tidings::queue::Reader>,
    far: &Far,
    attempt_timeout: Duration,
) -> TargetHandle {
    let limits = TargetLimits {
        attempt_timeout,
        backoff_min: Duration::from_millis(1),
        backoff_max: Duration::from_millis(2),
        max_in_flight: 16,
        max_held: 1_000_000,
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
    let (now, gone) = (tokio::time::Instant::now as fn() -> _, Arc::default());
    let ambient = Ambient { now, unix_ms: Arc::new(|| 1_000), seed: 3, gone };
    spawn(&target, TARGET, reader, encode, ambient, Pause::No)
}

/// Three changes, a lane, a stop in order, a new start: what the far side never took arrives now.
fn arrives(way: Way) -> Result<(), String> {
    let disk = empty();
    let mut story = Story::default();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.map_err(|e| e.to_string())?.block_on(async {
        let stack = Stack::open(&disk, NEVER).await?;
        let far = Far::new(&disk, way);
        let lane = lane(stack.reader().await?, &far);
        for n in 1..4 {
            story.plan.insert(n, (format!("key-{n}"), false));
            stack.put(&format!("key-{n}"), n).await.map_err(|e| e.to_string())?;
        }
        far.attempts(3).await?;
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

/// Runs something over an open stack, stops in order, and judges what a new start delivers.
fn told<F>(disk: Arc<SimDisk>, plan: &[(u64, &str)], life: impl FnOnce(Stack) -> F) -> Result<(), String>
where
    F: Future<Output = Result<Stack, String>>,
{
    let mut story = Story::default();
    story.plan.extend(plan.iter().map(|(n, key)| (*n, ((*key).to_owned(), false))));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.map_err(|e| e.to_string())?.block_on(async {
        life(Stack::open(&disk, NEVER).await?).await?.stop().await;
        Ok::<_, String>(())
    })?;
    disk.see(|trace| trace.iter().for_each(|op| story.pass(op)));
    judge(&after(disk.cached()), &story)
}

async fn put(stack: &Stack, key: &str, n: u64) -> Result<(), String> {
    stack.put(key, n).await.map(drop).map_err(|e| e.to_string())
}

/// Several events of one key, and a far side that takes its time: one is out.
fn one_at_a_time() -> Result<(), String> {
    let disk = empty();
    let far = Far::new(&disk, Way::Open);
    told(disk, &[(1, "key"), (2, "key"), (3, "other")], async |stack| {
        let lane = lane(stack.reader().await?, &far);
        for (n, key) in [(1, "key"), (2, "key"), (3, "other")] {
            put(&stack, key, n).await?;
        }
        far.attempts(2).await?;
        lane.stop(Duration::ZERO).await;
        let open = far.open.lock().map_err(|e| e.to_string())?;
        let of_key = open.iter().filter(|(key, _)| key == "key").count();
        if of_key > 1 { Err(format!("{of_key} events of one key are out together")) } else { Ok(stack) }
    })
}

#[test]
fn mutant_two_in_flight() {
    kills("two-in-flight", one_at_a_time);
}

/// Nothing is answered in time: everything comes again.
fn silence_until_the_deadline() -> Result<(), String> {
    let disk = empty();
    let far = Far::new(&disk, Way::Open);
    told(disk, &[(1, "a"), (2, "b")], async |stack| {
        let lane = patient_lane(stack.reader().await?, &far, Duration::from_millis(200));
        put(&stack, "a", 1).await?;
        put(&stack, "b", 2).await?;
        let mut timeouts = 0;
        while timeouts == 0 {
            timeouts = lane.status().counters.attempts.timeout;
            tokio::task::yield_now().await;
        }
        lane.stop(Duration::ZERO).await;
        Ok(stack)
    })
}

#[test]
fn mutant_timeout_as_delivered() {
    kills("timeout-as-delivered", silence_until_the_deadline);
}

/// An attempt that was given up is answered when its place belongs to another event.
fn answered_late() -> Result<(), String> {
    let disk = empty();
    let far = Far::new(&disk, Way::OpenAtFirst);
    told(disk, &[(1, "a"), (2, "b")], async |stack| {
        let lane = patient_lane(stack.reader().await?, &far, Duration::from_millis(1_500));
        put(&stack, "a", 1).await?;
        far.attempts(2).await?;
        put(&stack, "b", 2).await?;
        far.attempts(3).await?;
        let (key, first) = far.open.lock().map_err(|e| e.to_string())?.remove(0);
        if key != "a" {
            return Err("the test is wrong: the first attempt was of another key".to_owned());
        }
        first.settle(Outcome::Delivered, None);
        while lane.status().counters.late_receipts == 0 && lane.status().books.backlog > 0 {
            tokio::task::yield_now().await;
        }
        lane.stop(Duration::ZERO).await;
        Ok(stack)
    })
}

#[test]
fn mutant_late_receipt_settles() {
    kills("late-receipt-settles", answered_late);
}

/// An event matched a rule that its target does not have any more.
fn matched_before() -> Result<(), String> {
    let disk = empty();
    let far = Far::new(&disk, Way::Takes);
    told(disk, &[(1, "a"), (2, "b")], async |stack| {
        put(&stack, "a", 1).await?;
        put(&stack, "b", 2).await?;
        // The lane's target has no rule: both were matched by one that went before the lane began.
        let lane = lane(stack.reader().await?, &far);
        let settled = tokio::time::timeout(Duration::from_secs(10), stack.progress.settled()).await;
        settled.map_err(|_| "not everything is delivered")?;
        lane.stop(Duration::ZERO).await;
        Ok(stack)
    })
}

#[test]
fn mutant_rules_matched_at_delivery() {
    kills("rules-matched-at-delivery", matched_before);
}

/// An event was taken and not delivered when the process ended; the next of its key comes after the start.
fn held_before_new() -> Result<(), String> {
    let disk = empty();
    let far = Far::new(&disk, Way::Takes);
    told(disk, &[(1, "key"), (2, "key"), (3, "key")], async |stack| {
        let mut reader = stack.reader().await?;
        put(&stack, "key", 1).await?;
        put(&stack, "key", 2).await?;
        let mut taken = 0;
        while taken < 2 {
            taken += reader.next(9).await.map_err(|e| e.to_string())?.len();
        }
        reader.flush().await.map_err(|e| e.to_string())?;
        drop(reader);
        let disk = Arc::clone(&stack.disk);
        stack.stop().await;
        let stack = Stack::open(&disk, NEVER).await?;
        put(&stack, "key", 3).await?;
        let lane = lane(stack.reader().await?, &far);
        let settled = tokio::time::timeout(Duration::from_secs(10), stack.progress.settled()).await;
        settled.map_err(|_| "not everything is delivered")?;
        lane.stop(Duration::ZERO).await;
        Ok(stack)
    })
}

#[test]
fn mutant_hole_hashes_late() {
    kills("hole-hashes-late", held_before_new);
}

/// An operator goes back twice: everything comes again in order, marked, and counts as repeated.
#[test]
fn a_lane_goes_back_and_marks_what_it_sends_again() {
    let _sane = crate::sane();
    let disk = empty();
    let far = Far::new(&disk, Way::Takes);
    let plan = [(1, "key"), (2, "other"), (3, "key")];
    let went = told(disk, &plan, async |stack| {
        let lane = lane(stack.reader().await?, &far);
        for (n, key) in plan {
            put(&stack, key, n).await?;
        }
        far.attempts(3).await?;
        let first = stack.queue.stat().durable_end - 3;
        let back = lane.replay(first, false).await.map_err(|e| e.to_string())?;
        if (back.from, back.until) != (first, first + 3) {
            return Err(format!("{back:?}"));
        }
        far.attempts(6).await?;
        lane.replay(first + 1, false).await.map_err(|e| e.to_string())?;
        far.attempts(8).await?;
        if lane.replay(first + 3, false).await.is_ok() {
            return Err("it went back to where it is".to_owned());
        }
        lane.stop(Duration::from_secs(5)).await;
        let books = stack.progress.books();
        if (books.imbalance(), books.delivered, books.repeated, books.backlog) != (0, 3, 5, 0) {
            return Err(format!("{books:?}"));
        }
        Ok(stack)
    });
    went.unwrap_or_else(|why| panic!("{why}"));
    assert_eq!(*far.marked.lock().expect("nobody panics here"), ["1", "1", "1", "2", "2"]);
}
