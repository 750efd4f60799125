//! What readers and the index thread share.
//!
//! Must never hold what only one of them needs.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

use tokio::sync::watch;

use super::Status;
use super::blobs::Blobs;
use super::index::Index;
use super::overlay::Overlay;
use super::packs::Packs;
use super::unread::Unread;
use crate::store::BodyBytes;

/// What readers and the index thread share.
pub(super) struct Shared {
    pub(super) overlay: Arc<Overlay>,
    pub(super) unread: Unread,
    pub(super) index: Box<dyn Index>,
    pub(super) packs: Arc<Packs>,
    pub(super) blobs: Arc<Blobs>,
    /// One above the last offset in the synced checkpoint.
    pub(super) checkpointed: AtomicU64,
    /// What bodies take, as of the last applied change.
    pub(super) bodies: Mutex<BodyBytes>,
    pub(super) status: watch::Sender<Status>,
}
