//! `tidings demo`: changes through the S3 API, and each event as a receiver got it, side by side; beside it
//! the same events as a function got them that runs here.
//!
//! Must never believe the product about itself: what should arrive comes from the S3 answers, what arrived
//! from the receiver's own list and from what the function's code wrote.

mod beside;
mod function;
mod receiver;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use secrecy::ExposeSecret as _;

use super::{Failure, serve};
use crate::app::App;
use crate::client::{Client, Response};
use crate::config;
use beside::{compare, print_beside};
use function::Hosted;
use receiver::Receiver;
use tidings_kafka::KafkaOptions;

/// The demonstration waits so long for everything to arrive.
const ARRIVE_WITHIN: Duration = Duration::from_secs(30);
const BUCKET: &str = "photos";
/// Where the events go with `--kafka`.
const KAFKA_TOPIC: &str = "tidings-demo";

/// Make changes and show their events.
#[derive(clap::Args)]
pub(super) struct Demo {
    /// Also deliver to this Kafka broker, into the topic `tidings-demo`.
    #[arg(long, value_name = "HOST:PORT")]
    kafka: Option<String>,
    /// Work in this directory instead of a fresh temporary one.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Stay and serve afterwards, until Ctrl-C.
    #[arg(long)]
    keep: bool,
}

/// One change, as its S3 answer confirmed it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Done {
    what: &'static str,
    kind: &'static str,
    key: &'static str,
    etag: String,
    size: u64,
    request: String,
}

impl Demo {
    pub(super) async fn run(self) -> Result<(), Failure> {
        serve::init_logs("warn");
        let (dir, temporary) = self.directory()?;
        let result = self.show(&dir).await;
        if temporary && !self.keep {
            let _ = std::fs::remove_dir_all(&dir);
        }
        Ok(result?)
    }

    fn directory(&self) -> anyhow::Result<(PathBuf, bool)> {
        match &self.data {
            Some(dir) => {
                let empty = std::fs::read_dir(dir).map(|mut d| d.next().is_none()).unwrap_or(true);
                ensure!(empty, "{} is not empty: name a fresh directory", dir.display());
                Ok((dir.clone(), false))
            }
            None => {
                let mut random = [0; 6];
                getrandom::fill(&mut random).map_err(|e| anyhow::anyhow!("no random bytes: {e}"))?;
                Ok((std::env::temp_dir().join(format!("tidings-demo-{}", hex::encode(random))), true))
            }
        }
    }

    async fn show(&self, dir: &Path) -> anyhow::Result<()> {
        if let Some(broker) = &self.kafka {
            let options = KafkaOptions {
                brokers: vec![broker.clone()],
                topic: KAFKA_TOPIC.to_owned(),
                ..KafkaOptions::default()
            };
            let kafka = options.checked("kafka").map_err(|e| anyhow::anyhow!("--kafka: {e}"))?;
            // A target's topic is its operator's to make; here that is the demonstration itself.
            kafka.create_topic(1).await.map_err(|e| anyhow::anyhow!("--kafka: {e}"))?;
        }
        let receiver = Receiver::start().await?;
        std::fs::create_dir_all(dir).with_context(|| format!("{} cannot be made", dir.display()))?;
        let file = dir.join("tidings.toml");
        std::fs::write(&file, self.configuration(dir, &receiver.url()))?;
        let config = config::load(Some(&file), std::iter::empty()).map_err(|e| anyhow::anyhow!("{e}"))?;
        let app = App::start(config).await?;
        let shown = self.show_on(&app, &receiver, &file).await;
        app.stop().await?;
        let whom = if shown? { "the receiver and the function" } else { "the receiver" };
        say!("\nEvery change reached {whom} once, in order per key.");
        if let Some(broker) = &self.kafka {
            say!(
                "Kafka at {broker} confirmed as many, by the books; the demonstration does not read topic \
                 `{KAFKA_TOPIC}` back."
            );
        }
        Ok(())
    }

    /// True if a function was shown too.
    async fn show_on(&self, app: &App, receiver: &Receiver, config: &Path) -> anyhow::Result<bool> {
        let region = &app.config().server.region;
        let endpoint = format!("http://{}", app.s3_address());
        let access = app.credentials().access_keys().next().context("no credential was made")?;
        let secret = app.credentials().secret(access).context("no secret was made")?;
        let client = Client::new(&endpoint, region, access, secret.expose_secret())?;
        say!("tidings serves S3 at {endpoint}; a receiver listens at {}\n", receiver.url());
        let bucket = client.create_bucket(BUCKET).await?;
        ensure!(bucket.status.is_success(), "the bucket was not made: {}", bucket.status);
        let hosted = Hosted::make(app, config).await?;
        let done = make_changes(&client).await?;
        let arrived = receiver.wait_for(done.len(), ARRIVE_WITHIN).await;
        print_beside(&done, &arrived);
        let mut verdict = compare(&done, &arrived);
        let mut targets = vec!["receiver"];
        targets.extend(self.kafka.as_ref().map(|_| "kafka"));
        if let Some(hosted) = &hosted {
            targets.push(function::TARGET);
            app.settled(function::TARGET, ARRIVE_WITHIN).await.context("the function has no target")?;
            verdict = verdict.and(hosted.judge(&done).await);
        }
        let books = books(app, &targets, done.len() as u64).await;
        if self.keep {
            self.serve_on(app, &endpoint, region).await?;
        }
        verdict.and(books).map(|()| hosted.is_some())
    }

    fn configuration(&self, dir: &Path, receiver: &str) -> String {
        let mut toml = format!(
            "[server]\nlisten = \"127.0.0.1:0\"\ndata = {:?}\n\n[admin]\nlisten = \"127.0.0.1:0\"\n\n\
             [target.receiver.connector.http]\nurl = {receiver:?}\n\n\
             [[target.receiver.rule]]\nbucket = \"*\"\n\
             events = [\"cos:ObjectCreated:*\", \"cos:ObjectRemove:*\"]\n",
            dir.join("data"),
        );
        if let Some(broker) = &self.kafka {
            toml += &format!(
                "\n[target.kafka.connector.kafka]\nbrokers = [{broker:?}]\ntopic = {KAFKA_TOPIC:?}\n\n\
                 [[target.kafka.rule]]\nbucket = \"*\"\n\
                 events = [\"cos:ObjectCreated:*\", \"cos:ObjectRemove:*\"]\n"
            );
        }
        toml
    }

    async fn serve_on(&self, app: &App, endpoint: &str, region: &str) -> anyhow::Result<()> {
        let (path, _) = app.credentials_file();
        say!("\nS3          {endpoint}\nadmin       http://{}", app.admin_address());
        say!("credentials {}", path.display());
        say!("\nTry, with the key pair from that file in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY:");
        say!("  AWS_DEFAULT_REGION={region} aws --endpoint-url {endpoint} s3 cp README.md s3://{BUCKET}/");
        say!("\nServing until Ctrl-C.");
        tokio::select! {
            signal = tokio::signal::ctrl_c() => Ok(signal?),
            why = app.failed() => bail!("{why}"),
        }
    }
}

/// Prints the books once every target has everything, and fails if they do not say so.
async fn books(app: &App, targets: &[&str], expected: u64) -> anyhow::Result<()> {
    say!("\nbooks           matched  delivered  backlog  held");
    let mut wrong = Vec::new();
    for target in targets {
        let books = app.settled(target, ARRIVE_WITHIN).await.context("the target is not registered")?;
        let (matched, delivered) = (books.matched, books.delivered);
        say!("{target:<15} {matched:>7}  {delivered:>9}  {:>7}  {:>4}", books.backlog, books.held);
        if matched != expected || delivered != expected || books.imbalance() != 0 {
            wrong.push(*target);
        }
    }
    ensure!(wrong.is_empty(), "the books of {} do not say {expected} delivered", wrong.join(", "));
    Ok(())
}

/// Puts, one overwrite and deletes; each one only after the answer of the one before.
async fn make_changes(client: &Client) -> anyhow::Result<Vec<Done>> {
    let mut done = Vec::new();
    let puts = [
        ("PUT", "in/cat.jpg", "a cat"),
        ("PUT", "in/dog and bone.jpg", "a dog, and a bone"),
        ("PUT (again)", "in/cat.jpg", "another cat"),
        ("PUT", "empty", ""),
    ];
    for (what, key, body) in puts {
        let answer = client.put(BUCKET, key, body.as_bytes().to_vec()).await?;
        let etag = answer.etag().unwrap_or_default().trim_matches('"').to_owned();
        done.push(confirmed(what, "ObjectCreated:Put", key, etag, body.len() as u64, &answer)?);
    }
    for key in ["in/dog and bone.jpg", "in/cat.jpg"] {
        let answer = client.delete(BUCKET, key).await?;
        done.push(confirmed("DELETE", "ObjectRemoved:Delete", key, String::new(), 0, &answer)?);
    }
    // Nothing is there any more: no change, so no event.
    let again = client.delete(BUCKET, "in/cat.jpg").await?;
    ensure!(again.status.is_success(), "a DELETE of nothing was refused: {}", again.status);
    Ok(done)
}

fn confirmed(
    what: &'static str,
    kind: &'static str,
    key: &'static str,
    etag: String,
    size: u64,
    answer: &Response,
) -> anyhow::Result<Done> {
    ensure!(answer.status.is_success(), "{what} {key} was refused: {}", answer.status);
    let request = answer.header("x-amz-request-id").unwrap_or_default().to_owned();
    Ok(Done { what, kind, key, etag, size, request })
}
