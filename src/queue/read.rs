//! Decoding entries from the log.
//!
//! Must never pass over what cannot be read: it is an error once everything before it was given.

use std::sync::Arc;

use bytes::Bytes;

use super::embedded::Item;
use super::entry::Stored;
use super::{ReadError, codec};
use crate::journal::{self, LogReader, RecordView};

/// What was read of the log.
pub(super) struct Read {
    /// The entries that are there: compaction leaves out what nobody needs.
    pub(super) entries: Vec<Arc<Stored>>,
    /// Everything below was read.
    pub(super) next: u64,
}

/// Decodes up to `max` entries from where a log reader stands. An unmoved position means that nothing more is
/// durable.
pub(super) fn read_log(log: &mut LogReader<Item>, max: usize, bodies: bool) -> Result<Read, ReadError> {
    read_wanted(log, max, usize::MAX, bodies, |_| true)
}

/// As [`read_log`], but decodes only the records that are `wanted`, and looks at no more than `look` of all.
pub(super) fn read_wanted(
    log: &mut LogReader<Item>,
    max: usize,
    look: usize,
    bodies: bool,
    mut wanted: impl FnMut(&RecordView<'_>) -> bool,
) -> Result<Read, ReadError> {
    let mut seen = 0;
    let began = log.position();
    let mut found = Vec::new();
    let mut bad = None;
    while found.len() < max && seen < look && bad.is_none() {
        let more = log.read_batch(|view| {
            seen += 1;
            if !wanted(view) {
                return;
            }
            match stored(view, bodies) {
                Ok(stored) => found.push(Arc::new(stored)),
                Err(e) => {
                    tracing::error!("record {} is not an entry: {e}", view.offset);
                    bad.get_or_insert(view.offset);
                }
            }
        });
        match more {
            Ok(true) => {}
            Ok(false) => break,
            Err(journal::ReadError::Lost { from, to }) => {
                // What was read before the damage is given first.
                if log.position() == began {
                    return Err(ReadError::Corrupt { from, to });
                }
                break;
            }
            Err(journal::ReadError::Io(e)) => return Err(ReadError::Io(e)),
        }
    }
    if let Some(at) = bad {
        found.retain(|s| s.position.offset < at);
        log.seek(at);
        if at == began {
            return Err(ReadError::Corrupt { from: at, to: at });
        }
    }
    Ok(Read { entries: found, next: log.position() })
}

fn stored(view: &RecordView<'_>, bodies: bool) -> Result<Stored, codec::DecodeError> {
    let entry = codec::decode(view.meta, view.labels())?;
    debug_assert!(!(bodies && view.bodyless), "compaction left out a body that the index still needs");
    let body = if bodies { Bytes::copy_from_slice(view.body) } else { Bytes::new() };
    let bare = u32::try_from(view.bare_len()).unwrap_or(u32::MAX);
    Ok(Stored { position: journal::position(view), entry, body, bare, charge: 0 })
}
