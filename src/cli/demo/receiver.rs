//! The demonstration's receiver: an HTTP server that lists what it gets, in its own order.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// One event as it arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Arrived {
    /// 1 for the first.
    pub(super) number: usize,
    pub(super) kind: String,
    pub(super) key: String,
    pub(super) etag: String,
    pub(super) size: u64,
    /// The request id of the S3 answer.
    pub(super) request: String,
}

#[derive(Default)]
struct List {
    arrived: Mutex<Vec<Arrived>>,
    count: watch::Sender<usize>,
}

pub(super) struct Receiver {
    list: Arc<List>,
    url: String,
}

impl Receiver {
    pub(super) async fn start() -> anyhow::Result<Self> {
        let list = Arc::new(List::default());
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}/events", listener.local_addr()?);
        let router = Router::new().route("/events", post(take)).with_state(Arc::clone(&list));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(Self { list, url })
    }

    pub(super) fn url(&self) -> String {
        self.url.clone()
    }

    /// Waits until `count` events arrived, or `within` passed; gives what there is.
    pub(super) async fn wait_for(&self, count: usize, within: Duration) -> Vec<Arrived> {
        let mut arrived = self.list.count.subscribe();
        let _ = tokio::time::timeout(within, arrived.wait_for(|n| *n >= count)).await;
        self.list.arrived.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn take(State(list): State<Arc<List>>, body: Bytes) -> StatusCode {
    let Ok(value) = serde_json::from_slice::<Value>(&body) else { return StatusCode::BAD_REQUEST };
    let record = &value["Records"][0];
    let object = &record["s3"]["object"];
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    // Keys in S3 records are URL-encoded, a space as `+`.
    let key = text(&object["key"]).replace('+', " ");
    let mut arrived = list.arrived.lock().unwrap_or_else(PoisonError::into_inner);
    let number = arrived.len() + 1;
    arrived.push(Arrived {
        number,
        kind: text(&record["eventName"]),
        key,
        etag: text(&object["eTag"]),
        size: object["size"].as_u64().unwrap_or(0),
        request: text(&record["responseElements"]["x-amz-request-id"]),
    });
    drop(arrived);
    list.count.send_replace(number);
    StatusCode::OK
}
