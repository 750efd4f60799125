//! JetStream as the measurements see it: a stream, how much it took, and a bare pipelined publisher.
//!
//! Must never use the product's code.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use async_nats::header::{NATS_EXPECTED_STREAM, NATS_MESSAGE_ID};
use async_nats::jetstream::{self, stream};
use async_nats::{Client, ConnectOptions, HeaderMap};
use futures_util::StreamExt as _;
use tidings::encode::Binding;
use tidings_connector::Message;
use tidings_nats::NatsOptions;
use tokio::sync::Semaphore;

use crate::far::{Far, every_event};

/// Bytes that a stream keeps, so that ten million events do not fill the disk; the oldest go.
const KEPT: i64 = 2 << 30;
/// Acknowledgements taken at once: as the connector does.
const CHUNK: usize = 256;

/// A stream of one measurement.
pub(crate) struct Stream {
    name: String,
    address: String,
    client: Client,
}

impl Stream {
    /// Makes a stream in a file, which nobody else has.
    pub(crate) async fn create(address: &str) -> Result<Self> {
        let name = format!("tidings-speed-{}", uuid::Uuid::now_v7().simple());
        let queue = 2 * NatsOptions::default().max_in_flight;
        let options = ConnectOptions::new().client_capacity(queue).subscription_capacity(queue);
        let client = options.connect(address).await?;
        let config = stream::Config {
            name: name.clone(),
            subjects: vec![format!("{name}.*")],
            storage: stream::StorageType::File,
            max_bytes: KEPT,
            ..stream::Config::default()
        };
        jetstream::new(client.clone()).create_stream(config).await?;
        Ok(Self { name, address: address.to_owned(), client })
    }

    fn headers(&self, message: &Message) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for header in &message.headers {
            headers.append(header.name, &*header.value);
        }
        headers.insert(NATS_MESSAGE_ID, format!("{}/reference", message.id));
        headers.insert(NATS_EXPECTED_STREAM, &*self.name);
        headers
    }
}

impl Far for Stream {
    const BINDING: Binding = Binding::Nats;

    fn target(&self, name: &str) -> String {
        let Self { name: stream, address, .. } = self;
        format!(
            "[target.{name}.connector.nats]\nservers = [{address:?}]\nstream = {stream:?}\n\
             subject = \"{stream}.{{bucket}}\"\n{}",
            every_event(name)
        )
    }

    async fn arrived(&self) -> Result<u64> {
        let stream = jetstream::new(self.client.clone()).get_stream(&self.name).await?;
        Ok(stream.cached_info().state.last_sequence)
    }

    async fn publish(&self, messages: Vec<Message>) -> Result<()> {
        let (inbox, count) = (self.client.new_inbox(), messages.len());
        let mut answers = self.client.subscribe(format!("{inbox}.*")).await?.ready_chunks(CHUNK);
        let room = Arc::new(Semaphore::new(NatsOptions::default().max_in_flight));
        let freed = Arc::clone(&room);
        let counting = tokio::spawn(async move {
            let mut acknowledged = 0;
            while acknowledged < count {
                let chunk = answers.next().await.context("the connection ended")?;
                for answer in &chunk {
                    let text = String::from_utf8_lossy(&answer.payload);
                    ensure!(text.contains("\"seq\"") && !text.contains("\"error\""), "{text}");
                }
                acknowledged += chunk.len();
                freed.add_permits(chunk.len());
            }
            anyhow::Ok(())
        });
        for (n, message) in messages.into_iter().enumerate() {
            room.acquire().await?.forget();
            let (subject, reply) = (format!("{}.bench", self.name), format!("{inbox}.{n}"));
            let headers = self.headers(&message);
            self.client.publish_with_reply_and_headers(subject, reply, headers, message.payload).await?;
        }
        counting.await?
    }

    async fn remove(self) -> Result<()> {
        jetstream::new(self.client).delete_stream(&self.name).await?;
        Ok(())
    }
}
