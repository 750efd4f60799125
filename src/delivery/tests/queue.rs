//! A queue in memory: what was appended, what was taken, what was settled.
//!
//! Must never be lenient: it asserts what the embedded queue would rely on.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tidings_connector::{Cause, ErrorClass, Message};
use tokio::sync::Notify;

use super::elapse;
use crate::delivery::EncodeFn;
use crate::event::{Event, EventKind, Position, RequestInfo};
use crate::queue::dead::{DeadLetters, Gone, Ledger};
use crate::queue::{
    Change, Column, DeliveryTo, Entry, Hole, Lookup, ObjectMeta, ReadError, Reader, RewindError, Rewound,
    Stored, TargetNo, progress::Progress,
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
    /// Dead letters, and those that are gone.
    pub(super) buried: Vec<u64>,
    pub(super) gone: u64,
    pub(super) dead: Option<DeadLetters>,
    pub(super) flushed: usize,
    pub(super) fail_next: Option<ReadError>,
    /// How long a read takes, and how many were begun.
    pub(super) read_takes: Duration,
    pub(super) reads: usize,
    /// Entries looked up by their offset, the failure of the next look, and an offset that cannot be read.
    pub(super) looked_up: usize,
    pub(super) fail_lookup: Option<ReadError>,
    pub(super) unreadable: u64,
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
                log.delivered.len() + log.holes.len() + unread + log.buried.len(),
                "the books do not balance"
            );
        });
    }
}

impl Ledger for Queue {
    fn buried(&self, offsets: &[u64]) {
        self.see(|log| {
            for offset in offsets {
                assert!(log.holes.remove(offset).is_some(), "{offset} is buried, but was no hole");
                log.buried.push(*offset);
            }
        });
    }

    fn gone(&self, count: u64, _: Gone) {
        self.see(|log| log.gone += count);
    }

    fn lost(&self, _: u64) {}

    fn has_passed(&self, _: u64) -> bool {
        true
    }
}

#[async_trait]
impl Reader for MemoryReader {
    async fn next(&mut self, max: usize) -> Result<Vec<Arc<Stored>>, ReadError> {
        assert!(max > 0);
        let takes = self.queue.see(|log| {
            log.reads += 1;
            log.read_takes
        });
        if !takes.is_zero() {
            elapse(takes).await;
        }
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

    fn take_holes(&mut self) -> Vec<Hole> {
        let holes = std::mem::take(&mut self.holes);
        holes.iter().map(|s| Hole { offset: s.position.offset, key: s.key_hash(), bytes: 0 }).collect()
    }

    fn lookup(&self) -> Arc<dyn Lookup> {
        Arc::new(self.queue.clone())
    }

    async fn rewind(&mut self, from: u64, _: bool) -> Result<Rewound, RewindError> {
        let until = self.queue.see(|log| log.position as u64 + 1);
        Err(RewindError::Nothing { from, position: until })
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

    fn dead_letters(&self) -> Option<DeadLetters> {
        self.queue.see(|log| log.dead.clone())
    }

    async fn flush(&mut self) -> Result<(), ReadError> {
        self.queue.see(|log| log.flushed = log.delivered.len());
        Ok(())
    }
}

#[async_trait]
impl Lookup for Queue {
    async fn read(&self, offsets: &[u64]) -> Result<Vec<Arc<Stored>>, ReadError> {
        let takes = self.see(|log| log.read_takes);
        if !takes.is_zero() {
            elapse(takes).await;
        }
        self.see(|log| {
            if let Some(error) = log.fail_lookup.take() {
                return Err(error);
            }
            log.looked_up += offsets.len();
            let bad = log.unreadable;
            if offsets.first() == Some(&bad) {
                return Err(ReadError::Corrupt { from: bad, to: bad });
            }
            assert!(offsets.is_sorted(), "offsets out of order");
            let found = offsets.iter().take_while(|o| **o != bad);
            Ok(found.map(|o| log.holes.get(o).expect("only holes are looked up").clone()).collect())
        })
    }
}

/// One entry for the target, one microsecond of event time per offset.
pub(in crate::delivery) fn entry(offset: u64, key: &str) -> Stored {
    let event = Event {
        id: uuid::Uuid::from_u128(u128::from(offset)),
        kind: EventKind::CreatedPut,
        time_us: offset as i64,
        bucket: "bucket".into(),
        key: key.into(),
        version: None,
        size: 1,
        etag: "etag".into(),
        request: RequestInfo { id: "request".into(), source_ip: None, principal: "key".into(), hops: 0 },
    };
    let deliveries = vec![DeliveryTo { target: TARGET, rule: "rule-1".into() }];
    Stored {
        position: Position { epoch: 1, offset },
        entry: Entry {
            change: Change::PutObject(ObjectMeta::default()),
            event: Some(event),
            deliveries,
            shed: Vec::new(),
        },
        body: Bytes::new(),
        bare: 100,
        charge: 0,
    }
}

/// The key as message key, the offset as payload; a key that begins with `unencodable` cannot be encoded, and
/// one that begins with `panics` makes the encoder panic.
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
