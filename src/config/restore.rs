//! `[restore]`: how long restores of archived objects take, and how that is judged.
//!
//! Must never be looked at again for a restore that has begun.

use std::time::Duration;

use super::check::{HOUR, MS};
use super::table::table;

/// No restore takes longer.
const MOST: Duration = Duration::from_secs(30 * 86_400);

table! {
    /// How long it takes until an archived object can be read, by class and tier.
    pub struct Restore = "restore", judged by restore {
        /// ARCHIVE and GLACIER, tier Expedited.
        archive_expedited: span = Duration::from_secs(300), MS..=MOST;
        /// The same, tier Standard.
        archive_standard: span = 5 * HOUR, MS..=MOST;
        /// The same, tier Bulk.
        archive_bulk: span = 12 * HOUR, MS..=MOST;
        /// DEEP_ARCHIVE, tier Standard. It has no Expedited.
        deep_archive_standard: span = 12 * HOUR, MS..=MOST;
        /// The same, tier Bulk.
        deep_archive_bulk: span = 48 * HOUR, MS..=MOST;
    }
}
