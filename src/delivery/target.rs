//! One target as others see it: its handle, its status, and how its lane is started and stopped.
//!
//! Must never wait for a far side, except in `stop`, which has a deadline.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use tidings_connector::{Cause, ConnectorConfig, ErrorClass};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::lane::Lane;
use super::rewind::RewindWish;
use super::status::{GONE, TargetState, TargetStatus, View};
use super::{Ambient, EncodeFn, LastError};
use crate::config;
use crate::queue::{Pause, Reader, TargetNo, progress};

/// What others want of the lane.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Wish {
    /// Whether anything is sent; everything is kept.
    pub(super) paused: Pause,
    /// Raised by every resume: what is held may be tried again.
    pub(super) releases: u64,
    /// End, waiting for what is out until this moment.
    pub(super) stop_by: Option<Instant>,
}

/// What a lane and its handles share.
pub(super) struct Shared {
    name: Arc<str>,
    kind: &'static str,
    progress: Arc<progress::Progress>,
    wish: Mutex<Wish>,
    pub(super) wished: Notify,
    pub(super) rewind: Mutex<Option<RewindWish>>,
    connector: Arc<dyn ConnectorConfig>,
    encode: EncodeFn,
    attempt_timeout: Duration,
    view: Mutex<View>,
    ended: watch::Sender<Option<Stopped>>,
}

/// How a lane ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stopped {
    /// Attempts that were still out at the deadline; they are repeated after a restart.
    pub abandoned: usize,
    /// Why the progress could not be made durable, if it could not; then what it lacks is repeated after a
    /// restart.
    pub not_durable: Option<String>,
}

/// A running target. Clones are handles to the same lane; dropping them does not stop it.
#[derive(Clone)]
pub struct TargetHandle {
    shared: Arc<Shared>,
    now: fn() -> Instant,
}

/// Starts the lane of one target. It connects by itself, now or whenever the far side is there.
///
/// `number` names the target in entries, `reader` gives its entries and keeps its progress, `encode` makes
/// messages; a target that was `paused` stays so until it is resumed. Must be called within a
/// tokio runtime with time enabled.
pub fn spawn(
    target: &config::Target,
    number: TargetNo,
    reader: Box<dyn Reader>,
    encode: EncodeFn,
    ambient: Ambient,
    paused: Pause,
) -> TargetHandle {
    begin(target, number, reader, encode, ambient, paused, View::default())
}

/// `before` is what the lane's predecessor showed last.
fn begin(
    target: &config::Target,
    number: TargetNo,
    reader: Box<dyn Reader>,
    encode: EncodeFn,
    ambient: Ambient,
    paused: Pause,
    before: View,
) -> TargetHandle {
    let View { counters, last_error, last_success_unix_ms, incarnation, .. } = before;
    let view = View { counters, last_error, last_success_unix_ms, incarnation, ..View::default() };
    let view = View { since_unix_ms: (ambient.unix_ms)(), ..view };
    let shared = Arc::new(Shared {
        name: Arc::clone(&target.name),
        kind: target.connector.kind(),
        progress: reader.progress(),
        wish: Mutex::new(Wish { paused, ..Wish::default() }),
        wished: Notify::new(),
        rewind: Mutex::default(),
        connector: Arc::clone(&target.connector),
        encode: Arc::clone(&encode),
        attempt_timeout: target.limits.attempt_timeout,
        view: Mutex::new(view.clone()),
        ended: watch::Sender::new(None),
    });
    let unix_ms = Arc::clone(&ambient.unix_ms);
    let now = ambient.now;
    let mut lane = Lane::new(target, number, reader.as_ref(), encode, ambient, Arc::clone(&shared));
    lane.incarnation = view.incarnation + 1;
    lane.view = view;
    let of_lane = Arc::clone(&shared);
    tokio::spawn(async move {
        let stopped = AssertUnwindSafe(lane.run(reader)).catch_unwind().await.unwrap_or_else(|_| {
            // A bug: nothing is lost (its entries stay unsettled), and nothing is hidden.
            let text = "the lane ended by a bug; restart to deliver what it kept";
            tracing::error!(target_name = %of_lane.name, "{text}");
            let cause = Cause::new(ErrorClass::Unknown, text);
            let last = LastError { class: cause.class, text: cause.text, at_unix_ms: unix_ms() };
            of_lane.show(|view| (view.state, view.last_error) = (TargetState::Faulted, Some(last)));
            Stopped { abandoned: 0, not_durable: Some(text.to_owned()) }
        });
        of_lane.show(|view| view.stopped = true);
        of_lane.ended.send_replace(Some(stopped));
    });
    TargetHandle { shared, now }
}

impl TargetHandle {
    /// Starts the lane that takes the place of this one, which must have ended: as [`spawn`], and it counts
    /// on from what this one counted.
    pub fn succeed(
        &self,
        target: &config::Target,
        number: TargetNo,
        reader: Box<dyn Reader>,
        encode: EncodeFn,
        ambient: Ambient,
        paused: Pause,
    ) -> TargetHandle {
        let before = self.shared.view.lock().unwrap_or_else(PoisonError::into_inner).clone();
        begin(target, number, reader, encode, ambient, paused, before)
    }

    /// The target's name.
    pub fn name(&self) -> &Arc<str> {
        &self.shared.name
    }

    /// The lane at this moment, as of its latest batch; the books are one consistent snapshot.
    pub fn status(&self) -> TargetStatus {
        let view = self.shared.view.lock().unwrap_or_else(PoisonError::into_inner).clone();
        TargetStatus {
            name: Arc::clone(&self.shared.name),
            kind: self.shared.kind,
            state: view.state,
            since_unix_ms: view.since_unix_ms,
            throttled: view.throttled,
            last_error: view.last_error,
            last_success_unix_ms: view.last_success_unix_ms,
            read_error: view.read_error.or(view.lookup_error),
            blocked: if self.is_gone() { Some(GONE.into()) } else { view.blocked },
            in_flight: view.in_flight,
            in_flight_limit: view.in_flight_limit,
            waiting: view.waiting,
            retrying: view.retrying,
            held: view.held,
            full: view.full,
            books: self.shared.progress.books(),
            replaying: self.shared.progress.replaying(),
            oldest_undelivered: view.oldest_undelivered,
            counters: view.counters,
            incarnation: view.incarnation,
            stopped: view.stopped,
        }
    }

    /// Sends nothing from now on and keeps everything; what is out may still come back.
    pub fn pause(&self) {
        self.shared.want(|wish| wish.paused = Pause::Operator);
    }

    /// Goes on, and tries at once whatever was held or waited.
    pub fn resume(&self) {
        self.shared.want(|wish| {
            wish.paused = Pause::No;
            wish.releases += 1;
        });
    }

    /// True if the far side said that it is gone, and nobody resumed or paused the target since.
    pub fn is_gone(&self) -> bool {
        self.shared.wish().paused == Pause::Gone
    }

    /// Ends the lane: takes and sends nothing more, waits at most `deadline` for what is out, makes the
    /// progress durable and lets go of the far side. Called again, it tells how the lane ended.
    pub async fn stop(&self, deadline: Duration) -> Stopped {
        let by = (self.now)() + deadline;
        self.shared.want(|wish| wish.stop_by = Some(wish.stop_by.map_or(by, |earlier| earlier.min(by))));
        let mut ended = self.shared.ended.subscribe();
        match ended.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(stopped)) => stopped.clone(),
            _ => Stopped { abandoned: 0, not_durable: Some("the lane is gone".to_owned()) },
        }
    }
}

impl TargetHandle {
    /// How to reach the far side, how to write for it, and how long an attempt may take.
    pub(super) fn means(&self) -> (&Arc<dyn ConnectorConfig>, &EncodeFn, Duration) {
        (&self.shared.connector, &self.shared.encode, self.shared.attempt_timeout)
    }

    pub(super) fn wish_rewind(&self, wish: RewindWish) {
        *self.shared.rewind.lock().unwrap_or_else(PoisonError::into_inner) = Some(wish);
        self.shared.wished.notify_one();
    }
}

impl Shared {
    pub(super) fn wish(&self) -> Wish {
        *self.wish.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nothing is sent from now on, until somebody resumes the target. False if nothing was sent anyway.
    pub(super) fn stop_sending(&self) -> bool {
        let mut wish = self.wish.lock().unwrap_or_else(PoisonError::into_inner);
        let sent = !wish.paused.is_on();
        wish.paused = if sent { Pause::Gone } else { wish.paused };
        sent
    }

    pub(super) fn show(&self, change: impl FnOnce(&mut View)) {
        change(&mut self.view.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(super) fn progress(&self) -> &progress::Progress {
        &self.progress
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    fn want(&self, change: impl FnOnce(&mut Wish)) {
        change(&mut self.wish.lock().unwrap_or_else(PoisonError::into_inner));
        self.wished.notify_one();
    }
}
