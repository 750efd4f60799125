//! Tokens, rounds and the end.

use std::sync::Arc;

use tidings_connector::{ErrorClass, Settlement, SettlementInbox, Ticket};

use super::*;

struct Scene {
    inbox: Arc<SettlementInbox>,
    outstanding: Arc<Outstanding<u64>>,
    next: u64,
}

impl Scene {
    fn new(bound: usize) -> Self {
        let outstanding = Arc::new(Outstanding::new(bound));
        Self { inbox: SettlementInbox::new(), outstanding, next: 0 }
    }

    fn put(&mut self, count: u64) -> Vec<Option<Token>> {
        let slots = self.next..self.next + count;
        self.next += count;
        let receipt = |slot| {
            let receipt = Receipt::new(Ticket { incarnation: 1, slot, attempt: 1 }, &self.inbox);
            (receipt, slot)
        };
        self.outstanding.put_all(slots.map(receipt))
    }

    fn settled(&self) -> Vec<(u64, Outcome)> {
        let mut settled = Vec::new();
        self.inbox.drain(&mut settled);
        settled.into_iter().map(|Settlement { ticket, outcome, .. }| (ticket.slot, outcome)).collect()
    }
}

fn retry() -> Outcome {
    Outcome::retry(ErrorClass::Timeout, "")
}

#[test]
fn a_late_answer_settles_no_later_attempt() {
    let mut scene = Scene::new(1);
    let first = scene.put(1)[0];
    scene.outstanding.settle(first.expect("a token"), retry());
    assert!(matches!(scene.settled()[..], [(0, Outcome::Retry { .. })]));
    let second = scene.put(1)[0];
    scene.outstanding.settle(first.expect("a token"), Outcome::Delivered);
    assert!(scene.settled().is_empty(), "the slot is the same, the attempt is not");
    scene.outstanding.settle(second.expect("a token"), Outcome::Delivered);
    assert_eq!(scene.settled(), [(1, Outcome::Delivered)]);
    scene.outstanding.settle(second.expect("a token"), Outcome::Delivered);
    scene.outstanding.settle_all([(u64::MAX, Outcome::Delivered)]);
    assert!(scene.settled().is_empty() && scene.outstanding.is_empty());
}

#[test]
fn what_does_not_fit_is_retried_and_never_kept() {
    let mut scene = Scene::new(2);
    let tokens = scene.put(3);
    assert!(tokens[0].is_some() && tokens[1].is_some() && tokens[2].is_none());
    assert!(matches!(scene.settled()[..], [(2, Outcome::Retry { .. })]));
}

#[test]
fn the_end_settles_everything_as_retry_and_lets_nothing_in() {
    let mut scene = Scene::new(8);
    let tokens = scene.put(3);
    scene.outstanding.settle(tokens[1].expect("a token"), Outcome::Delivered);
    assert_eq!(scene.settled(), [(1, Outcome::Delivered)]);
    scene.outstanding.end(&retry());
    let settled = scene.settled();
    assert_eq!(settled.iter().map(|(slot, _)| *slot).collect::<Vec<_>>(), [0, 2]);
    assert!(settled.iter().all(|(_, outcome)| matches!(outcome, Outcome::Retry { .. })), "{settled:?}");
    assert_eq!(scene.put(1), [None]);
    assert!(matches!(scene.settled()[..], [(3, Outcome::Retry { .. })]));
    scene.outstanding.settle(tokens[0].expect("a token"), Outcome::Delivered);
    assert!(scene.settled().is_empty());
}

#[test]
fn what_is_known_by_something_is_settled_and_nothing_else() {
    let mut scene = Scene::new(8);
    scene.put(3);
    scene.outstanding.settle_where(|slot| *slot == 1, &retry());
    assert!(matches!(scene.settled()[..], [(1, Outcome::Retry { .. })]));
    assert!(!scene.outstanding.is_empty());
}

#[test]
fn what_is_silent_beside_others_is_retried_and_total_silence_is_told() {
    let mut scene = Scene::new(8);
    for _ in 0..10 * ROUNDS {
        assert!(scene.outstanding.count_round(&retry()), "nothing is out");
    }
    scene.put(1);
    for _ in 0..ROUNDS {
        assert!(scene.outstanding.count_round(&retry()), "not yet");
        assert!(scene.settled().is_empty());
    }
    let answered = scene.put(2);
    scene.outstanding.settle(answered[0].expect("a token"), Outcome::Delivered);
    assert_eq!(scene.settled(), [(1, Outcome::Delivered)]);
    // The first one is late; what came with the answer is not.
    assert!(scene.outstanding.count_round(&retry()));
    assert!(matches!(scene.settled()[..], [(0, Outcome::Retry { .. })]));
    for _ in 1..ROUNDS {
        assert!(scene.outstanding.count_round(&retry()));
    }
    assert!(!scene.outstanding.count_round(&retry()), "no answer for longer than that");
    assert!(scene.settled().is_empty(), "what is out is settled when the connection is given up");
}

#[tokio::test]
async fn the_first_to_enter_and_the_last_to_leave_are_told() {
    let mut scene = Scene::new(8);
    let tokens = scene.put(2);
    scene.outstanding.filled().await;
    let waiting = Arc::clone(&scene.outstanding);
    let waiting = tokio::spawn(async move { waiting.emptied().await });
    for token in tokens {
        assert!(!waiting.is_finished());
        scene.outstanding.settle(token.expect("a token"), Outcome::Delivered);
    }
    waiting.await.expect("told");
}
