//! One shared completion per batch.
//!
//! The writer thread wakes one of those who wait, and that one wakes the others: a wake-up from outside the
//! runtime costs many times one from inside, and the writer has the next batch to write. Must never leave a
//! waiter behind: whoever was chosen and goes away instead passes it on.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use super::writer::lock;

/// The first offset of what was taken together, or why nobody knows.
type Outcome = Result<u64, String>;

/// One shared completion.
#[derive(Debug, Default)]
pub(super) struct Ticket(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    outcome: Option<Outcome>,
    /// By place; empty where the waiter went away or was chosen.
    waiting: Vec<Option<Waker>>,
}

impl Ticket {
    pub(super) fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Waits for the batch.
    pub(super) fn done(&self) -> Waiting<'_> {
        Waiting { ticket: self, place: None }
    }

    /// Tells everyone who waits. Once only.
    pub(super) fn finish(&self, outcome: Outcome) {
        let chosen = {
            let mut state = lock(&self.0);
            state.outcome = Some(outcome);
            state.waiting.iter_mut().find_map(Option::take)
        };
        if let Some(chosen) = chosen {
            chosen.wake();
        }
    }
}

/// One who waits.
pub(super) struct Waiting<'a> {
    ticket: &'a Ticket,
    place: Option<usize>,
}

impl Future for Waiting<'_> {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        let (outcome, others) = {
            let mut state = lock(&self.ticket.0);
            match state.outcome.clone() {
                Some(outcome) => (outcome, std::mem::take(&mut state.waiting)),
                None => {
                    match self.place {
                        Some(place) => state.waiting[place] = Some(cx.waker().clone()),
                        None => {
                            state.waiting.push(Some(cx.waker().clone()));
                            self.place = Some(state.waiting.len() - 1);
                        }
                    }
                    return Poll::Pending;
                }
            }
        };
        self.place = None;
        others.into_iter().flatten().for_each(Waker::wake);
        Poll::Ready(outcome)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let Some(place) = self.place else { return };
        let others = {
            let mut state = lock(&self.ticket.0);
            if let Some(own) = state.waiting.get_mut(place) {
                *own = None;
            }
            if state.outcome.is_none() {
                return;
            }
            std::mem::take(&mut state.waiting)
        };
        others.into_iter().flatten().for_each(Waker::wake);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Polls once, and says how often the waiter was woken since.
    struct Waiter<'a>(Pin<Box<Waiting<'a>>>, Arc<Count>);

    impl<'a> Waiter<'a> {
        fn new(ticket: &'a Ticket) -> Self {
            let mut new = Self(Box::pin(ticket.done()), Arc::default());
            assert!(new.poll().is_pending());
            new
        }

        fn poll(&mut self) -> Poll<Outcome> {
            self.0.as_mut().poll(&mut Context::from_waker(&Waker::from(self.1.clone())))
        }

        fn woken(&self) -> usize {
            self.1.0.load(Ordering::SeqCst)
        }
    }

    #[test]
    fn the_first_who_is_told_tells_the_others() {
        let ticket = Ticket::default();
        let mut waiters = [Waiter::new(&ticket), Waiter::new(&ticket), Waiter::new(&ticket)];
        ticket.finish(Ok(5));
        assert_eq!(waiters.each_ref().map(Waiter::woken), [1, 0, 0]);
        assert_eq!(waiters[0].poll(), Poll::Ready(Ok(5)));
        assert_eq!(waiters.each_ref().map(Waiter::woken), [1, 1, 1]);
        assert_eq!(waiters[2].poll(), Poll::Ready(Ok(5)));
        assert_eq!(waiters[1].poll(), Poll::Ready(Ok(5)));
        assert_eq!(
            Box::pin(ticket.done()).as_mut().poll(&mut Context::from_waker(Waker::noop())),
            Poll::Ready(Ok(5))
        );
    }

    #[test]
    fn nobody_is_left_behind_when_waiters_go_away() {
        let ticket = Ticket::default();
        let (gone, chosen) = (Waiter::new(&ticket), Waiter::new(&ticket));
        let others = [Waiter::new(&ticket), Waiter::new(&ticket)];
        drop(gone);
        ticket.finish(Err("broken".to_owned()));
        assert_eq!(chosen.woken(), 1);
        assert_eq!(others.each_ref().map(Waiter::woken), [0, 0]);
        // Chosen, woken, and cancelled before it ran.
        drop(chosen);
        assert_eq!(others.each_ref().map(Waiter::woken), [1, 1]);
    }
}
