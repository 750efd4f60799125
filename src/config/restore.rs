//! `[restore]`: how long restores of archived objects take, and how that is judged.
//!
//! Must never be looked at again for a restore that has begun.

use std::time::Duration;

use serde::Deserialize;
use tidings_connector::Span;

use super::check::{Checker, HOUR, MS};
use super::tree::KeyPath;

/// How long it takes until an archived object can be read, by class and tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restore {
    /// ARCHIVE and GLACIER, tier Expedited.
    pub archive_expedited: Duration,
    /// The same, tier Standard.
    pub archive_standard: Duration,
    /// The same, tier Bulk.
    pub archive_bulk: Duration,
    /// DEEP_ARCHIVE, tier Standard. It has no Expedited.
    pub deep_archive_standard: Duration,
    /// The same, tier Bulk.
    pub deep_archive_bulk: Duration,
}

/// The same as it is typed.
#[derive(Debug, Deserialize)]
#[serde(default)]
pub(super) struct Raw {
    archive_expedited: Span,
    archive_standard: Span,
    archive_bulk: Span,
    deep_archive_standard: Span,
    deep_archive_bulk: Span,
}

impl Default for Raw {
    fn default() -> Self {
        let hours = |n| Span(n * HOUR);
        Self {
            archive_expedited: Span(Duration::from_secs(300)),
            archive_standard: hours(5),
            archive_bulk: hours(12),
            deep_archive_standard: hours(12),
            deep_archive_bulk: hours(48),
        }
    }
}

impl Default for Restore {
    fn default() -> Self {
        Self::from(&Raw::default())
    }
}

impl From<&Raw> for Restore {
    fn from(raw: &Raw) -> Self {
        Self {
            archive_expedited: raw.archive_expedited.0,
            archive_standard: raw.archive_standard.0,
            archive_bulk: raw.archive_bulk.0,
            deep_archive_standard: raw.deep_archive_standard.0,
            deep_archive_bulk: raw.deep_archive_bulk.0,
        }
    }
}

impl Checker<'_> {
    /// `[restore]`.
    pub(super) fn restore(&mut self, raw: &Raw) -> Restore {
        let at = KeyPath::of(&["restore"]);
        for (key, value) in [
            ("archive_expedited", raw.archive_expedited),
            ("archive_standard", raw.archive_standard),
            ("archive_bulk", raw.archive_bulk),
            ("deep_archive_standard", raw.deep_archive_standard),
            ("deep_archive_bulk", raw.deep_archive_bulk),
        ] {
            self.span(&at.key(key), value, MS..=30 * 24 * HOUR);
        }
        raw.into()
    }
}
