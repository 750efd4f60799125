//! The connector contract against an invoker in this process, which stands for a host and its functions.
//!
//! Must never need anything that does not run here.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tidings_connector::ConnectorConfig;
use tidings_connector::contract::{Arrived, Case, Harness, Target, run_all};
use tidings_function::{Call, Ended, FunctionConfig, Invoker, Policy, Status};
use tokio::sync::watch;

/// A variable of every function here; must show nowhere.
const SECRET: &str = "planted-secret-7f3a";
/// The largest event that the host takes, in bytes.
const MAX_EVENT: usize = 1 << 20;
/// Runs of one function at once.
const MANY: usize = 64;

/// Everything that the host knows.
struct Host {
    there: Mutex<HashSet<Arc<str>>>,
    ran: Mutex<HashMap<Arc<str>, Vec<Arrived>>>,
    holds: watch::Sender<bool>,
    stopped: Mutex<bool>,
    news: watch::Sender<()>,
    next: AtomicUsize,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no panic")
}

/// One function of the host.
struct Function {
    host: Arc<Host>,
    name: Arc<str>,
    dead: bool,
    _environment: &'static str,
}

#[async_trait]
impl Invoker for Function {
    async fn invoke(&self, call: Call) -> Ended {
        let mut holds = self.host.holds.subscribe();
        let _ = holds.wait_for(|holds| !holds).await.map(drop);
        if *locked(&self.host.stopped) {
            return Ended::without_run(Status::Internal, "the host is away");
        }
        if !locked(&self.host.there).contains(&self.name) {
            return Ended::without_run(Status::Missing, "no function has this name");
        }
        if call.event.len() > MAX_EVENT {
            return Ended::without_run(Status::EventTooLarge, "too large");
        }
        let id = call.event_id.as_deref().unwrap_or_default().to_owned();
        let key = call.object.map(|object| Bytes::from(object.to_string()));
        let headers = vec![("x-event-id".to_owned(), Bytes::from(id))];
        let arrived = Arrived { key, payload: call.event, headers };
        locked(&self.host.ran).entry(Arc::clone(&self.name)).or_default().push(arrived);
        self.host.news.send_replace(());
        Ended { result: Bytes::from_static(b"null"), ..Ended::without_run(Status::Success, "") }
    }

    async fn ready(&self) -> Result<(), String> {
        if self.dead { Err("nobody hosts it here".to_owned()) } else { Ok(()) }
    }
}

#[derive(Clone)]
struct Functions(Arc<Host>);

impl Functions {
    fn new() -> Self {
        Self(Arc::new(Host {
            there: Mutex::default(),
            ran: Mutex::default(),
            holds: watch::Sender::new(false),
            stopped: Mutex::default(),
            news: watch::Sender::new(()),
            next: AtomicUsize::new(0),
        }))
    }

    fn config(&self, name: &Arc<str>, dead: bool) -> Arc<dyn ConnectorConfig> {
        let (host, name) = (Arc::clone(&self.0), Arc::clone(name));
        let function = Function { host, name: Arc::clone(&name), dead, _environment: SECRET };
        Arc::new(FunctionConfig {
            name,
            concurrency: MANY,
            policy: Policy::default(),
            tally: Arc::default(),
            revision: "1".to_owned(),
            invoker: Arc::new(function),
        })
    }

    fn fresh(&self) -> Target {
        let name: Arc<str> = format!("function-{}", self.0.next.fetch_add(1, Ordering::Relaxed)).into();
        Target { config: self.config(&name, false), destination: name }
    }
}

#[async_trait]
impl Harness for Functions {
    async fn target(&self, _: bool) -> Target {
        let target = self.fresh();
        self.create(&target).await;
        target
    }

    async fn arrived(&self, target: &Target, count: usize) -> Vec<Arrived> {
        let mut news = self.0.news.subscribe();
        let all = || locked(&self.0.ran).get(&target.destination).cloned().unwrap_or_default();
        let enough = async {
            while all().len() < count {
                news.changed().await.expect("the host is there");
            }
        };
        let _ = tokio::time::timeout(Duration::from_secs(30), enough).await;
        all()
    }

    fn dead(&self) -> Arc<dyn ConnectorConfig> {
        self.config(&"dead".into(), true)
    }

    async fn missing(&self, _: bool) -> Target {
        self.fresh()
    }

    async fn create(&self, target: &Target) {
        locked(&self.0.there).insert(Arc::clone(&target.destination));
    }

    fn too_large(&self) -> usize {
        MAX_EVENT + 1
    }

    async fn hold(&self, _: &Target) {
        self.0.holds.send_replace(true);
    }

    async fn release(&self, _: &Target) {
        self.0.holds.send_replace(false);
    }

    async fn stop(&self, _: &Target) {
        *locked(&self.0.stopped) = true;
    }

    async fn start(&self, _: &Target) {
        *locked(&self.0.stopped) = false;
    }

    fn secrets(&self) -> Vec<String> {
        vec![SECRET.to_owned()]
    }

    fn carries_headers(&self) -> bool {
        false
    }

    fn waived(&self, case: Case) -> Option<&'static str> {
        match case {
            Case::MissingDestination => Some("a function is fixed: no template makes a destination"),
            Case::Outage => Some("the host is the server itself: it does not go away from its connector"),
            _ => None,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keeps_the_contract() {
    run_all(Functions::new()).await;
}
