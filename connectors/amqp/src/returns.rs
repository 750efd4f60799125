//! Which confirmed messages were returned: an acknowledgement with a return is not a delivery.
//!
//! The broker sends a return before the acknowledgement of its message. The library hands both over as one
//! answer, but attaches a return to whatever message it completes next, so that only the message id inside a
//! return says whose it is. Must never believe that pairing.
//!
//! Why the rule holds. The library keeps returns in a queue and takes one off for each message that it
//! completes, in its own order. So a message completed *without* a return found that queue empty: its own
//! return, if there was one, went out with a message completed before. A marker, queued behind everything
//! that was woken by then, proves that those were seen. A message completed *with* the return of another one
//! says nothing: its own may still be queued. It is kept back until something completed later came without a
//! return, or until nothing is outstanding: there are never more queued returns than messages unanswered.

use std::collections::HashSet;

use tidings_common::fail::mutant;

/// What one answer proved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Proof {
    /// Acknowledged, and not returned.
    Routed,
    /// No queue took it.
    Returned,
    /// The broker refused it for now.
    Refused,
}

/// One answered message.
struct Answer {
    number: u64,
    id: Box<str>,
    acked: bool,
    /// It came with no return, not even another message's.
    bare: bool,
}

/// Judges answers once every return before them was seen.
#[derive(Default)]
pub(crate) struct Judge {
    /// Ids of returned messages whose own answer is not judged yet.
    returned: HashSet<Box<str>>,
    /// Answers since the marker that is out was queued.
    fresh: Vec<Answer>,
    /// Answers before it.
    marked: Vec<Answer>,
    /// Answers that came with another message's return, and whether a marker passed since they were judged.
    held: Vec<(Answer, bool)>,
    marker_out: bool,
}

impl Judge {
    /// Takes an answer: of which message, and the id of the message that came back with it. True: queue a
    /// marker now.
    pub(crate) fn answer(&mut self, number: u64, id: &str, acked: bool, carried: Option<&str>) -> bool {
        self.returned.extend(carried.map(Box::from));
        self.fresh.push(Answer { number, id: id.into(), acked, bare: carried.is_none() });
        self.next_marker()
    }

    /// The marker came out. `unanswered`: messages whose answer was not taken yet. True: queue another one.
    pub(crate) fn marker(&mut self, unanswered: usize, mut proved: impl FnMut(u64, Proof)) -> bool {
        let marked = std::mem::take(&mut self.marked);
        let (none_queued, some_bare) = (unanswered == 0, marked.iter().any(|answer| answer.bare));
        let Self { returned, held, .. } = self;
        let mut judge = |answer: &Answer, proven: bool| {
            let proof = match (returned.remove(&answer.id) && !mutant("return-as-delivered"), answer.acked) {
                (true, _) => Proof::Returned,
                (false, false) => Proof::Refused,
                (false, true) if proven => Proof::Routed,
                (false, true) => return false,
            };
            proved(answer.number, proof);
            true
        };
        // What is bare now and was queued behind an earlier marker was completed after what is held.
        held.retain_mut(|(answer, ripe)| {
            let done = judge(answer, none_queued || (*ripe && some_bare));
            *ripe = true;
            !done
        });
        for answer in marked {
            let proven = none_queued || answer.bare;
            if !judge(&answer, proven) {
                self.held.push((answer, false));
            }
        }
        self.marker_out = false;
        self.next_marker()
    }

    fn next_marker(&mut self) -> bool {
        if self.marker_out || self.fresh.is_empty() {
            return false;
        }
        std::mem::swap(&mut self.fresh, &mut self.marked);
        self.marker_out = true;
        true
    }
}

#[cfg(test)]
#[path = "returns_tests.rs"]
mod tests;
