//! One instance of a function: a process group that runs one event after the other, until it is idle for too
//! long, fails, or is not needed any more.
//!
//! Must never run two events at once, and never let anything of itself live on once it ended: its sandbox
//! dies with it.

use std::fs;
use std::io;
use std::process::Stdio;
use std::time::Duration;

use tidings_function::{Call, Ended, Status};
use tokio::process::{Child, ChildStdin};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::host::{Deployed, Host};
use super::launch::{END_WAIT, EXIT_WAIT, caller, command, exit, make_sockets};
use super::memory::Family;
use super::output::Output;
use super::role::Role;
use super::sandbox::Start;
use super::shown;
use super::wire::{self, Answer, Caller, Sockets};

/// How often memory is looked at while it starts and while an event runs …
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(50);
/// … and while it is idle.
const LOOK_IDLE: Duration = Duration::from_secs(1);

/// One event for an instance, and where its end is told.
pub(super) struct Job {
    pub(super) call: Call,
    /// Whoever asked is gone: the run ends.
    pub(super) gone: CancellationToken,
    pub(super) done: oneshot::Sender<(Ended, bool)>,
}

/// A running instance.
pub(super) struct Instance {
    host: Host,
    pub(super) deployed: Deployed,
    pub(super) child: Child,
    /// While it is open the first process knows that the server is there.
    alive: Option<ChildStdin>,
    pub(super) output: Output,
    sockets: Sockets,
    family: Family,
    slot: u32,
    caller: Caller,
    role: Option<Role>,
    _room: OwnedSemaphorePermit,
}

/// What ended a run before its answer, or with it.
enum Event {
    Answer(Answer),
    Late,
    Abandoned,
    Grown(String),
    Gone,
}

impl Instance {
    /// Starts one for an event of so many hops, and waits until it listens. `Err` says why it does not, with
    /// what it wrote.
    pub(super) async fn start(
        host: &Host,
        deployed: &Deployed,
        room: OwnedSemaphorePermit,
        hops: u8,
    ) -> Result<Self, Ended> {
        let internal = |e: io::Error| {
            Ended::without_run(Status::Internal, format!("the instance cannot be started: {e}"))
        };
        let state = |why| Ended::without_run(Status::State, why);
        let interpreter = host.interpreter(deployed.settings.runtime).map_err(state)?;
        let sandbox = host.sandbox().map_err(state)?.clone();
        let slot = host.take_slot();
        let sockets = make_sockets(host, slot).map_err(internal)?;
        let start = Start {
            settings: &deployed.settings,
            code: &deployed.code,
            sockets: &sockets.path,
            runner: &host.runner(deployed.settings.runtime),
            interpreter: &interpreter,
            handler: (&deployed.handler.module, &deployed.handler.function),
            slot,
        };
        let role = host.roles().begin(deployed, &sockets, hops).map_err(internal)?;
        let (reader, writer) = io::pipe().map_err(internal)?;
        let mut command = command(host, &sandbox, deployed, (&start, role.as_ref()));
        command.stdin(Stdio::piped()).stdout(writer.try_clone().map_err(internal)?).stderr(writer);
        let listener = sockets.listen().map_err(internal)?;
        let mut child = host.spawner().spawn(command).await.map_err(internal)?;
        let family = Family::of(child.id().unwrap_or_default(), sandbox.contains());
        let caller = caller(host, deployed);
        let (host, deployed) = (host.clone(), deployed.clone());
        let output = Output::new(reader.into()).map_err(internal)?;
        let alive = child.stdin.take();
        let mut instance =
            Self { host, deployed, child, alive, output, sockets, family, slot, caller, role, _room: room };
        match instance.listens(listener).await {
            Ok(()) => Ok(instance),
            Err(mut ended) => {
                instance.end().await;
                ended.log = instance.written();
                Err(ended)
            }
        }
    }

    /// Runs jobs until there are none for `idle`, or nobody can send any, or one of them broke it.
    pub(super) async fn live(mut self, mut jobs: mpsc::Receiver<Job>, idle: Duration) {
        let mut until = Instant::now() + idle;
        let mut looks = interval(LOOK_IDLE);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                job = jobs.recv() => {
                    let Some(Job { call, gone, done }) = job else { break };
                    let (ended, alive) = self.run(&call, &gone).await;
                    if !alive {
                        // Told only when nothing of it is left: the next one may need its room.
                        jobs.close();
                        self.end().await;
                        let _ = done.send((ended, false));
                        return;
                    }
                    let _ = done.send((ended, true));
                    until = Instant::now() + idle;
                }
                _ = self.child.wait() => break,
                () = sleep_until(until) => break,
                _ = looks.tick() => if let Some(why) = self.grown().err() {
                    let function = &*self.deployed.name;
                    tracing::warn!(function, "an instance is ended while it does nothing: {why}");
                    break;
                },
                () = self.output.more() => {}
            }
        }
        jobs.close();
        self.end().await;
    }

    /// Bytes that it may hold.
    fn bound(&self) -> u64 {
        u64::from(self.deployed.settings.memory_mb) << 20
    }

    /// What it holds now, in bytes; `Err` says that it is too much.
    pub(super) fn grown(&self) -> Result<u64, String> {
        let bound = self.bound();
        match self.family.bytes(bound) {
            bytes if bytes > bound => {
                Err(format!("it held {} MiB; {} are allowed", bytes >> 20, bound >> 20))
            }
            bytes => Ok(bytes),
        }
    }

    /// One event. False: the instance cannot go on.
    async fn run(&mut self, call: &Call, gone: &CancellationToken) -> (Ended, bool) {
        self.output.forget();
        if let Some(role) = &self.role {
            role.works_on(call.hops);
        }
        let began = Instant::now();
        let mut memory = 0;
        let event = {
            let late = sleep_until(began + self.deployed.settings.timeout());
            let mut looks = interval(LOOK_EVERY);
            let answer = wire::post(&self.sockets, &self.caller, call);
            tokio::pin!(late, answer);
            loop {
                tokio::select! {
                    biased;
                    answer = &mut answer => break Event::Answer(answer),
                    () = &mut late => break Event::Late,
                    () = gone.cancelled() => break Event::Abandoned,
                    _ = self.child.wait() => break Event::Gone,
                    _ = looks.tick() => match self.grown() {
                        Ok(now) => memory = memory.max(now),
                        Err(why) => break Event::Grown(why),
                    },
                    () = self.output.more() => {}
                }
            }
        };
        let duration = began.elapsed();
        memory = memory.max(self.family.bytes(self.bound()));
        let (answer, alive) = match event {
            Event::Answer(answer) if answer.broken => (self.hung_up(answer).await, false),
            Event::Answer(answer) => (answer, true),
            Event::Late => {
                let why = format!("it took longer than {} s", self.deployed.settings.timeout_s);
                (Answer::failed(Status::Timeout, why), false)
            }
            Event::Abandoned => {
                (Answer::failed(Status::Cancelled, "whoever asked for it is gone: it is ended"), false)
            }
            Event::Grown(why) => (Answer::failed(Status::Memory, why), false),
            Event::Gone => (self.exited().await, false),
        };
        let Answer { status, result, message, .. } = answer;
        let (message, log) = (shown::message(&message, self.secret()), self.written());
        (Ended { status, result, message, log, duration, memory }, alive)
    }

    /// What it wrote, without its secret.
    fn written(&mut self) -> String {
        let said = self.output.take();
        shown::tail(&said, self.secret())
    }

    fn secret(&self) -> &str {
        self.role.as_ref().map_or("", Role::secret)
    }

    /// The connection went without an answer: because the process did, or not.
    async fn hung_up(&mut self, answer: Answer) -> Answer {
        match timeout(EXIT_WAIT, self.child.wait()).await {
            Ok(_) => self.exited().await,
            Err(_) => answer,
        }
    }

    async fn exited(&mut self) -> Answer {
        let code = self.child.wait().await.ok().and_then(|status| status.code());
        let why = format!("its process ended while it worked ({})", exit(code));
        Answer::failed(Status::Exit, why)
    }

    /// Ends everything that belongs to it. Its output may still be read.
    async fn end(&mut self) {
        // Its first process ends the others, then itself, and the sandbox with it: nobody is left to be
        // waited for by others, as after a kill. Code that stopped that process is killed.
        drop(self.alive.take());
        if timeout(END_WAIT, self.child.wait()).await.is_err() {
            let _ = self.child.start_kill();
            let _ = timeout(END_WAIT, self.child.wait()).await;
        }
        let _ = fs::remove_dir_all(&self.sockets.path);
        self.host.give_slot(self.slot);
    }
}
