//! Damage, as it is told: where, which offsets, and what is wrong.
//!
//! Must never say that nothing is lost where that is not known.

use super::segment::Segment;

/// Something durable that cannot be read any more.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Damage {
    /// The file's name.
    pub file: String,
    /// Where in it the damage begins, in bytes; 0 if the whole file cannot be read or is missing.
    pub at: u64,
    /// The first offset that cannot be read.
    pub from: u64,
    /// The last one; below `from` if no record is lost.
    pub to: u64,
    /// What is wrong.
    #[serde(default)]
    pub why: Why,
}

/// What is wrong with a damaged range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// Its bytes do not fit their checksums.
    #[default]
    Bytes,
    /// The file's header is damaged, so that nothing in it can be told.
    Header,
    /// It was durable, since something durable names it, and is not there.
    Missing,
}

impl Why {
    /// One word, as in JSON.
    pub fn label(self) -> &'static str {
        match self {
            Self::Bytes => "bytes",
            Self::Header => "header",
            Self::Missing => "missing",
        }
    }
}

impl std::fmt::Display for Why {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Bytes => "bytes that fit no checksum",
            Self::Header => "the file's header is damaged",
            Self::Missing => "not there, although it was durable",
        })
    }
}

impl Damage {
    /// The offsets from `from` to below `end` cannot be read, because of a whole file.
    pub(super) fn of_file(file: String, from: u64, end: u64, why: Why) -> Self {
        Self { file, at: 0, from, to: end.saturating_sub(1), why }
    }

    /// How many offsets are lost.
    pub fn offsets(&self) -> u64 {
        (self.to + 1).saturating_sub(self.from)
    }
}

impl std::fmt::Display for Damage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { file, at, from, to, why } = self;
        match self.offsets() {
            0 => write!(f, "{file} at byte {at}: damaged ({why}), no record is lost"),
            1 => write!(f, "{file} at byte {at}: offset {from} cannot be read: {why}"),
            _ => write!(f, "{file} at byte {at}: offsets {from} to {to} cannot be read: {why}"),
        }
    }
}

/// The damage of a segment at a place: the offsets from `from` to below `end`.
pub(super) fn damage(segment: &Segment, at: u64, from: u64, end: u64) -> Damage {
    let file = segment.path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    Damage { file, at, from, to: end.saturating_sub(1), why: Why::Bytes }
}
