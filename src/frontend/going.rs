//! What clients have going on, against the limits of the configuration: connections, requests, uploads.
//!
//! A key's limits are asked once its signature is verified, so that nobody can use up somebody else's. Must
//! never make anybody wait: what is over a limit is refused at once, and counted.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use s3s::S3Error;

use super::slow_down::{and_close, slow_down};
use crate::config;
use crate::limits::{Counts, Over, Slot};

/// A limit of the configuration, for whoever counts refusals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// `limits.connections_per_address`
    ConnectionsPerAddress,
    /// `limits.connections_per_key`
    ConnectionsPerKey,
    /// `limits.requests`
    Requests,
    /// `limits.requests_per_key`
    RequestsPerKey,
    /// `limits.uploads`
    Uploads,
    /// `limits.uploads_per_key`
    UploadsPerKey,
}

/// Hears of every refusal. Must be quick.
pub type OnLimit = Box<dyn Fn(Limit) + Send + Sync>;

type ByKey = Arc<Counts<Arc<str>>>;

/// All that is going on.
pub(super) struct GoingOn {
    addresses: Arc<Counts<IpAddr>>,
    connections: ByKey,
    requests: ByKey,
    uploads: ByKey,
    on_limit: OnLimit,
}

impl GoingOn {
    pub(super) fn new(limits: &config::Limits, on_limit: OnLimit) -> Self {
        let by_key = |each, all| Arc::new(Counts::new(each, all));
        Self {
            // All connections together are bounded by the listener.
            addresses: Arc::new(Counts::new(limits.connections_per_address, usize::MAX)),
            connections: by_key(limits.connections_per_key, usize::MAX),
            requests: by_key(limits.requests_per_key, limits.requests),
            uploads: by_key(limits.uploads_per_key, limits.uploads),
            on_limit,
        }
    }

    /// A seat for a connection from this address, or none if it has too many.
    pub(super) fn seat(self: &Arc<Self>, address: IpAddr) -> Option<Seat> {
        let Ok(slot) = self.addresses.take(&address) else {
            (self.on_limit)(Limit::ConnectionsPerAddress);
            return None;
        };
        Some(Seat { all: Arc::clone(self), _address: slot, key: OnceLock::new() })
    }

    fn take(
        &self,
        counts: &ByKey,
        key: &Arc<str>,
        each: Limit,
        all: Limit,
    ) -> Result<Slot<Arc<str>>, S3Error> {
        counts.take(key).map_err(|over| {
            let (limit, whose) = match over {
                Over::Each => (each, "with this access key"),
                Over::All => (all, "of all clients together"),
            };
            (self.on_limit)(limit);
            let what = match limit {
                Limit::Uploads | Limit::UploadsPerKey => "uploads",
                Limit::ConnectionsPerAddress | Limit::ConnectionsPerKey => "connections",
                Limit::Requests | Limit::RequestsPerKey => "requests",
            };
            slow_down(format!("Too many {what} {whose} are going on; try again later."))
        })
    }
}

/// One connection's place: it counts for its address, and for the key that used it first.
pub(super) struct Seat {
    all: Arc<GoingOn>,
    _address: Slot<IpAddr>,
    key: OnceLock<Slot<Arc<str>>>,
}

impl Seat {
    /// Lets a verified request begin: it goes on until what is returned is dropped.
    pub(super) fn begin(&self, key: &Arc<str>, is_upload: bool) -> Result<Begun, S3Error> {
        let all = &self.all;
        if self.key.get().is_none() {
            let (each, both) = (Limit::ConnectionsPerKey, Limit::ConnectionsPerKey);
            let slot = all.take(&all.connections, key, each, both).map_err(and_close)?;
            // One request after the other comes over a connection: nobody else sets it.
            let _ = self.key.set(slot);
        }
        let request = all.take(&all.requests, key, Limit::RequestsPerKey, Limit::Requests)?;
        let upload = match is_upload {
            true => Some(all.take(&all.uploads, key, Limit::UploadsPerKey, Limit::Uploads)?),
            false => None,
        };
        Ok(Begun { _request: request, _upload: upload })
    }
}

/// A request that is going on.
pub(super) struct Begun {
    _request: Slot<Arc<str>>,
    _upload: Option<Slot<Arc<str>>>,
}
