//! What a journal must hold after any power cut, given what its callers were told before it.
//!
//! P1 nothing that was called durable is missing or changed; P2 nothing is there that nobody wrote; P4
//! positions never go back; P8 the counts are those of the records. Must never read the product's own idea of
//! what was durable.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tidings::journal::{self, NewRecord, Opened, RecordView, Total, crc32c};

use crate::disk::{Image, Mark, SimDisk};

/// Small enough to roll after every few records.
pub const SEGMENT: u64 = 64 << 10;

/// The clock of every commit path, in microseconds since the Unix epoch; one test alone sets it.
pub static NOW_US: AtomicI64 = AtomicI64::new(1_000_000);

/// Ids of files: unique, and the same in every run with one thread.
fn next_id(bytes: &mut [u8]) -> std::io::Result<()> {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let mut rng = fastrand::Rng::with_seed(NEXT.fetch_add(1, Ordering::Relaxed));
    rng.fill(bytes);
    Ok(())
}

/// How the journal is kept in every test here: nothing is retained, so that everything is recycled.
pub fn options(dir: &Path) -> journal::Options {
    journal::Options {
        dir: dir.to_owned(),
        segment_bytes: SEGMENT,
        max_bytes: 64 * SEGMENT,
        retain_bytes: 0,
        retain_age: Duration::ZERO,
        first_epoch: 1,
        clock: || 1_000_000,
        random: next_id,
        observer: Arc::new(|_| {}),
    }
}

/// The record of change `n`: its meta names it, its body is its own, its size is drawn from `n`.
pub fn record(n: u64) -> NewRecord<u64> {
    let mut rng = fastrand::Rng::with_seed(n);
    let len = match rng.u8(0..4) {
        0 => 0,
        1 => rng.usize(1..600),
        2 => rng.usize(3_000..9_000),
        _ => rng.usize(9_000..36_000),
    };
    let mut body = vec![0; len];
    rng.fill(&mut body);
    let body = Bytes::from(body);
    let meta = n.to_le_bytes().to_vec();
    NewRecord { kind: 1, labels: labels(n).to_vec(), meta, body_crc: crc32c(&body), body, item: n }
}

fn labels(n: u64) -> &'static [u32] {
    if n.is_multiple_of(3) { &[1] } else { &[1, 2] }
}

/// The body of change `n`; kept, since every state asks for it again.
pub fn body(n: u64) -> Bytes {
    thread_local! {
        static KEPT: RefCell<HashMap<u64, Bytes>> = RefCell::default();
    }
    KEPT.with_borrow_mut(|kept| kept.entry(n).or_insert_with(|| record(n).body).clone())
}

fn change_of(view: &RecordView<'_>) -> Result<u64, String> {
    let n = view.meta.try_into().map(u64::from_le_bytes).map_err(|_| "a record has another meta")?;
    if view.body != &body(n)[..] || !view.labels().eq(labels(n).iter().copied()) {
        return Err(format!("change {n} came back with another body or other labels"));
    }
    Ok(n)
}

/// What callers were told before a cut.
#[derive(Debug, Clone, Default)]
pub struct Told {
    begun: Vec<u64>,
    /// By offset: the change and its epoch.
    durable: BTreeMap<u64, (u64, u32)>,
    floor: u64,
}

impl Told {
    pub fn pass(&mut self, mark: &Mark) {
        match mark {
            Mark::Begun(n) => self.begun.push(*n),
            Mark::Durable { n, epoch, offset } => {
                let before = self.durable.insert(*offset, (*n, *epoch));
                assert!(
                    before.is_none_or(|b| b.0 == *n),
                    "offset {offset} was given twice, both times as durable"
                );
            }
            Mark::Floor(floor) => self.floor = self.floor.max(*floor),
            Mark::Delivered(_) | Mark::Buried(_) | Mark::Purging(_) | Mark::Setting { .. } => {}
        }
    }

    /// One above everything that was called durable.
    pub fn end(&self) -> u64 {
        self.durable.last_key_value().map_or(1, |(offset, _)| offset + 1)
    }
}

/// Opens the journal on a disk and compares it with what callers were told. `proven`: some other durable
/// thing knows how far it reached.
pub fn check(disk: &Arc<SimDisk>, dir: &Path, told: &Told, proven: bool) -> Result<Opened, String> {
    let proven_end = if proven { told.end() } else { 0 };
    let opened =
        Opened::open(disk.disk(), options(dir), proven_end).map_err(|e| format!("it does not open: {e}"))?;
    let first = opened.first().max(1);
    if first > told.floor.max(1) {
        return Err(format!("it begins at {first}, and everything from {} on is needed", told.floor));
    }
    let found = read(&opened, first)?;
    for (offset, n) in &found {
        if !told.begun.contains(n) {
            return Err(format!("change {n} at {offset} was never written"));
        }
    }
    for (offset, (n, epoch)) in &told.durable {
        if *offset >= first && found.get(offset) != Some(n) {
            return Err(format!("change {n} at {offset} was durable, now {:?} is there", found.get(offset)));
        }
        if (opened.epoch(), opened.next()) <= (*epoch, *offset) || opened.next() <= *offset {
            return Err(format!(
                "{}/{} would be given after {epoch}/{offset}",
                opened.epoch(),
                opened.next()
            ));
        }
    }
    check_counts(&opened, first, &found, told)?;
    Ok(opened)
}

/// The changes by offset, without gaps from `first` to the end.
fn read(opened: &Opened, first: u64) -> Result<BTreeMap<u64, u64>, String> {
    let mut reader = opened.reader::<u64>(first);
    let mut found = BTreeMap::new();
    let mut bad = None;
    loop {
        let more = reader.read_batch(|view| match change_of(view) {
            Ok(n) => drop(found.insert(view.offset, n)),
            Err(why) => bad = Some(why),
        });
        match (more, bad.take()) {
            (Err(e), _) => return Err(format!("reading: {e}")),
            (_, Some(why)) => return Err(why),
            (Ok(true), None) => {}
            (Ok(false), None) => break,
        }
    }
    if !found.keys().copied().eq(first..opened.next()) {
        return Err(format!("{first} to {} should be there, {:?} are", opened.next(), found.keys()));
    }
    let mut at: HashMap<u64, u64> = HashMap::new();
    for (offset, n) in &found {
        if let Some(before) = at.insert(*n, *offset) {
            return Err(format!("change {n} is there twice, at {before} and {offset}"));
        }
    }
    Ok(found)
}

/// Every offset below the next one is a record that is there, or was and is not needed any more.
fn check_counts(opened: &Opened, first: u64, found: &BTreeMap<u64, u64>, told: &Told) -> Result<(), String> {
    let mut expected: BTreeMap<u32, Total> = BTreeMap::new();
    let gone = told.durable.range(..first).map(|(_, (n, _))| n);
    for n in gone.chain(found.values()) {
        // The header, the labels, the number.
        let one = Total { count: 1, bytes: 32 + 4 * labels(*n).len() as u64 + 8 };
        for label in labels(*n) {
            let total = expected.entry(*label).or_default();
            *total = total.plus(one);
        }
    }
    if *opened.totals() == expected {
        Ok(())
    } else {
        Err(format!("counts {:?}, not {expected:?}", opened.totals()))
    }
}

/// A disk with the image of a power cut.
pub fn after(image: Image) -> Arc<SimDisk> {
    Arc::new(SimDisk::from_image(image))
}
