//! The lane: the loop that serves one target.
//!
//! It has two halves. *Waiting* is one select that may be interrupted anywhere and loses nothing. *Working*
//! has no await at all: it takes what arrived, decides, sends and shows. So a cancelled wait can never leave
//! work half done. A read of the queue goes on while the lane works, since to begin it anew would cost a disk
//! read; what was delivered meanwhile is settled when the read ends, or a little later at most. The order of
//! the working half matters: answers come before the end of their connection, because what a connector said
//! before it ended still counts.
//!
//! Must never settle an entry whose current attempt was not answered with Delivered; dead letters are
//! settled by their own log.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tidings_connector::{Cause, ErrorClass, Settlement, SettlementInbox};
use tokio::time::{Instant, Sleep, sleep_until};

use super::flights::Flights;
use super::health::Health;
use super::keys::Keys;
use super::letters::Letters;
use super::link::{Connection, LinkEvent};
use super::loading::Loading;
use super::rate::Rate;
use super::status::{TargetState, View};
use super::target::{Shared, Stopped};
use super::{Ambient, Backoff, EncodeFn, SETTLE_DELAY, SETTLE_DELAY_MAX};
use crate::config;
use crate::queue::{Column, ReadError, Reader, Stored, TargetNo};

/// One target's loop and all it knows, except its reader.
pub(super) struct Lane {
    pub(super) number: TargetNo,
    pub(super) target: config::Target,
    pub(super) encode: EncodeFn,
    pub(super) ambient: Ambient,
    pub(super) rng: fastrand::Rng,
    pub(super) pace: Backoff,
    pub(super) rate: Option<Rate>,
    pub(super) shared: Arc<Shared>,

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
    pub(super) letters: Letters,
    /// Nothing is sent before this moment.
    pub(super) throttled_until: Option<Instant>,
    /// A batch waits until the connection takes one again.
    pub(super) blocked: bool,

    pub(super) paused: bool,
    pub(super) releases: u64,
    pub(super) stop_by: Option<Instant>,
    /// An operator wants to see entries again: nothing is sent until what is out has come back.
    pub(super) rewinding: bool,
    /// Entries that are given again may be among the keys.
    pub(super) repeats: bool,

    /// False once the queue is closed.
    pub(super) readable: bool,
    pub(super) read_failures: u32,
    /// Not read before this moment, after a failure.
    pub(super) read_at: Option<Instant>,
    pub(super) loading: Loading,
    /// Delivered and not settled with the reader yet, and until when it is.
    pub(super) settled: Vec<(u64, Column)>,
    pub(super) repeated: u64,
    pub(super) settle_by: Option<Instant>,
    /// How long a read may keep that from being settled.
    pub(super) patience: Duration,

    pub(super) view: View,
    pub(super) shown_held: Option<usize>,
    pub(super) arrived: Vec<Settlement>,
    pub(super) timer: Pin<Box<Sleep>>,
    pub(super) armed: Option<Instant>,
}

/// A read of the queue that is under way.
type Reading<'a> = Pin<Box<dyn Future<Output = Result<Vec<Arc<Stored>>, ReadError>> + Send + 'a>>;

/// What ended a wait.
enum Wake {
    /// Answers, the timer, or a wish: the working half looks at all of them every time.
    Look,
    Read(Result<Vec<Arc<Stored>>, ReadError>),
    Loaded(Result<Vec<Arc<Stored>>, ReadError>),
    Link(LinkEvent),
}

/// Goes on with a read; for ever without one.
async fn read_on(reading: &mut Option<Reading<'_>>) -> Result<Vec<Arc<Stored>>, ReadError> {
    match reading {
        Some(reading) => reading.await,
        None => std::future::pending().await,
    }
}

impl Lane {
    pub(super) fn new(
        target: &config::Target,
        number: TargetNo,
        reader: &dyn Reader,
        encode: EncodeFn,
        ambient: Ambient,
        shared: Arc<Shared>,
    ) -> Self {
        let (limits, now) = (target.limits, (ambient.now)());
        let since_unix_ms = (ambient.unix_ms)();
        Self {
            number,
            rng: fastrand::Rng::with_seed(ambient.seed),
            pace: Backoff::new(limits.backoff_min, limits.backoff_max),
            rate: limits.rate_limit.map(Rate::new),
            target: target.clone(),
            encode,
            ambient,
            shared,
            keys: Keys::within(limits.max_in_flight),
            inbox: SettlementInbox::new(),
            flights: Flights::default(),
            bytes_out: 0,
            connection: Connection::None { retry_at: now },
            connection_failures: 0,
            unconnected: TargetState::Connecting,
            incarnation: 1,
            health: Health::default(),
            letters: Letters::default(),
            throttled_until: None,
            blocked: false,
            paused: false,
            releases: 0,
            stop_by: None,
            rewinding: false,
            repeats: false,
            readable: true,
            read_failures: 0,
            read_at: None,
            loading: Loading::new(reader),
            settled: Vec::new(),
            repeated: 0,
            settle_by: None,
            patience: SETTLE_DELAY,
            view: View { since_unix_ms, ..View::default() },
            shown_held: None,
            arrived: Vec::new(),
            timer: Box::pin(sleep_until(now)),
            armed: None,
        }
    }

    /// Serves the target until a stop is wished, then winds up.
    pub(super) async fn run(mut self, mut reader: Box<dyn Reader>) -> Stopped {
        self.letters.begin(reader.dead_letters(), self.target.limits.dead_letters_max_bytes);
        self.restore(reader.as_mut());
        self.work(Wake::Look);
        loop {
            // The reader is free here, and nowhere else.
            self.settle(reader.as_mut());
            if self.is_done() {
                return self.wind_up(reader.as_mut()).await;
            }
            if self.may_rewind() {
                self.rewind(reader.as_mut()).await;
                self.work(Wake::Look);
                continue;
            }
            let room = self.room(false);
            let mut reading: Option<Reading<'_>> = (room > 0).then(|| reader.next(room));
            let read = loop {
                match self.wait(&mut reading).await {
                    read @ Wake::Read(_) => break read,
                    wake => self.work(wake),
                }
                if self.wants_reader(reading.is_some()) {
                    break Wake::Look;
                }
            };
            drop(reading);
            self.work(read);
        }
    }

    /// The waiting half: may be interrupted anywhere.
    async fn wait(&mut self, reading: &mut Option<Reading<'_>>) -> Wake {
        tokio::select! {
            () = self.inbox.arrived() => Wake::Look,
            read = read_on(reading), if reading.is_some() => Wake::Read(read),
            came = self.loading.came(), if self.loading.is_coming() => Wake::Loaded(came),
            event = self.connection.event(self.blocked) => Wake::Link(event),
            () = self.timer.as_mut(), if self.armed.is_some() => {
                self.armed = None;
                Wake::Look
            }
            () = self.shared.wished.notified() => Wake::Look,
            () = self.letters.arrived() => Wake::Look,
        }
    }

    /// The working half: never waits.
    fn work(&mut self, wake: Wake) {
        let now = (self.ambient.now)();
        self.take_answers(now);
        self.handle(wake, now);
        self.heed_wishes(now);
        self.take_news();
        self.tend(now);
        self.judge(now);
        self.admit_replays(now);
        self.dispatch(now);
        self.begin_loading();
        self.show();
        self.arm(now);
    }

    /// True if the loop needs the reader: to settle, to read, or to let it go.
    fn wants_reader(&mut self, reading: bool) -> bool {
        let overdue = self.settle_by.is_some_and(|by| by <= (self.ambient.now)());
        if overdue && reading {
            self.patience = (self.patience * 2).min(SETTLE_DELAY_MAX);
        }
        let settle = overdue || (self.settle_by.is_some() && !reading);
        settle || self.is_done() || self.may_rewind() || reading != (self.room(reading) > 0)
    }

    fn is_done(&self) -> bool {
        let quiet = self.out() == 0 && self.letters.is_quiet();
        self.stop_by.is_some_and(|by| quiet || by <= (self.ambient.now)())
    }

    fn handle(&mut self, wake: Wake, now: Instant) {
        match wake {
            Wake::Look | Wake::Link(LinkEvent::Writable) => {}
            Wake::Read(read) => {
                self.patience = SETTLE_DELAY;
                self.take_read(read, now);
            }
            Wake::Loaded(came) => self.take_loaded(came, now),
            Wake::Link(LinkEvent::Connected(result)) => self.connected(result, now),
            Wake::Link(LinkEvent::Ended(why)) => {
                self.lose_connection(&Cause::new(ErrorClass::Connect, &why), 0, now);
            }
        }
    }
}
