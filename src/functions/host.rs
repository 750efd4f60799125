//! What all instances of all functions share: the sandbox, how many there may be, and where they are.
//!
//! Must never know an event.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tidings_function::{Ended, Status};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::code::Handler;
use super::pool::Shared;
use super::role::Roles;
use super::runlog::RunLog;
use super::sandbox::Sandbox;
use super::spawner::Spawner;
use super::spec::{Runtime, Settings};
use crate::config;

/// The runners of ours, by the name of their file.
const RUNNERS: &[(&str, &str)] =
    &[("python3.py", include_str!("runners/python3.py")), ("nodejs.js", include_str!("runners/nodejs.js"))];
/// Where Python is looked for …
const PYTHON3: &[&str] = &["/usr/bin/python3", "/usr/local/bin/python3"];
/// … and Node.js.
const NODEJS: &[&str] = &["/usr/bin/node", "/usr/bin/nodejs", "/usr/local/bin/node"];
/// How long a start waits for room, once an idle instance of another function was told to end.
const ROOM_WAIT: Duration = Duration::from_secs(2);

/// A function as its instances need it: one version with its settings.
#[derive(Debug, Clone)]
pub(super) struct Deployed(pub(super) Arc<Deployment>);

/// See [`Deployed`].
#[derive(Debug)]
pub(super) struct Deployment {
    pub(super) name: Arc<str>,
    pub(super) version: u32,
    pub(super) settings: Settings,
    pub(super) handler: Handler,
    pub(super) code: PathBuf,
    /// Its role is another one now, or gone: no key pair of these instances counts any more.
    pub(super) revoked: Arc<AtomicBool>,
}

impl std::ops::Deref for Deployed {
    type Target = Deployment;

    fn deref(&self) -> &Deployment {
        &self.0
    }
}

/// What all instances share.
#[derive(Clone)]
pub(super) struct Host(Arc<Inner>);

struct Inner {
    options: config::Functions,
    region: Arc<str>,
    appid: Arc<str>,
    sandbox: Result<Sandbox, String>,
    spawner: Spawner,
    sockets: PathBuf,
    runners: PathBuf,
    rooms: Arc<Semaphore>,
    slots: Mutex<BTreeSet<u32>>,
    pools: Mutex<Vec<Weak<Shared>>>,
    log: RunLog,
    roles: Roles,
}

impl Host {
    /// Prepares this machine; a sandbox that is missing is told by whoever needs it.
    pub(super) fn new(
        options: config::Functions,
        (region, appid): (&str, &str),
        program: PathBuf,
        (data, sockets): (&Path, PathBuf),
        (log, roles): (RunLog, Roles),
    ) -> io::Result<Self> {
        let _ = fs::remove_dir_all(&sockets);
        fs::create_dir_all(&sockets)?;
        let runners = sockets.join("runners");
        fs::create_dir_all(&runners)?;
        for (name, text) in RUNNERS {
            fs::write(runners.join(name), text)?;
        }
        for path in RUNNERS.iter().map(|(name, _)| runners.join(name)) {
            use std::os::unix::fs::PermissionsExt as _;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o644))?;
        }
        Ok(Self(Arc::new(Inner {
            sandbox: Sandbox::find(program, data, options.allow_unsandboxed),
            rooms: Arc::new(Semaphore::new(options.max_instances)),
            options,
            region: region.into(),
            appid: appid.into(),
            spawner: Spawner::start()?,
            sockets,
            runners,
            slots: Mutex::default(),
            pools: Mutex::default(),
            log,
            roles,
        })))
    }

    pub(super) fn sandbox(&self) -> Result<&Sandbox, String> {
        self.0.sandbox.as_ref().map_err(Clone::clone)
    }

    pub(super) fn spawner(&self) -> &Spawner {
        &self.0.spawner
    }

    pub(super) fn region(&self) -> &Arc<str> {
        &self.0.region
    }

    pub(super) fn appid(&self) -> &Arc<str> {
        &self.0.appid
    }

    pub(super) fn log(&self) -> &RunLog {
        &self.0.log
    }

    pub(super) fn options(&self) -> &config::Functions {
        &self.0.options
    }

    pub(super) fn roles(&self) -> &Roles {
        &self.0.roles
    }

    pub(super) fn idle(&self) -> Duration {
        self.0.options.idle_timeout
    }

    pub(super) fn sockets_dir(&self) -> &Path {
        &self.0.sockets
    }

    /// The file that serves a runtime's handlers.
    pub(super) fn runner(&self, runtime: Runtime) -> PathBuf {
        self.0.runners.join(match runtime {
            Runtime::Nodejs => "nodejs.js",
            Runtime::Python3 | Runtime::Custom => "python3.py",
        })
    }

    /// The program that runs a runtime's code.
    ///
    /// # Errors
    /// It is not installed.
    pub(super) fn interpreter(&self, runtime: Runtime) -> Result<PathBuf, String> {
        let (key, given, usual) = match runtime {
            Runtime::Python3 => ("python3", &self.0.options.python3, PYTHON3),
            Runtime::Nodejs => ("nodejs", &self.0.options.nodejs, NODEJS),
            Runtime::Custom => return Ok(PathBuf::new()),
        };
        if let Some(path) = given {
            return match path.exists() {
                true => Ok(path.clone()),
                false => Err(format!("{}, which `functions.{key}` names, is not there", path.display())),
            };
        }
        let found = usual.iter().map(PathBuf::from).find(|path| path.exists());
        found.ok_or_else(|| format!("{} is not installed: looked for {}", runtime.name(), usual.join(", ")))
    }

    /// Whether a function of this runtime can run here.
    pub(super) fn can_host(&self, runtime: Runtime) -> Result<(), String> {
        self.sandbox()?;
        self.interpreter(runtime).map(drop)
    }

    /// Room for one more instance, if need be in the place of an idle one.
    pub(super) async fn room(&self) -> Result<OwnedSemaphorePermit, Ended> {
        let rooms = Arc::clone(&self.0.rooms);
        if let Ok(room) = Arc::clone(&rooms).try_acquire_owned() {
            return Ok(room);
        }
        self.end_oldest_idle();
        let most = self.0.options.max_instances;
        let full = || {
            let why = format!("{most} instances work, and `functions.max_instances` allows no more");
            Ended::without_run(Status::Concurrency, why)
        };
        timeout(ROOM_WAIT, rooms.acquire_owned()).await.ok().and_then(Result::ok).ok_or_else(full)
    }

    fn end_oldest_idle(&self) {
        let pools: Vec<_> = self.pools().iter().filter_map(Weak::upgrade).collect();
        let oldest = pools.iter().filter_map(|pool| Some((pool.oldest_idle()?, pool)));
        if let Some((_, pool)) = oldest.min_by_key(|(since, _)| *since) {
            pool.end_oldest();
        }
    }

    pub(super) fn know(&self, pool: &Arc<Shared>) {
        let mut pools = self.pools();
        pools.retain(|pool| pool.strong_count() > 0);
        pools.push(Arc::downgrade(pool));
    }

    fn pools(&self) -> MutexGuard<'_, Vec<Weak<Shared>>> {
        self.0.pools.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A number that no other instance has.
    pub(super) fn take_slot(&self) -> u32 {
        let mut slots = self.0.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let free = (1..).find(|slot| !slots.contains(slot)).unwrap_or(0);
        slots.insert(free);
        free
    }

    pub(super) fn give_slot(&self, slot: u32) {
        self.0.slots.lock().unwrap_or_else(PoisonError::into_inner).remove(&slot);
    }

    /// Ends what is idle and waits until everything has ended, at most so long.
    pub(super) async fn stop(&self, deadline: Duration) {
        for pool in self.pools().iter().filter_map(Weak::upgrade) {
            pool.close();
        }
        let all = u32::try_from(self.0.options.max_instances).unwrap_or(u32::MAX);
        if timeout(deadline, self.0.rooms.acquire_many(all)).await.is_err() {
            tracing::warn!("functions still run: they are ended, and their events delivered again");
        }
    }
}
