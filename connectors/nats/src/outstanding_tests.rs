//! Tokens, rounds and the end.

use tidings_connector::{Settlement, SettlementInbox, Ticket};

use super::*;

struct Scene {
    inbox: Arc<SettlementInbox>,
    outstanding: Arc<Outstanding>,
    next: u64,
}

impl Scene {
    fn new(bound: usize) -> Self {
        let outstanding = Outstanding::new(bound, Scope::Destination, Duration::from_secs(60));
        Self { inbox: SettlementInbox::new(), outstanding, next: 0 }
    }

    fn put(&mut self, count: u64) -> Vec<Option<Token>> {
        let slots = self.next..self.next + count;
        self.next += count;
        let receipt = |slot| {
            let receipt = Receipt::new(Ticket { incarnation: 1, slot, attempt: 1 }, &self.inbox);
            (receipt, Arc::from(format!("subject.{slot}")))
        };
        self.outstanding.put_all(slots.map(receipt))
    }

    fn settled(&self) -> Vec<(u64, Outcome)> {
        let mut settled = Vec::new();
        self.inbox.drain(&mut settled);
        settled.into_iter().map(|Settlement { ticket, outcome, .. }| (ticket.slot, outcome)).collect()
    }
}

fn stored(token: Option<Token>) -> Vec<(Token, Met, String)> {
    vec![(token.expect("a token"), Met::Stored, String::new())]
}

#[test]
fn a_late_answer_settles_no_later_attempt() {
    let mut scene = Scene::new(1);
    let first = scene.put(1)[0];
    scene
        .outstanding
        .settle(vec![(first.expect("a token"), Met::Refused(10_077), "full".to_owned())], Instant::now());
    assert!(matches!(scene.settled()[..], [(0, Outcome::Retry { .. })]));
    let second = scene.put(1)[0];
    scene.outstanding.settle(stored(first), Instant::now());
    assert!(scene.settled().is_empty(), "the slot is the same, the attempt is not");
    scene.outstanding.settle(stored(second), Instant::now());
    assert_eq!(scene.settled(), [(1, Outcome::Delivered)]);
    scene.outstanding.settle(stored(second), Instant::now());
    scene.outstanding.settle(vec![(u64::MAX, Met::Stored, String::new())], Instant::now());
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
    scene.outstanding.settle(stored(tokens[1]), Instant::now());
    assert_eq!(scene.settled(), [(1, Outcome::Delivered)]);
    scene.outstanding.give_up(Met::Lost, "gone");
    let settled = scene.settled();
    assert_eq!(settled.iter().map(|(slot, _)| *slot).collect::<Vec<_>>(), [0, 2]);
    assert!(settled.iter().all(|(_, outcome)| matches!(outcome, Outcome::Retry { .. })), "{settled:?}");
    assert_eq!(scene.put(1), [None]);
    assert!(matches!(scene.settled()[..], [(3, Outcome::Retry { .. })]));
    scene.outstanding.settle(stored(tokens[0]), Instant::now());
    assert!(scene.settled().is_empty());
}

#[test]
fn a_denied_subject_faults_what_goes_there_and_nothing_else() {
    let mut scene = Scene::new(8);
    scene.put(3);
    scene.outstanding.settle_subject("subject.1", Met::Denied, "Permissions Violation");
    assert!(matches!(scene.settled()[..], [(1, Outcome::Faulted { scope: Scope::Destination, .. })]));
    assert!(!scene.outstanding.is_empty());
}

#[test]
fn what_is_silent_beside_others_is_retried_and_total_silence_is_told() {
    let mut scene = Scene::new(8);
    for _ in 0..10 * ROUNDS {
        assert!(scene.outstanding.count_round(), "nothing is out");
    }
    scene.put(1);
    for _ in 0..ROUNDS {
        assert!(scene.outstanding.count_round(), "not yet");
        assert!(scene.settled().is_empty());
    }
    let answered = scene.put(2);
    scene.outstanding.settle(stored(answered[0]), Instant::now());
    assert_eq!(scene.settled(), [(1, Outcome::Delivered)]);
    // The first one is late; what came with the answer is not.
    assert!(scene.outstanding.count_round());
    assert!(matches!(scene.settled()[..], [(0, Outcome::Retry { .. })]));
    for _ in 1..ROUNDS {
        assert!(scene.outstanding.count_round());
    }
    assert!(!scene.outstanding.count_round(), "no answer for longer than that");
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
        scene.outstanding.settle(stored(token), Instant::now());
    }
    waiting.await.expect("told");
}

#[test]
fn a_stream_without_a_leader_for_a_moment_is_no_fault() {
    let mut scene = Scene::new(8);
    let began = Instant::now();
    let answer = |token: Option<Token>| vec![(token.expect("a token"), Met::NoResponders, String::new())];
    let mut tries = [0, 59, 61].map(|seconds| {
        scene.next = 0;
        let token = scene.put(1)[0];
        scene.outstanding.settle(answer(token), began + Duration::from_secs(seconds));
        scene.settled().remove(0).1
    });
    let last = tries[2].clone();
    assert!(tries[..2].iter_mut().all(|told| matches!(told, Outcome::Retry { .. })), "{tries:?}");
    assert!(matches!(last, Outcome::Faulted { scope: Scope::Destination, .. }), "{last:?}");
}
