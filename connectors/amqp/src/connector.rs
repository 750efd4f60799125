//! Reaching the broker, looking whether it is safe to use, and handing batches to the publishing task.
//!
//! Must never declare an exchange or a queue: they are the operator's business.

use std::path::PathBuf;

use async_trait::async_trait;
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use lapin::uri::AMQPScheme;
use tidings_common::{CLOSE_WAIT, PAYLOAD_BYTES, is_loopback};
use tidings_connector::{
    Connector, ConnectorConfig, Delivery, ErrorClass, Fault, Finding, Limits, Outcome, Scope, Template,
};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::AmqpConfig;
use crate::line::{Line, fault, said};
use crate::publisher::Publisher;

/// Messages taken by one call of `deliver`.
const BATCH: usize = 512;

/// Batches that the publishing task was not given time to take yet.
const BATCHES: usize = 64;

#[async_trait]
impl ConnectorConfig for AmqpConfig {
    async fn connect(&self) -> Result<Box<dyn Connector>, Fault> {
        let ready = async {
            let line = Line::open(self).await?;
            let channel = line.channel().await.map_err(|e| fault(self, &e))?;
            line.find_exchange(&channel, &self.options.exchange).await.map_err(|e| fault(self, &e))?;
            Ok((line, channel))
        };
        let (line, channel) = self.in_time(ready).await?;
        let (batches, inbox) = mpsc::channel(BATCHES);
        let publisher = tokio::spawn(Publisher::new(self.clone(), line, channel, inbox).run());
        Ok(Box::new(AmqpConnector { max_in_flight: self.options.max_in_flight, batches, publisher }))
    }

    /// What plain AMQP shows without sending anything: arguments of exchanges and queues it does not.
    async fn check(&self) -> Vec<Finding> {
        let looked = async {
            let line = Line::open(self).await?;
            let found = self.look_on(&line).await.map_err(|e| fault(self, &e))?;
            line.close().await;
            Ok(found)
        };
        let mut found = match self.in_time(looked).await {
            Ok(found) => found,
            Err(fault) => return vec![Finding::error(fault.message)],
        };
        if self.uri.scheme == AMQPScheme::AMQP && !is_loopback(&self.uri.authority.host) {
            found.push(Finding::warning("events and the password travel unencrypted: use amqps://"));
        }
        found
    }

    fn kind(&self) -> &'static str {
        "amqp"
    }

    fn destination(&self) -> Option<&Template> {
        Some(&self.routing_key)
    }

    fn fingerprint(&self) -> String {
        format!("{self:?}")
    }

    fn files(&self) -> Vec<PathBuf> {
        self.tls.paths(&self.password)
    }
}

impl AmqpConfig {
    /// Nothing here may take longer than `connect_timeout`.
    async fn in_time<T>(&self, work: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
        let late = || Err(Fault::retry(ErrorClass::Timeout, said(self, "no answer in time")));
        timeout(self.options.connect_timeout.0, work).await.unwrap_or_else(|_| late())
    }

    async fn look_on(&self, line: &Line) -> Result<Vec<Finding>, lapin::Error> {
        let mut found = vec![Finding::ok(format!("an AMQP broker answers at {}", self.broker()))];
        let (exchange, key) = (&self.options.exchange, self.routing_key.source());
        let channel = line.channel().await?;
        if !exchange.is_empty() {
            found.push(match line.find_exchange(&channel, exchange).await {
                Ok(()) => Finding::ok(format!(
                    "exchange `{exchange}` exists; AMQP does not show whether an alternate exchange (which \
                     hides events that no queue takes) or queue limits are set on it: look there"
                )),
                Err(error) => Finding::error(format!("exchange `{exchange}` cannot be used: {error}")),
            });
        } else if self.routing_key.scope() == Scope::Destination {
            found.push(Finding::ok(format!("queues follow `{key}`: each is looked up when first used")));
        } else {
            let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
            found.push(match channel.queue_declare(key.into(), passive, FieldTable::default()).await {
                Ok(queue) => Finding::ok(format!(
                    "queue `{key}` exists with {} messages and {} consumers; make sure that it is durable \
                     and has no limit that drops messages, which AMQP does not show",
                    queue.message_count(),
                    queue.consumer_count()
                )),
                Err(error) => Finding::error(format!("queue `{key}` cannot be used: {error}")),
            });
        }
        Ok(found)
    }
}

/// One connected broker.
struct AmqpConnector {
    max_in_flight: usize,
    batches: mpsc::Sender<Vec<Delivery>>,
    /// Ends when the connection does.
    publisher: JoinHandle<()>,
}

#[async_trait]
impl Connector for AmqpConnector {
    fn limits(&self) -> Limits {
        Limits { in_flight: self.max_in_flight, batch: BATCH.min(self.max_in_flight), bytes: PAYLOAD_BYTES }
    }

    async fn deliver(&self, batch: Vec<Delivery>) {
        if let Err(mpsc::error::SendError(batch)) = self.batches.send(batch).await {
            for delivery in batch {
                let gone = Outcome::retry(ErrorClass::Connect, "the connection to the AMQP broker is gone");
                delivery.receipt.settle(gone, None);
            }
        }
    }

    fn healthy(&self) -> bool {
        !self.publisher.is_finished()
    }

    async fn close(mut self: Box<Self>) {
        // The task ends once everything is answered after its inbox was closed.
        self.batches = mpsc::channel(1).0;
        let _ = timeout(CLOSE_WAIT, &mut self.publisher).await;
    }
}

impl Drop for AmqpConnector {
    /// What is out settles as Retry when the task is gone, and the wire is cut.
    fn drop(&mut self) {
        self.publisher.abort();
    }
}
