//! `[restore]`: how long restores of archived objects take, and how that is judged.
//!
//! Must never be looked at again for a restore that has begun.

use std::time::Duration;

use super::check::{Checker, HOUR, MS};
use super::raw;
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

impl Default for Restore {
    fn default() -> Self {
        Self::from(&raw::Restore::default())
    }
}

impl From<&raw::Restore> for Restore {
    fn from(raw: &raw::Restore) -> Self {
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
    pub(super) fn restore(&mut self, raw: &raw::Restore) -> Restore {
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
