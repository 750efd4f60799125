//! What a look at index, packs and blobs finds.
//!
//! Must never name a key in a log or a metric: findings are for who asks for them.

use serde::Serialize;

/// What kind of damage it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingKind {
    /// The index cannot be read, or not all of it: keys may seem not to be there.
    Index,
    /// One row of the index does not fit its checksum, or makes no sense.
    Row,
    /// Bytes of a body do not fit their checksum, or cannot be read.
    Body,
    /// A file is missing.
    Missing,
    /// Two things that belong together do not fit each other.
    Mismatch,
}

/// One damaged place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What kind of damage it is.
    pub kind: FindingKind,
    /// The bucket of the object, if it is one's.
    pub bucket: Option<String>,
    /// The key of the object, if it is one's.
    pub key: Option<String>,
    /// The file, under the data directory.
    pub file: String,
    /// Where in it the bytes begin that are concerned; none where all of it is.
    pub at: Option<u64>,
    /// What is wrong, for people.
    pub what: String,
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.file)?;
        if let Some(at) = self.at {
            write!(f, " at {at}")?;
        }
        if let (Some(bucket), Some(key)) = (&self.bucket, &self.key) {
            write!(f, " ({}/{})", bucket.escape_debug(), key.escape_debug())?;
        }
        write!(f, ": {}", self.what)
    }
}

/// A file that no row names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Orphan {
    /// The file, under the data directory.
    pub file: String,
    /// Its bytes.
    pub bytes: u64,
}

/// What a store holds, and what of it is damaged.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Inspection {
    /// Objects whose row could be read.
    pub objects: u64,
    /// Parts of uploads that are not completed.
    pub parts: u64,
    /// Bytes of bodies that were read.
    pub bytes: u64,
    /// One above the last change that the index holds; later ones are in the journal.
    pub applied_end: u64,
    /// How much damage there is.
    pub damaged: u64,
    /// The damage: the first 10,000.
    pub damage: Vec<Finding>,
    /// How many files no row names.
    pub orphaned: u64,
    /// Those files: the first 10,000. No damage; the next start removes those that no change in the journal
    /// names either.
    pub orphans: Vec<Orphan>,
}

/// Damage and orphans that are listed one by one.
const LISTED: usize = 10_000;

impl Inspection {
    pub(super) fn add(&mut self, finding: Finding) {
        self.damaged += 1;
        if self.damage.len() < LISTED {
            self.damage.push(finding);
        }
    }

    pub(super) fn add_orphan(&mut self, file: String, bytes: u64) {
        self.orphaned += 1;
        if self.orphans.len() < LISTED {
            self.orphans.push(Orphan { file, bytes });
        }
    }
}

/// What the background scrub has seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ScrubStatus {
    /// Objects and parts that were found damaged when they were last looked at.
    pub damaged: u64,
    /// The first 1,000 of them.
    pub damage: Vec<Finding>,
    /// Bytes of bodies read since the start of the process.
    pub bytes: u64,
    /// Times it came to the end since the start of the process.
    pub passes: u64,
}
