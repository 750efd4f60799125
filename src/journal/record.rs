//! What the journal takes and gives: records before and after they have an offset.
//!
//! Must never know what the bytes mean: labels are numbers that are counted, nothing more.

use bytes::Bytes;

use crate::event::Position;

/// One record on its way to the writer.
#[derive(Debug)]
pub struct NewRecord<T> {
    /// What it is; the journal does not care.
    pub kind: u8,
    /// The labels it counts for.
    pub labels: Vec<u32>,
    /// The caller's bytes.
    pub meta: Vec<u8>,
    /// The inline body; comes last in the record.
    pub body: Bytes,
    /// CRC-32C of `body`.
    pub body_crc: u32,
    /// What the sink gets once the record is durable.
    pub item: T,
}

impl<T> NewRecord<T> {
    /// Bytes in a batch.
    pub fn encoded_len(&self) -> usize {
        self.bare_len() + self.body.len()
    }

    /// Bytes in a batch without the inline body.
    pub fn bare_len(&self) -> usize {
        bare_len(self.labels.len(), self.meta.len())
    }
}

/// Bytes in a batch of a record with so many labels and bytes of the caller, without its inline body.
pub fn bare_len(labels: usize, meta: usize) -> usize {
    super::format::RECORD_HEADER + labels * 4 + meta
}

/// One durable record on its way to the sink.
#[derive(Debug)]
pub struct Durable<T> {
    /// Where it stands.
    pub position: Position,
    /// Its inline body.
    pub body: Bytes,
    /// Its bytes in the batch without that body.
    pub bare_len: u32,
    /// What came with it.
    pub item: T,
}

/// Gets each durable batch on the writer thread, in offset order, before the durable end moves over it.
pub trait Sink<T>: Send + Sync + 'static {
    /// Must be short and must never call back into the journal.
    fn publish(&self, batch: Vec<Durable<T>>);
}
