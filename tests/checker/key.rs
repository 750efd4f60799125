//! What must hold for one key: its operations, its deliveries, and one order of events that explains both.
//!
//! Must never look at another key, nor at the order in which operations were recorded: only at their ticks.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::{Action, Delivery, Kind, Op, Outcome, Property, TICK_NEVER, Violation};

/// What a key holds: an object's ETag and size, or nothing.
type State<'s> = Option<(&'s str, u64)>;

/// One key's judgement in the making.
pub(super) struct KeyCheck<'a> {
    key: Arc<str>,
    ops: &'a [&'a Op],
    /// Distinct events by sequencer, each with the operation that made it, if one was found.
    events: Vec<(&'a Delivery, Option<&'a Op>)>,
    pub(super) violations: Vec<Violation>,
}

impl<'a> KeyCheck<'a> {
    pub(super) fn new(key: &Arc<str>, ops: &'a [&'a Op]) -> Self {
        Self { key: Arc::clone(key), ops, events: Vec::new(), violations: Vec::new() }
    }

    pub(super) fn violate(&mut self, property: Property, what: String) {
        self.violations.push(Violation { property, key: Arc::clone(&self.key), what });
    }

    /// Distinct events that arrived.
    pub(super) fn events(&self) -> usize {
        self.events.len()
    }

    /// Operations of unknown outcome whose event arrived.
    pub(super) fn unknown_applied(&self) -> usize {
        let unknown = |op: &&Op| op.outcome == Outcome::Info;
        self.events.iter().filter_map(|(_, op)| *op).filter(unknown).count()
    }

    /// What the last event leaves: an object's ETag and size, or nothing. `None` if there was no event.
    pub(super) fn last(&self) -> Option<Option<(String, u64)>> {
        let (last, _) = self.events.last()?;
        Some(
            (last.kind == Kind::Put).then(|| (last.etag.clone().unwrap_or_default(), last.size.unwrap_or(0))),
        )
    }

    /// The deliveries alone: repeats are the same, first arrivals come in order.
    pub(super) fn deliveries(&mut self, deliveries: &[&'a Delivery]) {
        let mut seen: HashMap<&str, &Delivery> = HashMap::new();
        let mut newest: Option<&Delivery> = None;
        for &delivery in deliveries {
            if let Some(first) = seen.get(delivery.event_id.as_str()) {
                self.repeat(first, delivery);
                continue;
            }
            seen.insert(&delivery.event_id, delivery);
            self.events.push((delivery, None));
            match newest {
                Some(before) if delivery.sequencer < before.sequencer => {
                    let what = format!(
                        "{} arrived for the first time after {}",
                        delivery.sequencer, before.sequencer
                    );
                    self.violate(Property::P3Order, what);
                }
                Some(before) if delivery.partition != before.partition => {
                    let what =
                        format!("spread over partitions {} and {}", before.partition, delivery.partition);
                    self.violate(Property::P3Order, what);
                    newest = Some(delivery);
                }
                _ => newest = Some(delivery),
            }
        }
        self.events.sort_by_key(|(event, _)| event.sequencer.as_str());
    }

    fn repeat(&mut self, first: &Delivery, again: &Delivery) {
        if first.partition != again.partition {
            let what = format!("a repeat moved from partition {} to {}", first.partition, again.partition);
            self.violate(Property::P3Order, what);
        } else if first.sequencer != again.sequencer {
            let what =
                format!("{} has sequencers {} and {}", first.event_id, first.sequencer, again.sequencer);
            self.violate(Property::P4Sequencer, what);
        } else if first != again {
            self.violate(Property::P5Content, format!("{} changed between attempts", first.event_id));
        }
    }

    /// Events and changes: each event has its operation, each acknowledged operation its event, in real-time
    /// order.
    pub(super) fn changes(&mut self) {
        self.match_puts();
        self.match_deletes();
        self.removals_remove_something();
        self.real_time_order();
        let made: HashSet<u64> = self.events.iter().filter_map(|(_, op)| op.map(|op| op.id)).collect();
        for &op in self.ops {
            if op.outcome != Outcome::Ok || made.contains(&op.id) {
                continue;
            }
            match &op.action {
                Action::Put { etag, .. } => {
                    let what = format!("PUT {} ({etag}) was acknowledged, and no event came", op.id);
                    self.violate(Property::P1Complete, what);
                }
                Action::Delete if !self.explains(op, &|state| state.is_none()) => {
                    let what = format!("DELETE {} removed something, and no event came", op.id);
                    self.violate(Property::P1Complete, what);
                }
                Action::Delete | Action::Read { .. } => {}
            }
        }
    }

    /// Reads: what each found was there at some moment between its call and its return.
    pub(super) fn observations(&mut self) {
        for &op in self.ops {
            let Action::Read { found } = &op.action else { continue };
            if found.as_ref().is_some_and(|found| !found.intact) {
                self.violate(
                    Property::P5Content,
                    format!("GET {} returned other bytes than were put", op.id),
                );
            }
            let seen = found.as_ref().map(|found| (found.etag.as_str(), found.size));
            if !self.explains(op, &|state| state == seen) {
                let what = format!("GET {} found {seen:?}, which no order of the events explains", op.id);
                self.violate(Property::P5Content, what);
            }
        }
    }

    fn match_puts(&mut self) {
        let mut by_etag: HashMap<&str, (&Op, u32)> = HashMap::new();
        for &op in self.ops {
            if let Action::Put { etag, .. } = &op.action {
                by_etag.insert(etag, (op, 0));
            }
        }
        let mut wrong = Vec::new();
        for (event, made_by) in &mut self.events {
            match &event.kind {
                Kind::Put => {}
                Kind::Delete => continue,
                Kind::Other(kind) => {
                    wrong.push(format!("{} is of kind {kind}, which nobody asked for", event.event_id));
                    continue;
                }
            }
            let Some((op, times)) = by_etag.get_mut(event.etag.as_deref().unwrap_or_default()) else {
                wrong.push(format!("{} has ETag {:?}, which nobody put", event.event_id, event.etag));
                continue;
            };
            *times += 1;
            if *times > 1 {
                wrong.push(format!("PUT {} has a second event, {}", op.id, event.event_id));
                continue;
            }
            *made_by = Some(op);
            if let Some(why) = disagreement(event, op) {
                wrong.push(why);
            }
        }
        wrong.into_iter().for_each(|what| self.violate(Property::P2NoPhantom, what));
    }

    /// A removal names its request; one whose request nobody knows belongs to a DELETE that never saw its
    /// answer. Handing those out first invoked to first event constrains the order least.
    fn match_deletes(&mut self) {
        let deletes = || self.ops.iter().copied().filter(|op| op.action == Action::Delete);
        let named: HashMap<&str, &Op> =
            deletes().filter_map(|op| Some((op.request_id.as_deref()?, op))).collect();
        let mut unnamed: Vec<&Op> =
            deletes().filter(|op| op.request_id.is_none() && op.outcome == Outcome::Info).collect();
        unnamed.sort_by_key(|op| std::cmp::Reverse(op.invoked));
        let (mut wrong, mut used) = (Vec::new(), HashSet::new());
        for (event, made_by) in self.events.iter_mut().filter(|(event, _)| event.kind == Kind::Delete) {
            let by_name = event.request_id.as_deref().and_then(|id| named.get(id)).copied();
            let Some(op) = by_name.or_else(|| unnamed.pop()) else {
                wrong.push(format!("{} removes, and nobody asked for it", event.event_id));
                continue;
            };
            if !used.insert(op.id) {
                wrong.push(format!("DELETE {} has a second event, {}", op.id, event.event_id));
                continue;
            }
            *made_by = Some(op);
            if let Some(why) = disagreement(event, op) {
                wrong.push(why);
            }
        }
        wrong.into_iter().for_each(|what| self.violate(Property::P2NoPhantom, what));
    }

    /// Removing what is not there is no change and makes no event.
    fn removals_remove_something(&mut self) {
        let mut there = false;
        let mut wrong = Vec::new();
        for (event, _) in &self.events {
            if event.kind == Kind::Delete && !there {
                wrong.push(format!("{} removes what was not there", event.event_id));
            }
            there = event.kind == Kind::Put;
        }
        wrong.into_iter().for_each(|what| self.violate(Property::P2NoPhantom, what));
    }

    /// If one change returned before another was invoked, their sequencers say so.
    fn real_time_order(&mut self) {
        let mut earliest_return: Option<&Op> = None;
        let mut wrong = Vec::new();
        for &(_, op) in self.events.iter().rev() {
            let Some(op) = op else { continue };
            if let Some(later) = earliest_return.filter(|later| later.returned < op.invoked) {
                wrong.push(format!("{} returned before {} was invoked, and is after it", later.id, op.id));
            }
            if earliest_return.is_none_or(|later| op.returned < later.returned) {
                earliest_return = Some(op);
            }
        }
        wrong.into_iter().for_each(|what| self.violate(Property::P4Sequencer, what));
    }

    /// True if at some moment between `op`'s call and its return the key held what `like` accepts.
    ///
    /// The moment lies after every event whose operation had returned before the call, and before every event
    /// whose operation was invoked after the return.
    fn explains(&self, op: &Op, like: &dyn Fn(State<'_>) -> bool) -> bool {
        let made = |at: usize| self.events[at].1;
        let count = self.events.len();
        let first = (0..count).rev().find(|&at| made(at).is_some_and(|event| event.returned < op.invoked));
        let last = (0..count).find(|&at| made(at).is_some_and(|event| event.invoked > op.returned));
        let (from, to) = (first.map_or(0, |at| at + 1), last.unwrap_or(count));
        (from..=to).any(|moment| {
            let before = moment.checked_sub(1).map(|at| self.events[at].0);
            like(
                before
                    .filter(|event| event.kind == Kind::Put)
                    .map(|event| (event.etag.as_deref().unwrap_or_default(), event.size.unwrap_or_default())),
            )
        })
    }
}

/// What an event says that its operation did not do.
fn disagreement(event: &Delivery, op: &Op) -> Option<String> {
    if op.outcome == Outcome::Fail {
        return Some(format!("{} is of operation {}, which was refused", event.event_id, op.id));
    }
    if let (Some(said), Some(answered)) = (&event.request_id, &op.request_id)
        && said != answered
    {
        return Some(format!(
            "{} names request {said}, and {} was answered as {answered}",
            event.event_id, op.id
        ));
    }
    debug_assert!(op.outcome != Outcome::Info || op.returned == TICK_NEVER);
    match &op.action {
        Action::Put { size, .. } if event.size != Some(*size) => {
            Some(format!("{} says {:?} bytes, PUT {} had {size}", event.event_id, event.size, op.id))
        }
        _ => None,
    }
}
