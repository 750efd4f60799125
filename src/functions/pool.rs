//! The instances of one version of one function: an idle one is used again, the latest first, so that those
//! that are not needed grow old.
//!
//! Must never run more events at once than the function may.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tidings_function::{Call, Ended, Invoker, Status};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::host::{Deployed, Host};
use super::instance::{Instance, Job};
use super::run::Run;
use crate::event::MAX_HOPS;

/// How long a run waits while as many run as may.
const TURN_WAIT: Duration = Duration::from_secs(1);
/// An idle instance may end while an event is on its way to it; then it goes to another one.
const TRIES: usize = 3;

/// The instances of one version.
#[derive(Clone)]
pub(super) struct Pool(Arc<Shared>);

pub(super) struct Shared {
    host: Host,
    deployed: Deployed,
    turns: Semaphore,
    idle: Mutex<Vec<Idle>>,
    closed: AtomicBool,
    now: fn() -> i64,
}

struct Idle {
    jobs: mpsc::Sender<Job>,
    since: Instant,
}

impl Pool {
    /// An empty one. `now` is the clock, in microseconds since the Unix epoch.
    pub(super) fn new(host: Host, deployed: Deployed, now: fn() -> i64) -> Self {
        let turns = Semaphore::new(deployed.settings.concurrency as usize);
        let (idle, closed) = (Mutex::default(), false.into());
        let shared = Arc::new(Shared { host, deployed, turns, idle, closed, now });
        shared.host.know(&shared);
        Self(shared)
    }

    /// What says that the role of these instances was taken from them: their key pairs are void.
    pub(super) fn revoked(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.0.deployed.revoked)
    }

    /// No instance is idle any more from now on: those that work end when they are done.
    pub(super) fn close(&self) {
        self.0.close();
    }
}

#[async_trait]
impl Invoker for Pool {
    async fn invoke(&self, call: Call) -> Ended {
        // In a task of its own: whoever asked may go away, and what became of the run is written down all the
        // same. The run itself ends then: its event is sent again, and what an abandoned run still did could
        // come after what later events of the object do.
        let shared = Arc::clone(&self.0);
        let gone = CancellationToken::new();
        let _here = gone.clone().drop_guard();
        let run = tokio::spawn(async move {
            let start = (shared.now)();
            let ended = match call.hops < MAX_HOPS {
                true => shared.run(&call, &gone).await,
                false => looped(call.hops),
            };
            let run = Run::new(&shared.deployed.name, shared.deployed.version, &call, &ended, start);
            shared.host.log().append(run).await;
            ended
        });
        run.await.unwrap_or_else(|_| Ended::without_run(Status::Internal, "the host failed by a bug"))
    }

    async fn ready(&self) -> Result<(), String> {
        self.0.host.can_host(self.0.deployed.settings.runtime)
    }
}

/// Runs led to runs, and this one would go on with that: the event is given up, where people see it.
pub(super) fn looped(hops: u8) -> Ended {
    let why = format!(
        "{hops} runs of functions led to this event, one after the other: it is not run, so that a function \
         that triggers itself ends. Let its trigger leave out what it writes"
    );
    Ended::without_run(Status::Loop, why)
}

impl Shared {
    async fn run(self: &Arc<Self>, call: &Call, gone: &CancellationToken) -> Ended {
        let Ok(Ok(_turn)) = timeout(TURN_WAIT, self.turns.acquire()).await else {
            let many = self.deployed.settings.concurrency;
            let why = format!("{many} of its events run, and its `concurrency` allows no more");
            return Ended::without_run(Status::Concurrency, why);
        };
        for _ in 0..TRIES {
            let jobs = match self.take() {
                Some(jobs) => jobs,
                None => match self.start(call.hops).await {
                    Ok(jobs) => jobs,
                    Err(ended) => return ended,
                },
            };
            let (done, ended) = oneshot::channel();
            if jobs.send(Job { call: call.clone(), gone: gone.clone(), done }).await.is_err() {
                continue;
            }
            // Dropped: it ended before it looked at the event.
            let Ok((ended, alive)) = ended.await else { continue };
            if alive {
                self.give(jobs);
            }
            return ended;
        }
        Ended::without_run(Status::Internal, "its instances ended before they got the event")
    }

    async fn start(self: &Arc<Self>, hops: u8) -> Result<mpsc::Sender<Job>, Ended> {
        let room = self.host.room().await?;
        let instance = Instance::start(&self.host, &self.deployed, room, hops).await?;
        let (jobs, wanted) = mpsc::channel(1);
        tokio::spawn(instance.live(wanted, self.host.idle()));
        Ok(jobs)
    }

    fn take(&self) -> Option<mpsc::Sender<Job>> {
        self.idle().pop().map(|idle| idle.jobs)
    }

    fn give(&self, jobs: mpsc::Sender<Job>) {
        let mut idle = self.idle();
        idle.retain(|idle| !idle.jobs.is_closed());
        // Looked at under the lock, so that nothing is given back after the end.
        if !self.closed.load(Ordering::SeqCst) {
            idle.push(Idle { jobs, since: Instant::now() });
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn close(&self) {
        let mut idle = self.idle();
        self.closed.store(true, Ordering::SeqCst);
        idle.clear();
    }

    pub(super) fn oldest_idle(&self) -> Option<Instant> {
        self.idle().iter().filter(|idle| !idle.jobs.is_closed()).map(|idle| idle.since).min()
    }

    pub(super) fn end_oldest(&self) {
        let mut idle = self.idle();
        idle.retain(|idle| !idle.jobs.is_closed());
        // The latest is at the end.
        if !idle.is_empty() {
            idle.remove(0);
        }
    }
}
