//! Changes that nobody made by hand and that only count if nobody did: what was fetched elsewhere while its
//! key was missing.
//!
//! Must never cost a change anything while nobody watches, and never let one pass unseen that is committed
//! while its key is watched.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Commit, CommitError, Committed, PutObject};
use crate::queue::Permit;
use crate::store::Bucket;

/// A bucket and a key.
type At = (Arc<str>, Arc<str>);

/// What must hold of the bucket, under its lock and the key's.
pub type OnlyIf = Box<dyn Fn(&Bucket) -> bool + Send + Sync>;

/// The keys that are watched, and how many of them.
#[derive(Default)]
pub(super) struct Watched {
    any: AtomicUsize,
    keys: Mutex<HashMap<At, Vec<Arc<AtomicBool>>>>,
}

impl Watched {
    fn keys(&self) -> MutexGuard<'_, HashMap<At, Vec<Arc<AtomicBool>>>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A change of a key is about to be committed. Called under the key's lock.
    pub(super) fn changes(&self, bucket: &Arc<str>, key: &Arc<str>) {
        if self.any.load(Ordering::SeqCst) == 0 {
            return;
        }
        let at = (Arc::clone(bucket), Arc::clone(key));
        let keys = self.keys();
        keys.get(&at).into_iter().flatten().for_each(|changed| changed.store(true, Ordering::SeqCst));
    }
}

/// A key whose changes are noticed until this is dropped.
pub struct KeyWatch {
    commit: Commit,
    at: At,
    changed: Arc<AtomicBool>,
}

impl KeyWatch {
    /// True once a change of the key was about to be committed, whatever came of it.
    pub fn changed(&self) -> bool {
        self.changed.load(Ordering::SeqCst)
    }
}

impl Drop for KeyWatch {
    fn drop(&mut self) {
        let watched = &self.commit.inner.watched;
        let mut keys = watched.keys();
        if let Some(watches) = keys.get_mut(&self.at) {
            watches.retain(|changed| !Arc::ptr_eq(changed, &self.changed));
            if watches.is_empty() {
                keys.remove(&self.at);
            }
        }
        watched.any.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Commit {
    /// From now on changes of a key are noticed.
    pub fn watch_key(&self, bucket: &Arc<str>, key: &Arc<str>) -> KeyWatch {
        let (at, changed) = ((Arc::clone(bucket), Arc::clone(key)), Arc::new(AtomicBool::new(false)));
        let watched = &self.inner.watched;
        // Counted first: whoever commits and sees none was before this.
        watched.any.fetch_add(1, Ordering::SeqCst);
        watched.keys().entry(at.clone()).or_default().push(Arc::clone(&changed));
        KeyWatch { commit: Self { inner: Arc::clone(&self.inner) }, at, changed }
    }

    /// As [`Commit::put_object`], if something holds once nothing else can change it.
    ///
    /// # Errors
    /// [`CommitError::PreconditionFailed`]: it does not.
    pub async fn put_object_if(
        &self,
        permit: Permit,
        put: PutObject,
        only_if: OnlyIf,
    ) -> Result<Committed, CommitError> {
        let made = self.put(permit, put, Some(only_if), None).await?;
        Ok(made.expect("only a replica may be there already"))
    }
}
