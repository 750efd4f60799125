//! Removals on the commit path: of a current object, and of one version.
//!
//! Must never make an event where nothing was removed and no delete marker made.

use std::sync::Arc;

use bytes::Bytes;

use super::detached::Detached;
use super::{Commit, CommitError, Conditions, Inner};
use crate::event::{Event, EventKind, RequestInfo, Version, VersionId};
use crate::queue::{Change, Permit};
use crate::store::{ObjectVersion, Versioning};

/// What a removal did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Removed {
    /// The version that is gone, or the delete marker's that was made; none if neither happened, or in a
    /// bucket
    /// that never had versioning.
    pub version: Option<VersionId>,
    /// A delete marker was made, or is gone.
    pub marker: bool,
}

impl Commit {
    /// Removes an object.
    ///
    /// Without a version: the current one. A missing key is no error and makes no event in a bucket that
    /// never
    /// had versioning; in others a delete marker comes on top of whatever is there. With one: that version is
    /// gone, and what was there before it is current if it was. A version that is not there is no error and
    /// makes no event. The conditions are about the object that goes or is hidden.
    pub async fn delete_object(
        &self,
        mut permit: Permit,
        bucket: &str,
        key: &str,
        version: Option<VersionId>,
        conditions: Conditions,
        request: RequestInfo,
    ) -> Result<Removed, CommitError> {
        let inner = Arc::clone(&self.inner);
        let (bucket, key): (Arc<str>, Arc<str>) = (bucket.into(), key.into());
        Detached::new(async move {
            let within = inner.within(&bucket).await?;
            let _key = inner.key_lock(&bucket, &key).lock().await;
            let versioning = within.bucket.versioning();
            let Some(removal) = inner.removal(versioning, &bucket, &key, version, &conditions)? else {
                return Ok(Removed::default());
            };
            let Removal { kind, version, marker, found } = removal;
            let counted = match found {
                Some(found) => within.count_away(&found)?,
                None => within.count(&key, None)?,
            };
            let event = Event { version, ..inner.event(kind, bucket, key, 0, "".into(), request) };
            let admitted = inner.admit(&within.bucket, &mut permit, Change::DeleteObject, event)?;
            let committed = counted.ended(inner.append_event(permit, admitted, Bytes::new()).await)?;
            Ok(Removed { version: committed.version, marker })
        })
        .await
    }
}

/// What a removal does.
struct Removal {
    kind: EventKind,
    /// The version that its event is about.
    version: Option<Version>,
    /// It is a delete marker.
    marker: bool,
    /// The version that goes, if one was named.
    found: Option<ObjectVersion>,
}

impl Inner {
    /// What a removal does; none: nothing.
    fn removal(
        &self,
        versioning: Versioning,
        bucket: &str,
        key: &str,
        version: Option<VersionId>,
        conditions: &Conditions,
    ) -> Result<Option<Removal>, CommitError> {
        match (versioning, version) {
            (Versioning::Never, None | Some(VersionId::Null)) => {
                let current = self.store.object(bucket, key)?;
                conditions.hold(current.as_ref())?;
                let kind = EventKind::RemovedDelete;
                Ok(current.map(|_| Removal { kind, version: None, marker: false, found: None }))
            }
            (_, None) => {
                self.check(bucket, key, conditions)?;
                let (kind, version) = (EventKind::RemovedMarker, versioning.of_new());
                Ok(Some(Removal { kind, version, marker: true, found: None }))
            }
            (_, Some(id)) => {
                let found = self.store.version(bucket, key, Some(id))?;
                conditions.hold(found.as_ref().filter(|found| !found.marker).map(|found| &found.object))?;
                let (kind, version) = (EventKind::RemovedDelete, Some(Version::Named(id)));
                Ok(found.map(|found| Removal { kind, version, marker: found.marker, found: Some(found) }))
            }
        }
    }
}
