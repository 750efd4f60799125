//! The judge against a model of the library: returns queue up, each completed message takes the oldest one,
//! in whatever order a coalesced acknowledgement is worked off, and wake-ups arrive in that order or early.

use std::collections::{BTreeMap, HashSet, VecDeque};

use super::*;

/// What stands in the queue of wake-ups.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Woken {
    Message(u64),
    Marker,
}

/// A deterministic die.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }

    fn shuffle<T>(&mut self, list: &mut [T]) {
        for n in (1..list.len()).rev() {
            list.swap(n, self.below(n + 1));
        }
    }
}

/// The library's side of one channel, and ours.
struct Model {
    dice: Dice,
    returns: VecDeque<u64>,
    completed: BTreeMap<u64, Option<u64>>,
    woken: VecDeque<Woken>,
    unanswered: HashSet<u64>,
    judge: Judge,
    proofs: BTreeMap<u64, Proof>,
}

impl Model {
    fn new(seed: u64, messages: u64) -> Self {
        Self {
            dice: Dice(seed),
            returns: VecDeque::new(),
            completed: BTreeMap::new(),
            woken: VecDeque::new(),
            unanswered: (0..messages).collect(),
            judge: Judge::default(),
            proofs: BTreeMap::new(),
        }
    }

    /// The library completes a message: it takes the oldest return that waits, whosever it is.
    fn complete(&mut self, number: u64) {
        self.completed.insert(number, self.returns.pop_front());
        self.woken.push_back(Woken::Message(number));
    }

    /// Our task takes one wake-up, if there is one.
    fn look(&mut self) {
        match self.woken.pop_front() {
            Some(Woken::Marker) => {
                let proofs = &mut self.proofs;
                let again = self.judge.marker(self.unanswered.len(), |number, proof| {
                    assert!(proofs.insert(number, proof).is_none(), "{number} was judged twice");
                });
                self.mark(again);
            }
            Some(Woken::Message(number)) => {
                // A message may be woken early, and may have been seen by then.
                let Some(carried) = self.completed.get(&number).copied() else { return };
                if self.unanswered.remove(&number) {
                    let carried = carried.map(|of| of.to_string());
                    let again = self.judge.answer(number, &number.to_string(), true, carried.as_deref());
                    self.mark(again);
                }
            }
            None => {}
        }
    }

    fn mark(&mut self, wanted: bool) {
        if wanted {
            self.woken.push_back(Woken::Marker);
        }
    }
}

/// One run: what the judge said of each message, and which ones the broker returned.
fn run(seed: u64) -> (BTreeMap<u64, Proof>, HashSet<u64>) {
    let mut dice = Dice(seed);
    let messages = 1 + dice.below(12) as u64;
    let one_in = 1 + dice.below(6);
    let returned: HashSet<u64> = (0..messages).filter(|_| dice.below(one_in) == 0).collect();
    let mut model = Model::new(seed, messages);
    // Returns that the broker has not sent yet; it does before it acknowledges their message.
    let (mut published, mut unacked, mut due) = (0, Vec::new(), Vec::<u64>::new());
    let send = |model: &mut Model, due: &mut Vec<u64>, of: &dyn Fn(u64) -> bool| {
        model.returns.extend(due.extract_if(.., |number| of(*number)));
    };
    while published < messages || !unacked.is_empty() {
        match model.dice.below(5) {
            0 if published < messages => {
                if returned.contains(&published) {
                    due.push(published);
                }
                if model.dice.below(2) == 0 {
                    model.woken.push_back(Woken::Message(published));
                }
                unacked.push(published);
                published += 1;
            }
            1 if !unacked.is_empty() => {
                let single = unacked.remove(model.dice.below(unacked.len()));
                send(&mut model, &mut due, &|number| number == single);
                model.complete(single);
            }
            2 if !unacked.is_empty() => {
                let up_to = unacked[model.dice.below(unacked.len())];
                let (mut group, rest) = unacked.iter().partition::<Vec<u64>, _>(|number| **number <= up_to);
                send(&mut model, &mut due, &|number| number <= up_to);
                model.dice.shuffle(&mut group);
                unacked = rest;
                for number in group {
                    model.complete(number);
                    if model.dice.below(3) == 0 {
                        model.look();
                    }
                }
            }
            3 if !due.is_empty() => {
                let early = due[model.dice.below(due.len())];
                send(&mut model, &mut due, &|number| number == early);
            }
            _ => model.look(),
        }
    }
    while !model.woken.is_empty() {
        model.look();
    }
    (model.proofs, returned)
}

#[test]
fn exactly_the_returned_ones_are_not_delivered() {
    for seed in 0..50_000 {
        let (proofs, returned) = run(seed);
        for (number, proof) in &proofs {
            let expected = if returned.contains(number) { Proof::Returned } else { Proof::Routed };
            assert_eq!(*proof, expected, "seed {seed}, message {number} of {}", proofs.len());
        }
        assert!(returned.iter().all(|number| proofs.contains_key(number)), "seed {seed}");
    }
}

#[test]
fn nothing_is_left_unjudged() {
    for seed in 0..5_000 {
        let mut dice = Dice(seed);
        let messages = 1 + dice.below(12);
        assert_eq!(run(seed).0.len(), messages, "seed {seed}");
    }
}

#[test]
fn one_return_among_six_that_were_acknowledged_together() {
    for culprit in 0..6_u64 {
        for order in 0..720 {
            let mut left: Vec<u64> = (0..6).collect();
            let mut model = Model::new(order, 6);
            model.returns.push_back(culprit);
            let mut order = order as usize;
            while !left.is_empty() {
                let number = left.remove(order % left.len());
                order /= left.len() + 1;
                model.complete(number);
            }
            while !model.woken.is_empty() {
                model.look();
            }
            for number in 0..6 {
                let expected = if number == culprit { Proof::Returned } else { Proof::Routed };
                assert_eq!(model.proofs.get(&number), Some(&expected), "{number} of {culprit}");
            }
        }
    }
}

#[test]
fn a_refused_message_is_not_delivered() {
    let mut judge = Judge::default();
    let mut proofs = Vec::new();
    assert!(judge.answer(1, "a", false, None));
    assert!(!judge.answer(2, "b", false, Some("b")));
    assert!(judge.marker(0, |number, proof| proofs.push((number, proof))));
    assert!(!judge.marker(0, |number, proof| proofs.push((number, proof))));
    assert_eq!(proofs, [(1, Proof::Refused), (2, Proof::Returned)]);
}

/// One that came without a return, but may have been completed before the one that is kept back: it was woken
/// first and seen later.
#[test]
fn what_is_kept_back_waits_for_something_completed_after_it() {
    let mut judge = Judge::default();
    let mut proofs = Vec::new();
    assert!(judge.answer(2, "kept", true, Some("other")));
    assert!(!judge.answer(0, "before", true, None));
    assert!(judge.marker(1, |number, proof| proofs.push((number, proof))));
    assert!(!judge.marker(1, |number, proof| proofs.push((number, proof))));
    assert_eq!(proofs, [(0, Proof::Routed)]);
    assert!(judge.answer(1, "other", true, Some("kept")));
    assert!(!judge.marker(0, |number, proof| proofs.push((number, proof))));
    assert_eq!(proofs[1..], [(2, Proof::Returned), (1, Proof::Returned)]);
}
