//! One connection to the far side: making it, handing it batches, ending it.
//!
//! The connector runs in tasks of its own, so that a panic or a hang of its code ends the connection and
//! nothing else. Must never decide about events: what is lost with a connection comes back through its
//! receipts.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use tidings_connector::{Connector, ConnectorConfig, Delivery, Fault, Limits};
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinHandle};
use tokio::time::{Instant, timeout};

use super::{CLOSE_BOUND, DELIVER_BOUND};

/// How the target is connected.
pub(super) enum Connection {
    /// Not now; to be tried again at this moment.
    None { retry_at: Instant },
    /// Being made.
    Connecting(JoinHandle<Result<Box<dyn Connector>, ConnectError>>),
    /// Made.
    Up(Link),
}

/// Why no connection was made.
pub(super) enum ConnectError {
    /// The far side, or the way to it, said why.
    Fault(Fault),
    /// It took longer than an attempt may take.
    Late,
}

/// What happened to the connection.
pub(super) enum LinkEvent {
    /// The attempt to connect ended.
    Connected(Result<Result<Box<dyn Connector>, ConnectError>, JoinError>),
    /// The connection ended, and why, for people.
    Ended(String),
    /// There is room for a batch again.
    Writable,
}

impl Connection {
    /// Begins to connect, within `bound`.
    pub(super) fn start(config: &Arc<dyn ConnectorConfig>, bound: Duration) -> Self {
        let config = Arc::clone(config);
        Self::Connecting(tokio::spawn(async move {
            match timeout(bound, config.connect()).await {
                Ok(Ok(connector)) => Ok(connector),
                Ok(Err(fault)) => Err(ConnectError::Fault(fault)),
                Err(_) => Err(ConnectError::Late),
            }
        }))
    }

    /// Waits for what happens next; `blocked`: a batch waits for room. Cancel safe; for ever without a
    /// connection.
    pub(super) async fn event(&mut self, blocked: bool) -> LinkEvent {
        match self {
            Self::None { .. } => std::future::pending().await,
            Self::Connecting(task) => LinkEvent::Connected(task.await),
            Self::Up(link) => tokio::select! {
                ended = &mut link.task => LinkEvent::Ended(match ended {
                    Ok(why) => why.to_owned(),
                    Err(error) if error.is_panic() => "the connector panicked".to_owned(),
                    Err(_) => "the connector's task was cancelled".to_owned(),
                }),
                _ = link.batches.reserve(), if blocked => LinkEvent::Writable,
            },
        }
    }

    /// Gives the connection up at once, without waiting for anything.
    pub(super) fn abandon(self) {
        match self {
            Self::None { .. } => {}
            Self::Connecting(task) => task.abort(),
            Self::Up(link) => link.abandon(),
        }
    }

    /// Ends the connection gently, within a bound, in a task of its own.
    pub(super) fn close(self) -> Option<JoinHandle<()>> {
        match self {
            Self::Up(link) => Some(tokio::spawn(link.close())),
            other => {
                other.abandon();
                None
            }
        }
    }
}

/// A connection that is up.
pub(super) struct Link {
    connector: Arc<Box<dyn Connector>>,
    batches: mpsc::Sender<Vec<Delivery>>,
    task: JoinHandle<&'static str>,
}

impl Link {
    /// Starts to serve a connector.
    pub(super) fn new(connector: Box<dyn Connector>) -> Self {
        let connector = Arc::new(connector);
        // One batch may wait while another is being handed over: encoding and sending overlap.
        let (batches, inbox) = mpsc::channel(1);
        let task = tokio::spawn(serve(Arc::clone(&connector), inbox));
        Self { connector, batches, task }
    }

    /// How much may be out now. `None` if the connector is no longer healthy, or panics when it is asked.
    pub(super) fn limits(&self) -> Option<Limits> {
        let ask = || self.connector.healthy().then(|| self.connector.limits());
        std::panic::catch_unwind(AssertUnwindSafe(ask)).ok().flatten()
    }

    /// True if a batch can be handed over now.
    pub(super) fn has_room(&self) -> bool {
        self.batches.capacity() > 0
    }

    /// Hands a batch over. If the connection has just ended, the batch is dropped, which its receipts report.
    pub(super) fn hand_over(&self, batch: Vec<Delivery>) {
        drop(self.batches.try_send(batch));
    }

    fn abandon(self) {
        let Self { connector, batches, task } = self;
        task.abort();
        // The connector's own code runs when it is dropped: not in the lane.
        tokio::spawn(async move {
            drop(batches);
            let _ = task.await;
            drop(connector);
        });
    }

    async fn close(self) {
        let Self { connector, batches, mut task } = self;
        drop(batches);
        if timeout(CLOSE_BOUND, &mut task).await.is_err() {
            task.abort();
            return;
        }
        if let Ok(connector) = Arc::try_unwrap(connector) {
            let _ = timeout(CLOSE_BOUND, connector.close()).await;
        }
    }
}

/// Hands batches to the connector one after the other. Returns why it ended.
async fn serve(
    connector: Arc<Box<dyn Connector>>,
    mut batches: mpsc::Receiver<Vec<Delivery>>,
) -> &'static str {
    while let Some(batch) = batches.recv().await {
        if timeout(DELIVER_BOUND, connector.deliver(batch)).await.is_err() {
            return "the connector did not take a batch in time";
        }
    }
    "closed"
}
