//! The bytes of a segment file: header, batches, records, footer and trailer.
//!
//! ```text
//!   block 0        header: magic, version, segment id, the range of segment numbers covered
//!   block 1 …      batches; each begins on a fresh 4 KiB block and never spans segments
//!                    batch  = batch header (56 bytes) + records | opening | footer | nothing (a seal)
//!                    record = record header (32 bytes) + labels + meta + inline body
//!   last block     trailer: where the footer is; written when the segment is closed
//! ```
//!
//! Constraints that keep it safe:
//! - Every checksum but the bodies' is seeded with the segment id, 128 random bits per life of the file that
//!   are never shown outside. Bodies are clients' bytes: without the id they cannot forge a batch or a
//!   record, and what a recycled file held before can never look valid.
//! - A fresh block per batch: a torn write can never damage what was acknowledged before.
//! - Must never panic on any input, and never trust a length before its checksum.

use crc_fast::{CrcAlgorithm, Digest};

/// The unit of placement: a batch begins on a multiple of this.
pub const BLOCK: u64 = 4096;
/// The version of everything below; another one is refused.
pub const FORMAT_VERSION: u32 = 2;
/// Bytes of a batch header.
pub const BATCH_HEADER: usize = 56;
/// Bytes of a record header.
pub const RECORD_HEADER: usize = 32;
/// No offset, segment number nor count of a journal is above it: what says more is damaged, and sums of a few
/// of them never overflow.
pub const MAX_OFFSET: u64 = 1 << 60;
/// The largest record: header, labels, meta and body.
pub const MAX_RECORD: usize = 1 << 20;

const SEGMENT_MAGIC: &[u8; 8] = b"TIDJOURN";
const BATCH_MAGIC: &[u8; 4] = b"TIDB";
const TRAILER_MAGIC: &[u8; 8] = b"TIDTRAIL";

/// The checksum that guards bodies and seeds nothing: plain CRC-32C.
pub fn crc32c(data: &[u8]) -> u32 {
    crc_fast::crc32_iscsi(data)
}

/// The secret of one life of one file: the seed of its checksums.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SegmentId {
    bytes: [u8; 16],
    state: u64,
}

impl std::fmt::Debug for SegmentId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SegmentId(…)")
    }
}

impl SegmentId {
    /// The id with these random bytes.
    pub fn new(bytes: [u8; 16]) -> Self {
        let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
        digest.update(&bytes);
        Self { bytes, state: digest.get_state() }
    }

    /// The seeded CRC-32C over `parts`, in order.
    fn crc(&self, parts: &[&[u8]]) -> u32 {
        let mut digest = Digest::new_with_init_state(CrcAlgorithm::Crc32Iscsi, self.state);
        for part in parts {
            digest.update(part);
        }
        digest.finalize() as u32
    }
}

fn u16_at(b: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([b[at], b[at + 1]])
}

fn u32_at(b: &[u8], at: usize) -> u32 {
    let mut n = [0; 4];
    n.copy_from_slice(&b[at..at + 4]);
    u32::from_le_bytes(n)
}

fn u64_at(b: &[u8], at: usize) -> u64 {
    let mut n = [0; 8];
    n.copy_from_slice(&b[at..at + 8]);
    u64::from_le_bytes(n)
}

/// What stands in block 0 of a segment file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentHeader {
    /// The seed of every checksum in the file.
    pub id: SegmentId,
    /// The first segment number the file covers.
    pub first: u64,
    /// The last one; equal to `first` unless the file was compacted.
    pub last: u64,
    /// Compaction left out what nobody needed then.
    pub partial: bool,
    /// Bytes of the whole file, durable before it got its name: a shorter one was cut. 0 if it does not say.
    pub len: u64,
}

/// Why a segment's header is not usable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// The magic or the checksum is wrong.
    #[error("the segment's header is damaged")]
    Damaged,
    /// Written by another version of tidings.
    #[error(
        "the segment has format version {0}; this tidings reads version {FORMAT_VERSION}: \
         run the version that wrote it"
    )]
    Version(u32),
}

impl SegmentHeader {
    /// The whole first block.
    pub fn encode(&self) -> Vec<u8> {
        let mut b = vec![0; BLOCK as usize];
        b[0..8].copy_from_slice(SEGMENT_MAGIC);
        b[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        b[16..32].copy_from_slice(&self.id.bytes);
        b[32..40].copy_from_slice(&self.first.to_le_bytes());
        b[40..48].copy_from_slice(&self.last.to_le_bytes());
        b[48] = u8::from(self.partial);
        b[56..64].copy_from_slice(&self.len.to_le_bytes());
        let crc = crc32c(&b[16..64]);
        b[12..16].copy_from_slice(&crc.to_le_bytes());
        b
    }

    /// Reads a first block.
    pub fn decode(b: &[u8]) -> Result<Self, HeaderError> {
        if b.len() < 64 || &b[0..8] != SEGMENT_MAGIC {
            return Err(HeaderError::Damaged);
        }
        let version = u32_at(b, 8);
        if version != FORMAT_VERSION {
            return Err(HeaderError::Version(version));
        }
        if crc32c(&b[16..64]) != u32_at(b, 12) {
            return Err(HeaderError::Damaged);
        }
        let mut id = [0; 16];
        id.copy_from_slice(&b[16..32]);
        let (first, last, len) = (u64_at(b, 32), u64_at(b, 40), u64_at(b, 56));
        if first.max(last).max(len) > MAX_OFFSET {
            return Err(HeaderError::Damaged);
        }
        Ok(Self { id: SegmentId::new(id), first, last, partial: b[48] != 0, len })
    }
}

/// What a batch carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum BatchKind {
    /// Records.
    Records = 1,
    /// Nothing: it only carries `synced_through`.
    Seal = 2,
    /// Nothing: a seal after which the journal was closed in order.
    CleanSeal = 3,
    /// The cumulative counts per label when the segment began.
    Opening = 4,
    /// The segment's own counts per label; nothing follows it.
    Footer = 5,
}

impl BatchKind {
    fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            1 => Self::Records,
            2 => Self::Seal,
            3 => Self::CleanSeal,
            4 => Self::Opening,
            5 => Self::Footer,
            _ => return None,
        })
    }
}

/// The first bytes of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchHeader {
    /// What it carries.
    pub kind: BatchKind,
    /// Bytes after this header, without padding to the next block.
    pub payload: u32,
    /// How many records.
    pub count: u32,
    /// The first offset that the batch accounts for; the next one to be given where it has no records.
    pub first: u64,
    /// One above the last offset that the batch accounts for. Compaction leaves gaps inside, never between
    /// batches.
    pub end: u64,
    /// One above the last offset that was known to be durable when this was written.
    pub synced_through: u64,
    /// The epoch of the records.
    pub epoch: u32,
    /// When it was written, in microseconds since the Unix epoch.
    pub time_us: i64,
}

impl BatchHeader {
    /// Writes the header over the first [`BATCH_HEADER`] bytes of `b`.
    pub fn encode_into(&self, id: &SegmentId, b: &mut [u8]) {
        b[0..4].copy_from_slice(BATCH_MAGIC);
        b[8..12].copy_from_slice(&self.payload.to_le_bytes());
        b[12..16].copy_from_slice(&self.count.to_le_bytes());
        b[16..24].copy_from_slice(&self.first.to_le_bytes());
        b[24..32].copy_from_slice(&self.synced_through.to_le_bytes());
        b[32..36].copy_from_slice(&self.epoch.to_le_bytes());
        b[36] = self.kind as u8;
        b[37..40].fill(0);
        b[40..48].copy_from_slice(&self.time_us.to_le_bytes());
        b[48..56].copy_from_slice(&self.end.to_le_bytes());
        let crc = id.crc(&[&b[8..BATCH_HEADER]]);
        b[4..8].copy_from_slice(&crc.to_le_bytes());
    }

    /// Reads a header; `None` if these bytes are not a valid one of this file's life.
    pub fn decode(id: &SegmentId, b: &[u8]) -> Option<Self> {
        if b.len() < BATCH_HEADER || &b[0..4] != BATCH_MAGIC || id.crc(&[&b[8..BATCH_HEADER]]) != u32_at(b, 4)
        {
            return None;
        }
        let (first, end, synced_through) = (u64_at(b, 16), u64_at(b, 48), u64_at(b, 24));
        let possible = first <= end && end.max(synced_through) <= MAX_OFFSET;
        let (kind, count) = (BatchKind::from_code(b[36])?, u32_at(b, 12));
        let (payload, epoch, time_us) = (u32_at(b, 8), u32_at(b, 32), u64_at(b, 40).cast_signed());
        possible.then_some(Self { kind, payload, count, first, end, synced_through, epoch, time_us })
    }

    /// Bytes on disk, padding included.
    pub fn span(&self) -> u64 {
        padded(BATCH_HEADER as u64 + u64::from(self.payload))
    }
}

/// `len` rounded up to whole blocks.
pub fn padded(len: u64) -> u64 {
    len.div_ceil(BLOCK) * BLOCK
}

/// One record, borrowed from a batch's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordView<'a> {
    /// Its offset.
    pub offset: u64,
    /// The epoch in which it was first written.
    pub epoch: u32,
    /// What it is; the journal does not care.
    pub kind: u8,
    /// True if the body was left out by compaction.
    pub bodyless: bool,
    /// The little-endian `u32` labels it counts for.
    pub labels: &'a [u8],
    /// The caller's bytes.
    pub meta: &'a [u8],
    /// The inline body.
    pub body: &'a [u8],
    /// Plain CRC-32C of the body, also where the body was left out.
    pub body_crc: u32,
}

/// Flag of a record whose body was left out by compaction.
const FLAG_BODYLESS: u8 = 1;

impl<'a> RecordView<'a> {
    /// The labels, in order.
    pub fn labels(&self) -> impl Iterator<Item = u32> + 'a {
        self.labels.chunks_exact(4).map(|b| u32_at(b, 0))
    }

    /// Bytes in the batch.
    pub fn encoded_len(&self) -> usize {
        RECORD_HEADER + self.labels.len() + self.meta.len() + self.body.len()
    }

    /// Bytes in the batch without the inline body: the same whether compaction left the body out or not.
    pub fn bare_len(&self) -> usize {
        RECORD_HEADER + self.labels.len() + self.meta.len()
    }

    /// Appends the record to a batch's bytes.
    pub fn encode_into(&self, id: &SegmentId, out: &mut Vec<u8>) {
        let mut h = [0; RECORD_HEADER];
        h[0..4].copy_from_slice(&(self.meta.len() as u32).to_le_bytes());
        h[4..8].copy_from_slice(&(self.body.len() as u32).to_le_bytes());
        h[8] = self.kind;
        h[9] = if self.bodyless { FLAG_BODYLESS } else { 0 };
        h[10..12].copy_from_slice(&((self.labels.len() / 4) as u16).to_le_bytes());
        h[16..24].copy_from_slice(&self.offset.to_le_bytes());
        h[24..28].copy_from_slice(&self.epoch.to_le_bytes());
        h[28..32].copy_from_slice(&self.body_crc.to_le_bytes());
        let crc = id.crc(&[&h[0..12], &h[16..32], self.labels, self.meta]);
        h[12..16].copy_from_slice(&crc.to_le_bytes());
        out.extend_from_slice(&h);
        out.extend_from_slice(self.labels);
        out.extend_from_slice(self.meta);
        out.extend_from_slice(self.body);
    }

    /// Reads the record at the start of `b`; the rest of `b` follows it. `None` if it is damaged.
    pub fn decode(id: &SegmentId, b: &'a [u8]) -> Option<(Self, &'a [u8])> {
        Self::decode_envelope(id, b).filter(|(_, whole, _)| *whole).map(|(view, _, rest)| (view, rest))
    }

    /// The offset that a record at the start of `b` would have: nothing of it was checked.
    pub fn claimed_offset(b: &[u8]) -> Option<u64> {
        b.get(..RECORD_HEADER).map(|h| u64_at(h, 16))
    }

    /// Like [`RecordView::decode`], but a damaged body alone is told (false) and the rest still found.
    pub fn decode_envelope(id: &SegmentId, b: &'a [u8]) -> Option<(Self, bool, &'a [u8])> {
        let h = b.get(..RECORD_HEADER)?;
        let meta_len = u32_at(h, 0) as usize;
        let body_len = u32_at(h, 4) as usize;
        let labels_len = usize::from(u16_at(h, 10)) * 4;
        // The sums cannot overflow: each part is at most 4 GiB in a 64-bit usize.
        let rest = b.get(RECORD_HEADER..)?;
        if rest.len() < labels_len + meta_len + body_len {
            return None;
        }
        let (labels, rest) = rest.split_at(labels_len);
        let (meta, rest) = rest.split_at(meta_len);
        let (body, rest) = rest.split_at(body_len);
        if id.crc(&[&h[0..12], &h[16..32], labels, meta]) != u32_at(h, 12) {
            return None;
        }
        let bodyless = h[9] & FLAG_BODYLESS != 0;
        let body_crc = u32_at(h, 28);
        let whole = bodyless || crc32c(body) == body_crc;
        let (offset, epoch) = (u64_at(h, 16), u32_at(h, 24));
        Some((Self { offset, epoch, kind: h[8], bodyless, labels, meta, body, body_crc }, whole, rest))
    }
}

/// What records with one label come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Total {
    /// How many there are.
    pub count: u64,
    /// Their bytes without inline bodies, as [`RecordView::bare_len`] counts them.
    pub bytes: u64,
}

impl Total {
    /// Both parts together.
    #[must_use]
    pub fn plus(self, more: Self) -> Self {
        Self { count: self.count + more.count, bytes: self.bytes + more.bytes }
    }

    /// The larger of each part.
    #[must_use]
    pub fn at_least(self, least: Self) -> Self {
        Self { count: self.count.max(least.count), bytes: self.bytes.max(least.bytes) }
    }
}

/// Counts per label: first offset, what this segment has, and the total ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LabelCount {
    /// The first offset in this segment with the label; 0 in an opening.
    pub first: u64,
    /// The records of this segment that have the label; nothing in an opening.
    pub here: Total,
    /// The records that ever had it, up to the end of this segment (opening: up to its beginning).
    pub total: Total,
}

/// The table of an opening or a footer, by ascending label.
pub fn encode_counts(id: &SegmentId, counts: &[(u32, LabelCount)], out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&(counts.len() as u32).to_le_bytes());
    for (label, c) in counts {
        out.extend_from_slice(&label.to_le_bytes());
        for n in [c.first, c.here.count, c.here.bytes, c.total.count, c.total.bytes] {
            out.extend_from_slice(&n.to_le_bytes());
        }
    }
    let crc = id.crc(&[&out[start + 4..]]);
    out[start..start + 4].copy_from_slice(&crc.to_le_bytes());
}

/// Bytes of one label's row: the label, then five numbers.
const COUNT_ROW: usize = 4 + 5 * 8;

/// Bytes of [`encode_counts`] for so many labels.
pub fn counts_len(labels: usize) -> usize {
    8 + labels * COUNT_ROW
}

/// Reads what [`encode_counts`] wrote; `None` if it is damaged.
pub fn decode_counts(id: &SegmentId, b: &[u8]) -> Option<Vec<(u32, LabelCount)>> {
    if b.len() < 8 || id.crc(&[&b[4..]]) != u32_at(b, 0) || b.len() != counts_len(u32_at(b, 4) as usize) {
        return None;
    }
    let number = |r: &[u8], at| Some(u64_at(r, at)).filter(|n| *n <= MAX_OFFSET);
    let total = |r: &[u8], at| Some(Total { count: number(r, at)?, bytes: number(r, at + 8)? });
    let row = |r: &[u8]| {
        let counts = LabelCount { first: number(r, 4)?, here: total(r, 12)?, total: total(r, 28)? };
        Some((u32_at(r, 0), counts))
    };
    b[8..].chunks_exact(COUNT_ROW).map(row).collect()
}

/// The last block of a closed segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trailer {
    /// Where the footer batch begins.
    pub footer: u64,
    /// The first offset in the segment; equal to `end` if there is none.
    pub first: u64,
    /// One above the last offset in the segment.
    pub end: u64,
    /// The highest epoch in the segment.
    pub epoch: u32,
    /// When the segment was closed, in microseconds since the Unix epoch.
    pub time_us: i64,
}

impl Trailer {
    /// The whole block.
    pub fn encode(&self, id: &SegmentId) -> Vec<u8> {
        let mut b = vec![0; BLOCK as usize];
        b[0..8].copy_from_slice(TRAILER_MAGIC);
        b[16..24].copy_from_slice(&self.footer.to_le_bytes());
        b[24..32].copy_from_slice(&self.first.to_le_bytes());
        b[32..40].copy_from_slice(&self.end.to_le_bytes());
        b[40..44].copy_from_slice(&self.epoch.to_le_bytes());
        b[48..56].copy_from_slice(&self.time_us.to_le_bytes());
        let crc = id.crc(&[&b[16..56]]);
        b[8..12].copy_from_slice(&crc.to_le_bytes());
        b
    }

    /// Reads a last block; `None` if this file's life has not been closed.
    pub fn decode(id: &SegmentId, b: &[u8]) -> Option<Self> {
        if b.len() < 56 || &b[0..8] != TRAILER_MAGIC || id.crc(&[&b[16..56]]) != u32_at(b, 8) {
            return None;
        }
        let (footer, first, end) = (u64_at(b, 16), u64_at(b, 24), u64_at(b, 32));
        let possible = first <= end && end.max(footer) <= MAX_OFFSET;
        let (epoch, time_us) = (u32_at(b, 40), u64_at(b, 48).cast_signed());
        possible.then_some(Self { footer, first, end, epoch, time_us })
    }
}
