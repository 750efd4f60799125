//! The table of how calls end: what each status means for the event that met it.
//!
//! Must never hold a second table, and never call anything delivered or rejected that is not in this one.

use std::time::Duration;

use tidings_common::Verdict;
use tidings_connector::{Cause, ErrorClass as Class, Outcome, Scope};

use crate::{Ended, Status};

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
    /// As SCF documents it: two retries of failures of the code, the others for six hours, a minute apart.
    pub const SCF: Self =
        Self { execution: Some(2), system: Some(360), pause: Some(Duration::from_secs(60)) };

    /// What the end of one call means for its event. `retry` is 0 at the first attempt.
    pub(crate) fn outcome(self, ended: &Ended, retry: u32) -> Outcome {
        let status = ended.status;
        let text = match ended.message.as_str() {
            "" => format!("{} {}", status.code(), status.word()),
            message => format!("{} {}: {message}", status.code(), status.word()),
        };
        let again = |class, bound: Option<u32>| match bound {
            Some(bound) if retry >= bound => {
                let text = format!("{text} (given up after {retry} retries)");
                Outcome::Rejected { why: Cause::new(class, &text) }
            }
            _ => Outcome::Retry { after: self.pause, why: Cause::new(class, &text) },
        };
        match status.blame() {
            Blame::None => Outcome::Delivered,
            Blame::Execution if status == Status::Timeout => again(Class::Timeout, self.execution),
            Blame::Execution => again(Class::Http5xx, self.execution),
            Blame::System => again(Class::Connect, self.system),
            Blame::Concurrency => again(Class::Throttle, self.system),
            Blame::Caller if status == Status::Loop => {
                Verdict::Poison(Class::Loop).outcome(true, Scope::Target, &text)
            }
            Blame::Caller => Verdict::Poison(Class::Http4xx).outcome(true, Scope::Target, &text),
            Blame::Deployment => Verdict::Fault(Class::Unroutable).outcome(true, Scope::Target, &text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(policy: Policy, status: Status, retry: u32) -> Outcome {
        policy.outcome(&Ended::without_run(status, "why"), retry)
    }

    #[test]
    fn without_numbers_only_the_event_itself_is_given_up() {
        for status in Status::ALL {
            for retry in [0, 5, u32::MAX] {
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
        let minute = Some(Duration::from_secs(60));
        for (status, bound) in [
            (Status::Code, 2),
            (Status::Timeout, 2),
            (Status::Memory, 2),
            (Status::Exit, 2),
            (Status::Internal, 360),
            (Status::Concurrency, 360),
        ] {
            let last = outcome(Policy::SCF, status, bound - 1);
            assert!(matches!(last, Outcome::Retry { after, .. } if after == minute), "{status:?}: {last:?}");
            let over = outcome(Policy::SCF, status, bound);
            assert!(matches!(over, Outcome::Rejected { .. }), "{status:?}: {over:?}");
        }
        // What no event can get through is no event's fault.
        let fault = outcome(Policy::SCF, Status::Handler, 1_000);
        assert!(matches!(fault, Outcome::Faulted { .. }), "{fault:?}");
    }

    #[test]
    fn every_code_is_found_again() {
        for status in Status::ALL {
            assert_eq!(Status::from_code(status.code()), Some(*status));
        }
        assert_eq!(Status::from_code(299), None);
    }
}
