//! A receiver of POSTs in a process of its own, which counts and answers 200, and a bare loop of requests.
//!
//! Must never use the product's code.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::get;
use reqwest::Client;
use tidings::encode::Binding;
use tidings_connector::Message;
use tidings_http::HttpOptions;

use crate::far::{Far, every_event};

const PATIENCE: Duration = Duration::from_secs(30);

/// A running receiver; killed when dropped.
pub(crate) struct Receiver {
    child: Child,
    address: String,
    client: Client,
}

/// The process: serves until it is killed.
pub(crate) fn run() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        println!("listening {}", listener.local_addr()?);
        let count = async |State(posts): State<Arc<AtomicU64>>| posts.load(Ordering::Relaxed).to_string();
        let post = async |State(posts): State<Arc<AtomicU64>>, _body: Bytes| {
            posts.fetch_add(1, Ordering::Relaxed);
        };
        let router = Router::new().route("/", get(count).post(post)).with_state(Arc::default());
        Ok(axum::serve(listener, router).await?)
    })
}

impl Receiver {
    /// Starts one, which nobody else has.
    pub(crate) fn start() -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        let mut child = command.arg("receiver").stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        let stdout = child.stdout.take().context("its output is piped")?;
        let read = BufReader::new(stdout).read_line(&mut line);
        let address = line.trim().strip_prefix("listening ").map(str::to_owned);
        let client = Client::builder()
            .no_proxy()
            .pool_max_idle_per_host(HttpOptions::default().max_in_flight)
            .user_agent("reference")
            .build();
        let receiver = Self { child, address: address.unwrap_or_default(), client: client? };
        ensure!(read.is_ok() && !receiver.address.is_empty(), "the receiver ended at its start");
        Ok(receiver)
    }

    /// TOML of a target whose bucket has no object, ever: it is idle.
    pub(crate) fn idle_target(&self, name: &str) -> String {
        let url = format!("http://{}/", self.address);
        format!(
            "[target.{name}.connector.http]\nurl = {url:?}\n[[target.{name}.rule]]\nbucket = \"no-{name}\"\n\
             events = [\"s3:ObjectCreated:*\"]\n"
        )
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        // Nothing is lost with it: it holds a number.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Far for Receiver {
    const BINDING: Binding = Binding::Http;

    fn target(&self, name: &str) -> String {
        let url = format!("http://{}/", self.address);
        format!("[target.{name}.connector.http]\nurl = {url:?}\n{}", every_event(name))
    }

    async fn arrived(&self) -> Result<u64> {
        let answer = self.client.get(format!("http://{}/", self.address)).timeout(PATIENCE).send().await?;
        Ok(answer.text().await?.parse()?)
    }

    async fn publish(&self, messages: Vec<Message>) -> Result<()> {
        let (messages, next) = (Arc::new(messages), Arc::new(AtomicUsize::new(0)));
        let mut loops = tokio::task::JoinSet::new();
        for _ in 0..HttpOptions::default().max_in_flight {
            let (messages, next) = (Arc::clone(&messages), Arc::clone(&next));
            let (client, url) = (self.client.clone(), format!("http://{}/", self.address));
            let timeout = HttpOptions::default().timeout.0;
            loops.spawn(async move {
                while let Some(message) = messages.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let mut request = client.post(&url).timeout(timeout).body(message.payload.clone());
                    for header in &message.headers {
                        request = request.header(header.name, header.value.as_bytes());
                    }
                    let answer = request.send().await?.error_for_status()?;
                    answer.bytes().await?;
                }
                anyhow::Ok(())
            });
        }
        while let Some(done) = loops.join_next().await {
            done??;
        }
        Ok(())
    }

    async fn remove(self) -> Result<()> {
        Ok(())
    }
}
