//! Subjects that nobody takes: since when. A stream whose leader is being elected takes nothing for a moment,
//! and the server says then what it says of a stream that is not there.
//!
//! Must never hold more than its bound, nor call a subject leaderless that never is anything else.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::error::Met;

/// Subjects that are remembered; a template may name any number. Of others nobody waits for a leader.
const MAX_SUBJECTS: usize = 4_096;

/// Since when nobody has taken which subject.
#[derive(Debug, Default)]
pub(crate) struct Leaderless(HashMap<Arc<str>, Instant>);

impl Leaderless {
    /// What an answer means at this moment, once it is known how long the subject has been without a taker.
    pub(crate) fn judge(&mut self, subject: &Arc<str>, met: Met, now: Instant, grace: Duration) -> Met {
        match met {
            Met::NoResponders if grace.is_zero() => met,
            Met::NoResponders => match self.0.get(subject) {
                Some(since) if now.saturating_duration_since(*since) >= grace => met,
                Some(_) => Met::NoRespondersYet,
                None if self.0.len() >= MAX_SUBJECTS => met,
                None => {
                    self.0.insert(Arc::clone(subject), now);
                    Met::NoRespondersYet
                }
            },
            // Whoever answers is there.
            Met::Stored | Met::OtherStream | Met::Refused(_) => {
                if !self.0.is_empty() {
                    self.0.remove(subject);
                }
                met
            }
            _ => met,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(60);

    #[test]
    fn a_subject_without_a_taker_is_waited_for_and_then_a_fault() {
        let (mut subjects, began) = (Leaderless::default(), Instant::now());
        let (one, two): (Arc<str>, Arc<str>) = ("one".into(), "two".into());
        let at = |seconds| began + Duration::from_secs(seconds);
        let mut judge = |subject: &Arc<str>, met, seconds| subjects.judge(subject, met, at(seconds), GRACE);
        assert_eq!(judge(&one, Met::NoResponders, 0), Met::NoRespondersYet);
        assert_eq!(judge(&one, Met::NoResponders, 59), Met::NoRespondersYet);
        assert_eq!(judge(&two, Met::NoResponders, 59), Met::NoRespondersYet, "each has its own time");
        assert_eq!(judge(&one, Met::NoResponders, 60), Met::NoResponders);
        assert_eq!(judge(&one, Met::NoResponders, 600), Met::NoResponders, "until somebody takes it");
        assert_eq!(judge(&one, Met::Stored, 601), Met::Stored);
        assert_eq!(judge(&one, Met::NoResponders, 602), Met::NoRespondersYet, "a new moment");
        assert_eq!(judge(&one, Met::Lost, 603), Met::Lost);
        assert_eq!(judge(&one, Met::NoResponders, 662), Met::NoResponders, "a lost answer says nothing");
        assert_eq!(judge(&two, Met::Refused(10_077), 663), Met::Refused(10_077));
        assert_eq!(judge(&two, Met::NoResponders, 664), Met::NoRespondersYet);
    }

    #[test]
    fn what_is_remembered_is_bounded_and_no_grace_is_none() {
        let (mut subjects, now) = (Leaderless::default(), Instant::now());
        for n in 0..MAX_SUBJECTS {
            let subject = Arc::from(n.to_string());
            assert_eq!(subjects.judge(&subject, Met::NoResponders, now, GRACE), Met::NoRespondersYet);
        }
        assert_eq!(subjects.judge(&"more".into(), Met::NoResponders, now, GRACE), Met::NoResponders);
        assert_eq!(subjects.0.len(), MAX_SUBJECTS);
        let mut none = Leaderless::default();
        assert_eq!(none.judge(&"s".into(), Met::NoResponders, now, Duration::ZERO), Met::NoResponders);
    }
}
