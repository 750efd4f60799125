//! The contract every connector must keep, as named cases run against the real far side.
//!
//! A connector's tests implement [`Harness`] and call [`run_all`]. Must never let a case pass by being left
//! out: what a harness cannot do it waives by name, with a reason, and the core cases cannot be waived.

mod cases;
mod driver;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

pub use driver::{Driver, message, messages};

use crate::ConnectorConfig;

/// One fresh, empty place at the far side, and how to reach it.
#[derive(Clone)]
pub struct Target {
    /// The configuration whose messages end in this place.
    pub config: Arc<dyn ConnectorConfig>,
    /// What the lane would render into [`crate::Message::destination`].
    pub destination: Arc<str>,
}

/// One message as the far side got it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrived {
    /// The order key, where the protocol carries one.
    pub key: Option<Bytes>,
    /// The payload.
    pub payload: Bytes,
    /// Headers, at least those that were sent.
    pub headers: Vec<(String, Bytes)>,
}

/// The far side, as one connector's tests provide it. Cases run one after another.
#[async_trait]
pub trait Harness: Send + Sync + 'static {
    /// A fresh, empty place that exists. `template`: through a configuration whose destination is a template.
    async fn target(&self, template: bool) -> Target;

    /// Waits (at most 30 s) until at least `count` messages arrived, then gives all in order of arrival.
    /// Across keys the order may be any.
    async fn arrived(&self, target: &Target, count: usize) -> Vec<Arrived>;

    /// A configuration whose address nobody listens on.
    fn dead(&self) -> Arc<dyn ConnectorConfig>;

    /// A target whose place does not exist.
    async fn missing(&self, template: bool) -> Target;

    /// Makes the place that was missing.
    async fn create(&self, target: &Target);

    /// A payload of this many bytes is more than `target` takes.
    fn too_large(&self) -> usize;

    /// From now on the far side takes connections and requests, and answers nothing.
    async fn hold(&self, target: &Target);

    /// Ends [`Harness::hold`]; what was held may be answered or taken back.
    async fn release(&self, target: &Target);

    /// The far side goes away: connections break, new ones are refused.
    async fn stop(&self, target: &Target);

    /// It comes back at the same address, with what it had.
    async fn start(&self, target: &Target);

    /// Secrets that every configuration of this harness holds.
    fn secrets(&self) -> Vec<String>;

    /// False where the far side gets the event's id (told as `x-event-id`) and no other header of a message.
    fn carries_headers(&self) -> bool {
        true
    }

    /// Why a case cannot be run here; one sentence. The core cases cannot be waived.
    fn waived(&self, case: Case) -> Option<&'static str>;
}

enum Weight {
    Core,
    Waivable,
}

macro_rules! cases {
    ($($(#[$doc:meta])* $weight:ident $variant:ident => $function:ident,)+) => {
        /// One thing that every connector must do.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Case { $($(#[$doc])* $variant),+ }

        impl Case {
            /// Every case.
            pub const ALL: &'static [Case] = &[$(Case::$variant),+];

            /// True if the case cannot be waived.
            pub fn is_core(self) -> bool {
                match self { $(Case::$variant => matches!(Weight::$weight, Weight::Core)),+ }
            }

            async fn run(self, harness: &dyn Harness) {
                match self { $(Case::$variant => cases::$function(harness).await),+ }
            }
        }
    };
}

cases! {
    /// Every message arrives, and every receipt settles exactly once, as delivered.
    Core Delivers => delivers,
    /// Payload, key and headers arrive as they were sent.
    Core Unchanged => unchanged,
    /// Odd but legal keys, values and payloads arrive as they were sent.
    Core Odd => odd,
    /// A repeated attempt sends the same bytes.
    Core Repeats => repeats,
    /// The order of sequential attempts of one key is the order of arrival.
    Core KeepsOrder => keeps_order,
    /// A window's worth of messages is taken without waiting for the far side.
    Waivable Prompt => prompt,
    /// Receipts that are left when the connector is dropped settle as Retry.
    Waivable Dropped => dropped,
    /// A far side that goes away delivers nothing; when it is back, the same messages are delivered.
    Waivable Outage => outage,
    /// A connector whose far side was away for a moment, or its replacement, goes on without being told.
    Waivable Returns => returns,
    /// A missing fixed destination faults the target; once it is made, messages are delivered.
    Core MissingTarget => missing_target,
    /// A missing destination of a template faults that destination only.
    Waivable MissingDestination => missing_destination,
    /// A message that is too large is rejected; the others of its batch are delivered.
    Core TooLarge => too_large,
    /// `close` ends promptly when nothing is outstanding, and gives every receipt back.
    Core Closes => closes,
    /// `close` ends within its bound when the far side answers nothing.
    Waivable ClosesHeld => closes_held,
    /// Connecting to an address nobody listens on is a fault, in time.
    Core DeadAddress => dead_address,
    /// `check` finds nothing wrong with a good target, and an error with a dead one.
    Core Checks => checks,
    /// No secret shows in a fault, a cause, a finding or a fingerprint.
    Waivable Secrets => secrets,
}

/// No case may take longer.
const CASE_LIMIT: Duration = Duration::from_secs(120);

/// Runs every case, prints one line for each, and panics if any failed or was waived without right.
pub async fn run_all<H: Harness>(harness: H) {
    let harness = Arc::new(harness);
    let mut failed = Vec::new();
    for case in Case::ALL {
        let verdict = match harness.waived(*case) {
            Some(reason) => waive(*case, reason),
            None => run_one(*case, &harness).await,
        };
        match verdict {
            Ok(said) => println!("contract {case:?}: {said}"),
            Err(why) => {
                println!("contract {case:?}: FAILED: {why}");
                failed.push(*case);
            }
        }
    }
    assert!(failed.is_empty(), "the contract is not kept: {failed:?}");
}

/// A reason shorter than this is none.
const REASON_BYTES: usize = 20;

fn waive(case: Case, reason: &str) -> Result<String, String> {
    if case.is_core() {
        return Err(format!("a core case was waived: {reason}"));
    }
    if reason.len() < REASON_BYTES {
        return Err("waived without a reason".to_owned());
    }
    Ok(format!("waived: {reason}"))
}

async fn run_one<H: Harness>(case: Case, harness: &Arc<H>) -> Result<String, String> {
    let started = std::time::Instant::now();
    let harness = Arc::clone(harness);
    let run = tokio::spawn(async move { case.run(&*harness).await });
    match tokio::time::timeout(CASE_LIMIT, run).await {
        Ok(Ok(())) => Ok(format!("kept, {} ms", started.elapsed().as_millis())),
        Ok(Err(panic)) => {
            let panic = panic.into_panic();
            let text = panic.downcast_ref::<String>().map(String::as_str);
            Err(text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("it panicked").to_owned())
        }
        Err(_) => Err(format!("not done after {CASE_LIMIT:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn core_cases_cannot_be_waived_and_others_need_a_reason() {
        let reason = "the far side of this test cannot do that";
        assert!(waive(Case::Delivers, reason).is_err());
        assert!(waive(Case::Outage, "").is_err());
        assert!(waive(Case::Outage, reason).is_ok());
    }
}
