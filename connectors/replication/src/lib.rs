//! The replication connector: tells a tidings of another region that an object changed, and where to pull it.
//!
//! Bodies never pass here: the peer pulls them by a URL that is signed for one version and for a minute. Must
//! never know what a bucket's rules say, nor retry, order or drop on its own account: that is the lane's.

mod config;
mod connector;
mod error;
mod record;
mod sender;
pub mod sign;

use std::fmt::Write as _;
use std::sync::OnceLock;

pub use config::{ReplicationConfig, ReplicationOptions};

/// What begins the name of every header that says something about a replica. Nobody but the holder of a
/// credential for replication may send one.
pub const MARKER: &str = "x-amz-tidings-";
/// The object's key, percent-encoded.
pub const KEY: &str = "x-amz-tidings-key";
/// The name of its version.
pub const VERSION: &str = "x-amz-tidings-version";
/// Its ETag without quotes; left out for a delete marker.
pub const ETAG: &str = "x-amz-tidings-etag";
/// Where it is pulled from.
pub const PULL: &str = "x-amz-tidings-pull";
/// In the answer to a pull: what the store keeps of the object beside its bytes, in base64.
pub const OBJECT: &str = "x-amz-tidings-object";
/// The parameter that makes a GET of a bucket a pull; its value is the version's name.
pub const PULL_VERSION: &str = "tidings-pull";
/// The parameter of a pull that names the object's key.
pub const PULL_KEY: &str = "tidings-key";
/// The access key that signs URLs of pulls.
pub const PULL_ACCESS_KEY: &str = "tidings-pull";

/// The secret that signs URLs of pulls: of this process alone, so that none outlives it, and nowhere else.
static PULL_SECRET: OnceLock<String> = OnceLock::new();

/// The secret that signs URLs of pulls. The first caller's random bytes make it.
pub fn pull_secret(random: impl FnOnce() -> [u8; 32]) -> &'static str {
    PULL_SECRET.get_or_init(|| {
        random().iter().fold(String::with_capacity(64), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    })
}
