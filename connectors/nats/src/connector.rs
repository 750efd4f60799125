//! Handing messages to a connection, and taking the acknowledgements.
//!
//! Must never wait for a server in `deliver`, and never let the library await an acknowledgement: it would
//! forget what went wrong.

use std::path::PathBuf;
use std::sync::Arc;

use async_nats::client::PublishErrorKind;
use async_nats::header::{HeaderName, HeaderValue, NATS_EXPECTED_STREAM, NATS_MESSAGE_ID};
use async_nats::{Client, HeaderMap, Subscriber, connection::State};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt as _;
use tidings_common::{CLOSE_WAIT, Outstanding, ROUNDS, Token};
use tidings_connector::{
    Connector, ConnectorConfig, Delivery, ErrorClass, Fault, Finding, Limits, Message, Outcome, Scope,
    Template,
};
use tokio::task::JoinHandle;

use crate::NatsConfig;
use crate::answer;
use crate::error::{Met, outcome};

/// What one connection has outstanding, by subject.
pub(crate) type Out = Outstanding<Arc<str>>;

/// Messages taken by one call of `deliver`.
const BATCH: usize = 1_024;
/// Acknowledgements that are settled together.
const CHUNK: usize = 256;
/// What a silent attempt is told, for people.
const SILENCE: &str = "no acknowledgement from NATS in time";
/// The header of a message that an operator sends again; its value counts how often.
const REPLAY: &str = "tidings-replay";

#[async_trait]
impl ConnectorConfig for NatsConfig {
    async fn connect(&self) -> Result<Box<dyn Connector>, Fault> {
        Ok(Box::new(self.open().await?))
    }

    async fn check(&self) -> Vec<Finding> {
        match self.open().await {
            Ok(connector) => crate::check::findings(self, &connector.client).await,
            Err(fault) => vec![Finding::error(fault.message)],
        }
    }

    fn kind(&self) -> &'static str {
        "nats"
    }

    fn destination(&self) -> Option<&Template> {
        Some(&self.subject)
    }

    fn fingerprint(&self) -> String {
        format!("{self:?}")
    }

    fn files(&self) -> Vec<PathBuf> {
        self.tls.paths(self.identity.iter().map(|(_, secret)| secret))
    }
}

impl NatsConfig {
    async fn open(&self) -> Result<NatsConnector, Fault> {
        let out = Arc::new(Out::new(self.options.max_in_flight));
        let client = crate::connect::connect(self, &out).await?;
        let inbox = client.new_inbox();
        let answers = client.subscribe(format!("{inbox}.*")).await.map_err(|e| {
            Fault::retry(ErrorClass::Connect, format!("NATS took no subscription for its answers: {e}"))
        })?;
        // The server judges the subscription before it answers this.
        if let Some(fault) = crate::check::missing_stream(self, &client).await {
            return Err(fault);
        }
        if let Some(Outcome::Faulted { scope, why }) = out.ended() {
            let message = why.text.to_string();
            return Err(Fault { outcome: Outcome::Faulted { scope, why }, message });
        }
        let listener = tokio::spawn(listen(answers, Arc::clone(&out), self.clone()));
        Ok(NatsConnector { config: self.clone(), client, inbox, out, listener })
    }
}

/// One connection.
struct NatsConnector {
    config: NatsConfig,
    client: Client,
    /// The subject to which answers go; a token follows.
    inbox: String,
    out: Arc<Out>,
    listener: JoinHandle<()>,
}

impl NatsConnector {
    async fn send(&self, message: Message, token: Token) -> Result<(), (Met, String)> {
        let headers = self.headers(&message).map_err(|why| (Met::Unwritable, why))?;
        let subject = message.destination.to_string();
        let sent = match self.config.stream {
            Some(_) => {
                let reply = format!("{}.{token}", self.inbox);
                self.client.publish_with_reply_and_headers(subject, reply, headers, message.payload).await
            }
            None => self.client.publish_with_headers(subject, headers, message.payload).await,
        };
        sent.map_err(|error| {
            let met = match error.kind() {
                PublishErrorKind::MaxPayloadExceeded => Met::TooLarge,
                PublishErrorKind::InvalidSubject => Met::Unwritable,
                PublishErrorKind::Send => Met::Lost,
            };
            (met, error.to_string())
        })
    }

    fn headers(&self, message: &Message) -> Result<HeaderMap, String> {
        let mut headers = HeaderMap::new();
        for header in &message.headers {
            let name: HeaderName = header.name.parse().map_err(|_| format!("header {}", header.name))?;
            let value: HeaderValue = header.value.parse().map_err(|_| format!("header {}", header.name))?;
            headers.append(name, value);
        }
        if let Some(stream) = &self.config.stream {
            // One stream may serve two targets, and what an operator sends again is wanted again.
            let replay = message.headers.iter().find(|header| header.name == REPLAY);
            let id = match replay {
                Some(replay) => format!("{}/{}/{}", message.id, self.config.target, replay.value),
                None => format!("{}/{}", message.id, self.config.target),
            };
            let id: HeaderValue = id.parse().map_err(|_| "message id".to_owned())?;
            headers.insert(NATS_MESSAGE_ID, id);
            headers.insert(NATS_EXPECTED_STREAM, stream.as_str());
        }
        Ok(headers)
    }

    /// Core NATS says nothing about a message. One server handles one connection in order: when our own
    /// message behind them comes back, it has read them.
    async fn ask_for_echo(&self, tokens: &[Token]) {
        if self.config.stream.is_some() || tokens.is_empty() {
            return;
        }
        let payload: Bytes = tokens.iter().flat_map(|token| token.to_be_bytes()).collect();
        if let Err(error) = self.client.publish(format!("{}.0", self.inbox), payload).await {
            self.out.end(&outcome(Met::Lost, Scope::Target, &error.to_string()));
        }
    }
}

#[async_trait]
impl Connector for NatsConnector {
    fn limits(&self) -> Limits {
        let in_flight = self.config.options.max_in_flight;
        Limits { in_flight, batch: BATCH.min(in_flight), bytes: self.config.options.max_bytes.0 as usize }
    }

    async fn deliver(&self, batch: Vec<Delivery>) {
        let (messages, receipts): (Vec<Message>, Vec<_>) = batch
            .into_iter()
            .map(|delivery| {
                let subject = Arc::clone(&delivery.message.destination);
                (delivery.message, (delivery.receipt, subject))
            })
            .unzip();
        let (tokens, scope) = (self.out.put_all(receipts), self.config.subject.scope());
        let mut sent = Vec::with_capacity(tokens.len());
        for (message, token) in messages.into_iter().zip(tokens) {
            let Some(token) = token else { continue };
            match self.send(message, token).await {
                Ok(()) => sent.push(token),
                Err((met, text)) => self.out.settle(token, outcome(met, scope, &text)),
            }
        }
        self.ask_for_echo(&sent).await;
    }

    fn healthy(&self) -> bool {
        // The library's events may be dropped when there are many; its state is not.
        self.out.ended().is_none() && self.client.connection_state() == State::Connected
    }

    async fn close(self: Box<Self>) {
        // What is still out then settles as Retry when `self` is dropped.
        let _ = tokio::time::timeout(CLOSE_WAIT, self.out.emptied()).await;
    }
}

impl Drop for NatsConnector {
    fn drop(&mut self) {
        self.out.end(&Outcome::retry(ErrorClass::Connect, "the connection to NATS was given up"));
        self.listener.abort();
    }
}

/// Takes answers until the connection ends, or none came for longer than
/// `ack_timeout`: then nothing that is out
/// can be relied on.
async fn listen(answers: Subscriber, out: Arc<Out>, config: NatsConfig) {
    let (stream, scope) = (config.stream.as_deref(), config.subject.scope());
    let late = outcome(Met::Silent, scope, SILENCE);
    let end = |met, text| out.end(&outcome(met, Scope::Target, text));
    let mut answers = answers.ready_chunks(CHUNK);
    let mut clock = tokio::time::interval(config.options.ack_timeout.0 / ROUNDS);
    clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let idle = out.is_empty();
        tokio::select! {
            chunk = answers.next() => match chunk {
                Some(chunk) => {
                    let told = answer::read_all(&chunk, stream).into_iter();
                    out.settle_all(told.map(|(token, met, text)| (token, outcome(met, scope, &text))));
                }
                None => break end(Met::Lost, "the connection to NATS was lost"),
            },
            () = out.filled(), if idle => clock.reset(),
            _ = clock.tick(), if !idle => if !out.count_round(&late) {
                break end(Met::Silent, SILENCE);
            },
        }
    }
}
