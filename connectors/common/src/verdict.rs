//! What one answer or error of a far side means, before it is known whom it concerns.
//!
//! Each connector's table ends in these words. Must never turn into Delivered or Rejected what a table did
//! not call so.

use tidings_connector::{Cause, ErrorClass, Fault, Outcome, Scope};

/// What one answer or error means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The far side has it.
    Delivered,
    /// Not known to be there; waiting may mend it.
    Retry(ErrorClass),
    /// Nothing gets through to this destination until somebody mends it.
    NoWay(ErrorClass),
    /// Nothing gets through at all until somebody mends it.
    Fault(ErrorClass),
    /// The message is unacceptable; or one of those that it travelled with is.
    Poison(ErrorClass),
}

impl Verdict {
    /// The outcome of one attempt.
    ///
    /// `alone`: the verdict is about this message and no other. One about many may have one culprit among
    /// innocents, so it is a Retry for all of them, and each travels alone next time. `scope`: what a missing
    /// way affects: the target, or one destination of a template.
    pub fn outcome(self, alone: bool, scope: Scope, text: &str) -> Outcome {
        let why = |class| Cause::new(class, text);
        match self {
            Self::Delivered => Outcome::Delivered,
            Self::Retry(class) => Outcome::retry(class, text),
            Self::Fault(class) => Outcome::Faulted { scope: Scope::Target, why: why(class) },
            Self::NoWay(class) if alone || scope == Scope::Target => {
                Outcome::Faulted { scope, why: why(class) }
            }
            Self::Poison(class) if alone => Outcome::Rejected { why: why(class) },
            Self::NoWay(class) | Self::Poison(class) => Outcome::retry(class, text),
        }
    }

    /// What it means where no message was sent: while connecting, or looking around.
    pub fn fault(self, message: impl Into<String>) -> Fault {
        match self {
            Self::Fault(class) | Self::NoWay(class) => Fault::faulted(class, message),
            Self::Retry(class) | Self::Poison(class) => Fault::retry(class, message),
            Self::Delivered => Fault::retry(ErrorClass::Unknown, message),
        }
    }
}

#[cfg(test)]
mod tests {
    use ErrorClass as Class;

    use super::*;

    #[test]
    fn a_verdict_about_many_rejects_nobody() {
        let poison = |alone| Verdict::Poison(Class::TooLarge).outcome(alone, Scope::Target, "");
        assert!(matches!(poison(false), Outcome::Retry { after: None, .. }));
        assert!(matches!(poison(true), Outcome::Rejected { .. }));
    }

    #[test]
    fn a_missing_way_affects_what_names_it() {
        let of = |alone, scope| Verdict::NoWay(Class::Auth).outcome(alone, scope, "");
        assert!(matches!(of(true, Scope::Destination), Outcome::Faulted { scope: Scope::Destination, .. }));
        assert!(matches!(of(false, Scope::Destination), Outcome::Retry { .. }));
        for alone in [true, false] {
            assert!(matches!(of(alone, Scope::Target), Outcome::Faulted { scope: Scope::Target, .. }));
        }
    }

    #[test]
    fn the_other_verdicts_are_what_they_say() {
        for (scope, alone) in [(Scope::Target, true), (Scope::Destination, true), (Scope::Destination, false)]
        {
            let of = |verdict: Verdict| verdict.outcome(alone, scope, "");
            assert_eq!(of(Verdict::Delivered), Outcome::Delivered);
            assert!(matches!(of(Verdict::Retry(Class::Nack)), Outcome::Retry { after: None, .. }));
            let fault = of(Verdict::Fault(Class::Auth));
            assert!(matches!(fault, Outcome::Faulted { scope: Scope::Target, .. }), "{fault:?}");
        }
    }

    #[test]
    fn nothing_is_delivered_or_rejected_by_connecting() {
        for (verdict, faulted) in [
            (Verdict::Delivered, false),
            (Verdict::Retry(Class::Dns), false),
            (Verdict::Poison(Class::TooLarge), false),
            (Verdict::NoWay(Class::Auth), true),
            (Verdict::Fault(Class::Tls), true),
        ] {
            match verdict.fault("").outcome {
                Outcome::Retry { .. } => assert!(!faulted, "{verdict:?}"),
                Outcome::Faulted { scope: Scope::Target, .. } => assert!(faulted, "{verdict:?}"),
                other => panic!("{verdict:?}: {other:?}"),
            }
        }
    }
}
