//! The reference of the PUT rows: the real frontend and commit path over a queue and a store that do nothing.
//!
//! Must never store anything: what it measures is everything else.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Result, bail};
use async_trait::async_trait;
use bytes::Bytes;
use tidings::commit::Commit;
use tidings::config;
use tidings::config::credentials::Credential;
use tidings::event::Position;
use tidings::frontend::{Ambient, CredentialLookup, Frontend};
use tidings::queue::{AppendError, Entry, Full, OpenError, Permit, Queue, Reader, TargetNo};
use tidings::store::{BlobWriter, BodyStream, Bucket, Object, RegisteredTarget, Restores, Store, StoreError};

/// The key pair of the reference server.
pub(crate) const ACCESS_KEY: &str = "BENCHACCESSKEY";
pub(crate) const SECRET_KEY: &str = "bench-secret-key";

#[derive(Default)]
struct Nothing {
    next: AtomicU64,
}

#[async_trait]
impl Queue for Nothing {
    fn partitions(&self) -> u32 {
        1
    }

    async fn reserve(&self, bytes: usize) -> Result<Permit, Full> {
        Ok(Permit::unbounded(u32::try_from(bytes).unwrap_or(u32::MAX)))
    }

    async fn append(&self, _: Permit, _: Entry, _: Bytes) -> Result<Position, AppendError> {
        Ok(Position { epoch: 1, offset: self.next.fetch_add(1, Ordering::Relaxed) })
    }

    async fn open(&self, target: TargetNo, _: u32) -> Result<Box<dyn Reader>, OpenError> {
        Err(OpenError::Unregistered(target))
    }
}

impl Restores for Nothing {}

#[async_trait]
impl Store for Nothing {
    fn bucket(&self, name: &str) -> Result<Option<Bucket>, StoreError> {
        Ok(Some(Bucket::new(name, 0, ACCESS_KEY)))
    }

    fn buckets(&self) -> Result<Vec<Bucket>, StoreError> {
        Ok(Vec::new())
    }

    fn object(&self, _: &str, _: &str) -> Result<Option<Object>, StoreError> {
        Ok(None)
    }

    fn list(&self, _: &str, _: &str, _: Option<&str>, _: usize) -> Result<Vec<Object>, StoreError> {
        Ok(Vec::new())
    }

    async fn read(&self, _: &Object, _: Range<u64>) -> Result<BodyStream, StoreError> {
        Err(StoreError::Gone)
    }

    async fn new_blob(&self) -> Result<Box<dyn BlobWriter>, StoreError> {
        Err(StoreError::Gone)
    }

    fn targets(&self) -> Result<Vec<RegisteredTarget>, StoreError> {
        Ok(Vec::new())
    }
}

struct OneKey(Arc<Credential>);

impl CredentialLookup for OneKey {
    fn credential(&self, access_key: &str) -> Option<Arc<Credential>> {
        (access_key == ACCESS_KEY).then(|| Arc::clone(&self.0))
    }
}

/// Serves until it is killed, on a runtime as the product's; prints where.
pub(crate) fn run() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let config = match config::load(None, std::iter::empty()) {
            Ok(config) => config,
            Err(e) => bail!("{e}"),
        };
        let clock = || jiff::Timestamp::now().as_microsecond();
        let nothing = Arc::new(Nothing::default());
        let commit = Commit::new(nothing.clone(), nothing, clock, fastrand::Rng::with_seed(7));
        let ambient = Ambient { now: jiff::Timestamp::now, seed: 7 };
        let (commit, key) =
            (Arc::new(commit), Arc::new(OneKey(Arc::new(Credential::unlimited(SECRET_KEY.into())))));
        let (server, store, account) = (&config.server, &config.store, &config.account);
        let frontend = Frontend::new(server, store, account, &config.origin, commit, key, ambient);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        println!("listening s3 http://{}", listener.local_addr()?);
        println!("ready");
        frontend.serve(listener, std::future::pending()).await;
        Ok(())
    })
}
