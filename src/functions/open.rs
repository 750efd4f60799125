//! Functions at the start of a server, and each of them put in force.
//!
//! Must never lose a function because another one cannot be read.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, PoisonError, RwLock};

use tidings_function::Tally;
use tokio::net::UnixStream;
use tokio::sync::{Mutex, mpsc};

use super::elsewhere::Elsewhere;
use super::host::{Deployed, Deployment, Host};
use super::pool::Pool;
use super::record::Record;
use super::registry::Registry;
use super::remote::{self, Remote};
use super::role::Roles;
use super::runlog::{Bounds, RunLog};
use super::{FunctionError, Functions, Live, Whose, code, spec};
use crate::config;

/// Where functions live: what they are told of the server around them.
pub struct Place<'a> {
    /// The region that events carry.
    pub region: &'a str,
    /// The numeric appid.
    pub appid: &'a str,
    /// The data directory.
    pub data: &'a Path,
    /// This program, which is also the first process of every instance.
    pub program: PathBuf,
    /// The clock, in microseconds since the Unix epoch.
    pub now: fn() -> i64,
    /// Fills its argument with unpredictable bytes.
    pub random: fn(&mut [u8]) -> std::io::Result<()>,
    /// Takes connections to S3 that functions with a role open.
    pub door: mpsc::Sender<UnixStream>,
}

impl Functions {
    /// Reads every function of a data directory, and prepares to host them. Must be called in a runtime.
    ///
    /// # Errors
    /// What the system says of the data directory. A function whose record cannot be read is told in the log.
    pub fn open(options: &config::Functions, place: Place<'_>) -> Result<Self, FunctionError> {
        let failed = |e| FunctionError::disk("functions cannot be hosted", &e);
        let (registry, records) = Registry::open(place.data)?;
        let bounds = Bounds { bytes: options.log_max_bytes, age: options.log_max_age };
        let runs = registry.runs_dir("");
        let log = RunLog::start(runs, bounds, place.now).map_err(failed)?;
        let around = (place.region, place.appid);
        let within = (place.data, registry.sockets_dir());
        let roles = Roles { keys: Arc::default(), door: place.door, random: place.random };
        let host = Host::new(options.clone(), around, place.program, within, (log, roles)).map_err(failed)?;
        let functions = Self {
            registry,
            host,
            all: RwLock::default(),
            changing: Mutex::default(),
            code_room: usize::try_from(options.code_max_bytes).unwrap_or(usize::MAX),
            now: place.now,
            region: place.region.into(),
            appid: place.appid.into(),
        };
        for (function, record) in records {
            if let Err(why) = functions.put(record) {
                tracing::error!(%function, "cannot be put in force and is not there: {why}");
            }
        }
        Ok(functions)
    }

    /// Puts a function in the place of the one with its name, whose idle instances end.
    pub(super) fn put(&self, record: Record) -> Result<(), FunctionError> {
        // An instance of an earlier deployment may work on: who takes the role later takes it from that, too.
        let same =
            self.get(&record.name).ok().filter(|live| live.record.settings.role == record.settings.role);
        let revoked = same.and_then(|live| live.host.revoked()).unwrap_or_default();
        let host = match &record.settings.elsewhere {
            None => Whose::Ours(self.pool_of(&record, revoked)?),
            Some(elsewhere) => Whose::Theirs(self.remote_of(&record, elsewhere)),
        };
        let (name, role) = (Arc::from(record.name.as_str()), record.settings.role.clone());
        let live = Live { record: Arc::new(record), host };
        let before = self.all.write().unwrap_or_else(PoisonError::into_inner).insert(name, live);
        if let Some(before) = before {
            before.host.close();
            if before.record.settings.role != role {
                before.host.revoke();
            }
        }
        Ok(())
    }

    fn pool_of(&self, record: &Record, revoked: Arc<AtomicBool>) -> Result<Pool, FunctionError> {
        let version = record.version().ok_or_else(|| {
            FunctionError::Unavailable(format!("the code of function `{}` is not there", record.name))
        })?;
        let handler = match record.settings.runtime {
            spec::Runtime::Custom => code::Handler { module: String::new(), function: String::new() },
            _ => code::Handler::parse(&record.settings.handler)?,
        };
        let deployment = Deployment {
            name: record.name.as_str().into(),
            version: version.number,
            settings: record.settings.clone(),
            handler,
            code: self.registry.code_dir(&version.hash),
            revoked,
        };
        Ok(Pool::new(self.host.clone(), Deployed(Arc::new(deployment)), self.now))
    }

    /// One that may not be called any more, by what the configuration says now, is there all the same, and
    /// its events wait.
    fn remote_of(&self, record: &Record, elsewhere: &Elsewhere) -> Remote {
        let around = (self.host.options().reach(), &*self.region, &*self.appid);
        Remote(Arc::new(remote::Inner {
            name: record.name.as_str().into(),
            config: elsewhere.config(&record.name, &record.settings, around),
            preset: elsewhere.preset,
            policy: record.settings.policy(),
            tally: Tally::default(),
            revision: record.revision,
            log: self.host.log().clone(),
            now: self.now,
        }))
    }
}
