//! The connector contract against an HTTP receiver in this process, and what only HTTP has to keep.
//!
//! Must never need anything that does not run here.

#![allow(clippy::unwrap_used)]

mod receiver;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use receiver::Receiver;
use tidings_connector::contract::{Arrived, Case, Harness, Target, run_all};
use tidings_connector::{ConnectorConfig, Outcome, Scope, Span};
use tidings_http::HttpOptions;

/// Part of every URL here; must show nowhere.
const SECRET: &str = "planted-secret-7f3a";

struct Http {
    receiver: Receiver,
    next: AtomicUsize,
}

impl Http {
    fn new() -> Self {
        Self { receiver: Receiver::new(), next: AtomicUsize::new(0) }
    }

    /// The target of a path; the path is kept in the destination, which this connector does not use.
    fn target_of(&self, path: &str) -> Target {
        let config = config(&format!("http://{}{path}?code={SECRET}", self.receiver.address()));
        Target { config, destination: path.into() }
    }

    fn fresh(&self) -> String {
        format!("/t/{}", self.next.fetch_add(1, Ordering::Relaxed))
    }
}

fn config(url: &str) -> Arc<dyn ConnectorConfig> {
    let options = HttpOptions { connect_timeout: Span(Duration::from_secs(2)), ..HttpOptions::default() };
    Arc::new(HttpOptions { url: url.to_owned(), ..options }.checked("contract").unwrap())
}

#[async_trait]
impl Harness for Http {
    async fn target(&self, _: bool) -> Target {
        let path = self.fresh();
        self.receiver.make(&path);
        self.target_of(&path)
    }

    async fn arrived(&self, target: &Target, count: usize) -> Vec<Arrived> {
        self.receiver.arrived(&target.destination, count).await
    }

    fn dead(&self) -> Arc<dyn ConnectorConfig> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        config(&format!("http://{}/events?code={SECRET}", listener.local_addr().unwrap()))
    }

    async fn missing(&self, _: bool) -> Target {
        self.target_of(&self.fresh())
    }

    async fn create(&self, target: &Target) {
        self.receiver.make(&target.destination);
    }

    fn too_large(&self) -> usize {
        receiver::MAX_BODY + 1
    }

    async fn hold(&self, _: &Target) {
        self.receiver.hold(true);
    }

    async fn release(&self, _: &Target) {
        self.receiver.hold(false);
    }

    async fn stop(&self, _: &Target) {
        self.receiver.stop().await;
    }

    async fn start(&self, _: &Target) {
        self.receiver.start();
    }

    fn secrets(&self) -> Vec<String> {
        vec![SECRET.to_owned()]
    }

    fn waived(&self, case: Case) -> Option<&'static str> {
        (case == Case::MissingDestination).then_some("the URL is fixed: no template makes a destination")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keeps_the_contract() {
    run_all(Http::new()).await;
}

async fn outcome(http: &Http, path: &str) -> Outcome {
    receiver::attempt(&http.target_of(path), 1).await.remove(0)
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let http = Http::new();
    http.receiver.make("/elsewhere");
    let outcome = outcome(&http, "/redirect").await;
    assert!(matches!(outcome, Outcome::Faulted { scope: Scope::Target, .. }), "{outcome:?}");
    assert!(http.receiver.arrived("/elsewhere", 0).await.is_empty());
}

#[tokio::test]
async fn a_receiver_that_is_busy_is_given_the_time_it_asks_for() {
    match outcome(&Http::new(), "/busy").await {
        Outcome::Throttled { until, .. } => {
            let left = until.saturating_duration_since(std::time::Instant::now());
            assert!(left > Duration::from_secs(100) && left <= Duration::from_secs(120), "{left:?}");
        }
        other => panic!("{other:?}"),
    }
}
