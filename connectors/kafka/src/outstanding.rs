//! What one producer has outstanding: receipts by slot number, and what its two threads tell each other.
//!
//! The slot number travels through the client library as the delivery opaque, so that nothing the library
//! forgets can take a receipt with it: whatever is left here settles as Retry when the connector goes. Must
//! never settle anything as delivered without the library's own report.

use std::collections::HashSet;
use std::error::Error;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rdkafka::ClientContext;
use rdkafka::client::OAuthToken;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use rdkafka::message::Message as _;
use rdkafka::producer::{DeliveryResult, ProducerContext};
use rdkafka::types::RDKafkaErrorCode as Code;
use tidings_connector::{Cause, ErrorClass, Outcome, Receipt, Scope};

use crate::error::{Verdict, of_connection, outcome, verdict};
use crate::security::Tokens;

/// The most keys remembered as members of a refused batch. Beyond it one is forgotten, and learned again if
/// need be.
const MAX_SUSPECTS: usize = 65_536;

/// What one connector has outstanding, shared with the library's report thread.
pub(crate) struct Outstanding {
    slots: Mutex<Slots>,
    /// Keys whose message was in a batch that a broker refused: they travel alone next time.
    suspects: Mutex<HashSet<Box<[u8]>>>,
    /// `suspects.len()`, so that the usual case needs no lock.
    suspected: AtomicUsize,
    /// What the library said last about the connection, for people.
    trouble: Mutex<Option<(Code, String)>>,
    topic_scope: Scope,
}

struct Slots {
    receipts: Vec<Option<Receipt>>,
    free: Vec<usize>,
    bound: usize,
    /// Set once, by a fatal error or by the end of the connector: nothing enters any more.
    closed: bool,
}

/// Why a receipt got no slot.
pub(crate) enum NoSlot {
    /// The window is full: the caller did not keep to the limits.
    Full,
    /// The producer is beyond use.
    Closed,
}

impl Outstanding {
    /// Room for `bound` receipts. `topic_scope`: what a missing topic affects.
    pub(crate) fn new(bound: usize, topic_scope: Scope) -> Arc<Self> {
        let slots = Slots { receipts: Vec::new(), free: Vec::new(), bound, closed: false };
        Arc::new(Self {
            slots: Mutex::new(slots),
            suspects: Mutex::default(),
            suspected: AtomicUsize::new(0),
            trouble: Mutex::default(),
            topic_scope,
        })
    }

    /// Gives every receipt a slot, in order, under one lock.
    pub(crate) fn put_all(&self, receipts: Vec<Receipt>) -> Vec<Result<usize, (Receipt, NoSlot)>> {
        let mut slots = lock(&self.slots);
        receipts.into_iter().map(|receipt| slots.put(receipt)).collect()
    }

    /// Takes the receipt out of a slot. `None`: it was settled when the producer broke or the connector
    /// ended.
    pub(crate) fn take(&self, slot: usize) -> Option<Receipt> {
        let mut slots = lock(&self.slots);
        let receipt = slots.receipts.get_mut(slot)?.take();
        if receipt.is_some() {
            slots.free.push(slot);
        }
        receipt
    }

    /// Settles everything as Retry and lets nothing in any more.
    pub(crate) fn close(&self, why: &Cause) {
        let left = {
            let mut slots = lock(&self.slots);
            slots.closed = true;
            slots.free = Vec::new();
            std::mem::take(&mut slots.receipts)
        };
        for receipt in left.into_iter().flatten() {
            receipt.settle(Outcome::Retry { after: None, why: why.clone() }, None);
        }
    }

    /// True once the producer is beyond use.
    pub(crate) fn is_closed(&self) -> bool {
        lock(&self.slots).closed
    }

    /// What the library said last about the connection.
    pub(crate) fn trouble(&self) -> Option<(Code, String)> {
        lock(&self.trouble).clone()
    }

    /// Settles one attempt as the table says. `single`: the verdict is about this message alone.
    pub(crate) fn settle(&self, slot: usize, key: &[u8], code: Code, single: bool) {
        let verdict = verdict(code);
        if matches!(verdict, Verdict::Poison(_)) && !single {
            self.suspect(key);
        }
        if let Some(receipt) = self.take(slot) {
            receipt.settle(outcome(code, single, self.topic_scope, &code.to_string()), None);
        }
        if verdict == Verdict::Broken {
            self.broken(&code.to_string());
        }
    }

    /// True, once, if the next message of this key must travel alone.
    pub(crate) fn take_suspect(&self, key: &[u8]) -> bool {
        if self.suspected.load(Ordering::Acquire) == 0 {
            return false;
        }
        let mut suspects = lock(&self.suspects);
        let found = suspects.remove(key);
        self.suspected.store(suspects.len(), Ordering::Release);
        found
    }

    fn suspect(&self, key: &[u8]) {
        let mut suspects = lock(&self.suspects);
        if suspects.len() >= MAX_SUSPECTS
            && let Some(other) = suspects.iter().next().cloned()
        {
            suspects.remove(&other);
        }
        suspects.insert(key.into());
        self.suspected.store(suspects.len(), Ordering::Release);
    }

    fn broken(&self, reason: &str) {
        self.close(&Cause::new(
            ErrorClass::Connect,
            &format!("the Kafka producer must be replaced: {reason}"),
        ));
    }
}

impl Slots {
    fn put(&mut self, receipt: Receipt) -> Result<usize, (Receipt, NoSlot)> {
        if self.closed {
            return Err((receipt, NoSlot::Closed));
        }
        if let Some(slot) = self.free.pop() {
            self.receipts[slot] = Some(receipt);
            return Ok(slot);
        }
        if self.receipts.len() >= self.bound {
            return Err((receipt, NoSlot::Full));
        }
        self.receipts.push(Some(receipt));
        Ok(self.receipts.len() - 1)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the library calls on its report thread: settle, note, nothing else.
pub(crate) struct Reports {
    pub(crate) outstanding: Arc<Outstanding>,
    pub(crate) tokens: Tokens,
    /// True for the producer whose batches hold one message.
    pub(crate) alone: bool,
}

impl ClientContext for Reports {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn generate_oauth_token(&self, _: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        self.tokens.next()
    }

    /// The library's log lines repeat what reports and errors say, and may quote a broker's words: not kept.
    fn log(&self, _level: RDKafkaLogLevel, _facility: &str, _message: &str) {}

    fn error(&self, error: KafkaError, reason: &str) {
        let code = of_connection(error.rdkafka_error_code().unwrap_or(Code::Fail), reason);
        if verdict(code) == Verdict::Broken {
            self.outstanding.broken(reason);
        }
        let mut trouble = lock(&self.outstanding.trouble);
        // "All brokers are down" says less than the reason for the last of them, which came just before.
        if code != Code::AllBrokersDown || trouble.is_none() {
            *trouble = Some((code, reason.to_owned()));
        }
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, slot: usize) {
        match result {
            Ok(_) => {
                if let Some(receipt) = self.outstanding.take(slot) {
                    receipt.settle(Outcome::Delivered, None);
                }
            }
            Err((error, message)) => {
                let code = error.rdkafka_error_code().unwrap_or(Code::Unknown);
                self.outstanding.settle(slot, message.key().unwrap_or_default(), code, self.alone);
            }
        }
    }
}
