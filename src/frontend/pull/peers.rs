//! Replicas: a peer says that there is a version and where, and it is pulled from there.
//!
//! Must never pull from where no operator said, make anything of a version that its source does not call its
//! newest, nor take bytes that are not the ones that its source has.

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::HeaderMap;
use http::header::ETAG;
use s3s::{S3Error, S3ErrorCode, S3Result};
use tidings_origin::{FetchError, Fetched, Fetcher, Options, Url};
use tidings_replication::OBJECT;
use tokio::sync::OnceCell;

use super::Pulls;
use super::failure::Failure;
use super::keep::Whole;
use crate::commit::{Conditions, PutObject, Replica};
use crate::config;
use crate::event::{EventKind, RequestInfo, VersionId};
use crate::fail;
use crate::frontend::errors;
use crate::frontend::put::RECORD_OVERHEAD;
use crate::queue::{ObjectMeta, decode_object};

/// The largest object that there is, in bytes: one of 10,000 parts.
const MAX_BYTES: u64 = 50 << 40;

/// Whom replicas are pulled from.
pub(super) struct Peers {
    /// Origins of URLs.
    from: Vec<String>,
    ca_file: Option<PathBuf>,
    fetcher: OnceCell<Fetcher>,
}

/// What a peer says of a version.
pub(in crate::frontend) struct Wish {
    pub(in crate::frontend) key: String,
    pub(in crate::frontend) version: VersionId,
    /// None: it is a delete marker.
    pub(in crate::frontend) etag: Option<String>,
    /// Where it is pulled from.
    pub(in crate::frontend) from: Url,
}

impl Pulls {
    /// From now on replicas come from these peers. To be called once.
    pub(in crate::frontend) fn take_from(&self, replication: &config::Replication) {
        let (from, ca_file) = (replication.pull_from.clone(), replication.ca_file.clone());
        let _ = self.peers.set(Peers { from, ca_file, fetcher: OnceCell::new() });
    }

    /// Pulls a version and makes it the newest of its key, unless it is here, or its source has a newer one,
    /// whose own event brings that.
    pub(in crate::frontend) async fn replicate(
        &self,
        bucket: &str,
        wish: &Wish,
        request: RequestInfo,
    ) -> S3Result<()> {
        let known = |peers: &&Peers| peers.from.contains(&wish.from.origin().ascii_serialization());
        let peers = self.peers.get().filter(known).ok_or_else(|| {
            let text = "Replicas are pulled from the addresses in `replication.pull_from` alone.";
            S3Error::with_message(S3ErrorCode::AccessDenied, text)
        })?;
        let fetcher = peers.fetcher(self.options).await.map_err(|failure| failure.answer(false))?;
        // Before its source is asked: whatever comes to the source after that comes here after this.
        let begun = self.commit.begin_replica(bucket, &wish.key, wish.version);
        let Some(replica) = begun.map_err(errors::of_commit)? else { return Ok(()) };
        let until = fetcher.deadline();
        let answer = fetcher.get(wish.from.clone(), &HeaderMap::new(), false, until).await;
        fail::point("replica.asked");
        match answer {
            Ok(fetched) => self.keep_replica(bucket, wish, replica, fetched, request).await,
            Err(FetchError::Status(412)) => Ok(()),
            Err(FetchError::Status(204)) if wish.etag.is_none() => {
                let permit = self.commit.reserve_removal(RECORD_OVERHEAD + bucket.len() + wish.key.len());
                let permit = permit.await.map_err(errors::of_commit)?;
                let marked = self.commit.mark_replica(permit, (bucket, &wish.key), replica, request).await;
                marked.map_err(errors::of_commit)
            }
            // No source of ours says so to a pull.
            Err(FetchError::NotFound) => Err(Failure::unfit("its source knows no pulls").answer(false)),
            Err(error) => Err(Failure::from(error).answer(false)),
        }
    }

    async fn keep_replica(
        &self,
        bucket: &str,
        wish: &Wish,
        replica: Replica,
        fetched: Fetched,
        request: RequestInfo,
    ) -> S3Result<()> {
        let unfit = |why| Failure::unfit(why).answer(false);
        let ObjectMeta { crc64, headers, .. } =
            object_of(&fetched.headers).ok_or_else(|| unfit("its source does not say what it is"))?;
        let etag = fetched.headers.get(ETAG).and_then(|etag| etag.to_str().ok());
        let etag = etag.map(|etag| etag.trim_matches('"')).unwrap_or_default();
        let (Some(wanted), Some(length)) = (&wish.etag, fetched.length) else {
            return Err(unfit("its source sends another thing"));
        };
        if wanted != etag {
            return Err(unfit("its source has another ETag"));
        }
        let metadata: usize = headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        let inline = if length <= self.inline_bytes { usize::try_from(length).unwrap_or(0) } else { 0 };
        let space = self.commit.reserve_body(length).map_err(errors::of_commit)?;
        let record = RECORD_OVERHEAD + bucket.len() + wish.key.len() + metadata + inline;
        let permit = self.commit.reserve(record).await.map_err(errors::of_commit)?;
        let whole = self.read(fetched, space).await.map_err(|failure| failure.answer(false))?;
        let Whole { body, size, hashes, .. } = whole;
        if hashes.crc64 != crc64 {
            return Err(unfit("its bytes changed on the way"));
        }
        let put = PutObject {
            bucket: bucket.into(),
            key: wish.key.as_str().into(),
            kind: EventKind::CreatedReplication,
            size,
            etag: wanted.as_str().into(),
            crc64,
            headers,
            body,
            conditions: Conditions::default(),
            request,
        };
        self.commit.put_replica(permit, put, replica).await.map_err(errors::of_commit)
    }
}

/// What a source says of an object beside its bytes.
fn object_of(headers: &HeaderMap) -> Option<ObjectMeta> {
    let bytes = BASE64.decode(headers.get(OBJECT)?.as_bytes()).ok()?;
    decode_object(&bytes).ok()
}

impl Peers {
    async fn fetcher(&self, of_origins: Options) -> Result<&Fetcher, Failure> {
        // Who is called was decided by whoever configured this server.
        let options = Options { allow_private: true, max_bytes: MAX_BYTES, ..of_origins };
        let made = self.fetcher.get_or_try_init(|| async {
            let ca_file = self.ca_file.clone();
            let made = tokio::task::spawn_blocking(move || Fetcher::new(options, ca_file)).await;
            made.unwrap_or_else(|e| Err(e.to_string()))
        });
        made.await.map_err(|why| {
            tracing::error!(%why, "peers cannot be asked for replicas");
            Failure::Internal
        })
    }
}
