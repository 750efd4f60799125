//! Reading entries again by their offsets: what a lane keeps of stuck keys is no more than where they are.
//!
//! Must never skip an offset that cannot be read: what is given ends before it, or it is the error.

use std::sync::Arc;

use async_trait::async_trait;

use super::embedded::Inner;
use super::entry::{Stored, TargetNo};
use super::read::read_wanted;
use super::{Lookup, ReadError};

/// Records passed over one by one rather than by a new search: about what the cursor has read ahead anyway.
const NEAR: u64 = 256;

/// One target's entries by offset.
pub(super) struct ByOffset {
    pub(super) inner: Arc<Inner>,
    pub(super) target: TargetNo,
}

#[async_trait]
impl Lookup for ByOffset {
    async fn read(&self, offsets: &[u64]) -> Result<Vec<Arc<Stored>>, ReadError> {
        read(&self.inner, self.target, offsets).await
    }
}

/// Entries of `target` at these offsets, ascending: from memory where they still are, else from the log.
/// Gives fewer where one cannot be read; at least one, or why.
pub(super) async fn read(
    inner: &Arc<Inner>,
    target: TargetNo,
    offsets: &[u64],
) -> Result<Vec<Arc<Stored>>, ReadError> {
    let newest = inner.tail.pick(offsets);
    let first = newest.first().map_or(u64::MAX, |s| s.position.offset);
    let newest: Vec<_> = newest.into_iter().map_while(|s| inner.mine_again(target, s)).collect();
    let older: Vec<u64> = offsets.iter().copied().take_while(|o| *o < first).collect();
    if older.is_empty() {
        return Ok(newest);
    }
    let reading = Arc::clone(inner);
    let wanted = older.len();
    let read = tokio::task::spawn_blocking(move || read_older(&reading, target, &older)).await;
    let mut found = read.map_err(|_| ReadError::Closed)??;
    if found.len() == wanted {
        found.extend(newest);
    }
    Ok(found)
}

/// Reads them from disk, each neighbourhood once, and decodes nothing else.
fn read_older(inner: &Inner, target: TargetNo, offsets: &[u64]) -> Result<Vec<Arc<Stored>>, ReadError> {
    let mut log = inner.journal.reader(offsets.first().copied().unwrap_or(1));
    let mut found: Vec<Arc<Stored>> = Vec::with_capacity(offsets.len());
    while let Some(next) = offsets.get(found.len()).copied() {
        if next < log.position() || next > log.position() + NEAR {
            log.seek(next);
        }
        let rest = &offsets[found.len()..];
        let read =
            read_wanted(&mut log, 1, usize::MAX, false, |view| rest.binary_search(&view.offset).is_ok());
        let lost = ReadError::Corrupt { from: next, to: next };
        let read = match read {
            Ok(read) => read.entries,
            Err(_) if !found.is_empty() => break,
            Err(e) => return Err(e),
        };
        let fits = read.iter().zip(rest).take_while(|(s, o)| s.position.offset == **o).count();
        let before = found.len();
        found.extend(read.into_iter().take(fits).map_while(|s| inner.mine_again(target, s)));
        let whole = found.len() - before;
        // Its record is not there, or is not what it was: neither can be, unless the log was damaged.
        if whole == 0 {
            return if found.is_empty() { Err(lost) } else { Ok(found) };
        }
    }
    Ok(found)
}
