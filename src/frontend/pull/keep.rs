//! What an origin sends becomes an object, as if a client had put it.
//!
//! Must never take the place of an object that came meanwhile, and never leave anything behind of one that
//! did not come whole: a blob that was not finished goes, as does one whose handle is dropped.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use http::{HeaderMap, HeaderName};
use tidings_origin::Fetched;

use super::failure::Failure;
use super::{Pull, Pulled, Pulls};
use crate::commit::{BodySpace, CommitError, Conditions, KeyWatch, NewBody, PutObject};
use crate::event::{EventKind, RequestInfo};
use crate::frontend::digest::{BodyHash, Declared, Hashes};
use crate::frontend::headers::{self, Kept};
use crate::frontend::intake::{Intake, Taken};
use crate::frontend::put::RECORD_OVERHEAD;
use crate::store::Bucket;

/// Room for a body of unknown length is taken in pieces of so many bytes.
const PIECE: u64 = 8 << 20;
/// What an origin's own metadata may be called.
const METADATA: [&str; 3] = ["x-amz-meta-", "x-cos-meta-", "x-oss-meta-"];

/// A body that is here, whole.
pub(super) struct Whole {
    pub(super) body: NewBody,
    pub(super) size: u64,
    pub(super) hashes: Hashes,
    _space: Vec<BodySpace>,
}

impl Pulls {
    /// Makes an object of what an origin sends, if it is whole and nobody made another one meanwhile.
    pub(super) async fn keep(
        self: &Arc<Self>,
        pull: &Pull,
        watch: &Arc<KeyWatch>,
        fetched: Fetched,
    ) -> Result<Pulled, Failure> {
        let kept = metadata_of(&fetched.headers)?;
        let metadata: usize = kept.iter().map(|(name, value)| name.len() + value.len()).sum();
        let inline = fetched.length.unwrap_or(self.inline_bytes);
        let inline = if inline <= self.inline_bytes { usize::try_from(inline).unwrap_or(0) } else { 0 };
        let space = self.commit.reserve_body(fetched.length.unwrap_or(0))?;
        let record = RECORD_OVERHEAD + pull.bucket.len() + pull.key.len() + metadata + inline;
        let permit = self.commit.reserve(record).await?;
        let Whole { body, size, hashes, _space } = self.read(fetched, space).await?;
        let put = PutObject {
            bucket: Arc::clone(&pull.bucket),
            key: Arc::clone(&pull.key),
            kind: EventKind::CreatedOrigin,
            size,
            etag: hex::encode(hashes.md5).into(),
            crc64: hashes.crc64,
            headers: kept,
            body,
            // Under the key's lock: what a client made since the miss is newer than anything of an origin.
            conditions: Conditions { if_none_match: Some("*".to_owned()), ..Conditions::default() },
            request: RequestInfo { hops: pull.hops.load(Ordering::Relaxed), ..pull.request.clone() },
        };
        // What took long may come of an origin, or for a bucket, that is no more; or for a key that a client
        // made and removed meanwhile. Asked where nothing of that can change any more.
        let (pulls, pull, watch) = (Arc::clone(self), pull.clone(), Arc::clone(watch));
        let still = move |bucket: &Bucket| !watch.changed() && pulls.asks_for(bucket, &pull);
        match self.commit.put_object_if(permit, put, Box::new(still)).await {
            Ok(_) => Ok(Pulled::Kept),
            Err(CommitError::PreconditionFailed) => Ok(Pulled::Superseded),
            Err(error) => Err(error.into()),
        }
    }

    /// The bytes, in memory as long as a record may carry them, else in a blob.
    pub(super) async fn read(&self, mut fetched: Fetched, space: BodySpace) -> Result<Whole, Failure> {
        let (mut space, mut promised) = (vec![space], fetched.length.unwrap_or(0));
        let hash = BodyHash::new(Declared::default());
        let mut intake = Intake::new(&**self.commit.store(), self.inline_bytes, hash);
        while let Some(data) = fetched.chunk().await? {
            while intake.size() + data.len() as u64 > promised {
                space.push(self.commit.reserve_body(PIECE)?);
                promised += PIECE;
            }
            intake.take(data).await.map_err(CommitError::from)?;
        }
        let Taken { body, size, hash } = intake.finish().await.map_err(CommitError::from)?;
        let hashes = hash.finish(None).map_err(|_| Failure::Internal)?;
        Ok(Whole { body, size, hashes, _space: space })
    }
}

/// What of an origin's headers is kept with an object.
pub(super) fn metadata_of(of_origin: &HeaderMap) -> Result<Kept, Failure> {
    let mut ours = HeaderMap::new();
    for (name, value) in of_origin {
        let own = METADATA.iter().find_map(|prefix| name.as_str().strip_prefix(prefix));
        let name = match own {
            Some(own) => HeaderName::from_bytes(format!("x-amz-meta-{own}").as_bytes()).ok(),
            None => Some(name.clone()),
        };
        if let Some(name) = name {
            ours.insert(name, value.clone());
        }
    }
    headers::metadata(&ours).map_err(|_| Failure::unfit("its origin's metadata are too large, or no text"))
}
