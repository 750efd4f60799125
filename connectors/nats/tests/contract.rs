//! The connector contract against a running NATS server, whose address is in `TIDINGS_TEST_NATS`.
//!
//! Must never pass without a server, nor take for stored what only travelled.

#![allow(clippy::unwrap_used)]

mod support;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use async_nats::{Client, Subscriber};
use async_trait::async_trait;
use support::{Link, Mode};
use tidings_connector::ConnectorConfig;
use tidings_connector::contract::{Arrived, Case, Harness, Target, run_all};

struct Live {
    client: Client,
    /// What every template of this harness renders into, and the stream's name.
    base: String,
    /// Of each destination: its link, and what travelled to it so far.
    places: Mutex<HashMap<String, Place>>,
}

struct Place {
    stream: String,
    link: Arc<Link>,
    /// Only where the stream is there: a subject to which somebody listens looks as if it had one.
    tap: Option<Tap>,
}

type Tap = Arc<tokio::sync::Mutex<(Subscriber, Vec<Arrived>)>>;

impl Live {
    async fn new() -> Self {
        let client = support::client().await;
        let base = support::fresh("contract");
        support::make(&client, support::stream_of(&base, &[&format!("{base}.none")])).await;
        Self { client, base, places: Mutex::default() }
    }

    /// A target whose place is not made yet.
    async fn plan(&self, template: bool) -> Target {
        let name = support::fresh("contract");
        let link = Arc::new(Link::new(support::server()).await);
        let (stream, subject, destination) = match template {
            true => (self.base.clone(), format!("{}.{{bucket}}", self.base), format!("{}.{name}", self.base)),
            false => (name.clone(), name.clone(), name),
        };
        let options = support::options(&link.address, &stream, &subject);
        self.places.lock().unwrap().insert(destination.clone(), Place { stream, link, tap: None });
        Target { config: Arc::new(options.checked("contract").unwrap()), destination: destination.into() }
    }

    fn of<T>(&self, target: &Target, get: impl FnOnce(&Place) -> T) -> T {
        get(&self.places.lock().unwrap()[&*target.destination])
    }
}

#[async_trait]
impl Harness for Live {
    async fn target(&self, template: bool) -> Target {
        let target = self.plan(template).await;
        self.create(&target).await;
        target
    }

    /// What the stream holds; where that is less, since a stream knows a repeat, what travelled: all of which
    /// the stream must hold too.
    async fn arrived(&self, target: &Target, count: usize) -> Vec<Arrived> {
        let (stream, tap) = self.of(target, |place| (place.stream.clone(), place.tap.clone().unwrap()));
        let mut tap = tap.lock().await;
        let (subscriber, heard) = &mut *tap;
        heard.extend(support::heard(subscriber, count.saturating_sub(heard.len())).await);
        let stored = support::stored(&self.client, &stream, &target.destination).await;
        if stored.len() >= count {
            return stored;
        }
        let kept = |one: &Arrived| stored.iter().any(|other| other.payload == one.payload);
        assert!(heard.iter().all(kept), "{} of {} are stored", stored.len(), heard.len());
        heard.clone()
    }

    fn dead(&self) -> Arc<dyn ConnectorConfig> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        drop(listener);
        Arc::new(support::options(&address, "nowhere", "nowhere").checked("contract").unwrap())
    }

    async fn missing(&self, template: bool) -> Target {
        self.plan(template).await
    }

    async fn create(&self, target: &Target) {
        let stream = self.of(target, |place| place.stream.clone());
        let jetstream = async_nats::jetstream::new(self.client.clone());
        match jetstream.get_stream(&stream).await {
            Ok(made) => {
                let mut config = made.cached_info().config.clone();
                config.subjects.push(target.destination.to_string());
                jetstream.update_stream(config).await.unwrap();
            }
            Err(_) => {
                support::make(&self.client, support::stream_of(&stream, &[&target.destination])).await;
            }
        }
        let tap = self.client.subscribe(target.destination.to_string()).await.unwrap();
        // The answer comes behind the subscription: from here on the tap hears everything.
        jetstream.get_stream(&stream).await.unwrap();
        let mut places = self.places.lock().unwrap();
        let place = places.get_mut(&*target.destination).unwrap();
        place.tap = Some(Arc::new(tokio::sync::Mutex::new((tap, Vec::new()))));
    }

    fn too_large(&self) -> usize {
        support::STREAM_MAX as usize + 1
    }

    async fn hold(&self, target: &Target) {
        self.of(target, |place| place.link.set(Mode::Held));
    }

    async fn release(&self, target: &Target) {
        self.of(target, |place| place.link.set(Mode::Open));
    }

    async fn stop(&self, target: &Target) {
        self.of(target, |place| place.link.set(Mode::Cut));
    }

    async fn start(&self, target: &Target) {
        self.of(target, |place| place.link.set(Mode::Open));
    }

    fn secrets(&self) -> Vec<String> {
        vec![support::PASSWORD.to_owned()]
    }

    fn waived(&self, _: Case) -> Option<&'static str> {
        None
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keeps_the_contract() {
    run_all(Live::new().await).await;
}
