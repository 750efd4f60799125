//! Reaching the receiver, and one POST for each message on a task of its own.
//!
//! Must never wait for an answer in `deliver`, follow a redirect, or keep an answer's body.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use http::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Response, Url, redirect};
use tidings_connector::{
    Cause, Connector, ConnectorConfig, Delivery, ErrorClass, Fault, Finding, Limits, Message, Outcome,
    Report, Severity, Template,
};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::HttpConfig;
use crate::error::{Silence, answered, retry_after, silence, unanswered};

/// Payload bytes that may be on their way at once.
const BYTES: usize = 64 << 20;

/// How much of an answer is read, so that its connection can be used again; then it is dropped.
const ANSWER_BYTES: usize = 64 << 10;

/// How long reading that much may take. The outcome is known before.
const ANSWER_WAIT: Duration = Duration::from_millis(500);

/// How long `close` waits for answers before it lets go.
const CLOSE_WAIT: Duration = Duration::from_secs(5);

#[async_trait]
impl ConnectorConfig for HttpConfig {
    /// Dials the receiver, and sends nothing: what it answers to events only events can tell.
    async fn connect(&self) -> Result<Box<dyn Connector>, Fault> {
        let client = self.client()?;
        self.dial().await?;
        let sender = Sender { client, url: self.url.clone(), origin: self.origin(), timeout: self.timeout };
        Ok(Box::new(HttpConnector {
            sender: Arc::new(sender),
            max_in_flight: self.max_in_flight,
            requests: Mutex::default(),
        }))
    }

    async fn check(&self) -> Vec<Finding> {
        let finding = match self.ask().await {
            Ok(status) => Finding {
                severity: Severity::Ok,
                message: format!("{} answers ({status} to OPTIONS)", self.origin()),
            },
            Err(fault) => Finding { severity: Severity::Error, message: fault.message },
        };
        vec![finding]
    }

    fn kind(&self) -> &'static str {
        "http"
    }

    fn destination(&self) -> Option<&Template> {
        None
    }

    /// The URL's path and query may be secrets: they are told apart by their hash.
    fn fingerprint(&self) -> String {
        let mut hasher = DefaultHasher::new();
        self.url.as_str().hash(&mut hasher);
        format!("{self:?} {:016x}", hasher.finish())
    }
}

impl HttpConfig {
    fn client(&self) -> Result<Client, Fault> {
        Client::builder()
            .connect_timeout(self.connect_timeout)
            .redirect(redirect::Policy::none())
            .referer(false)
            // Where events go is decided by the configuration file alone, not by the environment.
            .no_proxy()
            .pool_max_idle_per_host(self.max_in_flight)
            .user_agent(concat!("tidings/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|e| {
                Fault::faulted(ErrorClass::Tls, format!("no HTTP client can be made: {}", silence(e).1))
            })
    }

    /// Opens a connection and lets it go.
    async fn dial(&self) -> Result<(), Fault> {
        let host = self.url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let port = self.url.port_or_known_default().unwrap_or_default();
        let dial = async {
            let addresses = tokio::net::lookup_host((host.as_str(), port)).await;
            let addresses: Vec<_> = addresses.map_err(|e| (ErrorClass::Dns, e.to_string()))?.collect();
            TcpStream::connect(&addresses[..]).await.map_err(|e| (ErrorClass::Connect, e.to_string()))
        };
        let too_late = || Err((ErrorClass::Timeout, format!("no answer within {:?}", self.connect_timeout)));
        let dialled = tokio::time::timeout(self.connect_timeout, dial).await.unwrap_or_else(|_| too_late());
        let fault = |(class, why)| Fault::retry(class, format!("cannot reach {}: {why}", self.origin()));
        dialled.map(drop).map_err(fault)
    }

    /// Asks for the receiver's options: harmless to every receiver, and proves name, address and certificate.
    async fn ask(&self) -> Result<u16, Fault> {
        let request =
            self.client()?.request(http::Method::OPTIONS, self.url.clone()).timeout(self.connect_timeout);
        let answer = request.send().await;
        answer.map(|answer| answer.status().as_u16()).map_err(|error| {
            let (silence, why) = silence(error);
            let message = format!("{} does not answer: {why}", self.origin());
            Fault { outcome: unanswered(silence, &message), message }
        })
    }
}

/// One receiver.
struct HttpConnector {
    sender: Arc<Sender>,
    max_in_flight: usize,
    requests: Mutex<JoinSet<()>>,
}

#[async_trait]
impl Connector for HttpConnector {
    fn limits(&self) -> Limits {
        Limits { in_flight: self.max_in_flight, batch: self.max_in_flight, bytes: BYTES }
    }

    async fn deliver(&self, batch: Vec<Delivery>) {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        while requests.try_join_next().is_some() {}
        for delivery in batch {
            // A task that just settled may still be counted here, hence twice the window.
            if requests.len() >= 2 * self.max_in_flight {
                let why = Cause::new(ErrorClass::Throttle, "more messages than the connector's window holds");
                delivery.receipt.settle(Outcome::Retry { after: None, why }, None);
                continue;
            }
            requests.spawn(Arc::clone(&self.sender).send(delivery));
        }
    }

    async fn close(self: Box<Self>) {
        let mut requests = self.requests.into_inner().unwrap_or_else(PoisonError::into_inner);
        let all = async { while requests.join_next().await.is_some() {} };
        // What is not answered by then ends with `requests`: its receipts are dropped, and settle as Retry.
        let _ = tokio::time::timeout(CLOSE_WAIT, all).await;
    }
}

/// What every request needs.
struct Sender {
    client: Client,
    url: Url,
    origin: String,
    timeout: Duration,
}

impl Sender {
    async fn send(self: Arc<Self>, delivery: Delivery) {
        let Delivery { message, receipt, .. } = delivery;
        let (outcome, report) = self.post(message).await;
        receipt.settle(outcome, report);
    }

    async fn post(&self, message: Message) -> (Outcome, Option<Report>) {
        let headers = match headers(&message) {
            Ok(headers) => headers,
            Err(why) => return (Outcome::Rejected { why }, None),
        };
        let request = self.client.post(self.url.clone()).headers(headers).body(message.payload);
        match tokio::time::timeout(self.timeout, request.send()).await {
            Ok(Ok(answer)) => self.answered(answer).await,
            Ok(Err(error)) => {
                let (silence, why) = silence(error);
                (unanswered(silence, &format!("POST {}: {why}", self.origin)), None)
            }
            Err(_) => {
                let text = format!("POST {}: no answer within {:?}", self.origin, self.timeout);
                (unanswered(Silence::Timeout, &text), None)
            }
        }
    }

    /// Status and headers decide; the body is read only to use the connection again.
    async fn answered(&self, mut answer: Response) -> (Outcome, Option<Report>) {
        let status = answer.status();
        let after = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        #[expect(
            clippy::disallowed_methods,
            reason = "a date in Retry-After means nothing without the wall clock"
        )]
        let after = after.and_then(|value| retry_after(value, SystemTime::now()));
        let text = format!("POST {} answered {status}", self.origin);
        let outcome = answered(status.as_u16(), after, Instant::now(), &text);
        let report = Report { place: Some(status.as_str().into()) };
        let _ = tokio::time::timeout(ANSWER_WAIT, async {
            let mut read = 0;
            while read < ANSWER_BYTES
                && let Ok(Some(chunk)) = answer.chunk().await
            {
                read += chunk.len();
            }
        })
        .await;
        (outcome, Some(report))
    }
}

fn headers(message: &Message) -> Result<HeaderMap, Cause> {
    let mut headers = HeaderMap::with_capacity(message.headers.len());
    for header in &message.headers {
        let name = HeaderName::from_bytes(header.name.as_bytes()).ok();
        let value = HeaderValue::from_bytes(header.value.as_bytes()).ok();
        let (Some(name), Some(value)) = (name, value) else {
            return Err(Cause::new(ErrorClass::Encode, "a header cannot be written in HTTP"));
        };
        headers.append(name, value);
    }
    Ok(headers)
}
