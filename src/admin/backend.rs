//! What the admin routes need from the rest of tidings, and the shapes that they answer with.
//!
//! Must never depend on how delivery or the journal are built: whoever builds them implements
//! [`AdminBackend`].

use async_trait::async_trait;
use serde::Serialize;

use super::buckets::{BucketView, QuotaWish};
pub use super::change_error::ChangeError;
use super::functions::FunctionBackend;
use super::journal::JournalStat;
use super::reloaded::Reloaded;
use super::rules::{RulePage, RuleQuery, RuleView, TriggerWish};
use super::scf::ScfBackend;
use super::store::StoreStat;
use crate::metrics::{TargetSnapshot, TargetState, Undelivered};
use crate::queue::dead::DeadLetters;
use crate::queue::{Books, BudgetView, Rewound};

/// What the admin routes need. Every method returns within the listener's request bound; past it, it is
/// dropped, except those that change something, which always run to their end.
#[async_trait]
pub trait AdminBackend: Send + Sync + 'static {
    /// Whether changes can be accepted durably now, or one sentence why not. No target's state matters here:
    /// what people should know of targets all the same are the sentences of `Ok`.
    async fn ready(&self) -> Result<Vec<String>, String>;

    /// The text of a scrape.
    async fn metrics_text(&self) -> String;

    /// Every registered target, by name.
    async fn targets(&self) -> Vec<TargetView>;
    /// One target.
    async fn target(&self, name: &str) -> Option<TargetView>;

    /// Pauses or resumes a target, durably, and answers with what it is now. Repeating it changes nothing.
    async fn set_paused(&self, name: &str, paused: bool) -> Result<TargetView, ChangeError>;

    /// The dead letters of a target.
    async fn dead_letters(&self, name: &str) -> Result<DeadLetters, ChangeError>;

    /// Whether somebody is there to send dead letters.
    async fn can_replay(&self, name: &str) -> Result<(), ChangeError>;

    /// Delivers everything from an offset or a time on once more; answers once that is durable.
    async fn replay(&self, _name: &str, _from: &str, _rematch: bool) -> Result<Rewound, ChangeError> {
        Err(ChangeError::NoSuchTarget)
    }

    /// Sends one marked sample event through a connection of its own, and says what the far side answered.
    /// The queue and the books know nothing of it.
    async fn test(&self, _name: &str) -> Result<Tested, ChangeError> {
        Err(ChangeError::NoSuchTarget)
    }

    /// Gives a target up that is not configured any more. `discard`: also what it has not got.
    async fn forget(&self, name: &str, discard: bool) -> Result<Forgotten, ChangeError>;

    /// Reads the configuration anew; `accept` names targets whose connector's kind may change.
    async fn reload(&self, accept: &[String]) -> Result<Reloaded, ChangeError>;

    /// Every bucket, by name.
    async fn buckets(&self) -> Result<Vec<BucketView>, ChangeError>;

    /// Sets what a bucket may hold, durably, and answers with what it is now. Repeating it changes nothing.
    async fn set_quota(&self, bucket: &str, wish: QuotaWish) -> Result<BucketView, ChangeError>;

    /// The rules that a query asks for.
    async fn rules(&self, _query: RuleQuery) -> Result<RulePage, ChangeError> {
        Ok(RulePage::default())
    }

    /// Does what is wished of a trigger, durably, and answers with what it is then. Repeating it changes
    /// nothing.
    async fn trigger(&self, _wish: TriggerWish) -> Result<RuleView, ChangeError> {
        Err(ChangeError::NoSuchTrigger)
    }

    /// The journal in numbers.
    async fn journal_stat(&self) -> JournalStat;

    /// What the routes of functions need.
    fn functions(&self) -> &dyn FunctionBackend;

    /// What the API of SCF needs beside that.
    fn scf(&self) -> &dyn ScfBackend;

    /// What bodies take, and damage that was found.
    async fn store_stat(&self) -> StoreStat;
}

/// One target, for people and programs.
#[derive(Debug, Clone, Serialize)]
pub struct TargetView {
    /// Its name.
    pub name: String,
    /// Its connector's kind.
    pub kind: String,
    /// How its events are written; none for a target that is no longer configured.
    pub encoding: Option<&'static str>,
    /// Its destination as configured: topic, subject or routing key with placeholders; none where it is
    /// fixed.
    pub destination: Option<String>,
    /// How its lane stands.
    pub state: TargetState,
    /// Connected, and delivering or ready to.
    pub up: bool,
    /// Its books.
    pub books: Books,
    /// Matched minus all columns: anything but 0 is a bug.
    pub books_imbalance: i64,
    /// What it may owe, and what it owes.
    pub budget: BudgetView,
    /// Events per second that it gets at most; none without a limit.
    pub rate_limit: Option<u32>,
    /// Backlog and held, by where they stand.
    pub undelivered: UndeliveredView,
    /// How many events its connector may have outstanding.
    pub in_flight_limit: u64,
    /// Age of the oldest event that it does not have, in seconds; 0 if it has all.
    pub oldest_undelivered_age_seconds: f64,
    /// When it last confirmed an event, RFC 3339 in UTC.
    pub last_success: Option<String>,
    /// The last attempt that did not deliver.
    pub last_failure: Option<FailureView>,
    /// Events in its dead letters.
    pub dead_letters: u64,
    /// Bytes of its dead letters.
    pub dead_letter_bytes: u64,
    /// How many there may be.
    pub dead_letter_limit_bytes: u64,
    /// Age of the oldest of them, in seconds; 0 without one.
    pub dead_letter_oldest_age_seconds: f64,
    /// Dead letters that wait to be sent again, or are being sent.
    pub replaying: u64,
    /// What is delivered once more because an operator wants it; none if nothing is.
    pub replay: Option<Rewound>,
    /// Why nothing is sent although nobody paused it: its dead letters are full, damaged, or cannot be
    /// written. Or what of the log cannot be read that it waits for.
    pub blocked: Option<String>,
}

/// Events that a target does not have, by where they stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct UndeliveredView {
    /// Nothing stands in their way.
    pub ready: u64,
    /// Waiting in memory for their next attempt.
    pub retrying: u64,
    /// Handed to the connector, not settled.
    pub in_flight: u64,
    /// Their key is stuck.
    pub held: u64,
    /// Their target is paused.
    pub paused: u64,
}

/// An attempt that did not deliver.
#[derive(Debug, Clone, Serialize)]
pub struct FailureView {
    /// When, RFC 3339 in UTC.
    pub time: String,
    /// The class of the error, as in metrics.
    pub class: &'static str,
    /// For people; no secrets.
    pub message: String,
}

/// What a far side answered to a sample event.
#[derive(Debug, Clone, Serialize)]
pub struct Tested {
    /// `delivered`, `retry`, `throttled`, `rejected` or `faulted`.
    pub outcome: &'static str,
    /// The class of the failure, as in metrics; none if it was delivered.
    pub class: Option<&'static str>,
    /// What happened, for people.
    pub message: Option<String>,
}

/// A target that was given up.
#[derive(Debug, Clone, Serialize)]
pub struct Forgotten {
    /// Its name, free again.
    pub name: String,
    /// Its books as they ended.
    pub books: Books,
}

impl TargetView {
    /// The view of a snapshot; `encoding`, `destination` and `last_failure` are left empty.
    pub fn new(snapshot: &TargetSnapshot, now_us: i64) -> Self {
        let undelivered = |state| snapshot.undelivered(state);
        let imbalance = snapshot.books.imbalance();
        Self {
            name: snapshot.name.to_string(),
            kind: snapshot.kind.to_string(),
            encoding: None,
            destination: None,
            state: snapshot.state,
            up: snapshot.is_up(),
            books: snapshot.books,
            books_imbalance: i64::try_from(imbalance).unwrap_or(if imbalance < 0 {
                i64::MIN
            } else {
                i64::MAX
            }),
            budget: snapshot.budget,
            rate_limit: None,
            undelivered: UndeliveredView {
                ready: undelivered(Undelivered::Ready),
                retrying: undelivered(Undelivered::Retrying),
                in_flight: undelivered(Undelivered::InFlight),
                held: undelivered(Undelivered::Held),
                paused: undelivered(Undelivered::Paused),
            },
            in_flight_limit: snapshot.in_flight_limit,
            oldest_undelivered_age_seconds: snapshot.oldest_undelivered_age_seconds(now_us),
            last_success: snapshot.last_success_us.and_then(rfc3339),
            last_failure: None,
            dead_letters: snapshot.dead_letters,
            dead_letter_bytes: snapshot.dead_letter_bytes,
            dead_letter_limit_bytes: snapshot.dead_letter_limit_bytes,
            dead_letter_oldest_age_seconds: snapshot.oldest_dead_letter_age_seconds(now_us),
            replaying: 0,
            replay: None,
            blocked: None,
        }
    }
}

/// A time in microseconds since the Unix epoch as people and programs read it; `None` beyond the year 9999.
pub fn rfc3339(us: i64) -> Option<String> {
    jiff::Timestamp::from_microsecond(us).ok().map(|t| t.to_string())
}
