//! What operators see of the store.
//!
//! Must never wait for the disk.

use super::Parts;
use crate::admin::{BodyDamageView, StoreStat};
use crate::metrics::StoreSnapshot;

impl Parts {
    /// For the admin API.
    pub(super) fn store_view(&self) -> StoreStat {
        let (bodies, scrub) = (self.store.body_bytes(), self.store.scrub());
        let damage = scrub.damage.into_iter().map(|f| BodyDamageView {
            bucket: f.bucket,
            key: f.key,
            file: f.file,
            at: f.at,
            what: f.what,
        });
        StoreStat {
            live_bytes: bodies.live,
            dead_bytes: bodies.dead,
            scrubbed_bytes: scrub.bytes,
            scrub_passes: scrub.passes,
            damaged: scrub.damaged,
            damage: damage.collect(),
        }
    }

    /// For a scrape.
    pub(super) fn store_snapshot(&self) -> StoreSnapshot {
        let (bodies, scrub) = (self.store.body_bytes(), self.store.scrub());
        StoreSnapshot {
            live_bytes: bodies.live,
            dead_bytes: bodies.dead,
            damaged: scrub.damaged,
            scrubbed_bytes: scrub.bytes,
            scrub_passes: scrub.passes,
        }
    }
}
