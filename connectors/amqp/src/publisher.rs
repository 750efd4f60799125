//! The task that owns the channel: publishes, and settles what the broker answers.
//!
//! Must never wait for the broker while messages wait, nor for more of them than the window holds.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use lapin::{Channel, Error, Event};
use tidings_common::{Suspects, Verdict, window_full};
use tidings_connector::{Cause, Delivery, ErrorClass, Outcome};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use crate::AmqpConfig;
use crate::error::verdict;
use crate::line::Line;
use crate::message::{Answered, Written, send};
use crate::outstanding::Outstanding;

/// How long a target pauses before it looks whether the broker takes messages again.
const BLOCKED_PAUSE: Duration = Duration::from_secs(2);

/// Expired confirmations are looked for so often in one `confirm_timeout`.
const LOOKS: u32 = 4;

/// One thing that came back.
enum Landed {
    /// Everything that was woken before it was queued has been seen.
    Marker,
    Answer(u64, Result<Answered, Error>),
}

/// See the file's header.
pub(crate) struct Publisher {
    config: AmqpConfig,
    line: Line,
    channel: Arc<Channel>,
    inbox: mpsc::Receiver<Vec<Delivery>>,
    waiting: VecDeque<Delivery>,
    flights: FuturesUnordered<BoxFuture<'static, Landed>>,
    out: Outstanding,
    /// Ids of messages that were outstanding when a channel ended because of one of them.
    suspects: Suspects,
    alone: bool,
    blocked: Option<String>,
    /// No confirmation is expected before this moment and its timeout.
    unblocked_at: Instant,
    closing: bool,
}

impl Publisher {
    pub(crate) fn new(
        config: AmqpConfig,
        line: Line,
        channel: Channel,
        inbox: mpsc::Receiver<Vec<Delivery>>,
    ) -> Self {
        Self {
            config,
            line,
            channel: Arc::new(channel),
            inbox,
            waiting: VecDeque::new(),
            flights: FuturesUnordered::new(),
            out: Outstanding::new(Instant::now()),
            suspects: Suspects::default(),
            alone: false,
            blocked: None,
            unblocked_at: Instant::now(),
            closing: false,
        }
    }

    /// Works until the connection ends, or until everything is answered after the inbox was closed.
    pub(crate) async fn run(mut self) {
        let mut events = Box::pin(self.line.connection.events_listener());
        let mut looks = interval(self.config.options.confirm_timeout.0 / LOOKS);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.publish();
            if self.closing && self.out.len() == 0 && self.waiting.is_empty() {
                return self.line.close().await;
            }
            let alive = tokio::select! {
                Some(landed) = self.flights.next() => self.landed(landed).await,
                batch = self.inbox.recv(), if !self.closing => {
                    match batch {
                        Some(batch) => self.take(batch),
                        None => self.closing = true,
                    }
                    true
                }
                event = events.next() => self.event(event).await,
                _ = looks.tick(), if self.out.len() > 0 => self.expire(),
            };
            if !alive {
                return;
            }
        }
    }

    fn take(&mut self, batch: Vec<Delivery>) {
        for delivery in batch {
            if let Some(reason) = &self.blocked {
                let why = format!("the broker takes no messages at the moment: {reason}");
                let until = (Instant::now() + BLOCKED_PAUSE).into_std();
                let outcome = Outcome::Throttled { until, why: Cause::new(ErrorClass::Throttle, &why) };
                delivery.receipt.settle(outcome, None);
            } else if self.out.len() + self.waiting.len() >= 2 * self.config.options.max_in_flight {
                delivery.receipt.settle(window_full(), None);
            } else {
                self.waiting.push_back(delivery);
            }
        }
    }

    /// Hands what waits to the library, which never waits here. A suspect travels alone.
    fn publish(&mut self) {
        let since = Instant::now();
        while let Some(next) = self.waiting.front() {
            let suspect = self.suspects.has(next.message.id.as_bytes());
            if (suspect || self.alone) && self.out.len() > 0 {
                return;
            }
            self.alone = suspect;
            let Some(Delivery { message, receipt, .. }) = self.waiting.pop_front() else { return };
            self.suspects.take(message.id.as_bytes());
            match Written::new(message, self.line.connection.configuration().frame_max()) {
                Ok(written) => {
                    let number = self.out.put(Arc::clone(written.id()), receipt, since);
                    let (channel, exchange) =
                        (Arc::clone(&self.channel), self.config.options.exchange.as_str().into());
                    self.flights.push(Box::pin(async move {
                        Landed::Answer(number, send(&channel, exchange, written).await)
                    }));
                }
                Err(why) => receipt.settle(Outcome::Rejected { why }, None),
            }
        }
    }

    /// Takes what came back. False: the connection is gone.
    async fn landed(&mut self, landed: Landed) -> bool {
        let marker = match landed {
            Landed::Marker => self.out.marker(&self.config),
            Landed::Answer(number, Ok(answered)) => self.out.answer(number, answered, Instant::now()),
            Landed::Answer(_, Err(error)) => return self.lost(&error).await,
        };
        if marker {
            self.flights.push(Box::pin(std::future::ready(Landed::Marker)));
        }
        true
    }

    async fn event(&mut self, event: Option<Event>) -> bool {
        match event {
            Some(Event::ConnectionBlocked(reason)) => self.blocked = Some(reason),
            Some(Event::ConnectionUnblocked) => {
                self.blocked = None;
                self.unblocked_at = Instant::now();
            }
            Some(Event::Error(error)) if !self.channel.status().connected() => {
                return self.lost(&error).await;
            }
            Some(_) => {}
            None => return false,
        }
        true
    }

    /// The channel ended, or the connection: what was out is unknown, unless the reason says more. False: the
    /// connection is gone.
    async fn lost(&mut self, error: &Error) -> bool {
        let (verdict, alone) = (verdict(error), self.out.len() == 1);
        let text = format!("the AMQP broker ended the channel or the connection: {error}");
        let isolate = matches!(verdict, Verdict::NoWay(_) | Verdict::Poison(_)) && !alone;
        for (id, receipt) in self.out.end() {
            if isolate {
                self.suspects.note(id.as_bytes());
            }
            if let Some(receipt) = receipt {
                receipt.settle(verdict.outcome(alone, self.config.routing_key.scope(), &text), None);
            }
        }
        (self.flights, self.alone) = (FuturesUnordered::new(), false);
        if self.line.connection.status().connected()
            && let Ok(Ok(channel)) = timeout(self.config.options.connect_timeout.0, self.line.channel()).await
        {
            self.channel = Arc::new(channel);
            return true;
        }
        for Delivery { receipt, .. } in self.waiting.drain(..) {
            receipt.settle(Outcome::retry(ErrorClass::Connect, &text), None);
        }
        false
    }

    /// Looks for confirmations that take too long. False: the broker does not answer any more.
    fn expire(&mut self) -> bool {
        let (bound, most) = (self.config.options.confirm_timeout.0, self.config.options.max_in_flight);
        self.blocked.is_some() || self.out.expire(Instant::now(), self.unblocked_at, bound, most)
    }
}
