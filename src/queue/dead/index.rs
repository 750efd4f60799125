//! What is known of every dead letter without reading it, and which ones an operator means.
//!
//! Must never hold a key or an event: those stay in the file.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::record::{self, Brief, GONE, Gone, LETTER, WISH};

/// One letter: where it stands in the file, and what it can be chosen by. About 60 bytes in memory.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known {
    pub(super) at: u64,
    pub(super) len: u32,
    class: u32,
    /// What the entry cost its target's budget.
    pub(super) bare: u32,
    key: u64,
    since_ms: i64,
}

/// How a letter went, and what its entry cost its target's budget.
pub(super) type Mark = (Gone, u32);

/// Every letter by offset, and those that are gone as long as a reader might meet them again.
#[derive(Debug, Default)]
pub(super) struct Index {
    pub(super) letters: BTreeMap<u64, Known>,
    pub(super) gone: BTreeMap<u64, Mark>,
    /// Letters that an operator wants to be sent again, until the far side has them or has refused again.
    pub(super) wished: BTreeSet<u64>,
    classes: Vec<Arc<str>>,
    /// Bytes of the letters, without what stands between them.
    pub(super) bytes: u64,
    oldest_ms: Option<i64>,
}

/// Which letters are meant: those that fit everything that is said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Dead letters since this moment or later, in milliseconds since the Unix epoch.
    pub since_unix_ms: Option<i64>,
    /// Dead letters since before this moment.
    pub until_unix_ms: Option<i64>,
    /// Class of the last outcome.
    pub class: Option<Arc<str>>,
    /// Bucket and key of the object.
    pub object: Option<(Arc<str>, Arc<str>)>,
}

impl Index {
    /// Takes one record of the file, as often as it comes.
    pub(super) fn apply(&mut self, at: u64, kind: u8, content: &[u8]) {
        match kind {
            LETTER => {
                if let Some((brief, class)) = record::brief(content) {
                    self.insert(at, (record::RECORD_HEADER + content.len()) as u32, brief, class);
                }
            }
            GONE => {
                if let Some((how, marks)) = record::gone(content) {
                    for (offset, bare) in marks {
                        self.remove(offset);
                        self.gone.entry(offset).or_insert((how, bare));
                    }
                }
            }
            WISH => {
                let letters = &self.letters;
                self.wished.extend(record::wish(content).filter(|offset| letters.contains_key(offset)));
            }
            // A later version may have more to say.
            _ => {}
        }
    }

    fn insert(&mut self, at: u64, len: u32, brief: Brief, class: &str) {
        if self.gone.contains_key(&brief.offset) {
            return;
        }
        self.remove(brief.offset);
        let class = self.classes.iter().position(|c| **c == *class).unwrap_or_else(|| {
            self.classes.push(class.into());
            self.classes.len() - 1
        });
        let Brief { offset, key, since_ms, bare } = brief;
        let known = Known { at, len, class: class as u32, bare, key, since_ms };
        self.letters.insert(offset, known);
        self.bytes += u64::from(len);
        if self.letters.len() == 1 || self.oldest_ms.is_some_and(|oldest| since_ms < oldest) {
            self.oldest_ms = Some(since_ms);
        }
    }

    fn remove(&mut self, offset: u64) {
        self.wished.remove(&offset);
        if let Some(known) = self.letters.remove(&offset) {
            self.bytes -= u64::from(known.len);
            if self.oldest_ms == Some(known.since_ms) {
                self.oldest_ms = None;
            }
        }
    }

    /// Every offset that must not be sent again.
    pub(super) fn offsets(&self) -> impl Iterator<Item = u64> {
        self.letters.keys().chain(self.gone.keys()).copied()
    }

    /// How many of those that are gone went this way.
    pub(super) fn gone_by(&self, how: Gone) -> u64 {
        self.gone.values().filter(|mark| mark.0 == how).count() as u64
    }

    /// The same with what their entries cost.
    pub(super) fn entries(&self) -> impl Iterator<Item = (u64, u32)> {
        let letters = self.letters.iter().map(|(offset, known)| (*offset, known.bare));
        letters.chain(self.gone.iter().map(|(offset, mark)| (*offset, mark.1)))
    }

    /// Since when the oldest letter is one, in milliseconds since the Unix epoch. Looked up once after the
    /// oldest is gone.
    pub(super) fn oldest_ms(&mut self) -> Option<i64> {
        if self.oldest_ms.is_none() {
            self.oldest_ms = self.letters.values().map(|known| known.since_ms).min();
        }
        self.oldest_ms
    }

    /// The letters above `after` that may fit: the object is compared by its hash only.
    pub(super) fn fitting<'a>(
        &'a self,
        filter: &'a Filter,
        after: u64,
    ) -> impl Iterator<Item = (u64, Known)> + 'a {
        let key = filter.object.as_ref().map(|(b, k)| crate::queue::entry::key_hash(b, k));
        let class = filter.class.as_ref().map(|c| self.classes.iter().position(|known| known == c));
        self.letters.range(after.saturating_add(1)..).map(|(o, k)| (*o, *k)).filter(move |(_, known)| {
            filter.since_unix_ms.is_none_or(|since| known.since_ms >= since)
                && filter.until_unix_ms.is_none_or(|until| known.since_ms < until)
                && class.is_none_or(|c| c == Some(known.class as usize))
                && key.is_none_or(|key| key == known.key)
        })
    }
}
