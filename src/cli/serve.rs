//! `tidings serve` and `tidings check`.

use std::io::IsTerminal as _;
use std::sync::Arc;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use super::{ConfigFile, Failure};
use crate::app::{App, KindChanged};

/// Run the server.
#[derive(clap::Args)]
pub(super) struct Serve {
    #[command(flatten)]
    config: ConfigFile,
    /// Let this target's backlog go to another kind of connector than it was kept for. May be repeated.
    #[arg(long, value_name = "TARGET")]
    accept: Vec<String>,
}

/// Logs go to standard error; `TIDINGS_LOG` says which (`info` without it).
pub(super) fn init_logs(default: &str) {
    // The S3 library logs whole requests at `error`, the AMQP library whole returned messages at `warn`; what
    // a person should know of them our own code says.
    let filter = EnvFilter::try_from_env("TIDINGS_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    let filter = ["s3s=off", "lapin=off"].into_iter().fold(filter, |filter, off| match off.parse() {
        Ok(directive) => filter.add_directive(directive),
        Err(_) => filter,
    });
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .try_init();
}

impl Serve {
    pub(super) async fn run(self) -> Result<(), Failure> {
        // First of all: a stop that comes before somebody listens for it is a kill.
        let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be caught")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT cannot be caught")?;
        let mut hangup = signal(SignalKind::hangup()).context("SIGHUP cannot be caught")?;
        small_pages();
        more_files();
        no_core();
        let config = self.config.load()?;
        init_logs("info");
        for warning in &config.warnings {
            tracing::warn!("{warning}");
        }
        if config.targets.is_empty() && config.functions.rules.is_empty() {
            tracing::warn!(
                "no target is configured: changes are kept and nobody is told; see `[target.NAME]`"
            );
        }
        let source = Arc::new(move || self.config.load());
        let mut starting = Box::pin(App::start_with(config, Some(source), &self.accept));
        let app = tokio::select! {
            started = &mut starting => started.map_err(of_start)?,
            _ = terminate.recv() => return stopped_early(starting),
            _ = interrupt.recv() => return stopped_early(starting),
        };
        drop(starting);
        let mut announced = false;
        let broken = loop {
            tokio::select! {
                () = app.ready(), if !announced => {
                    announce(&app);
                    announced = true;
                }
                _ = terminate.recv() => break None,
                _ = interrupt.recv() => break None,
                why = app.failed() => break Some(why),
                _ = hangup.recv() => app.reload().await,
            }
        };
        if let Some(why) = broken {
            // Nothing was acknowledged after the failure; a restart recovers from what is on disk.
            return Err(anyhow::anyhow!("{why}; start again: what was acknowledged is on disk").into());
        }
        tracing::info!("stopping");
        app.stop().await?;
        tracing::info!("stopped");
        Ok(())
    }
}

/// As many files as the system lets this process have: each target keeps two open, and what shells and
/// service managers give at first is 1,024.
fn more_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let most = getrlimit(Resource::Nofile).maximum;
    // Where it cannot be had, whoever needs one more says so.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: most, maximum: most });
}

/// No core file: it would hold every secret that the process knows.
fn no_core() {
    use rustix::process::{Resource, Rlimit, setrlimit};
    // Nothing refuses less.
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
}

/// Memory in pages of 4 KiB: huge ones kept 80 MiB of a server that drained to four targets, for 2 % more
/// PUTs at most. A kernel that has none refuses, and needs nothing.
fn small_pages() {
    let _ = rustix::thread::disable_transparent_huge_pages(true);
}

/// Nobody was served yet, so that nothing has to be made durable: the next start goes on from what is on
/// disk. A recovery under way works on until the process ends, and the data directory is free only then.
fn stopped_early(starting: impl Future<Output: Sized>) -> Result<(), Failure> {
    std::mem::forget(starting);
    tracing::info!("stopped before it was ready");
    Ok(())
}

/// A configuration that does not fit what is kept is a wrong configuration.
fn of_start(error: anyhow::Error) -> Failure {
    match error.downcast_ref::<KindChanged>() {
        Some(changed) => Failure::Usage(format!("error: {changed}")),
        None => error.into(),
    }
}

/// One line per listener for people and for programs, then `ready`.
fn announce(app: &App) {
    let (path, created) = app.credentials_file();
    let made = if created { " (made now)" } else { "" };
    say!("credentials {}{made}", path.display());
    say!("listening s3 {}", app.s3_url());
    say!("listening admin {}", app.admin_url());
    say!("ready");
}
