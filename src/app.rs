//! The only file that knows every part: build, start, run, drain.
//!
//! Must never decide anything about a change or a delivery: it connects and ends those who do, in order.

mod again;
mod ages;
mod apply;
mod buckets;
mod doors;
mod expire;
mod functions;
mod gone;
mod index;
mod keys;
pub mod lock;
mod observe;
mod observe_store;
mod reachable;
mod refused;
mod reload;
mod rules;
mod scf;
mod single;
mod steady;
mod storage;
mod targets;
mod written;

use std::future::pending;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::admin::{self, Admin};
use crate::commit::Commit;
use crate::config::Config;
use crate::config::credentials::Credentials;
use crate::config::secret_file::Created;
use crate::fail;
use crate::frontend::{Ambient, Frontend, OnLimit, Served};
use crate::journal::{self, OsDisk};
use crate::metrics::Metrics;
use crate::queue::embedded::EmbeddedQueue;
use crate::store::{EmbeddedStore, Status};
use ages::Ages;
use doors::{Certificates, Doors};
use functions::Hosted;
use keys::Keys;
use lock::DirectoryLock;
use reload::Reloading;
use storage::{close, open_storage, serve};
use targets::{Surroundings, Targets};

pub use apply::KindChanged;
pub use reload::Source;

/// The running parts that requests and operators reach.
struct Parts {
    store: Arc<EmbeddedStore>,
    queue: Arc<EmbeddedQueue>,
    commit: Arc<Commit>,
    targets: Targets,
    hosted: Hosted,
    metrics: Metrics,
    clock: fn() -> i64,
    ages: Ages,
    reloading: Reloading,
    keys: Arc<Keys>,
    tls: Certificates,
}

/// How long instances of functions may take to end once nobody sends them events any more.
const FUNCTIONS_WAIT: Duration = Duration::from_secs(5);

/// A running tidings.
pub struct App {
    config: Config,
    parts: Arc<Parts>,
    credentials: Credentials,
    credentials_created: Created,
    s3: SocketAddr,
    admin: SocketAddr,
    stop: CancellationToken,
    /// True once clients are served.
    opened: watch::Receiver<bool>,
    frontend: JoinHandle<Served>,
    admin_task: JoinHandle<std::io::Result<()>>,
    /// Last: released after everything else is closed.
    _lock: DirectoryLock,
}

/// The clock: microseconds since the Unix epoch. For people and for events' times, never for order.
pub fn now_us() -> i64 {
    jiff::Timestamp::now().as_microsecond()
}

pub(crate) fn random(bytes: &mut [u8]) -> std::io::Result<()> {
    getrandom::fill(bytes).map_err(|e| std::io::Error::other(e.to_string()))
}

fn random_u64() -> u64 {
    let mut bytes = [0; 8];
    random(&mut bytes).expect("the operating system gives random bytes");
    u64::from_le_bytes(bytes)
}

impl App {
    /// Opens the data directory, recovers, starts every lane and both listeners.
    pub async fn start(config: Config) -> anyhow::Result<Self> {
        Self::start_with(config, None, &[]).await
    }

    /// As [`App::start`]. `source` reads the configuration again when it is asked to; `accept` names targets
    /// whose connector's kind may have changed since the last start.
    ///
    /// # Errors
    /// [`KindChanged`] for a target that is not named there; else what the system says.
    pub async fn start_with(
        config: Config,
        source: Option<Source>,
        accept: &[String],
    ) -> anyhow::Result<Self> {
        let data = &config.server.data;
        journal::disk::make_dir(&OsDisk, data)
            .with_context(|| format!("the directory `server.data`, {}, cannot be made", data.display()))?;
        let lock = DirectoryLock::take(data)?;
        let doors = Doors::open(&config).await?;
        let metrics = Metrics::default();
        let (store, queue) = open_storage(&config, &metrics).await?;
        let commit = commit_path(&queue, &store, &metrics);
        expire::limit(&commit, &store, &config).await;
        let stalled = index::unfinished(&store);
        tokio::spawn(index::follow(Arc::clone(&store), Arc::clone(&queue), stalled.clone()));
        tokio::spawn(index::count_damage(queue.damage(), Arc::clone(&metrics.journal)));
        let around = Surroundings {
            queue: Arc::clone(&queue),
            commit: Arc::clone(&commit),
            server: config.server.clone(),
            account: config.account.clone(),
            unfinished: stalled,
            unix_ms: Arc::new(|| now_us() / 1_000),
            seed: random_u64,
        };
        let (targets, hosted, inside) = match functions::start(around, &config, accept).await {
            Ok(all) => all,
            Err(e) => {
                close(store, queue).await?;
                return Err(e);
            }
        };
        let reloading = Reloading::new(source, config.clone(), now_us());
        let keys = Arc::new(Keys::new(doors.credentials.clone(), hosted.all.role_keys()));
        let (in_force, tls, clock) = (Arc::clone(&keys), doors.tls.clone(), now_us);
        let ages = Ages::new(clock, queue.stat().durable_end);
        let parts =
            Parts { store, queue, commit, targets, hosted, metrics, clock, ages, reloading, keys, tls };
        let (parts, stop) = (Arc::new(parts), CancellationToken::new());
        work_aside(&parts, &config, &stop);
        let ambient = Ambient { now: jiff::Timestamp::now, seed: random_u64() };
        let (server, store, account) = (&config.server, &config.store, &config.account);
        let frontend =
            Frontend::new(server, store, account, &config.origin, parts.commit.clone(), in_force, ambient);
        let frontend = frontend.limited(&config.limits, limited(&parts.metrics)).over(doors.tls.s3);
        let frontend = frontend.pulling(refused::pulling(&parts.metrics.frontend)).inside(inside);
        let frontend = frontend.replicating(&config.replication);
        let (opened, frontend) = serve(frontend, doors.s3, Arc::clone(&parts.queue), stop.clone());
        let admin_task = tokio::spawn(admin::serve(
            doors.admin,
            Admin::new(parts.clone(), doors.token, doors.audit),
            doors.tls.admin,
            admin::Bounds::default(),
            stop.child_token(),
        ));
        Ok(Self {
            config,
            parts,
            credentials: doors.credentials,
            credentials_created: doors.credentials_created,
            s3: doors.at.0,
            admin: doors.at.1,
            stop,
            opened,
            frontend,
            admin_task,
            _lock: lock,
        })
    }

    /// Waits until clients are served. The log's first segments must be written for that, which takes a busy
    /// disk some time; where there is no space for them it does not wait, since objects can be read.
    pub async fn ready(&self) {
        // An error says that serving has ended.
        let _ = self.opened.clone().wait_for(|opened| *opened).await;
    }

    /// Where the S3 API listens.
    pub fn s3_address(&self) -> SocketAddr {
        self.s3
    }

    /// Where the admin API listens.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin
    }

    /// How the S3 API is reached: `http://` or `https://`, and its address.
    pub fn s3_url(&self) -> String {
        url(self.parts.tls.s3.is_some(), self.s3)
    }

    /// The same of the admin API.
    pub fn admin_url(&self) -> String {
        url(self.parts.tls.admin.is_some(), self.admin)
    }

    /// The credentials that could sign requests at the start.
    pub fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// Where the credentials are, and whether this start made them.
    pub fn credentials_file(&self) -> (PathBuf, bool) {
        match &self.credentials_created {
            Created::Now(path) => (path.clone(), true),
            Created::Before(path) => (path.clone(), false),
        }
    }

    /// The configuration that runs.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Reads the configuration anew and makes its targets and rules the running ones; says in the log what
    /// came of it. What is not valid changes nothing.
    pub async fn reload(&self) {
        let _ = self.parts.reload(&[]).await;
    }

    /// Waits until a target has nothing left to deliver, at most `within`; gives its books as they are then.
    pub async fn settled(&self, target: &str, within: Duration) -> Option<crate::queue::Books> {
        let entry = self.parts.targets.get(target)?;
        let _ = tokio::time::timeout(within, entry.progress.settled()).await;
        Some(entry.progress.books())
    }

    /// Waits until something broke that only a restart mends, and says what.
    pub async fn failed(&self) -> String {
        let (mut journal, mut progress) = self.parts.queue.failed();
        let mut status = self.parts.store.status();
        let store = async {
            match status.wait_for(|s| matches!(s, Status::Failed(_))).await {
                Ok(failed) => match &*failed {
                    Status::Failed(why) => why.clone(),
                    _ => String::new(),
                },
                Err(_) => pending().await,
            }
        };
        tokio::select! {
            why = first(&mut journal) => why,
            why = first(&mut progress) => why,
            why = store => format!("the index failed: {why}"),
        }
    }

    /// Stops accepting, lets what runs finish within the configured deadline, makes everything durable and
    /// closes.
    pub async fn stop(self) -> anyhow::Result<()> {
        let Self { config, parts, stop, frontend, admin_task, _lock, .. } = self;
        stop.cancel();
        let served = frontend.await.context("the S3 listener ended by a bug")?;
        fail::point("shutdown.drain");
        if served.cut > 0 {
            tracing::warn!(connections = served.cut, "cut at the deadline");
        }
        let _ = admin_task.await;
        parts.targets.stop(config.server.shutdown_timeout).await;
        parts.hosted.all.stop(FUNCTIONS_WAIT).await;
        close(Arc::clone(&parts.store), Arc::clone(&parts.queue)).await?;
        drop(_lock);
        Ok(())
    }
}

/// The commit path, which counts what it answers, and by whose rules the queue rematches.
fn commit_path(queue: &Arc<EmbeddedQueue>, store: &Arc<EmbeddedStore>, metrics: &Metrics) -> Arc<Commit> {
    let random = fastrand::Rng::with_seed(random_u64());
    let counted = Arc::clone(&metrics.frontend);
    let commit = Commit::new(queue.clone(), store.clone(), now_us, random);
    let commit = Arc::new(commit.observed_by(Box::new(move |noted| refused::count(&counted, noted))));
    let rules = Arc::downgrade(&commit);
    queue.rematch_by(Arc::new(move |target, event| rules.upgrade()?.rule_now(target, event)));
    commit
}

/// What goes on beside requests and lanes, until `stop`.
fn work_aside(parts: &Arc<Parts>, config: &Config, stop: &CancellationToken) {
    expire::start(&parts.commit, config.store.upload_expiry, now_us, stop);
    gone::start(parts, stop);
    functions::onward(parts, stop);
}

fn url(tls: bool, at: SocketAddr) -> String {
    format!("http{}://{at}", if tls { "s" } else { "" })
}

/// Counts every refusal for the sake of a limit.
fn limited(metrics: &Metrics) -> OnLimit {
    let counted = Arc::clone(&metrics.frontend);
    Box::new(move |limit| counted.limited(refused::limit(limit)))
}

async fn first(failed: &mut tokio::sync::watch::Receiver<Option<String>>) -> String {
    match failed.wait_for(Option::is_some).await {
        Ok(why) => why.clone().unwrap_or_default(),
        Err(_) => pending().await,
    }
}
