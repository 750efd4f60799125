//! The history: what clients did and were told, on one logical clock.
//!
//! Must never guess an outcome: an operation that nobody finished is `Info`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The return of an operation whose end nobody saw: after everything.
pub(crate) const TICK_NEVER: u64 = u64::MAX;

/// What the client learnt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// A success was answered.
    Ok,
    /// Certainly not applied: a 4xx was answered, or nothing was sent.
    Fail,
    /// Unknown: a 5xx, a timeout, a reset, a crash.
    Info,
}

/// An object that a read found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    /// Its ETag.
    pub etag: String,
    /// Bytes.
    pub size: u64,
    /// The bytes are those that the client which put them sent.
    pub intact: bool,
}

/// What the client did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    /// PUT of a body that no other operation has, so that its ETag names this operation.
    Put {
        /// The body's MD5.
        etag: String,
        /// Bytes.
        size: u64,
    },
    /// DELETE.
    Delete,
    /// GET, answered.
    Read {
        /// What was there.
        found: Option<Found>,
    },
}

/// One operation of one client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Op {
    /// Unique in the run.
    pub id: u64,
    /// `bucket/key`.
    pub key: Arc<str>,
    /// What it did.
    pub action: Action,
    /// The tick before it was sent.
    pub invoked: u64,
    /// The tick after its answer was read; [`TICK_NEVER`] for `Info`.
    pub returned: u64,
    /// What the client learnt.
    pub outcome: Outcome,
    /// The answer's request id, if there was an answer.
    pub request_id: Option<String>,
}

/// Records operations of many clients.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    clock: Arc<AtomicU64>,
    ids: AtomicU64,
    ops: Mutex<Vec<Op>>,
}

/// An operation under way. Dropped unfinished, it is recorded as `Info`.
#[derive(Debug)]
pub(crate) struct Pending<'a> {
    recorder: &'a Recorder,
    op: Option<Op>,
}

impl Recorder {
    /// On a clock that others use too, with numbers from `first_id` on.
    pub(crate) fn on(clock: &Arc<AtomicU64>, first_id: u64) -> Self {
        Self { clock: Arc::clone(clock), ids: AtomicU64::new(first_id), ops: Mutex::default() }
    }

    /// A number that no other operation of the run has.
    pub(crate) fn next_id(&self) -> u64 {
        self.ids.fetch_add(1, Ordering::Relaxed)
    }

    /// Begins an operation: call before anything is sent.
    pub(crate) fn invoke(&self, id: u64, key: &Arc<str>, action: Action) -> Pending<'_> {
        let op = Op {
            id,
            key: Arc::clone(key),
            action,
            invoked: self.tick(),
            returned: TICK_NEVER,
            outcome: Outcome::Info,
            request_id: None,
        };
        Pending { recorder: self, op: Some(op) }
    }

    /// Everything recorded so far. Operations under way are not in it.
    pub(crate) fn ops(&self) -> Vec<Op> {
        self.ops.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn tick(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::SeqCst)
    }

    fn record(&self, op: Op) {
        self.ops.lock().unwrap_or_else(PoisonError::into_inner).push(op);
    }
}

impl Pending<'_> {
    /// Ends a change: call after the whole answer was read, or the failure is known.
    pub(crate) fn finish(mut self, outcome: Outcome, request_id: Option<String>) {
        let Some(mut op) = self.op.take() else { return };
        op.outcome = outcome;
        op.request_id = request_id;
        if outcome != Outcome::Info {
            op.returned = self.recorder.tick();
        }
        self.recorder.record(op);
    }

    /// Ends a read with what was there.
    pub(crate) fn found(mut self, found: Option<Found>) {
        let Some(mut op) = self.op.take() else { return };
        op.action = Action::Read { found };
        op.outcome = Outcome::Ok;
        op.returned = self.recorder.tick();
        self.recorder.record(op);
    }

    /// Forgets a read that got no answer: it says nothing.
    pub(crate) fn forget(mut self) {
        self.op = None;
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        if let Some(op) = self.op.take() {
            self.recorder.record(op);
        }
    }
}
