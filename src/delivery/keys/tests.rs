//! The keys of a lane against a model that keeps every key's entries in a plain list.
//!
//! Must never know how slots, lists and timers are kept.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::delivery::tests::entry;

/// One step of a random life.
#[derive(Debug, Clone)]
enum Step {
    Take(u8),
    Start,
    Probe,
    /// What becomes of the n-th entry that is out.
    Deliver(usize),
    Delay(usize, u64),
    Hold(usize, Option<u64>),
    PutBack(usize),
    Unstart(usize),
    Wake(u64),
    Reprieve(usize),
    Release,
    /// Entries are asked for, of which so many in a hundred come.
    Load(usize, usize),
    /// The first of those that are asked for cannot be read.
    Unreadable(u64),
}

fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0u8..6).prop_map(Step::Take),
        6 => Just(Step::Start),
        1 => Just(Step::Probe),
        4 => any::<usize>().prop_map(Step::Deliver),
        2 => (any::<usize>(), 0u64..9).prop_map(|(n, due)| Step::Delay(n, due)),
        1 => (any::<usize>(), prop::option::of(0u64..9)).prop_map(|(n, due)| Step::Hold(n, due)),
        1 => any::<usize>().prop_map(Step::PutBack),
        1 => any::<usize>().prop_map(Step::Unstart),
        2 => (0u64..9).prop_map(Step::Wake),
        1 => any::<usize>().prop_map(Step::Reprieve),
        1 => Just(Step::Release),
        4 => (1usize..9, 0usize..=100).prop_map(|(room, come)| Step::Load(room, come)),
        1 => (0u64..9).prop_map(Step::Unreadable),
    ]
}

/// Every key's entries in order, and the phase of each key that has any.
#[derive(Default)]
struct Model {
    entries: BTreeMap<u8, VecDeque<u64>>,
    out: Vec<(u8, SlotRef)>,
    waits: BTreeMap<u8, (Phase, Option<Instant>)>,
}

struct Life {
    keys: Keys,
    model: Model,
    start: Instant,
    next: u64,
}

impl Life {
    fn offset(&self, slot: SlotRef) -> u64 {
        self.keys.stored(slot).position.offset
    }

    fn key_of(&self, slot: SlotRef) -> u8 {
        let event = self.keys.stored(slot).entry.event.as_ref().expect("every entry here has an event");
        event.key.parse().expect("a number")
    }

    fn started(&mut self, slot: Option<SlotRef>, probe: bool) {
        let idle = |key: &u8| !self.model.out.iter().any(|(k, _)| k == key);
        let ready = self.keys.ready();
        let timed = self.model.waits.values().filter(|(_, due)| due.is_some()).count();
        let Some(slot) = slot else {
            // A probe whose entry is not in memory is asked for instead.
            let absent: Vec<u8> =
                self.model.waits.keys().copied().filter(|k| self.phase(*k) == Phase::Absent).collect();
            self.model.waits.retain(|key, _| !absent.contains(key));
            assert_eq!(absent.len(), usize::from(probe && timed > 0), "something could have left");
            return;
        };
        let key = self.key_of(slot);
        assert!(idle(&key), "two entries of one key are out");
        let waited = self.model.waits.remove(&key);
        assert!(waited.is_none() || (probe && ready == 0), "a key that waits left");
        assert_eq!(Some(&self.offset(slot)), self.model.entries[&key].front(), "not the key's first entry");
        assert!(self.keys.is_current(slot, self.keys.attempt(slot)));
        assert!(!self.keys.is_current(slot, self.keys.attempt(slot) + 1));
        self.model.out.push((key, slot));
    }

    fn phase(&self, key: u8) -> Phase {
        let hash = entry(1, &key.to_string()).key_hash();
        self.keys.keys[self.keys.by_hash[&hash] as usize].phase
    }

    /// Reads again what the keys want, or a part of it.
    fn load(&mut self, room: usize, come: usize) {
        let wanted = self.keys.wanted(room);
        assert!(wanted.is_sorted() && wanted.len() <= room);
        let come = (wanted.len() * come).div_ceil(100);
        let read = wanted[..come].iter().map(|offset| {
            let mut of_key = self.model.entries.iter().filter(|(_, offsets)| offsets.contains(offset));
            let (key, _) = of_key.next().expect("only what is there is wanted");
            Arc::new(entry(*offset, &key.to_string()))
        });
        self.keys.came(read.collect());
        assert!(come == 0 || self.keys.ready() > 0);
    }

    /// Takes the n-th entry that is out from the model.
    fn come_back(&mut self, n: usize) -> Option<(u8, SlotRef)> {
        let out = &mut self.model.out;
        (!out.is_empty()).then(|| out.remove(n % out.len()))
    }

    fn step(&mut self, step: Step) {
        let at = |s: u64| self.start + Duration::from_secs(s);
        match step {
            Step::Take(key) => {
                self.next += 1;
                self.keys.take(Arc::new(entry(self.next, &key.to_string())));
                self.model.entries.entry(key).or_default().push_back(self.next);
            }
            Step::Start => {
                let slot = self.keys.start();
                self.started(slot, false);
            }
            Step::Probe => {
                let slot = self.keys.start_probe();
                self.started(slot, true);
            }
            Step::Wake(now) => {
                self.keys.wake_due(at(now));
                let now = at(now);
                self.model.waits.retain(|_, (_, due)| due.is_none_or(|due| due > now));
            }
            Step::Release => {
                self.keys.release_all();
                self.model.waits.clear();
            }
            Step::Load(room, come) => self.load(room, come),
            Step::Unreadable(due) => {
                let first = self.keys.wanted(5).first().copied();
                assert_eq!(self.keys.unreadable(at(due)).is_some(), first.is_some());
                if let Some(first) = first {
                    let key = self.model.entries.iter().find(|(_, offsets)| offsets.contains(&first));
                    let key = *key.expect("only what is there is wanted").0;
                    self.model.waits.insert(key, (Phase::Held, Some(at(due))));
                }
            }
            Step::Reprieve(n) => {
                let held: Vec<_> =
                    self.model.waits.iter().filter(|(_, w)| **w == (Phase::Held, None)).collect();
                if let Some((key, _)) = held.get(n % held.len().max(1)) {
                    let key = **key;
                    let hash = entry(1, &key.to_string()).key_hash();
                    self.keys.reprieve(hash, u32::MAX, at(3));
                    self.model.waits.insert(key, (Phase::Delayed, Some(at(3))));
                }
            }
            back => self.come_back_as(back, at(0)),
        }
    }

    fn come_back_as(&mut self, step: Step, start: Instant) {
        let (Step::Deliver(n) | Step::Delay(n, _) | Step::Hold(n, _) | Step::PutBack(n) | Step::Unstart(n)) =
            step
        else {
            return;
        };
        let Some((key, slot)) = self.come_back(n) else { return };
        let due = |s: u64| start + Duration::from_secs(s);
        let attempt = self.keys.attempt(slot);
        match step {
            Step::Deliver(_) => {
                let stored = self.keys.delivered(slot);
                let entries = self.model.entries.get_mut(&key).expect("the key has entries");
                assert_eq!(entries.pop_front(), Some(stored.position.offset));
                if entries.is_empty() {
                    self.model.entries.remove(&key);
                }
            }
            Step::Delay(_, at) => {
                self.keys.delay(slot, due(at));
                self.model.waits.insert(key, (Phase::Delayed, Some(due(at))));
            }
            Step::Hold(_, at) => {
                if at.is_none() {
                    self.keys.rejected(slot);
                }
                self.keys.hold(slot, at.map(due));
                self.model.waits.insert(key, (Phase::Held, at.map(due)));
            }
            Step::Unstart(_) => self.keys.unstart(slot),
            _ => self.keys.put_back(slot),
        }
        assert!(!self.keys.is_current(slot, attempt), "an attempt that ended is not current");
    }

    fn check(&mut self) {
        let entries = |phase| {
            let waits = self.model.waits.iter().filter(|(_, w)| w.0 == phase);
            waits.map(|(key, _)| self.model.entries[key].len()).sum::<usize>()
        };
        let total: usize = self.model.entries.values().map(VecDeque::len).sum();
        assert_eq!(self.keys.len(), total);
        assert_eq!(self.keys.in_flight(), self.model.out.len());
        assert_eq!(self.keys.held(), entries(Phase::Held));
        assert_eq!(self.keys.stuck(), entries(Phase::Held) + entries(Phase::Delayed));
        let busy = self.model.out.len() + self.model.waits.len();
        let absent = (0..6).filter(|k| self.model.entries.contains_key(k) && self.phase(*k) == Phase::Absent);
        assert_eq!(self.keys.ready(), self.model.entries.len() - busy - absent.count());
        assert_eq!(self.keys.in_memory() + self.keys.parked(), total);
        let most = 6 * self.keys.bounds.of_key as usize;
        assert!(self.keys.in_memory() <= most, "{} in memory", self.keys.in_memory());
        assert!(self.keys.stuck_in_memory() <= self.keys.bounds.of_stuck.max(1));
        assert_eq!(self.keys.out().len(), self.model.out.len());
        assert_eq!(self.keys.weight() == 0, self.keys.in_memory() == 0);
        let oldest = self.model.entries.values().filter_map(VecDeque::front).min();
        let oldest = oldest.map(|offset| *offset as i64).filter(|_| !self.keys.unordered);
        assert_eq!(self.keys.oldest().map(|event| event.time_us), oldest);
        let due = self.model.waits.values().filter_map(|(_, due)| *due).min();
        assert_eq!(self.keys.next_due(), due, "one moment for all that wait");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever happens to entries in whatever order, the keys and the model agree after every step.
    #[test]
    fn keys_agree_with_the_model(steps in prop::collection::vec(steps(), 1..300)) {
        let start = Instant::now();
        let keys = Keys { bounds: Bounds { of_key: 3, of_stuck: 4 }, ..Keys::default() };
        let mut life = Life { keys, model: Model::default(), start, next: 0 };
        for step in steps {
            life.step(step);
            life.check();
        }
    }
}

#[test]
fn what_settles_leaves_no_memory_behind() {
    let mut keys = Keys::default();
    keys.take(Arc::new(entry(1, "stuck")));
    let stuck = keys.start().expect("it is ready");
    keys.delay(stuck, Instant::now());
    for offset in 2..100_000 {
        keys.take(Arc::new(entry(offset, &offset.to_string())));
        let slot = keys.start().expect("it is ready");
        keys.delivered(slot);
    }
    assert_eq!(keys.len(), 1);
    assert!(keys.slots.capacity() < 5_000, "{} places kept", keys.slots.capacity());
    assert!(keys.keys.len() < 5_000 && keys.by_hash.len() == 1);
}

#[test]
fn an_entry_that_waits_keeps_no_body() {
    let with_body = |offset, bytes| {
        let mut stored = entry(offset, "k");
        stored.body = bytes::Bytes::from(vec![0; bytes]);
        Arc::new(stored)
    };
    let weight = |bytes| {
        let mut keys = Keys::default();
        keys.take(with_body(1, bytes));
        keys.weight()
    };
    let bare = weight(0);
    assert_eq!((weight(1_000), weight(60_000)), (bare + 1_000, bare));
    let mut keys = Keys::default();
    keys.take(with_body(1, 1_000));
    keys.take(with_body(2, 1_000));
    assert_eq!(keys.weight(), 2 * bare + 1_000);
    let slot = keys.start().expect("it is ready");
    keys.delay(slot, Instant::now());
    assert_eq!(keys.weight(), 2 * bare);
    keys.wake_due(Instant::now());
    let slot = keys.start().expect("it is due");
    assert_eq!((keys.delivered(slot).position.offset, keys.len()), (1, 1));
}

#[test]
fn an_entry_of_a_stuck_key_costs_where_it_is_and_no_more() {
    let mut keys = Keys::default();
    keys.take(Arc::new(entry(1, "stuck")));
    let slot = keys.start().expect("it is ready");
    keys.hold(slot, None);
    for offset in 2..200_000 {
        keys.take(Arc::new(entry(offset, "stuck")));
    }
    assert_eq!((keys.len(), keys.held()), (199_999, 199_999));
    assert!(keys.in_memory() <= 64, "{} in memory", keys.in_memory());
    // Once it heals they come back in order, a few at a time.
    keys.release_all();
    for offset in 1..200_000 {
        if keys.has_absent() {
            let wanted = keys.wanted(1_000);
            assert_eq!((wanted.first(), wanted.len() <= 64), (Some(&offset), true));
            keys.came(wanted.into_iter().map(|o| Arc::new(entry(o, "stuck"))).collect());
        }
        let slot = keys.start().expect("it is ready");
        assert_eq!(keys.delivered(slot).position.offset, offset);
    }
    assert_eq!((keys.len(), keys.parked.memory()), (0, 0));
}

#[test]
fn an_entry_that_left_memory_keeps_its_attempts() {
    let mut keys = Keys { bounds: Bounds { of_key: 1, of_stuck: 0 }, ..Keys::default() };
    keys.take(Arc::new(entry(1, "k")));
    for attempt in 1..4 {
        let slot = keys.start().expect("it is ready");
        assert_eq!(keys.attempt(slot), attempt);
        keys.delay(slot, Instant::now());
        assert!(!keys.is_current(slot, attempt), "its slot is another's from now on");
        assert_eq!(keys.in_memory(), 0);
        keys.wake_due(Instant::now());
        assert_eq!((keys.start(), keys.wanted(9)), (None, vec![1]));
        keys.came(vec![Arc::new(entry(1, "k"))]);
    }
}
