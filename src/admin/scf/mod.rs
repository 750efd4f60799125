//! The API of Tencent Cloud SCF (version 2018-04-16), as far as the vendor's own tools need it: each action
//! is a thin translation of what `/v1` does.
//!
//! ```text
//! enter.rs      the one way in: head, body, signature, scope, action
//! sign.rs       TC3-HMAC-SHA256
//! actions.rs    the table of actions
//! words.rs      parameters: what nobody took is refused
//! answer.rs     answers and errors in the vendor's shape
//! functions.rs  create, update, delete; show.rs get and list; code.rs where code comes from
//! triggers.rs   triggers; runs.rs invoke, logs; retries.rs what becomes of events that fail
//! letter.rs     a dead letter as SCF sends one
//! ```
//!
//! Who may: a credential of the S3 side whose scope is `admin` in every bucket. A function sees events of any
//! bucket and may hold secrets, so that whoever changes functions may as much as that. Must never do anything
//! that `/v1` cannot do, and never answer before a signature was verified but to say what is wrong with it.

mod actions;
mod answer;
mod code;
mod enter;
mod functions;
mod letter;
mod retries;
mod runs;
mod show;
mod sign;
mod triggers;
mod words;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use super::backend::ChangeError;
use crate::config::credentials::Credential;
use crate::queue::dead::Letter;

pub(super) use enter::{Rooms, Visit, enter};
pub(super) use letter::letter;
pub use letter::scf_letter;

/// What the actions need beside what `/v1` does.
#[async_trait]
pub trait ScfBackend: Send + Sync {
    /// The credential with this access key as it is now.
    fn credential(&self, access_key: &str) -> Option<Arc<Credential>>;
    /// The clock, in seconds since the Unix epoch.
    fn now_s(&self) -> i64;
    /// A name for a request, unique and unpredictable.
    fn request_id(&self) -> String;
    /// The server's region.
    fn region(&self) -> &str;
    /// The numeric appid.
    fn appid(&self) -> &str;
    /// The host that names a bucket, as COS writes it.
    fn host_of(&self, bucket: &str) -> String;
    /// The bucket that such a host names; none: the host is of another region or service.
    fn bucket_at(&self, host: &str) -> Option<String>;
    /// The event of a dead letter as its target gets it; none: it is not configured any more.
    fn as_sent(&self, _target: &str, _letter: &Letter) -> Option<Bytes> {
        None
    }
    /// The bytes of a current object that can be read.
    ///
    /// # Errors
    /// [`ChangeError::NoSuchBucket`], or why there are no such bytes, or not so few.
    async fn object(&self, bucket: &str, key: &str, most: u64) -> Result<Bytes, ChangeError>;
}
