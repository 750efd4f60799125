//! The frontend of both families, S3 and COS: from a TCP connection to a call of the commit path, and back to
//! an answer.
//!
//! ```text
//! server.rs     listener, connection bound, timeouts, drain
//! layer.rs      request id, guard, body watch, panics, error answers: one request, in this order
//! family.rs     who speaks S3 and who speaks COS; hosts.rs which bucket a host names
//! guard/        what a request's head must be before its signature is looked at (pure)
//! auth.rs       secrets for the verifier; a verified signature becomes a `Principal`
//! access.rs     what each operation needs, and whether a principal may
//! cos/          a verified COS request in S3's words, and the answer in COS's again
//! forms/        POST Object: an HTML form of either family, streamed into an object
//! going.rs      what clients have going on, against the limits
//! pull/         what is not here, from where the bucket's owner says it is
//! operations.rs the verified, typed request goes to its family: objects, put, parts, delete, buckets, list
//! inbound.rs    the request's bytes: stalls, chunk framing (chunks.rs), checksums (digest.rs)
//! intake.rs     where a body's bytes go: the record or a blob
//! rest.rs       the bytes that nobody reads
//! ```
//!
//! Must never make a change durable by itself (that is `commit`), never answer success to a change that
//! `commit` did not confirm, and never put a key, a body or a secret into a log.

mod access;
mod acls;
mod archive;
mod asked;
mod auth;
mod body;
mod buckets;
#[macro_use]
mod checksum;
mod attributes;
mod chunks;
mod classes;
mod complete;
mod context;
mod copy;
mod copy_part;
mod cors;
mod cos;
mod delete;
mod digest;
mod errors;
mod family;
mod forms;
mod found;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod going;
mod guard;
mod headers;
mod hosts;
mod ids;
mod inbound;
mod intake;
mod layer;
mod legible;
mod list;
mod list_uploads;
mod list_v1;
mod list_versions;
mod multipart;
mod names;
mod notification;
mod objects;
mod operations;
mod origin_rules;
mod origins;
mod parsed;
mod parts;
mod peer;
mod pull;
mod put;
mod replica;
mod replication;
mod rest;
mod restore;
mod routes;
mod server;
mod slow_down;
mod source;
mod tagging;
mod tags;
#[cfg(test)]
mod tests;
mod unset;
mod versioning;

use std::sync::Arc;

use tokio::net::UnixStream;
use tokio::sync::mpsc;

use crate::commit::Commit;
use crate::config;
use crate::config::credentials::Credential;
use crate::tls::Tls;

pub use going::{Limit, OnLimit};
pub use pull::{OnPulled, Pulled};
pub use server::Served;

/// The bucket that a host of COS's kind names, in this region; a name that is no such host is taken for a
/// bucket's. None: the host is of another region or service.
pub fn bucket_at(domain: Option<&str>, region: &str, host: &str) -> Option<String> {
    match hosts::Hosts::new(domain, region).named(host) {
        hosts::Named::Bucket(bucket) => Some(bucket),
        hosts::Named::Unknown => Some(host.to_owned()),
        hosts::Named::Ours | hosts::Named::Elsewhere => None,
    }
}

/// True if the headers that are kept with an object say that it is archived: nobody reads it unless it is
/// restored.
pub fn is_archived(kept: &[(Arc<str>, Arc<str>)]) -> bool {
    classes::archive_of(kept).is_some()
}

/// Where the frontend finds the secret of an access key, and what it may do.
///
/// Asked twice for each signed request, so it must not wait; implementers: the credentials file, and tests.
pub trait CredentialLookup: Send + Sync + 'static {
    /// The credential with this access key as it is now, if there is one.
    fn credential(&self, access_key: &str) -> Option<Arc<Credential>>;
}

/// What the frontend takes from outside instead of reaching for it.
#[derive(Debug, Clone, Copy)]
pub struct Ambient {
    /// The clock that signatures are measured against.
    pub now: fn() -> jiff::Timestamp,
    /// Where request ids begin: random at every start, so that no two runs answer with the same ids.
    pub seed: u64,
}

/// The S3 listener's service. Made once by the application, then [`Frontend::serve`]d.
pub struct Frontend {
    layer: Arc<layer::Layer>,
    server: config::Server,
    going: Arc<going::GoingOn>,
    tls: Option<Arc<Tls>>,
    inside: Option<mpsc::Receiver<UnixStream>>,
    pulls: Arc<pull::Pulls>,
}

impl Frontend {
    /// A frontend over `commit` that accepts the signatures of `credentials`.
    pub fn new(
        server: &config::Server,
        store: &config::Store,
        account: &config::Account,
        origin: &config::Origin,
        commit: Arc<Commit>,
        credentials: Arc<dyn CredentialLookup>,
        ambient: Ambient,
    ) -> Self {
        let limits = operations::Limits {
            inline_bytes: store.inline_bytes,
            max_object_bytes: store.max_object_bytes,
            min_part_bytes: store.min_part_bytes,
            region: server.region.clone(),
            account: account.appid.clone(),
        };
        let hosts = Arc::new(hosts::Hosts::new(server.domain.as_deref(), &server.region));
        let origins = origins::Origins::new(Arc::clone(&commit), Arc::clone(&hosts));
        let pulls = Arc::new(pull::Pulls::new(Arc::clone(&commit), store, origin));
        let operations = operations::Operations { commit, limits, pulls: Arc::clone(&pulls) };
        let forms = forms::Forms {
            operations: operations.clone(),
            gate: auth::Gate(Arc::clone(&credentials)),
            hosts: Arc::clone(&hosts),
        };
        let service = auth::service(operations, Arc::clone(&credentials), Arc::clone(&hosts));
        let behind = layer::Behind { service, credentials, hosts, origins, forms };
        let rules =
            guard::Rules { region: server.region.clone(), unsigned_bodies: server.allow_unsigned_payload };
        let layer = layer::Layer::new(behind, rules, server.idle_timeout, ambient);
        let going = Arc::new(going::GoingOn::new(&config::Limits::default(), Box::new(|_| {})));
        Self { layer: Arc::new(layer), server: server.clone(), going, tls: None, inside: None, pulls }
    }

    /// The same frontend with other limits than the defaults, and somebody who hears of every refusal.
    pub fn limited(self, limits: &config::Limits, on_limit: OnLimit) -> Self {
        Self { going: Arc::new(going::GoingOn::new(limits, on_limit)), ..self }
    }

    /// The same frontend, with somebody who hears what came of every fetch from an origin.
    pub fn pulling(self, on_pulled: OnPulled) -> Self {
        self.pulls.tell(on_pulled);
        self
    }

    /// The same frontend, which takes replicas from these peers.
    pub fn replicating(self, replication: &config::Replication) -> Self {
        self.pulls.take_from(replication);
        self
    }

    /// The same frontend over TLS, if there is a certificate.
    pub fn over(self, tls: Option<Arc<Tls>>) -> Self {
        Self { tls, ..self }
    }

    /// The same frontend with connections from within: those of functions, which never leave the machine.
    pub fn inside(self, streams: mpsc::Receiver<UnixStream>) -> Self {
        Self { inside: Some(streams), ..self }
    }
}
