//! Dead letters of functions that go to a target, as SCF's go to a queue.
//!
//! ```text
//!   event ──► dead letter, durable ──► settled
//!                  │ one after the other, again and again until the target has it
//!                  └──► target ──► it said so ──► the letter is purged, durably
//! ```
//!
//! So a crash in between sends a letter again, under the same id; and while the target is down, gone, paused
//! or refuses, letters stay where every dead letter is seen. Must never purge what the target does not have.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tidings_connector::Outcome;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::super::Parts;
use crate::delivery::{Apart, EncodeFn, TargetState};
use crate::fail;
use crate::functions::{FunctionView, target_name};
use crate::queue::dead::{DeadLetters, Filter, Selection};

/// Letters that are read at once, and purged by one sync.
const PAGE: usize = 100;
/// After a failure the next try waits so long at first …
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// … and, after twice the time at every failure, at most so long.
const PAUSE_MAX: Duration = Duration::from_secs(300);
/// The letters that are on their way, by function.
pub(in crate::app) struct Onward {
    all: Mutex<BTreeMap<Arc<str>, Route>>,
    /// Functions or targets are others now.
    stirred: watch::Sender<()>,
}

impl Default for Onward {
    fn default() -> Self {
        Self { all: Mutex::default(), stirred: watch::Sender::new(()) }
    }
}

struct Route {
    to: String,
    problem: Arc<Mutex<Option<String>>>,
    _end: DropGuard,
}

impl Onward {
    /// Functions or targets are others now: who waits looks again.
    pub(in crate::app) fn stir(&self) {
        self.stirred.send_replace(());
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Route>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why letters stay where they are, for people.
struct Stays {
    why: String,
    /// What the far side asked for.
    after: Option<Duration>,
}

impl Stays {
    fn of(why: impl Into<String>) -> Self {
        Self { why: why.into(), after: None }
    }
}

/// Sends letters on until `stop`.
pub(in crate::app) fn start(parts: &Arc<Parts>, stop: &CancellationToken) {
    let (parts, stop) = (Arc::clone(parts), stop.clone());
    tokio::spawn(async move {
        let mut stirred = parts.hosted.onward.stirred.subscribe();
        loop {
            stirred.borrow_and_update();
            follow(&parts, &stop);
            tokio::select! {
                () = stop.cancelled() => return,
                changed = stirred.changed() => if changed.is_err() { return },
            }
        }
    });
}

/// Makes the routes those that the functions have now.
fn follow(parts: &Arc<Parts>, stop: &CancellationToken) {
    let wanted: BTreeMap<_, _> = parts.hosted.all.dead_letters().into_iter().collect();
    let mut all = parts.hosted.onward.all();
    all.retain(|function, route| wanted.get(function) == Some(&route.to));
    for (function, to) in wanted {
        if all.contains_key(&function) {
            continue;
        }
        let (end, problem) = (stop.child_token(), Arc::default());
        let carried = carry(Arc::clone(parts), Arc::clone(&function), to.clone(), Arc::clone(&problem));
        let ended = end.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = carried => {}
                () = ended.cancelled() => {}
            }
        });
        all.insert(function, Route { to, problem, _end: end.drop_guard() });
    }
}

/// Sends the letters of one function on, for ever.
async fn carry(parts: Arc<Parts>, function: Arc<str>, to: String, problem: Arc<Mutex<Option<String>>>) {
    let mut stirred = parts.hosted.onward.stirred.subscribe();
    let mut pause = PAUSE_MIN;
    loop {
        stirred.borrow_and_update();
        let Some(dead) = parts.letters_of(&function) else {
            // Its target is not registered yet, or gone already.
            if stirred.changed().await.is_err() {
                return;
            }
            continue;
        };
        let mut written = dead.written();
        written.borrow_and_update();
        let stays = parts.send_on(&function, &to, &dead).await.err();
        let why = stays.as_ref().map(|stays| stays.why.clone());
        *problem.lock().unwrap_or_else(PoisonError::into_inner) = why;
        let Some(Stays { why, after }) = stays else {
            pause = PAUSE_MIN;
            tokio::select! {
                _ = written.changed() => {}
                _ = stirred.changed() => {}
            }
            continue;
        };
        let pauses = after.unwrap_or(Duration::ZERO).clamp(pause, PAUSE_MAX);
        let (function, seconds) = (&*function, pauses.as_secs());
        tracing::warn!(function, to, "its dead letters stay where they are, for {seconds} s: {why}");
        let _ = timeout(pauses, stirred.changed()).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

impl Parts {
    fn letters_of(&self, function: &str) -> Option<DeadLetters> {
        let entry = self.targets.get(&target_name(function))?;
        self.queue.dead_letters(entry.registered.target)
    }

    /// Sends on what there is. `Err`: letters are left.
    async fn send_on(&self, function: &str, to: &str, dead: &DeadLetters) -> Result<(), Stays> {
        if dead.status().letters == 0 {
            return Ok(());
        }
        let (config, lane) = self
            .targets
            .get(to)
            .and_then(|entry| Some((entry.configured?, entry.lane?)))
            .ok_or_else(|| Stays::of(format!("the target `{to}` is not configured any more")))?;
        if lane.status().state == TargetState::Paused {
            return Err(Stays::of(format!("the target `{to}` is paused, or gone for good")));
        }
        let line = match lane.connect_apart().await {
            Ok(line) => line,
            Err(outcome) => return Err(failed(to, &outcome)),
        };
        let sent = self.send_all(function, dead, (&line, &self.targets.encoder(&config))).await;
        line.close().await;
        sent.map_err(|stays| Stays { why: format!("the target `{to}`: {}", stays.why), ..stays })
    }

    /// One after the other, so that those of one object stay in order.
    async fn send_all(
        &self,
        function: &str,
        dead: &DeadLetters,
        (line, encode): (&Apart, &EncodeFn),
    ) -> Result<(), Stays> {
        let unreadable = |e: std::io::Error| Stays::of(format!("its dead letters: {e}"));
        let (mut after, mut refused) = (0, None);
        loop {
            let page = dead.page(Filter::default(), after, PAGE).await.map_err(unreadable)?;
            let (mut taken, mut stays) = (Vec::new(), None);
            for letter in page.letters {
                let offset = letter.position.offset;
                let outcome = match self.as_letter(function, &letter, encode) {
                    Ok(message) => line.send(message).await,
                    Err(why) => Outcome::Rejected { why },
                };
                match outcome {
                    Outcome::Delivered => taken.push(offset),
                    Outcome::Rejected { why } => {
                        tracing::warn!(function, offset, cause = %why.text, "a dead letter was refused");
                        refused = Some(Stays::of(format!("it refused the letter {offset}: {}", why.text)));
                    }
                    outcome => {
                        stays = Some(failed("", &outcome));
                        break;
                    }
                }
            }
            fail::point("letter.sent");
            let many = taken.len();
            dead.purge(Selection::Offsets(taken)).await.map_err(unreadable)?;
            if many > 0 {
                tracing::info!(function, letters = many, "dead letters were sent on");
            }
            if let Some(stays) = stays {
                return Err(stays);
            }
            match page.next {
                Some(next) => after = next,
                None => return refused.map_or(Ok(()), Err),
            }
        }
    }

    /// A function with what hinders its letters.
    pub(super) fn with_letters(&self, view: FunctionView) -> FunctionView {
        let all = self.hosted.onward.all();
        let problem = all.get(&*view.name).map(|route| {
            let problem = route.problem.lock().unwrap_or_else(PoisonError::into_inner);
            problem.clone()
        });
        FunctionView { dead_letters_problem: problem.flatten(), ..view }
    }
}

fn failed(to: &str, outcome: &Outcome) -> Stays {
    let (why, after) = match outcome {
        Outcome::Delivered => return Stays::of("it was delivered"),
        Outcome::Retry { why, after } => (why, *after),
        Outcome::Throttled { why, until } => {
            (why, Some(until.saturating_duration_since(std::time::Instant::now())))
        }
        Outcome::Rejected { why } | Outcome::Faulted { why, .. } => (why, None),
    };
    let why = match to {
        "" => why.text.to_string(),
        to => format!("the target `{to}`: {}", why.text),
    };
    Stays { why, after }
}
