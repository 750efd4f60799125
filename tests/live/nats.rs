//! NATS as the far side: a JetStream stream, and everything in it from its beginning.
//!
//! Must never use the product's code to read what the product wrote.

use std::collections::BTreeMap;
use std::time::Duration;

use async_nats::header::NATS_MESSAGE_ID;
use async_nats::jetstream::consumer::pull::OrderedConfig;
use async_nats::jetstream::{self, stream};
use async_trait::async_trait;
use futures_util::StreamExt as _;

use crate::broker;
use crate::checker::Delivery;
use crate::far::{FarSide, Fault, Raw};
use crate::turn;
use crate::volume::{killed, quiet, stopped};

/// The server may take this long to give the next message.
const PATIENCE: Duration = Duration::from_secs(30);
/// Under this name, which is no header's, a message says where it was.
const SUBJECT: &str = "(subject)";

/// A stream that nobody else has, with a subject for each bucket.
pub(crate) struct Stream(String);

impl Stream {
    pub(crate) async fn create(test: &str) -> Self {
        let stream = Self::named(test);
        stream.make().await;
        stream
    }

    /// Its name; nobody has made it yet.
    pub(crate) fn named(test: &str) -> Self {
        Self(format!("tidings-{test}-{}", uuid::Uuid::now_v7().simple()))
    }

    pub(crate) async fn make(&self) {
        let Self(name) = self;
        let config = stream::Config {
            name: name.clone(),
            subjects: vec![format!("{name}.*")],
            storage: stream::StorageType::File,
            ..stream::Config::default()
        };
        context().await.create_stream(config).await.expect("the server answers");
    }
}

pub(crate) fn address() -> String {
    std::env::var("TIDINGS_TEST_NATS")
        .expect("live tests need a server: run `cargo xtask test`, or set TIDINGS_TEST_NATS=host:port")
}

async fn context() -> jetstream::Context {
    jetstream::new(async_nats::connect(address()).await.expect("the server answers"))
}

#[async_trait]
impl FarSide for Stream {
    fn connector(&self) -> String {
        let Self(name) = self;
        format!(
            "[target.live.connector.nats]\nservers = [{:?}]\nstream = {name:?}\n\
             subject = \"{name}.{{bucket}}\"\n",
            address()
        )
    }

    async fn read_raw(&self) -> Vec<Raw> {
        let Self(name) = self;
        let stream = context().await.get_stream(name).await.expect("the stream");
        let state = &stream.cached_info().state;
        assert_eq!(state.messages, state.last_sequence, "the server dropped some of {name}");
        let consumer = stream.create_consumer(OrderedConfig::default()).await.expect("a consumer");
        let mut messages = consumer.messages().await.expect("messages");
        let mut deliveries = Vec::new();
        while deliveries.len() < state.messages as usize {
            let message = tokio::time::timeout(PATIENCE, messages.next()).await;
            let message = message.unwrap_or_else(|_| panic!("no message within {PATIENCE:?}"));
            let message = message.expect("a message").expect("a message");
            let headers = message.headers.iter().flat_map(|headers| headers.iter());
            let text = |values: &[async_nats::HeaderValue]| values.iter().map(ToString::to_string).collect();
            let mut headers: BTreeMap<_, _> =
                headers.map(|(name, values)| (name.to_string(), text(values))).collect();
            headers.insert(SUBJECT.to_owned(), message.subject.to_string());
            let payload = message.payload.to_vec();
            deliveries.push(Raw { payload, headers, key: None, partition: 0 });
        }
        deliveries
    }

    async fn read_all(&self) -> Vec<Delivery> {
        let judged = |raw: Raw| {
            let found = raw.record();
            let id = raw.headers.get(&NATS_MESSAGE_ID.to_string()).map(String::as_str).unwrap_or_default();
            assert!(id.starts_with(&found.event_id), "the message's id: {id}");
            let bucket = found.key.split('/').next().unwrap_or_default();
            assert_eq!(raw.headers[SUBJECT], format!("{}.{bucket}", self.0));
            found
        };
        self.read_raw().await.into_iter().map(judged).collect()
    }

    async fn kill(&self) -> Fault {
        broker::kill("nats").await
    }

    async fn stop(&self) -> Fault {
        broker::stop("nats").await
    }
}

/// The reading itself is shown to be honest: order and oddly named keys come back as they were written, and a
/// repeat that the stream stored too.
#[tokio::test]
async fn a_consumer_reads_what_a_stream_holds_in_order() {
    let stream = Stream::create("consumer").await;
    let context = context().await;
    let payload = |seq: u32, key: &str| {
        format!(
            r#"{{"Records":[{{"eventName":"ObjectCreated:Put","s3":{{"bucket":{{"name":"b"}},
            "object":{{"key":"{key}","size":{seq},"sequencer":"{seq:04}"}}}},
            "tidings":{{"eventId":"id{seq}"}}}}]}}"#
        )
    };
    let written = [(1, "a+b%2B/%C3%A9", "b/a b+/é"), (2, "k", "b/k"), (1, "a+b%2B/%C3%A9", "b/a b+/é")];
    for (nth, (seq, encoded, _)) in written.into_iter().enumerate() {
        let mut headers = async_nats::HeaderMap::new();
        headers.insert(NATS_MESSAGE_ID, format!("id{seq}/{nth}"));
        let subject = format!("{}.b", stream.0);
        let sent = context.publish_with_headers(subject, headers, payload(seq, encoded).into()).await;
        sent.expect("sent").await.expect("stored");
    }
    let read = stream.read_all().await;
    assert_eq!(read.iter().map(|one| &*one.key).collect::<Vec<_>>(), written.map(|(.., key)| key));
    assert_eq!(read[0], read[2], "a repeat is the same in every part");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_100k_changes_arrive_once_and_in_order_in_a_stream() {
    let _turn = turn().await;
    quiet("nats-volume", Box::new(Stream::create("nats-volume").await), 100_000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nats_server_killed_in_the_middle_loses_nothing() {
    let _turn = turn().await;
    killed("nats-killed", Box::new(Stream::create("nats-killed").await)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nats_server_that_stands_still_for_half_a_minute_loses_nothing() {
    let _turn = turn().await;
    stopped("nats-stopped", Box::new(Stream::create("nats-stopped").await)).await;
}
