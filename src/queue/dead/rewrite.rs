//! Writing a dead-letter file anew: without what is gone, with what somebody may still need.
//!
//! Must never leave out a letter, nor a mark that the synced row has not passed.

use std::io;

use super::file::LogFile;
use super::index::{Known, Mark};
use super::record::{self, BATCH_BYTES, RECORD_HEADER};
use super::{Gone, Letter, Shared};
use crate::journal::DiskFile;
use crate::journal::disk::read_exact_at;

/// A file may waste so much, and as much as its letters take, before it is written anew.
const WASTE: u64 = 1 << 20;
/// Bytes of a mark, and a little for what stands around it.
const MARK: u64 = 16;
/// Marks or wishes in one record.
const CHUNK: usize = 8_192;

impl Shared {
    /// Writes the file anew once it wastes too much.
    pub(super) fn shrink(&self, file: &mut LogFile) -> io::Result<()> {
        let wasted = {
            let state = self.state();
            if state.damaged.is_some() || state.missing > 0 {
                return Ok(());
            }
            let marks = (state.index.gone.len() + state.index.wished.len()) as u64;
            file.len().saturating_sub(2 * state.index.bytes + MARK * marks)
        };
        if wasted > WASTE && !file.wants_rewrite() { self.rewrite(file) } else { Ok(()) }
    }

    /// A new file with every letter, and with the marks and wishes that somebody may still need.
    pub(super) fn rewrite(&self, file: &mut LogFile) -> io::Result<()> {
        let (reader, letters, gone, wished) = {
            let state = self.state();
            let letters: Vec<(u64, Known)> = state.index.letters.iter().map(|(o, k)| (*o, *k)).collect();
            let gone: Vec<(u64, Mark)> = state.index.gone.iter().map(|(o, mark)| (*o, *mark)).collect();
            (state.reader.clone(), letters, gone, state.index.wished.iter().copied().collect::<Vec<_>>())
        };
        let reach = self.ledger.reach();
        let (passed, kept): (Vec<_>, Vec<_>) =
            gone.into_iter().partition(|(offset, _)| *offset < reach && self.ledger.has_passed(*offset));
        let before = file.carried;
        for (_, mark) in &passed {
            match mark.0 {
                Gone::Purged => file.carried.purged += 1,
                Gone::Replayed => file.carried.replayed += 1,
            }
        }
        let mut places: Vec<(u64, u64)> = Vec::with_capacity(letters.len());
        let (mut begun, mut left) = (0, letters.iter());
        let mut rest = others(&kept, &wished).into_iter();
        let written = {
            let places = std::cell::RefCell::new(&mut places);
            let start = std::cell::Cell::new(0);
            let mut records = |out: &mut Vec<u8>| {
                start.set(places.borrow().len());
                while out.len() < BATCH_BYTES {
                    let Some((offset, known)) = left.next() else { break };
                    places.borrow_mut().push((*offset, out.len() as u64));
                    copy(reader.as_deref(), known, out)?;
                }
                if out.is_empty() {
                    out.extend(rest.next().into_iter().flatten());
                }
                Ok(())
            };
            let mut placed = |at| {
                let mut places = places.borrow_mut();
                places[start.get()..].iter_mut().for_each(|(_, place)| *place += at);
                begun += 1;
            };
            file.rewrite(&mut records, &mut placed)
        };
        written.inspect_err(|_| file.carried = before)?;
        let mut state = self.state();
        for (offset, at) in places {
            if let Some(known) = state.index.letters.get_mut(&offset) {
                known.at = at;
            }
        }
        for (offset, _) in &passed {
            state.index.gone.remove(offset);
        }
        state.reader = file.reader();
        tracing::debug!(target = self.target.0, batches = begun, "the dead letters were written anew");
        Ok(())
    }
}

/// The records of marks and wishes.
fn others(kept: &[(u64, Mark)], wished: &[u64]) -> Vec<Vec<u8>> {
    let mut records = Vec::new();
    for how in [Gone::Purged, Gone::Replayed] {
        let marks = kept.iter().filter(|(_, mark)| mark.0 == how);
        let marks: Vec<(u64, u32)> = marks.map(|(offset, mark)| (*offset, mark.1)).collect();
        for chunk in marks.chunks(CHUNK) {
            let mut record = Vec::new();
            record::put_gone(how, chunk, &mut record);
            records.push(record);
        }
    }
    for chunk in wished.chunks(CHUNK) {
        let mut record = Vec::new();
        record::put_wish(chunk, &mut record);
        records.push(record);
    }
    records
}

fn raw(reader: Option<&dyn DiskFile>, known: &Known) -> io::Result<Vec<u8>> {
    let reader = reader.ok_or_else(|| io::Error::other("there is no file"))?;
    let mut bytes = vec![0; known.len as usize];
    read_exact_at(reader, &mut bytes, known.at)?;
    let whole = record::record(&bytes).is_some_and(|(_, _, len)| len == bytes.len());
    if whole { Ok(bytes) } else { Err(io::Error::other(format!("damaged at byte {}", known.at))) }
}

fn copy(reader: Option<&dyn DiskFile>, known: &Known, out: &mut Vec<u8>) -> io::Result<()> {
    out.extend_from_slice(&raw(reader, known)?);
    Ok(())
}

/// Reads one letter.
pub(super) fn read(reader: Option<&dyn DiskFile>, known: &Known) -> io::Result<Letter> {
    let bytes = raw(reader, known)?;
    record::letter(&bytes[RECORD_HEADER..]).map_err(io::Error::other)
}
