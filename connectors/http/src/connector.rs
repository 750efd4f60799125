//! Reaching the receiver, and one task for each message within the receiver's window.
//!
//! Must never wait for an answer in `deliver`.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tidings_common::{Attempts, PAYLOAD_BYTES, Verdict, blocking, is_loopback};
use tidings_connector::{
    Connector, ConnectorConfig, Delivery, ErrorClass, Fault, Finding, Limits, Message, Outcome, Report,
    Template,
};
use tokio::net::TcpStream;

use crate::sender::{Answer, Sender};
use crate::window::Window;
use crate::{Attempted, HttpConfig, Watch};

#[async_trait]
impl ConnectorConfig for HttpConfig {
    /// Dials the receiver, and sends nothing: what it answers to events only events can tell.
    async fn connect(&self) -> Result<Box<dyn Connector>, Fault> {
        let sender = self.sender().await?;
        self.dial().await?;
        let most = self.options.max_in_flight;
        Ok(Box::new(HttpConnector {
            config: self.clone(),
            sender: Mutex::new(sender),
            felt: Arc::new(Felt { stale: false.into(), window: Mutex::new(Window::new(most)) }),
            requests: Attempts::new(most),
        }))
    }

    async fn check(&self) -> Vec<Finding> {
        let answer = match self.sender().await {
            Ok(sender) => sender.ask(self.options.connect_timeout.0).await,
            Err(fault) => Err(fault),
        };
        let origin = self.origin();
        let mut found = vec![match answer {
            Ok(status @ (401 | 403)) => Finding::warning(format!(
                "{origin} answers {status} to OPTIONS: if it answers events so, they wait"
            )),
            Ok(status) => Finding::ok(format!("{origin} answers ({status} to OPTIONS)")),
            Err(fault) => Finding::error(fault.message),
        }];
        let near = self.url.host_str().is_some_and(is_loopback);
        if self.url.scheme() == "http" && self.authorization.is_some() && !near {
            let message = format!("`authorization` travels to {origin} unencrypted: use https");
            found.push(Finding::warning(message));
        }
        found
    }

    fn kind(&self) -> &'static str {
        "http"
    }

    fn destination(&self) -> Option<&Template> {
        None
    }

    /// The URL's path and query and the values of headers may be secrets: a hash tells them apart.
    fn fingerprint(&self) -> String {
        let mut hasher = DefaultHasher::new();
        format!("{:?}", self.options).hash(&mut hasher);
        [&self.target, &self.region, &self.appid].hash(&mut hasher);
        format!("{} {:016x}", self.origin(), hasher.finish())
    }

    fn files(&self) -> Vec<PathBuf> {
        self.tls.paths(self.authorization.iter().chain(&self.signing_secret))
    }
}

impl HttpConfig {
    /// Reads files, if there are any, so on a thread that may wait: a thousand targets that start without any
    /// would leave a hundred threads, and their memory, behind.
    async fn sender(&self) -> Result<Arc<Sender>, Fault> {
        if self.url.scheme() == "http" && self.files().is_empty() {
            return Sender::new(self).map(Arc::new);
        }
        let config = self.clone();
        blocking("making an HTTP client", move || Sender::new(&config).map(Arc::new)).await
    }

    /// Opens a connection and lets it go.
    async fn dial(&self) -> Result<(), Fault> {
        let dial = async {
            let found = self.reach.look_up(self.url.host_str().unwrap_or_default(), self.port()).await?;
            let dialled = TcpStream::connect(&found[..]).await;
            dialled.map(drop).map_err(|e| (Verdict::Retry(ErrorClass::Connect), e.to_string()))
        };
        let bound = self.options.connect_timeout.0;
        let late = |_| Err((Verdict::Retry(ErrorClass::Timeout), format!("no answer within {bound:?}")));
        let dialled = tokio::time::timeout(bound, dial).await.unwrap_or_else(late);
        dialled.map_err(|(verdict, why)| verdict.fault(format!("cannot reach {}: {why}", self.origin())))
    }
}

/// One receiver.
struct HttpConnector {
    config: HttpConfig,
    sender: Mutex<Arc<Sender>>,
    felt: Arc<Felt>,
    requests: Attempts,
}

/// What requests learned about their receiver.
struct Felt {
    /// Credentials or certificates were refused: their files are read again before the next attempt.
    stale: AtomicBool,
    window: Mutex<Window>,
}

impl HttpConnector {
    /// The sender, made anew if its secrets were refused.
    async fn sender(&self) -> Result<Arc<Sender>, Fault> {
        if self.felt.stale.load(Ordering::Relaxed) {
            let fresh = self.config.sender().await?;
            *locked(&self.sender) = fresh;
            self.felt.stale.store(false, Ordering::Relaxed);
        }
        Ok(Arc::clone(&locked(&self.sender)))
    }
}

#[async_trait]
impl Connector for HttpConnector {
    fn limits(&self) -> Limits {
        let open = locked(&self.felt.window).open();
        Limits { in_flight: open, batch: open, bytes: PAYLOAD_BYTES }
    }

    async fn deliver(&self, batch: Vec<Delivery>) {
        let sender = match self.sender().await {
            Ok(sender) => sender,
            Err(fault) => {
                return batch.into_iter().for_each(|d| d.receipt.settle(fault.outcome.clone(), None));
            }
        };
        let round = locked(&self.felt.window).round();
        self.requests.begin(batch, |delivery| {
            let watch = self.config.watch.clone();
            attempt((Arc::clone(&sender), watch), Arc::clone(&self.felt), round, delivery)
        });
    }

    async fn close(self: Box<Self>) {
        self.requests.close().await;
    }
}

async fn attempt(
    (sender, watch): (Arc<Sender>, Option<Arc<dyn Watch>>),
    felt: Arc<Felt>,
    round: u64,
    delivery: Delivery,
) {
    let Delivery { message, receipt, attempt } = delivery;
    let Some(watch) = watch else {
        let answer = sender.post(message).await;
        felt.note(&answer, round);
        return receipt.settle(answer.outcome, answer.report);
    };
    if let Some(refused) = watch.refuse(&message, attempt).await {
        return receipt.settle(refused, None);
    }
    let began = Instant::now();
    let answer = sender.post(message.clone()).await;
    felt.note(&answer, round);
    let (attempted, report) = answer.attempted(began.elapsed());
    receipt.settle(watch.ended(&message, attempt, attempted).await, report);
}

impl Felt {
    fn note(&self, answer: &Answer, round: u64) {
        let felt = self;
        match &answer.outcome {
            _ if answer.pressed => locked(&felt.window).pressed(round),
            Outcome::Delivered => locked(&felt.window).succeeded(),
            Outcome::Faulted { why, .. } if matches!(why.class, ErrorClass::Auth | ErrorClass::Tls) => {
                felt.stale.store(true, Ordering::Relaxed);
            }
            _ => {}
        }
    }
}

impl HttpConfig {
    /// Sends one message that no lane has, once, and gives back what came of it. No receiver is asked first.
    ///
    /// # Errors
    /// The sender cannot be made: a secret or a certificate cannot be read.
    pub async fn send_once(&self, message: Message) -> Result<Attempted, Fault> {
        let sender = self.sender().await?;
        let began = Instant::now();
        Ok(sender.post(message).await.attempted(began.elapsed()).0)
    }
}

impl Answer {
    fn attempted(self, duration: Duration) -> (Attempted, Option<Report>) {
        let Self { outcome, report, function_error, body, .. } = self;
        let status = report.as_ref().and_then(|report| report.place.as_deref()?.parse().ok());
        (Attempted { outcome, status, function_error, body, duration }, report)
    }
}

/// No code panics under these locks; if some did, what they hold is still whole.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
