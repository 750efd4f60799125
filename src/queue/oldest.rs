//! How old the oldest event is that a target lacks, where no lane has it in its hands.
//!
//! Must never be asked on a hot path: it may read up to one segment, once for each position of a reader.

use std::sync::atomic::Ordering;

use super::ReadError;
use super::embedded::EmbeddedQueue;
use super::entry::{Stored, TargetNo};
use super::progress::Progress;
use super::read::read_log;

/// Entries decoded in one go.
const CHUNK: usize = 4_096;

/// The oldest event that a target lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OldestEvent {
    /// Where it stands in the log.
    pub offset: u64,
    /// When it was committed, or about when, if its record is damaged: microseconds since the Unix epoch, by
    /// the clock as it was set then.
    pub time_us: i64,
}

/// Where a reader's oldest unsettled event is.
#[derive(Debug, PartialEq, Eq)]
enum Oldest {
    /// There is none.
    None,
    /// In memory.
    Known(OldestEvent),
    /// The first one of the target at or above this offset.
    From(u64),
}

impl OldestEvent {
    /// Of an entry that has an event.
    pub fn of(stored: &Stored) -> Option<Self> {
        let time_us = stored.entry.event.as_ref()?.time_us;
        Some(Self { offset: stored.position.offset, time_us })
    }
}

impl Progress {
    /// Where the oldest unsettled event is.
    fn oldest(&self) -> Oldest {
        let state = self.state();
        if let Some(hole) = state.holes.first() {
            return Oldest::From(hole);
        }
        if let Some(waiting) = state.inbox.front().and_then(|stored| OldestEvent::of(stored)) {
            return Oldest::Known(waiting);
        }
        if state.totals.taken >= self.matched.load(Ordering::Acquire) {
            return Oldest::None;
        }
        Oldest::From(state.position(self.dispatched.load(Ordering::Acquire)))
    }
}

impl EmbeddedQueue {
    /// One above the last durable offset.
    pub fn durable_end(&self) -> u64 {
        *self.inner.journal.durable_end().borrow()
    }

    /// The oldest unsettled event of a target. None if there is none. Blocks while it reads: segments without
    /// an event for the target are passed over, so that at most the one in which the reader stands is
    /// searched; the answer is remembered.
    pub fn oldest_unsettled(&self, target: TargetNo) -> Option<OldestEvent> {
        let progress = self.inner.routes.get(target)?;
        let from = match progress.oldest() {
            Oldest::None => return None,
            Oldest::Known(event) => return Some(event),
            Oldest::From(offset) => offset,
        };
        let mut looked_up = progress.looked_up();
        if let Some((asked, event)) = *looked_up
            && asked == from
        {
            return Some(event);
        }
        let about = || Some(OldestEvent { offset: from, time_us: self.about_us(from)? });
        let event = self.first_event(target, from).or_else(about)?;
        *looked_up = Some((from, event));
        Some(event)
    }

    /// About when a record was written that cannot be read: rather a little too early, so that nobody takes
    /// what waits for an operator for nothing.
    fn about_us(&self, from: u64) -> Option<i64> {
        let journal = &self.inner.journal;
        if let Some(before) = journal.time_before(from) {
            return Some(before);
        }
        let mut log = journal.reader(from);
        loop {
            let at = log.position();
            match read_log(&mut log, 1, false) {
                Err(ReadError::Corrupt { to, .. }) => log.seek(to + 1),
                Ok(read) if read.next > at => {
                    let mut times = read.entries.iter().filter_map(|s| Some(s.entry.event.as_ref()?.time_us));
                    if let Some(behind) = times.next() {
                        return Some(behind);
                    }
                }
                _ => return None,
            }
        }
    }

    fn first_event(&self, target: TargetNo, from: u64) -> Option<OldestEvent> {
        let journal = &self.inner.journal;
        let mut log = journal.reader(from);
        loop {
            log.seek(journal.next_with_label(target.0, log.position())?);
            let before = log.position();
            let found = read_log(&mut log, CHUNK, false).ok().filter(|read| read.next > before)?.entries;
            if let Some(first) = found.iter().find(|s| s.rule_for(target).is_some()) {
                return OldestEvent::of(first);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;
    use std::time::Duration;

    use bytes::Bytes;
    use uuid::Uuid;

    use crate::event::{Event, EventKind, RequestInfo};
    use crate::journal::{self, OsDisk};
    use crate::queue::embedded::{EmbeddedQueue, Options};
    use crate::queue::entry::{BodyRef, Change, DeliveryTo, Entry, ObjectMeta, Stored};
    use crate::queue::{Column, Publish, Queue as _, TargetNo};

    const RARE: TargetNo = TargetNo(1);
    const BUSY: TargetNo = TargetNo(2);

    struct Nobody;

    impl Publish for Nobody {
        fn publish(&self, _: &[Arc<Stored>]) {}
    }

    fn open(dir: &Path) -> EmbeddedQueue {
        let options = Options {
            journal: journal::Options {
                dir: dir.join("journal"),
                segment_bytes: 256 << 10,
                max_bytes: 64 << 20,
                retain_bytes: 0,
                retain_age: Duration::ZERO,
                first_epoch: 1,
                clock: || 1_000_000,
                random: |b| getrandom::fill(b).map_err(std::io::Error::other),
                observer: Arc::new(|_| {}),
            },
            progress_dir: dir.join("progress"),
            overlay_bytes: 64 << 20,
            tail_bytes: 16 << 10,
            reserve_timeout: Duration::from_secs(5),
        };
        let queue = EmbeddedQueue::open(Arc::new(OsDisk), options, 0, Arc::new(Nobody)).expect("opens");
        for target in [RARE, BUSY] {
            queue.add_reader(target, 1).expect("added");
        }
        queue
    }

    /// Appends one event of this time for one target; returns its offset.
    async fn append(queue: &EmbeddedQueue, target: TargetNo, time_us: i64) -> u64 {
        let event = Event {
            id: Uuid::nil(),
            kind: EventKind::CreatedPut,
            time_us,
            bucket: "b".into(),
            key: format!("k{time_us}").into(),
            version: None,
            size: 0,
            etag: "".into(),
            request: RequestInfo { id: "r".into(), source_ip: None, principal: "p".into(), hops: 0 },
        };
        let deliveries = vec![DeliveryTo { target, rule: "r".into() }];
        // Only its length matters here: it fills segments.
        let body = Bytes::from(vec![7; 16 << 10]);
        let inline = BodyRef::Inline { crc32c: journal::crc32c(&body) };
        let change = Change::PutObject(ObjectMeta { body: inline, ..ObjectMeta::default() });
        let permit = queue.reserve(body.len()).await.expect("space");
        let entry = Entry { change, event: Some(event), deliveries, shed: Vec::new() };
        queue.append(permit, entry, body).await.expect("appended").offset
    }

    fn oldest_us(queue: &EmbeddedQueue, target: TargetNo) -> Option<i64> {
        queue.oldest_unsettled(target).map(|oldest| oldest.time_us)
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_oldest_event_is_found_wherever_it_lies() {
        let dir = tempfile::tempdir().expect("a directory");
        let queue = open(dir.path());
        assert_eq!(oldest_us(&queue, RARE), None, "nothing was ever for it");
        for n in 0..60 {
            append(&queue, BUSY, 1_000 + n).await;
        }
        let first = append(&queue, RARE, 5_000).await;
        for n in 0..60 {
            append(&queue, BUSY, 6_000 + n).await;
        }
        let second = append(&queue, RARE, 7_000).await;
        assert!(queue.stat().segments > 3, "over several segments");
        queue.stop();

        // Nobody reads for it after a restart: a paused or removed target.
        let queue = open(dir.path());
        assert_eq!(oldest_us(&queue, RARE), Some(5_000), "only on disk");
        assert_eq!(oldest_us(&queue, BUSY), Some(1_000));
        let mut reader = queue.open(RARE, 0).await.expect("opens");
        assert_eq!(reader.next(1).await.expect("read")[0].position.offset, first);
        assert_eq!(oldest_us(&queue, RARE), Some(5_000), "taken and not settled");
        reader.settle(&[(first, Column::Delivered)]);
        assert_eq!(oldest_us(&queue, RARE), Some(7_000), "the next one, on disk or in the inbox");
        assert_eq!(reader.next(1).await.expect("read")[0].position.offset, second);
        drop(reader);
        queue.stop();

        // Taken and unsettled when the process ended: a hole in the row.
        let queue = open(dir.path());
        assert_eq!(oldest_us(&queue, RARE), Some(7_000), "a hole");
        let mut reader = queue.open(RARE, 0).await.expect("opens");
        reader.next(1).await.expect("read");
        reader.settle(&[(second, Column::Delivered)]);
        assert_eq!(oldest_us(&queue, RARE), None, "all is settled");
        assert_eq!(oldest_us(&queue, BUSY), Some(1_000));
        drop(reader);
        queue.stop();
    }
}
