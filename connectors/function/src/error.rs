//! The table of how calls end: what each status means for the event that met it.
//!
//! Must never hold a second table, and never call anything delivered or rejected that is not in this one.

use std::sync::Arc;
use std::time::Duration;

use tidings_common::Verdict;
use tidings_connector::{Cause, ErrorClass as Class, Outcome, Scope};

use crate::{Ended, Fault, Status, Tally};

/// Whose failure it is, as SCF tells them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// Nobody's.
    None,
    /// The code's, while it ran: another event may fare better.
    Execution,
    /// The host's.
    System,
    /// Nobody's: as many run as may.
    Concurrency,
    /// The event's: it can never be taken.
    Caller,
    /// The function's as it was deployed: no event can fare better until somebody mends it.
    Deployment,
}

impl Status {
    /// Whose failure it is.
    pub fn blame(self) -> Blame {
        match self {
            Status::Success => Blame::None,
            Status::Code | Status::Timeout | Status::Memory | Status::Exit | Status::ResultTooLarge => {
                Blame::Execution
            }
            Status::Internal | Status::Cancelled => Blame::System,
            Status::Concurrency => Blame::Concurrency,
            Status::BadEvent | Status::EventTooLarge | Status::Loop => Blame::Caller,
            Status::Missing | Status::Handler | Status::State | Status::Port => Blame::Deployment,
        }
    }
}

/// How long SCF tries an event that its host cannot run.
const SCF_AGE: Duration = Duration::from_secs(6 * 3_600);

/// How often a function gets the same event again before it becomes a dead letter. Without numbers: for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Policy {
    /// Retries after failures of the code.
    pub execution: Option<u32>,
    /// Retries after failures of the host, and while as many run as may.
    pub system: Option<u32>,
    /// The pause before each; none: as the target's backoff says.
    pub pause: Option<Duration>,
}

impl Policy {
    /// As SCF documents it: two retries of failures of the code, the others for six hours, so long apart:
    /// with SCF a minute.
    pub fn scf(pause: Duration) -> Self {
        let system = SCF_AGE.as_secs() / pause.as_secs().max(1);
        Self {
            execution: Some(2),
            system: Some(u32::try_from(system).unwrap_or(u32::MAX)),
            pause: Some(pause),
        }
    }

    /// Counts a failure of an event. `Some`: it is given up after so many retries.
    pub fn gives_up(self, tally: &Tally, event: &Arc<str>, fault: Fault) -> Option<u32> {
        let bound = match fault {
            Fault::Code => self.execution,
            Fault::Host => self.system,
        };
        let before = tally.count(event, bound.map(|_| fault)?);
        bound.filter(|bound| before >= *bound).map(|_| before)
    }

    /// What the end of one call means for its event.
    pub(crate) fn outcome(self, ended: &Ended, tally: &Tally, event: &Arc<str>) -> Outcome {
        let status = ended.status;
        let text = match ended.message.as_str() {
            "" => format!("{} {}", status.code(), status.word()),
            message => format!("{} {}: {message}", status.code(), status.word()),
        };
        let again = |class, fault| match self.gives_up(tally, event, fault) {
            Some(retries) => {
                let text = format!("{text} (given up after {retries} retries)");
                Outcome::Rejected { why: Cause::new(class, &text) }
            }
            None => Outcome::Retry { after: self.pause, why: Cause::new(class, &text) },
        };
        let outcome = match status.blame() {
            Blame::None => Outcome::Delivered,
            Blame::Execution if status == Status::Timeout => again(Class::Timeout, Fault::Code),
            Blame::Execution => again(Class::Http5xx, Fault::Code),
            Blame::System => again(Class::Connect, Fault::Host),
            Blame::Concurrency => again(Class::Throttle, Fault::Host),
            Blame::Caller if status == Status::Loop => {
                Verdict::Poison(Class::Loop).outcome(true, Scope::Target, &text)
            }
            Blame::Caller => Verdict::Poison(Class::Http4xx).outcome(true, Scope::Target, &text),
            Blame::Deployment => Verdict::Fault(Class::Unroutable).outcome(true, Scope::Target, &text),
        };
        if matches!(outcome, Outcome::Delivered | Outcome::Rejected { .. }) {
            tally.forget(event);
        }
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes of an event that ends so once more, after so many failures of the same kind.
    fn outcome(policy: Policy, status: Status, failures: u32) -> Outcome {
        let (tally, event, ended) = (Tally::default(), "event".into(), Ended::without_run(status, "why"));
        (0..failures).for_each(|_| drop(policy.outcome(&ended, &tally, &event)));
        policy.outcome(&ended, &tally, &event)
    }

    #[test]
    fn without_numbers_only_the_event_itself_is_given_up() {
        for status in Status::ALL {
            for retry in [0, 5, 1_000] {
                let outcome = outcome(Policy::default(), *status, retry);
                let fits = match status.blame() {
                    Blame::None => outcome == Outcome::Delivered,
                    Blame::Caller => matches!(outcome, Outcome::Rejected { .. }),
                    Blame::Deployment => matches!(outcome, Outcome::Faulted { scope: Scope::Target, .. }),
                    _ => matches!(outcome, Outcome::Retry { after: None, .. }),
                };
                assert!(fits, "{status:?} {retry}: {outcome:?}");
            }
        }
    }

    #[test]
    fn scf_gives_code_up_after_two_retries_and_the_host_after_six_hours() {
        let minute = Duration::from_secs(60);
        let (scf, minute) = (Policy::scf(minute), Some(minute));
        for (status, bound) in [
            (Status::Code, 2),
            (Status::Timeout, 2),
            (Status::Memory, 2),
            (Status::Exit, 2),
            (Status::Internal, 360),
            (Status::Concurrency, 360),
        ] {
            let last = outcome(scf, status, bound - 1);
            assert!(matches!(last, Outcome::Retry { after, .. } if after == minute), "{status:?}: {last:?}");
            let over = outcome(scf, status, bound);
            assert!(matches!(over, Outcome::Rejected { .. }), "{status:?}: {over:?}");
        }
        // What no event can get through is no event's fault.
        let fault = outcome(scf, Status::Handler, 1_000);
        assert!(matches!(fault, Outcome::Faulted { .. }), "{fault:?}");
    }

    /// A host that cannot run an event costs its code no retry, nor the other way round.
    #[test]
    fn failures_of_the_host_use_up_no_retry_of_the_code() {
        let policy = Policy::scf(Duration::from_secs(60));
        let (tally, event): (_, Arc<str>) = (Tally::default(), "event".into());
        let ends = |status| policy.outcome(&Ended::without_run(status, "why"), &tally, &event);
        for _ in 0..10 {
            for status in [Status::Internal, Status::Concurrency] {
                assert!(matches!(ends(status), Outcome::Retry { .. }));
            }
        }
        assert!(matches!(ends(Status::Code), Outcome::Retry { .. }));
        assert!(matches!(ends(Status::Timeout), Outcome::Retry { .. }));
        match ends(Status::Exit) {
            Outcome::Rejected { why } => assert!(why.text.ends_with("(given up after 2 retries)"), "{why:?}"),
            other => panic!("{other:?}"),
        }
        // Sent again by an operator, it begins anew.
        assert!(matches!(ends(Status::Code), Outcome::Retry { .. }));
    }

    #[test]
    fn every_code_is_found_again() {
        for status in Status::ALL {
            assert_eq!(Status::from_code(status.code()), Some(*status));
        }
        assert_eq!(Status::from_code(299), None);
    }
}
