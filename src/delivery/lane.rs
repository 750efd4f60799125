//! The lane: the loop that serves one target.
//!
//! It has two halves. *Waiting* is one select that may be interrupted anywhere and loses nothing. *Working* has no
//! await at all: it takes what arrived, decides, sends and shows. So a cancelled wait can never leave work half done.
//! The order of the working half matters: settlements come before the end of their connection, because what a
//! connector said before it ended still counts.
//!
//! Must never settle an entry whose current attempt was not answered with Delivered.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tidings_connector::{Cause, ErrorClass, Settlement, SettlementInbox};
use tokio::time::{Instant, Sleep, sleep_until, timeout, timeout_at};

use super::health::Health;
use super::keys::Keys;
use super::link::{Connection, LinkEvent};
use super::rate::Rate;
use super::status::{TargetState, View};
use super::target::{Shared, Stopped};
use super::{
    Ambient, Backoff, CLOSE_BOUND, EncodeFn, FLUSH_BOUND, LANE_BYTES, MAX_IN_FLIGHT, MAX_STUCK, TAKE,
};
use crate::config;
use crate::queue::{Column, ReadError, Reader, Stored, TargetNo};

/// One target's loop and all it knows.
pub(super) struct Lane {
    pub(super) number: TargetNo,
    pub(super) target: config::Target,
    pub(super) encode: EncodeFn,
    pub(super) ambient: Ambient,
    pub(super) rng: fastrand::Rng,
    pub(super) pace: Backoff,
    pub(super) rate: Option<Rate>,
    pub(super) shared: Arc<Shared>,

    pub(super) reader: Box<dyn Reader>,
    pub(super) keys: Keys,
    pub(super) inbox: Arc<SettlementInbox>,
    pub(super) flights: Flights,
    pub(super) bytes_out: usize,

    pub(super) connection: Connection,
    /// Failures to connect and lost connections since the last delivery.
    pub(super) connection_failures: u32,
    /// The state to show while there is no connection.
    pub(super) unconnected: TargetState,
    pub(super) incarnation: u64,
    pub(super) health: Health,
    /// Nothing is sent before this moment.
    pub(super) throttled_until: Option<Instant>,
    /// A batch waits until the connection takes one again.
    pub(super) blocked: bool,

    paused: bool,
    releases: u64,
    stop_by: Option<Instant>,
    /// Whether the queue can be read: false once it is closed.
    readable: bool,
    read_failures: u32,
    read_at: Option<Instant>,
    full: bool,

    pub(super) view: View,
    shown_held: Option<usize>,
    arrived: Vec<Settlement>,
    settled: Vec<(u64, Column)>,
    timer: Pin<Box<Sleep>>,
    armed: Option<Instant>,
}

/// Batches that are out, oldest first: all attempts may take equally long, so that one deadline is enough.
#[derive(Debug, Default)]
pub(super) struct Flights {
    first: u64,
    out: VecDeque<Flight>,
}

/// One batch that left.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) sent_at: Instant,
    outstanding: usize,
}

/// The timer never fires sooner than this after a look, so that no mistake in arming it can become a hot loop.
const TICK: Duration = Duration::from_millis(1);

/// What ended a wait.
enum Wake {
    /// Settlements, the timer, or a wish: the working half looks at all of them every time.
    Look,
    Read(Result<Vec<Arc<Stored>>, ReadError>),
    Link(LinkEvent),
}

impl Lane {
    pub(super) fn new(
        target: &config::Target,
        number: TargetNo,
        reader: Box<dyn Reader>,
        encode: EncodeFn,
        ambient: Ambient,
        shared: Arc<Shared>,
    ) -> Self {
        let (limits, now) = (target.limits, Instant::now());
        let since = (ambient.unix_ms)();
        Self {
            number,
            rng: fastrand::Rng::with_seed(ambient.seed),
            pace: Backoff::new(limits.backoff_min, limits.backoff_max),
            rate: limits.rate_limit.map(Rate::new),
            target: target.clone(),
            encode,
            ambient,
            shared,
            reader,
            keys: Keys::default(),
            inbox: SettlementInbox::new(),
            flights: Flights::default(),
            bytes_out: 0,
            connection: Connection::None { retry_at: now },
            connection_failures: 0,
            unconnected: TargetState::Connecting,
            incarnation: 1,
            health: Health::default(),
            throttled_until: None,
            blocked: false,
            paused: false,
            releases: 0,
            stop_by: None,
            readable: true,
            read_failures: 0,
            read_at: None,
            full: false,
            view: View { since_unix_ms: since, ..View::default() },
            shown_held: None,
            arrived: Vec::new(),
            settled: Vec::new(),
            timer: Box::pin(sleep_until(now)),
            armed: None,
        }
    }

    /// Serves the target until a stop is wished, then winds up.
    pub(super) async fn run(mut self) -> Stopped {
        let mut wake = Wake::Look;
        loop {
            let now = Instant::now();
            self.settle_arrived(now);
            self.handle(wake, now);
            self.heed_wishes(now);
            self.tend(now);
            self.dispatch(now);
            self.show();
            if self.stop_by.is_some_and(|by| self.keys.in_flight() == 0 || now >= by) {
                return self.wind_up().await;
            }
            self.arm(now);
            wake = self.wait().await;
        }
    }

    /// The waiting half: may be interrupted anywhere.
    async fn wait(&mut self) -> Wake {
        let room = self.room();
        let (reader, connection, shared) = (&mut self.reader, &mut self.connection, &self.shared);
        tokio::select! {
            () = self.inbox.arrived() => Wake::Look,
            read = reader.next(room), if room > 0 => Wake::Read(read),
            event = connection.event(self.blocked) => Wake::Link(event),
            () = self.timer.as_mut(), if self.armed.is_some() => {
                self.armed = None;
                Wake::Look
            }
            () = shared.wished.notified() => Wake::Look,
        }
    }

    /// How many entries may be taken from the queue now.
    fn room(&mut self) -> usize {
        let most = self.target.limits.max_in_flight.clamp(1, MAX_IN_FLIGHT);
        let (total, stuck) = (self.keys.len(), self.keys.stuck());
        // Stuck keys do not use up the room of the others, unless everything is stuck together.
        let counted = if self.health.is_closed() { total } else { total - stuck };
        let bound = stuck >= MAX_STUCK || self.keys.weight() >= LANE_BYTES;
        if bound && !self.full {
            tracing::warn!(
                target_name = self.shared.name(),
                stuck,
                "the lane keeps all it may and reads no further"
            );
        }
        self.full = bound;
        if bound || !self.readable || self.paused || self.stop_by.is_some() || self.read_at.is_some() {
            return 0;
        }
        let room = most.saturating_sub(counted);
        // A nearly full lane waits until a larger read is worth its while.
        if room < (most / 4).max(1) { 0 } else { room.min(TAKE) }
    }

    /// Takes every answer that arrived and decides on each; what was delivered is settled in one call.
    fn settle_arrived(&mut self, now: Instant) {
        let mut arrived = std::mem::take(&mut self.arrived);
        self.inbox.drain(&mut arrived);
        if !arrived.is_empty() {
            let mut settled = std::mem::take(&mut self.settled);
            settled.clear();
            let repeated = self.decide(&mut arrived, &mut settled, now);
            if !settled.is_empty() {
                self.reader.settle(&settled);
            }
            if repeated > 0 {
                self.reader.repeated(repeated);
            }
            self.settled = settled;
        }
        self.arrived = arrived;
    }

    fn handle(&mut self, wake: Wake, now: Instant) {
        match wake {
            Wake::Look => {}
            Wake::Read(Ok(entries)) => {
                (self.read_failures, self.view.read_error) = (0, None);
                for stored in entries {
                    self.keys.take(stored);
                }
            }
            Wake::Read(Err(ReadError::Closed)) => self.readable = false,
            Wake::Read(Err(error)) => {
                self.read_failures += 1;
                self.read_at = Some(now + self.pace.delay(self.read_failures, &mut self.rng));
                tracing::error!(target_name = self.shared.name(), %error, "the queue cannot be read; trying again");
                self.view.read_error = Some(error.to_string().into());
            }
            Wake::Link(LinkEvent::Writable) => {}
            Wake::Link(LinkEvent::Connected(result)) => self.connected(result, now),
            Wake::Link(LinkEvent::Ended(why)) => {
                self.lose_connection(&Cause::new(ErrorClass::Connect, &why), 0, now);
            }
        }
    }

    fn heed_wishes(&mut self, now: Instant) {
        let wish = self.shared.wish();
        self.stop_by = wish.stop_by;
        if wish.releases != self.releases {
            self.releases = wish.releases;
            self.keys.release_all();
            self.health.probe_now(now);
            self.connection_failures = 0;
            self.read_at = None;
            if let Connection::None { retry_at } = &mut self.connection {
                *retry_at = now;
            }
        }
        self.paused = wish.paused;
    }

    /// Everything that time brings: deadlines, due keys, connecting.
    fn tend(&mut self, now: Instant) {
        if let Some(late) = self.flights.late(now, self.target.limits.attempt_timeout) {
            let cause = Cause::new(ErrorClass::Timeout, "no answer within the attempt's deadline");
            self.lose_connection(&cause, late, now);
        }
        if self.throttled_until.is_some_and(|until| until <= now) {
            self.throttled_until = None;
        }
        if self.read_at.is_some_and(|at| at <= now) {
            self.read_at = None;
        }
        if !self.health.is_closed() {
            self.keys.wake_due(now);
        }
        let idle = self.paused || self.stop_by.is_some();
        if self.paused && self.stop_by.is_none() && self.keys.in_flight() == 0 {
            // A paused lane needs no connection once nothing is out.
            if !matches!(self.connection, Connection::None { .. }) {
                let none = Connection::None { retry_at: now };
                std::mem::replace(&mut self.connection, none).close();
                self.incarnation += 1;
                self.unconnected = TargetState::Connecting;
            }
        } else if !idle && matches!(self.connection, Connection::None { retry_at } if retry_at <= now) {
            self.connection = Connection::start(&self.target.connector, self.target.limits.attempt_timeout);
        }
    }

    /// True if nothing forbids sending, as far as operators and throttles are concerned.
    pub(super) fn may_send(&self) -> bool {
        !self.paused && self.stop_by.is_none() && self.throttled_until.is_none()
    }

    /// Sets the one timer to the earliest moment at which something is to do.
    fn arm(&mut self, now: Instant) {
        let mut next: Option<Instant> = self.stop_by;
        let mut at = |moment: Option<Instant>| next = [next, moment].into_iter().flatten().min();
        at(self.flights.deadline(self.target.limits.attempt_timeout));
        at(self.throttled_until);
        at(self.read_at);
        let idle = self.paused || self.stop_by.is_some();
        if !idle {
            if let Connection::None { retry_at } = self.connection {
                at(Some(retry_at));
            }
            let paced = self.rate.as_ref().map_or(now, |rate| rate.next_at(now));
            match self.health.closed().map(|closed| closed.probe_at) {
                None => {
                    at(self.keys.next_due());
                    let waits = paced > now && self.keys.ready() > 0;
                    at(Some(paced).filter(|_| waits && matches!(self.connection, Connection::Up(_))));
                }
                Some(probe_at) if !self.blocked && self.can_send_probe() => at(Some(probe_at.max(paced))),
                Some(_) => {}
            }
        }
        // Armed too early costs one idle look; arming anew for every batch would cost more.
        if let Some(next) = next.map(|next| next.max(now + TICK))
            && self.armed.is_none_or(|armed| next < armed)
        {
            self.timer.as_mut().reset(next);
            self.armed = Some(next);
        }
    }

    /// Shows the lane as it is now.
    fn show(&mut self) {
        let state = match &self.connection {
            _ if self.paused => TargetState::Paused,
            Connection::Up(_) => self.health.state(),
            _ if self.unconnected != TargetState::Connecting => self.unconnected,
            _ if self.health.is_closed() => self.health.state(),
            _ => TargetState::Connecting,
        };
        if state != self.view.state {
            tracing::info!(
                target_name = self.shared.name(),
                from = self.view.state.label(),
                to = state.label(),
                "state"
            );
            (self.view.state, self.view.since_unix_ms) = (state, (self.ambient.unix_ms)());
        }
        let (out, held) = (self.keys.in_flight(), self.keys.held());
        self.view.in_flight = out;
        self.view.held = held;
        self.view.waiting = self.keys.len() - out - held;
        self.view.retrying = self.keys.stuck() - held;
        self.view.full = self.full;
        self.view.oldest_undelivered_us = self.keys.oldest_us();
        self.view.incarnation = self.incarnation;
        if Some(held) != self.shown_held {
            self.shown_held = Some(held);
            self.shared.progress().set_held(held as u64);
        }
        let view = &self.view;
        self.shared.show(|shown| shown.clone_from(view));
    }

    /// Gives up what is still out, makes the progress durable and lets go of the far side.
    async fn wind_up(mut self) -> Stopped {
        let abandoned = self.keys.in_flight();
        self.incarnation += 1;
        let none = Connection::None { retry_at: Instant::now() };
        let closing = std::mem::replace(&mut self.connection, none).close();
        let not_durable = match timeout(FLUSH_BOUND, self.reader.flush()).await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some("the progress was not durable in time".to_owned()),
        };
        if let Some(closing) = closing {
            let _ = timeout_at(Instant::now() + 2 * CLOSE_BOUND, closing).await;
        }
        Stopped { abandoned, not_durable }
    }
}

impl Flights {
    /// A batch of so many messages leaves; returns its number.
    pub(super) fn leave(&mut self, messages: usize, now: Instant) -> u64 {
        self.out.push_back(Flight { sent_at: now, outstanding: messages });
        self.first + self.out.len() as u64 - 1
    }

    /// The number that the next batch will have.
    pub(super) fn next(&self) -> u64 {
        self.first + self.out.len() as u64
    }

    /// One message of a batch was answered; returns when it left.
    pub(super) fn answered(&mut self, flight: u64) -> Option<Instant> {
        let at = self.out.get_mut(usize::try_from(flight.checked_sub(self.first)?).ok()?)?;
        let sent_at = at.sent_at;
        at.outstanding = at.outstanding.saturating_sub(1);
        while self.out.front().is_some_and(|f| f.outstanding == 0) {
            self.out.pop_front();
            self.first += 1;
        }
        Some(sent_at)
    }

    /// Forgets all batches: their connection is gone.
    pub(super) fn clear(&mut self) {
        self.first += self.out.len() as u64;
        self.out.clear();
    }

    /// When the oldest batch is late.
    fn deadline(&self, bound: Duration) -> Option<Instant> {
        self.out.front().map(|f| f.sent_at + bound)
    }

    /// The number above the batches that are late now, if any is.
    fn late(&self, now: Instant, bound: Duration) -> Option<u64> {
        let late = self.out.iter().take_while(|f| f.sent_at + bound <= now).count();
        (late > 0).then_some(self.first + late as u64)
    }
}
