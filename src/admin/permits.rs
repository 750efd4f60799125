//! How many changes are made at once, how long one may take, and how large a body may be.
//!
//! Must never make anybody wait: what is too much is refused.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::answer::{Code, Failure};
use super::routes::Action;

/// Changes that are made at once, also those whose client has hung up.
const MAX_CHANGES: usize = 16;
/// Bodies with code that are received at once, and functions that are made of them.
const MAX_CODE: usize = 2;
/// Functions that are tried out at once.
const MAX_INVOKED: usize = 16;
/// How long a function may be tried out: its start, its run, and what is around them.
pub(super) const INVOKE_WAIT: Duration = Duration::from_secs(300 + 900 + 60);

/// The largest body that any other route takes, in bytes.
const MAX_BODY: usize = 64 << 10;

/// Leave to make changes.
#[derive(Clone)]
pub(super) struct Permits {
    changes: Arc<Semaphore>,
    code: Arc<Semaphore>,
    invoked: Arc<Semaphore>,
}

impl Permits {
    pub(super) fn new() -> Self {
        let bound = |many| Arc::new(Semaphore::new(many));
        Self { changes: bound(MAX_CHANGES), code: bound(MAX_CODE), invoked: bound(MAX_INVOKED) }
    }

    /// Leave to make one change: a bounded number are made at once.
    pub(super) fn take(&self, action: Action) -> Result<OwnedSemaphorePermit, Failure> {
        let (semaphore, most) = match action {
            Action::FunctionCreate | Action::FunctionUpdate => (&self.code, MAX_CODE),
            Action::FunctionInvoke => (&self.invoked, MAX_INVOKED),
            _ => (&self.changes, MAX_CHANGES),
        };
        Arc::clone(semaphore).try_acquire_owned().map_err(|_| {
            let why = format!("{most} changes are being made, more than that would wait");
            Failure::new(Code::Busy, why)
        })
    }
}

/// How long a change may take before its outcome counts as unknown.
pub(super) fn deadline(action: Action, usual: Duration) -> Duration {
    if action == Action::FunctionInvoke { INVOKE_WAIT } else { usual }
}

/// Reads a body to its end. Where a route takes none it is thrown away: clients may send an empty object.
pub(super) async fn read_body(body: Body, takes: Option<usize>) -> Result<Bytes, Failure> {
    let most = takes.unwrap_or(MAX_BODY);
    let body = axum::body::to_bytes(body, most).await;
    body.map(|body| if takes.is_some() { body } else { Bytes::new() }).map_err(|_| {
        let why = format!("a body may have {most} bytes, and must arrive whole");
        Failure::new(Code::BodyTooLarge, why)
    })
}
