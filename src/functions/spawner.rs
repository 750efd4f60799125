//! One thread that starts processes, and nothing else.
//!
//! Linux ends a sandbox with the *thread* that started it, so that the death of the server is the death of
//! everything it runs; a runtime's threads come and go, this one stays. Must never do anything that blocks.

use std::io;
use std::thread;

use tokio::process::{Child, Command};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

/// Starts that may wait for the thread.
const QUEUE: usize = 64;

type Wish = (Command, oneshot::Sender<io::Result<Child>>);

/// The thread, as long as somebody holds this.
#[derive(Debug, Clone)]
pub(super) struct Spawner(mpsc::Sender<Wish>);

impl Spawner {
    /// Starts the thread. Must be called in a runtime, which then waits for the processes.
    pub(super) fn start() -> io::Result<Self> {
        let (wishes, mut wanted) = mpsc::channel::<Wish>(QUEUE);
        let runtime = Handle::current();
        thread::Builder::new().name("function-spawner".into()).spawn(move || {
            let _inside = runtime.enter();
            while let Some((mut command, answer)) = wanted.blocking_recv() {
                // Who asked may be gone: then the child ends with this answer, which nobody takes.
                let _ = answer.send(command.kill_on_drop(true).spawn());
            }
        })?;
        Ok(Self(wishes))
    }

    /// Starts a process.
    pub(super) async fn spawn(&self, command: Command) -> io::Result<Child> {
        let (answer, answered) = oneshot::channel();
        let gone = || io::Error::other("the thread that starts processes is gone");
        self.0.send((command, answer)).await.map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }
}
