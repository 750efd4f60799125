//! What the API of SCF needs beside what operators ask: keys, the clock, names of hosts, objects with code.
//!
//! Must never give an object that a GET would not give.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::TryStreamExt as _;
use uuid::Uuid;

use super::{Parts, now_us};
use crate::admin::{ChangeError, ScfBackend};
use crate::config::credentials::Credential;
use crate::frontend::{self, CredentialLookup as _};
use crate::queue::Stored;
use crate::queue::dead::Letter;
use crate::store::{Object, Restores as _, Store as _, StoreError};

/// How often a row is looked up again when its body was replaced meanwhile.
const MAX_LOOKUPS: usize = 5;

#[async_trait]
impl ScfBackend for Parts {
    fn credential(&self, access_key: &str) -> Option<Arc<Credential>> {
        self.keys.credential(access_key)
    }

    fn now_s(&self) -> i64 {
        (self.clock)() / 1_000_000
    }

    fn request_id(&self) -> String {
        Uuid::now_v7().to_string()
    }

    fn region(&self) -> &str {
        &self.targets.around.server.region
    }

    fn appid(&self) -> &str {
        &self.targets.around.account.appid
    }

    fn host_of(&self, bucket: &str) -> String {
        let server = &self.targets.around.server;
        match &server.domain {
            Some(domain) => format!("{bucket}.{domain}"),
            None => format!("{bucket}.cos.{}.myqcloud.com", server.region),
        }
    }

    fn bucket_at(&self, host: &str) -> Option<String> {
        let server = &self.targets.around.server;
        frontend::bucket_at(server.domain.as_deref(), &server.region, host)
    }

    fn as_sent(&self, target: &str, letter: &Letter) -> Option<Bytes> {
        let target = self.targets.get(target)?.configured?;
        let Letter { position, entry, bare, .. } = letter.clone();
        let rule = entry.deliveries.first().map(|delivery| Arc::clone(&delivery.rule)).unwrap_or_default();
        let stored = Stored { position, entry, body: Bytes::new(), bare, charge: 0 };
        self.targets.encoder(&target)(&stored, &rule).ok().map(|message| message.payload)
    }

    async fn object(&self, bucket: &str, key: &str, most: u64) -> Result<Bytes, ChangeError> {
        for _ in 0..MAX_LOOKUPS {
            let found = self.store.object(bucket, key).map_err(of_store)?;
            let Some(object) = found else {
                self.store.bucket(bucket).map_err(of_store)?.ok_or(ChangeError::NoSuchBucket)?;
                return Err(ChangeError::BadRequest("the bucket has no such object".into()));
            };
            if object.size > most {
                return Err(ChangeError::BadRequest(format!("the object has more than {most} bytes")));
            }
            if !self.is_readable(&object).map_err(of_store)? {
                let why = "the object is archived: restore it first";
                return Err(ChangeError::BadRequest(why.into()));
            }
            match self.read_all(&object).await {
                Err(StoreError::Gone) => {}
                read => return read.map_err(of_store),
            }
        }
        Err(of_store(StoreError::Gone))
    }
}

impl Parts {
    fn is_readable(&self, object: &Object) -> Result<bool, StoreError> {
        if !frontend::is_archived(&object.meta.headers) {
            return Ok(true);
        }
        let restore = self.store.restore(&object.bucket, &object.key, object.offset)?;
        Ok(restore.is_some_and(|restore| restore.is_readable(now_us())))
    }

    async fn read_all(&self, object: &Object) -> Result<Bytes, StoreError> {
        let mut bytes = Vec::with_capacity(usize::try_from(object.size).unwrap_or(0));
        if object.size > 0 {
            let mut body = self.store.read(object, 0..object.size).await?;
            while let Some(piece) = body.try_next().await? {
                bytes.extend_from_slice(&piece);
            }
        }
        Ok(bytes.into())
    }
}

fn of_store(error: StoreError) -> ChangeError {
    ChangeError::Unavailable(error.to_string())
}
