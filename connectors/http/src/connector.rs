//! Reaching the receiver, and one task for each message within the receiver's window.
//!
//! Must never wait for an answer in `deliver`.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tidings_connector::{
    Cause, Connector, ConnectorConfig, Delivery, ErrorClass, Fault, Finding, Limits, Outcome, SecretRef,
    Severity, Template,
};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::HttpConfig;
use crate::error::{Silence, find, unanswered};
use crate::guard::{Blocked, Guard};
use crate::sender::{Answer, Sender};
use crate::window::Window;

/// Payload bytes that may be on their way at once.
const BYTES: usize = 64 << 20;

/// How long `close` waits for answers before it lets go.
const CLOSE_WAIT: Duration = Duration::from_secs(5);

#[async_trait]
impl ConnectorConfig for HttpConfig {
    /// Dials the receiver, and sends nothing: what it answers to events only events can tell.
    async fn connect(&self) -> Result<Box<dyn Connector>, Fault> {
        let sender = self.sender().await?;
        self.dial().await?;
        Ok(Box::new(HttpConnector {
            config: self.clone(),
            sender: Mutex::new(sender),
            felt: Arc::new(Felt { stale: false.into(), window: Mutex::new(Window::new(self.max_in_flight)) }),
            requests: Mutex::default(),
        }))
    }

    async fn check(&self) -> Vec<Finding> {
        let finding = |severity, message| Finding { severity, message };
        let answer = match self.sender().await {
            Ok(sender) => sender.ask(self.connect_timeout).await,
            Err(fault) => Err(fault),
        };
        let origin = self.origin();
        let mut found = vec![match answer {
            Ok(status @ (401 | 403)) => {
                let message =
                    format!("{origin} answers {status} to OPTIONS: if it answers events so, they wait");
                finding(Severity::Warning, message)
            }
            Ok(status) => finding(Severity::Ok, format!("{origin} answers ({status} to OPTIONS)")),
            Err(fault) => finding(Severity::Error, fault.message),
        }];
        let loopback = ["127.", "[::1]", "localhost"].iter();
        let near =
            loopback.clone().any(|near| self.url.host_str().is_some_and(|host| host.starts_with(near)));
        if self.url.scheme() == "http" && self.authorization.is_some() && !near {
            let message = format!("`authorization` travels to {origin} unencrypted: use https");
            found.push(finding(Severity::Warning, message));
        }
        found
    }

    fn kind(&self) -> &'static str {
        "http"
    }

    fn destination(&self) -> Option<&Template> {
        None
    }

    /// The URL's path and query and the values of headers may be secrets: their hash tells them apart.
    fn fingerprint(&self) -> String {
        let mut hasher = DefaultHasher::new();
        self.url.as_str().hash(&mut hasher);
        self.headers.iter().for_each(|(_, value)| value.as_bytes().hash(&mut hasher));
        format!("{self:?} {:016x}", hasher.finish())
    }

    fn files(&self) -> Vec<PathBuf> {
        let secrets = self.authorization.iter().chain(&self.signing_secret).filter_map(SecretRef::file);
        let tls = [&self.tls.ca, &self.tls.cert, &self.tls.key].into_iter().flatten();
        secrets.map(Path::to_owned).chain(tls.cloned()).collect()
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
        let made = tokio::task::spawn_blocking(move || Sender::new(&config)).await;
        let lost = |_| Fault::retry(ErrorClass::Unknown, "making an HTTP client was cut off");
        made.map_err(lost)?.map(Arc::new)
    }

    /// Opens a connection and lets it go.
    async fn dial(&self) -> Result<(), Fault> {
        let host = self.url.host_str().unwrap_or_default().trim_matches(['[', ']']);
        let port = self.url.port_or_known_default().unwrap_or_default();
        let dns = |e: io::Error| match find::<Blocked>(&e) {
            Some(_) => (Silence::Blocked, e.to_string()),
            None => (Silence::Dns, e.to_string()),
        };
        let dial = async {
            let addresses = Guard { allow_private: self.allow_private }.addresses(host, port).await;
            let addresses = addresses.map_err(dns)?;
            TcpStream::connect(&addresses[..]).await.map_err(|e| (Silence::Connect, e.to_string()))
        };
        let too_late = || Err((Silence::Timeout, format!("no answer within {:?}", self.connect_timeout)));
        let dialled = tokio::time::timeout(self.connect_timeout, dial).await.unwrap_or_else(|_| too_late());
        dialled.map(drop).map_err(|(silence, why)| {
            let message = format!("cannot reach {}: {why}", self.origin());
            Fault { outcome: unanswered(silence, &message), message }
        })
    }
}

/// One receiver.
struct HttpConnector {
    config: HttpConfig,
    sender: Mutex<Arc<Sender>>,
    felt: Arc<Felt>,
    requests: Mutex<JoinSet<()>>,
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
        Limits { in_flight: open, batch: open, bytes: BYTES }
    }

    async fn deliver(&self, batch: Vec<Delivery>) {
        let sender = match self.sender().await {
            Ok(sender) => sender,
            Err(fault) => {
                return batch.into_iter().for_each(|d| d.receipt.settle(fault.outcome.clone(), None));
            }
        };
        let round = locked(&self.felt.window).round();
        let mut requests = locked(&self.requests);
        while requests.try_join_next().is_some() {}
        for delivery in batch {
            // A task that just settled may still be counted here, hence twice the window.
            if requests.len() >= 2 * self.config.max_in_flight {
                let why = Cause::new(ErrorClass::Throttle, "more messages than the connector's window holds");
                delivery.receipt.settle(Outcome::Retry { after: None, why }, None);
                continue;
            }
            requests.spawn(attempt(Arc::clone(&sender), Arc::clone(&self.felt), round, delivery));
        }
    }

    async fn close(self: Box<Self>) {
        let mut requests = self.requests.into_inner().unwrap_or_else(PoisonError::into_inner);
        let all = async { while requests.join_next().await.is_some() {} };
        // What is not answered by then ends with `requests`: its receipts are dropped, and settle as Retry.
        let _ = tokio::time::timeout(CLOSE_WAIT, all).await;
    }
}

async fn attempt(sender: Arc<Sender>, felt: Arc<Felt>, round: u64, delivery: Delivery) {
    let Delivery { message, receipt, .. } = delivery;
    let Answer { outcome, report, pressed } = sender.post(message).await;
    match &outcome {
        _ if pressed => locked(&felt.window).pressed(round),
        Outcome::Delivered => locked(&felt.window).succeeded(),
        Outcome::Faulted { why, .. } if matches!(why.class, ErrorClass::Auth | ErrorClass::Tls) => {
            felt.stale.store(true, Ordering::Relaxed);
        }
        _ => {}
    }
    receipt.settle(outcome, report);
}

/// No code panics under these locks; if some did, what they hold is still whole.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
