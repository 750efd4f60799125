//! What a fuzzer calls: journals whose checksums are right and whose contents lie, as somebody would write
//! them who may write into the data directory.
//!
//! Must never be part of a product: the feature `fuzzing` brings it, and `fuzz/` alone asks for that.

mod disk;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use self::disk::MemoryDisk;
use super::format::{
    BATCH_HEADER, BLOCK, BatchHeader, BatchKind, LabelCount, MAX_OFFSET, RecordView, SegmentHeader,
    SegmentId, Total, Trailer, crc32c, encode_counts, padded,
};
use super::segment::file_name;
use super::{Disk, Opened, Options, verify};

const DIR: &str = "journal";
const SEGMENT: u64 = 64 << 10;
/// More batches of a journal are not read: it has that many only by an error.
const MAX_BATCHES: usize = 10_000;

/// Ids that were made in this run.
static IDS: AtomicU64 = AtomicU64::new(0);

/// A journal of up to three files: it is verified, opened and read to its end or to an error that says why
/// not, and no reader stands still or goes back.
pub fn journal(bytes: &[u8]) {
    IDS.store(0, Ordering::Relaxed);
    let mut script = Script { bytes, offset: 1 };
    let disk = Arc::new(MemoryDisk::default());
    let proven = script.number().min(MAX_OFFSET);
    for number in 1..=1 + u64::from(script.byte() % 3) {
        let file = script.file(number);
        disk.put(&Path::new(DIR).join(file_name(number)), file);
    }
    if let Ok(found) = verify(&*disk, Path::new(DIR), proven) {
        assert!(found.end >= proven, "what is proven is accounted for");
    }
    let Ok(opened) = Opened::open(Arc::clone(&disk) as Arc<dyn Disk>, options(), proven) else { return };
    let mut reader = opened.reader::<()>(opened.first());
    for _ in 0..MAX_BATCHES {
        let before = reader.position();
        let mut last = None;
        let read = reader.read_batch(|view| {
            assert!(last.is_none_or(|last| view.offset > last) && view.offset >= before, "in order");
            last = Some(view.offset);
        });
        match read {
            Ok(true) => assert!(reader.position() > before, "it stands still"),
            Ok(false) | Err(_) => return,
        }
    }
    panic!("more batches than were written");
}

fn options() -> Options {
    Options {
        dir: DIR.into(),
        segment_bytes: SEGMENT,
        max_bytes: 64 * SEGMENT,
        retain_bytes: 0,
        retain_age: Duration::ZERO,
        clock: || 1_000_000,
        first_epoch: 1,
        random: |bytes| {
            let id = 1_000 + IDS.fetch_add(1, Ordering::Relaxed);
            bytes.iter_mut().zip(id.to_le_bytes()).for_each(|(to, from)| *to = from);
            Ok(())
        },
        observer: Arc::new(|_| {}),
    }
}

/// The fuzzer's bytes as decisions; where they end, everything is as a journal would have it.
struct Script<'a> {
    bytes: &'a [u8],
    /// The offset that an honest journal would give next.
    offset: u64,
}

impl Script<'_> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.bytes.split_first() else { return 0 };
        self.bytes = rest;
        *first
    }

    fn some(&mut self, most: usize) -> Vec<u8> {
        let (some, rest) = self.bytes.split_at(most.min(self.bytes.len()));
        self.bytes = rest;
        some.to_vec()
    }

    /// The next offset, one near it, a small number, a huge one, or any.
    fn number(&mut self) -> u64 {
        let (which, near) = (self.byte(), u64::from(self.byte()));
        match which % 6 {
            0 | 1 => self.offset,
            2 => self.offset.wrapping_add(near).wrapping_sub(128),
            3 => near,
            4 => u64::MAX - near,
            _ => {
                let mut any = [0; 8];
                any.iter_mut().for_each(|byte| *byte = self.byte());
                u64::from_le_bytes(any)
            }
        }
    }

    /// What is true, or anything.
    fn perhaps(&mut self, truth: u64) -> u64 {
        if self.byte() % 8 == 7 { self.number() } else { truth }
    }

    fn file(&mut self, number: u64) -> Vec<u8> {
        let id = SegmentId::new([number as u8; 16]);
        let (first, last) = (self.perhaps(number), self.perhaps(number));
        let len = self.perhaps(SEGMENT);
        let mut file = SegmentHeader { id, first, last, partial: self.byte() % 4 == 3, len }.encode();
        let begin = self.offset;
        let mut footer = None;
        for _ in 0..self.byte() % 8 {
            let at = file.len() as u64;
            let batch = self.batch(&id, &mut footer, at);
            file.extend(batch);
            file.resize(padded(file.len() as u64) as usize, 0);
        }
        let trailer = footer.map(|footer| Trailer {
            footer: self.perhaps(footer),
            first: self.perhaps(begin),
            end: self.perhaps(self.offset),
            epoch: 1,
            time_us: self.perhaps(1).cast_signed(),
        });
        if self.byte() % 4 != 3 {
            file.resize((SEGMENT as usize).max(file.len() + BLOCK as usize), 0);
        }
        if let Some(trailer) = trailer {
            let at = file.len() - BLOCK as usize;
            file[at..].copy_from_slice(&trailer.encode(&id));
        }
        // One bit of all this may have rotted.
        let (at, bit) = (self.number() as usize, self.byte());
        if bit > 128 && at < file.len() {
            file[at] ^= bit & 127;
        }
        file
    }

    fn batch(&mut self, id: &SegmentId, footer: &mut Option<u64>, at: u64) -> Vec<u8> {
        let kind = match self.byte() % 8 {
            0..=3 => BatchKind::Records,
            4 => BatchKind::Seal,
            5 => BatchKind::CleanSeal,
            6 => BatchKind::Opening,
            _ => BatchKind::Footer,
        };
        let (first, mut payload, mut count) = (self.offset, Vec::new(), 0);
        match kind {
            BatchKind::Records => {
                for _ in 0..=self.byte() % 4 {
                    count += 1;
                    self.record(id, &mut payload);
                }
            }
            BatchKind::Opening | BatchKind::Footer => self.counts(id, &mut payload),
            BatchKind::Seal | BatchKind::CleanSeal => {}
        }
        if kind == BatchKind::Footer {
            *footer = Some(at);
        }
        let header = BatchHeader {
            kind,
            payload: self.perhaps(payload.len() as u64) as u32,
            count: self.perhaps(count) as u32,
            first: self.perhaps(first),
            end: self.perhaps(self.offset),
            synced_through: self.perhaps(first),
            epoch: self.perhaps(1) as u32,
            time_us: self.perhaps(1).cast_signed(),
        };
        let mut batch = vec![0; BATCH_HEADER];
        header.encode_into(id, &mut batch);
        batch.extend(payload);
        batch
    }

    fn record(&mut self, id: &SegmentId, payload: &mut Vec<u8>) {
        let (labels, meta, body) = (self.byte() % 3, self.byte(), self.byte());
        let mut labels = self.some(usize::from(labels) * 4);
        labels.truncate(labels.len() / 4 * 4);
        let (meta, body) = (self.some(meta.into()), self.some(body.into()));
        let bodyless = self.byte() % 8 == 7;
        let body_crc = self.perhaps(crc32c(&body).into()) as u32;
        let (offset, epoch) = (self.perhaps(self.offset), 1);
        let (labels, meta, body) = (&*labels, &*meta, &*body);
        RecordView { offset, epoch, kind: 1, bodyless, labels, meta, body, body_crc }
            .encode_into(id, payload);
        self.offset = self.offset.wrapping_add(1);
    }

    fn counts(&mut self, id: &SegmentId, payload: &mut Vec<u8>) {
        let total = |script: &mut Self| Total { count: script.perhaps(0), bytes: script.perhaps(0) };
        let counts: Vec<_> = (0..self.byte() % 3)
            .map(|label| {
                let first = self.perhaps(0);
                (u32::from(label), LabelCount { first, here: total(self), total: total(self) })
            })
            .collect();
        encode_counts(id, &counts, payload);
    }
}
