//! What one channel has outstanding: published, and not judged yet.
//!
//! Must never settle anything as delivered that was not judged.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tidings_connector::{ErrorClass, Outcome, Receipt};
use tokio::time::Instant;

use crate::AmqpConfig;
use crate::error::answered;
use crate::message::Answered;
use crate::returns::{Judge, Proof};

/// One message that was published.
struct Out {
    id: Arc<str>,
    /// `None` once its confirmation took too long: its place stays taken, since its answer may still come.
    receipt: Option<Receipt>,
    since: Instant,
}

/// See the file's header.
pub(crate) struct Outstanding {
    out: HashMap<u64, Out>,
    next: u64,
    unanswered: usize,
    answered_at: Instant,
    judge: Judge,
}

impl Outstanding {
    pub(crate) fn new(now: Instant) -> Self {
        Self { out: HashMap::new(), next: 0, unanswered: 0, answered_at: now, judge: Judge::default() }
    }

    pub(crate) fn len(&self) -> usize {
        self.out.len()
    }

    /// Notes a message, and gives its number.
    pub(crate) fn put(&mut self, id: Arc<str>, receipt: Receipt, since: Instant) -> u64 {
        let number = self.next;
        self.next += 1;
        self.unanswered += 1;
        self.out.insert(number, Out { id, receipt: Some(receipt), since });
        number
    }

    /// The broker answered. True: queue a marker behind everything that was woken by now.
    pub(crate) fn answer(&mut self, number: u64, (acked, returned): Answered, now: Instant) -> bool {
        self.unanswered -= 1;
        self.answered_at = now;
        match self.out.get(&number) {
            Some(out) => self.judge.answer(number, &out.id, acked, returned.as_deref()),
            None => false,
        }
    }

    /// The marker came out: settles what is proved by then. True: queue another marker.
    pub(crate) fn marker(&mut self, config: &AmqpConfig) -> bool {
        let out = &mut self.out;
        self.judge.marker(self.unanswered, |number, proof| {
            let Some(Out { receipt: Some(receipt), .. }) = out.remove(&number) else { return };
            let text = match proof {
                Proof::Routed => return receipt.settle(Outcome::Delivered, None),
                Proof::Returned => config.no_route(),
                Proof::Refused => "the broker refused the message (nack)".to_owned(),
            };
            receipt.settle(answered(proof).outcome(true, config.routing_key.scope(), &text), None);
        })
    }

    /// Gives up what was published, or could be since `since`, more than `bound` ago. False: nothing is
    /// answered any more, or more than `most` messages were given up.
    pub(crate) fn expire(&mut self, now: Instant, since: Instant, bound: Duration, most: usize) -> bool {
        let mut given_up = 0;
        for out in self.out.values_mut() {
            if now >= out.since.max(since) + bound
                && let Some(receipt) = out.receipt.take()
            {
                let late = Outcome::retry(ErrorClass::Timeout, &format!("not confirmed within {bound:?}"));
                receipt.settle(late, None);
            }
            given_up += usize::from(out.receipt.is_none());
        }
        let dead = given_up == self.out.len() && now >= self.answered_at + bound;
        !dead && given_up <= most
    }

    /// The channel ended: everything that was out.
    pub(crate) fn end(&mut self) -> Vec<(Arc<str>, Option<Receipt>)> {
        (self.unanswered, self.judge) = (0, Judge::default());
        self.out.drain().map(|(_, out)| (out.id, out.receipt)).collect()
    }
}
