//! Replicas on the commit path: versions that another server made and named.
//!
//! Two tries of one replica may be on their way at once, and the first may come last. So a replica is made
//! only if its name is not there yet, and if nothing has come on top of the key since before its source was
//! asked whether it is the newest there: whatever came to the source later comes here after that. Must never
//! give a replica a name of our own: by that it would be replicated again.

use std::sync::Arc;

use bytes::Bytes;

use super::detached::Detached;
use super::{Commit, CommitError, Inner, PutObject};
use crate::event::{Event, EventKind, RequestInfo, Version, VersionId};
use crate::queue::{Change, Permit};
use crate::store::{Bucket, Versioning};

/// The version that a replica is to be.
#[derive(Debug, Clone, Copy)]
pub struct Replica {
    /// Its name, given by its source.
    pub version: VersionId,
    /// The offset of the key's newest version here, delete markers too, before the source was asked; none:
    /// there was none.
    pub newest: Option<u64>,
}

impl Commit {
    /// The key's newest version here, to be asked for before a replica's source is; none if the replica is
    /// here already.
    ///
    /// # Errors
    /// No such bucket, or one whose versioning is not enabled.
    pub fn begin_replica(
        &self,
        bucket: &str,
        key: &str,
        version: VersionId,
    ) -> Result<Option<Replica>, CommitError> {
        let bucket = self.inner.require_bucket(bucket)?;
        if bucket.versioning() != Versioning::Enabled {
            return Err(CommitError::NotVersioned);
        }
        if self.inner.store.version(&bucket.name, key, Some(version))?.is_some() {
            return Ok(None);
        }
        let newest = self.inner.newest(&bucket.name, key)?;
        Ok(Some(Replica { version, newest }))
    }

    /// Makes a replica the current object; one that is here already is left as it is.
    ///
    /// # Errors
    /// Those of a PUT; [`CommitError::Replaced`] if something came on top of the key meanwhile.
    pub async fn put_replica(
        &self,
        permit: Permit,
        put: PutObject,
        replica: Replica,
    ) -> Result<(), CommitError> {
        self.put(permit, put, None, Some(replica)).await.map(drop)
    }

    /// The same of a delete marker.
    ///
    /// # Errors
    /// As [`Commit::put_replica`].
    pub async fn mark_replica(
        &self,
        mut permit: Permit,
        (bucket, key): (&str, &str),
        replica: Replica,
        request: RequestInfo,
    ) -> Result<(), CommitError> {
        let inner = Arc::clone(&self.inner);
        let (bucket, key): (Arc<str>, Arc<str>) = (bucket.into(), key.into());
        Detached::new(async move {
            let within = inner.within(&bucket).await?;
            let _key = inner.key_lock(&bucket, &key).lock().await;
            let Some(version) = inner.place(&within.bucket, &key, &replica)? else { return Ok(()) };
            let counted = within.count(&key, None)?;
            let event = inner.event(EventKind::RemovedMarker, bucket, key, 0, "".into(), request);
            let event = Event { version: Some(version), ..event };
            let admitted = inner.admit(&within.bucket, &mut permit, Change::DeleteObject, event)?;
            counted.ended(inner.append_event(permit, admitted, Bytes::new()).await).map(drop)
        })
        .await
    }
}

impl Inner {
    /// Under the key's lock: the version that a replica becomes; none if it is here already.
    pub(super) fn place(
        &self,
        bucket: &Bucket,
        key: &str,
        replica: &Replica,
    ) -> Result<Option<Version>, CommitError> {
        if bucket.versioning() != Versioning::Enabled {
            return Err(CommitError::NotVersioned);
        }
        if self.store.version(&bucket.name, key, Some(replica.version))?.is_some() {
            return Ok(None);
        }
        match self.newest(&bucket.name, key)? == replica.newest {
            true => Ok(Some(Version::Named(replica.version))),
            false => Err(CommitError::Replaced),
        }
    }

    fn newest(&self, bucket: &str, key: &str) -> Result<Option<u64>, CommitError> {
        Ok(self.store.version(bucket, key, None)?.map(|newest| newest.object.offset))
    }
}
