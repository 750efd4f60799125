//! What a journal must hold, as everything else that is durable says: how far it went, and from where on
//! somebody still needs it.
//!
//! Must never ask for what may have been given up: a journal that trims is not a damaged one.

use std::collections::BTreeMap;

use super::format::Total;

/// What other durable things say of a journal.
#[derive(Debug, Clone, Default)]
pub struct Expected {
    /// One above the highest offset that any of them names; 0 if none does.
    pub end: u64,
    /// The store has everything below this in its synced checkpoint and needs everything from here on; none
    /// if that is not known.
    pub applied: Option<u64>,
    /// Readers, by label.
    pub readers: BTreeMap<u32, Reader>,
}

/// What one reader's synced row says.
#[derive(Debug, Clone, Copy, Default)]
pub struct Reader {
    /// From here on it needs what has its label and it has not taken.
    pub position: u64,
    /// What it ever took.
    pub taken: Total,
    /// The lowest offset that it needs whatever it took: one that it holds, or is to see again.
    pub needs: Option<u64>,
}

/// The beginning of a journal that is not there.
#[derive(Debug, Clone)]
pub(super) struct Front {
    /// The first offset that somebody needs of it.
    pub(super) from: u64,
    /// What the labels came to below that, as far as anything says.
    pub(super) totals: BTreeMap<u32, Total>,
}

impl From<u64> for Expected {
    fn from(end: u64) -> Self {
        Self { end, ..Self::default() }
    }
}

impl Expected {
    /// What is missing of a journal that begins at `first`, below which its records came to `before`.
    ///
    /// A reader without work keeps the row that it had: it lacks something only if the log counted more for
    /// it than it took.
    pub(super) fn missing_before(&self, first: u64, before: &BTreeMap<u32, Total>) -> Option<Front> {
        let lacks = |label: &u32, reader: &Reader| {
            before.get(label).is_some_and(|total| total.count > reader.taken.count)
        };
        let waiting = self.readers.iter().filter(|(label, reader)| lacks(label, reader));
        let waiting = waiting.map(|(_, reader)| reader.position);
        let needs = self.readers.values().filter_map(|reader| reader.needs);
        let from = self.applied.into_iter().chain(waiting).chain(needs).min()?;
        (from < first).then(|| {
            let total = |(label, total): (&u32, &Total)| {
                let taken = self.readers.get(label).filter(|reader| reader.position < first);
                let below = taken.filter(|reader| reader.taken.count < total.count);
                (*label, below.map_or(*total, |reader| reader.taken))
            };
            Front { from: from.max(1), totals: before.iter().map(total).collect() }
        })
    }
}
