//! Functions: code that tidings runs for events. What there is, on the disk; how it is hosted; what became of
//! every run.
//!
//! A function is a target like any other: its lane, books and dead letters are delivery's, and
//! `connectors/function` stands between. Must never decide which event a function gets, and never let code
//! see more than its own files and its event.

mod answered;
mod change;
mod code;
mod edit;
mod elsewhere;
mod emulator;
mod error;
mod far;
mod host;
pub mod init;
mod instance;
mod launch;
mod listener;
mod memory;
mod name;
mod open;
mod output;
mod pool;
mod presets;
mod record;
mod registry;
mod remote;
mod role;
mod run;
mod runlog;
mod sandbox;
mod shown;
mod spawner;
mod spec;
mod templates;
mod view;
mod wire;
mod zip;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use tidings_function::{Call, Ended, Invoker as _};
use tokio::sync::Mutex;

pub use change::FunctionChange;
pub use code::CodeInput;
pub use elsewhere::Preset;
pub use error::FunctionError;
pub use far::FarSide;
use host::Host;
pub use name::{is_name, target_name};
pub use open::Place;
use pool::Pool;
use record::Record;
use registry::Registry;
use remote::Remote;
pub use role::RoleKeys;
pub use run::{MAX_RUNS, Run, RunQuery, Runs};
pub use spec::{Network, Retry, Runtime};
pub use templates::TemplateView;
pub use view::{FunctionView, Invoked, Templates, VersionView};

/// The largest event, in bytes, as SCF takes it.
pub const MAX_EVENT: usize = 6 << 20;

/// Every function of a server.
pub struct Functions {
    registry: Registry,
    host: Host,
    all: RwLock<BTreeMap<Arc<str>, Live>>,
    changing: Mutex<()>,
    code_room: usize,
    now: fn() -> i64,
    region: Arc<str>,
    appid: Arc<str>,
}

/// A function and its instances.
#[derive(Clone)]
struct Live {
    record: Arc<Record>,
    host: Whose,
}

/// Who runs a function's code.
#[derive(Clone)]
enum Whose {
    /// We do.
    Ours(Pool),
    /// Whoever listens at its URL.
    Theirs(Remote),
}

impl Whose {
    /// No instance is idle any more from now on.
    fn close(&self) {
        if let Self::Ours(pool) = self {
            pool.close();
        }
    }

    /// What says so to all key pairs of its instances, those of earlier deployments among them.
    fn revoked(&self) -> Option<Arc<AtomicBool>> {
        let Self::Ours(pool) = self else { return None };
        Some(pool.revoked())
    }

    /// The key pairs of its instances are void.
    fn revoke(&self) {
        if let Some(revoked) = self.revoked() {
            revoked.store(true, Ordering::SeqCst);
        }
    }
}

impl Functions {
    /// Why code cannot be hosted on this machine, if it cannot.
    pub fn cannot_host(&self) -> Option<String> {
        self.host.sandbox().err()
    }

    /// The key pairs of instances whose functions have a role.
    pub fn role_keys(&self) -> Arc<RoleKeys> {
        Arc::clone(&self.host.roles().keys)
    }

    /// The names of all functions, in order.
    pub fn names(&self) -> Vec<Arc<str>> {
        self.live().keys().cloned().collect()
    }

    /// Functions whose dead letters go to a target, and to which.
    pub fn dead_letters(&self) -> Vec<(Arc<str>, String)> {
        let live = self.live();
        let named = |(name, live): (&Arc<str>, &Live)| {
            Some((Arc::clone(name), live.record.settings.dead_letters.clone()?))
        };
        live.iter().filter_map(named).collect()
    }

    /// Every function, by name.
    pub fn views(&self) -> Vec<FunctionView> {
        let live: Vec<_> = self.live().values().cloned().collect();
        live.iter().map(|live| self.view_of(&live.record)).collect()
    }

    /// One function.
    ///
    /// # Errors
    /// [`FunctionError::Missing`].
    pub fn view(&self, name: &str) -> Result<FunctionView, FunctionError> {
        Ok(self.view_of(&self.get(name)?.record))
    }

    fn view_of(&self, record: &Record) -> FunctionView {
        let problem = match self.get(&record.name).ok().map(|live| live.host) {
            Some(Whose::Theirs(remote)) => remote.problem(),
            _ if record.settings.elsewhere.is_some() => None,
            _ => self.host.can_host(record.settings.runtime).err(),
        };
        FunctionView::new(record, problem)
    }

    /// Runs a function with an event that somebody typed; `request_id` names the run.
    ///
    /// # Errors
    /// There is no such function, or the event is none.
    pub async fn invoke(&self, name: &str, event: Bytes, request_id: &str) -> Result<Invoked, FunctionError> {
        let live = self.get(name)?;
        if event.len() > MAX_EVENT {
            return Err(FunctionError::Invalid(format!("an event may have {MAX_EVENT} bytes")));
        }
        let known: Result<serde::de::IgnoredAny, _> = serde_json::from_slice(&event);
        known.map_err(|e| FunctionError::Invalid(format!("the event is no JSON: {e}")))?;
        let request_id: Arc<str> = request_id.into();
        let call = Call {
            event,
            request_id: Arc::clone(&request_id),
            event_id: None,
            object: None,
            retry: 0,
            hops: 0,
        };
        let ended: Ended = match &live.host {
            Whose::Ours(pool) => pool.invoke(call).await,
            Whose::Theirs(remote) => remote.invoke(call).await,
        };
        Ok(Invoked::new(&live.record, &request_id, ended))
    }

    /// The event of a template: one that was saved with the function, or one of ours.
    ///
    /// # Errors
    /// There is none of this name.
    pub fn template(&self, function: &str, template: &str) -> Result<Bytes, FunctionError> {
        let record = self.get(function)?.record;
        if let Some(saved) = record.tests.get(template) {
            return Ok(saved.to_string().into());
        }
        templates::event(template, &self.region, &self.appid).ok_or_else(|| {
            let what = format!("no event template is named `{}`", template.escape_debug());
            FunctionError::Invalid(format!("{what}: `tidings function templates` lists them"))
        })
    }

    /// Every template.
    pub fn templates(&self) -> Templates {
        Templates { events: templates::events(), functions: presets::all() }
    }

    /// Runs of a function.
    ///
    /// # Errors
    /// There is no such function, or its log cannot be read.
    pub async fn runs(&self, name: &str, query: RunQuery) -> Result<Runs, FunctionError> {
        self.get(name)?;
        let failed = |e| FunctionError::disk("the run log cannot be read", &e);
        self.host.log().read(name, query).await.map_err(failed)
    }

    /// Ends every instance; those that work may go on until the deadline.
    pub async fn stop(&self, deadline: Duration) {
        self.host.stop(deadline).await;
    }

    fn get(&self, name: &str) -> Result<Live, FunctionError> {
        self.live().get(name).cloned().ok_or(FunctionError::Missing)
    }

    fn live(&self) -> std::sync::RwLockReadGuard<'_, BTreeMap<Arc<str>, Live>> {
        self.all.read().unwrap_or_else(PoisonError::into_inner)
    }
}
