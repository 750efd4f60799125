//! NATS: a stream, and everything in it from its beginning.
//!
//! Must never use the product's code to read what the product wrote.

use std::collections::HashSet;
use std::time::Duration;

use async_nats::header::NATS_MESSAGE_ID;
use async_nats::jetstream::consumer::pull::OrderedConfig;
use async_nats::jetstream::{self, stream};
use async_trait::async_trait;
use futures_util::StreamExt as _;

use crate::checker::Delivery;
use crate::place::{Place, delivery};

/// The server may take this long to give the next message.
const PATIENCE: Duration = Duration::from_secs(30);

/// A stream of its own, with a subject for each bucket.
pub(crate) struct Stream {
    name: String,
}

impl Stream {
    /// Makes a stream that nobody else has.
    pub(crate) async fn create(test: &str) -> Box<dyn Place> {
        let name = format!("tidings-{test}-{}", uuid::Uuid::now_v7().simple());
        let config = stream::Config {
            name: name.clone(),
            subjects: vec![format!("{name}.*")],
            storage: stream::StorageType::File,
            ..stream::Config::default()
        };
        context().await.create_stream(config).await.expect("the server answers");
        Box::new(Self { name })
    }
}

async fn context() -> jetstream::Context {
    let server = crate::broker::address("TIDINGS_TEST_NATS");
    jetstream::new(async_nats::connect(server).await.expect("the server answers"))
}

#[async_trait]
impl Place for Stream {
    fn broker(&self) -> &'static str {
        "nats"
    }

    fn connector(&self) -> String {
        format!(
            "[target.live.connector.nats]\nservers = [{:?}]\nstream = {:?}\nsubject = \"{}.{{bucket}}\"\n",
            crate::broker::address("TIDINGS_TEST_NATS"),
            self.name,
            self.name
        )
    }

    async fn read_all(&self) -> Vec<Delivery> {
        let stream = context().await.get_stream(&self.name).await.expect("the stream");
        let state = &stream.cached_info().state;
        assert_eq!(state.messages, state.last_sequence, "the server dropped some of {}", self.name);
        let consumer = stream.create_consumer(OrderedConfig::default()).await.expect("a consumer");
        let mut messages = consumer.messages().await.expect("messages");
        let mut deliveries = Vec::new();
        let mut ids = HashSet::new();
        while deliveries.len() < state.messages as usize {
            let message = tokio::time::timeout(PATIENCE, messages.next()).await;
            let message = message.unwrap_or_else(|_| panic!("no message within {PATIENCE:?}"));
            let message = message.expect("a message").expect("a message");
            let found = delivery(0, &message.payload);
            let id = message.headers.as_ref().and_then(|headers| headers.get(NATS_MESSAGE_ID));
            let id = id.map(ToString::to_string).unwrap_or_default();
            assert!(id.starts_with(&found.event_id), "the message's id: {id}");
            ids.insert(id);
            let bucket = found.key.split('/').next().unwrap_or_default();
            assert_eq!(message.subject.as_str(), format!("{}.{bucket}", self.name));
            deliveries.push(found);
        }
        // The stream recognises repeats for two minutes: tests last longer, a repeat is usually no second one.
        println!("{}: {} messages, {} ids", self.name, deliveries.len(), ids.len());
        deliveries
    }
}

/// The reading itself is shown to be honest: order and oddly named keys come back as they were written, a
/// repeat that the stream stored too.
#[tokio::test]
async fn a_consumer_reads_what_a_stream_holds_in_order() {
    let stream = Stream::create("consumer").await;
    let name = stream.connector().split('"').nth(3).expect("the stream's name").to_owned();
    let context = context().await;
    let written = [(1, "a+b%2B/%C3%A9", "b/a b+/é"), (2, "k", "b/k"), (1, "a+b%2B/%C3%A9", "b/a b+/é")];
    for (nth, (seq, encoded, _)) in written.into_iter().enumerate() {
        let mut headers = async_nats::HeaderMap::new();
        headers.insert(NATS_MESSAGE_ID, format!("id{seq}/{nth}"));
        let payload = crate::place::record(seq, "b", encoded).into();
        let sent = context.publish_with_headers(format!("{name}.b"), headers, payload).await;
        sent.expect("sent").await.expect("stored");
    }
    let read = stream.read_all().await;
    assert_eq!(read.iter().map(|one| &*one.key).collect::<Vec<_>>(), written.map(|(.., key)| key));
    assert_eq!(read[0], read[2], "a repeat is the same in every part");
}
