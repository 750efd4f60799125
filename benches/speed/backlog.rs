//! A data directory with a large backlog, made by the product's own commit path and left as a crash leaves
//! it; and the loop without a lane that a lane is measured against.
//!
//! Must never write an entry in a way that the product would not.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use bytes::Bytes;
use rdkafka::ClientContext;
use rdkafka::config::FromClientConfigAndContext as _;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer as _, ProducerContext, ThreadedProducer};
use tidings::commit::{Commit, Conditions, NewBody, PutObject};
use tidings::config::{self, Config, Encoding};
use tidings::encode::{Binding, Encoder, Origin};
use tidings::event::{EventKind, RequestInfo};
use tidings::journal::{self, Durable, Journal, Opened, OsDisk, ReadError, Sink, crc32c};
use tidings::queue::embedded::{EmbeddedQueue, Options};
use tidings::queue::{Entry, Stored, TargetNo, decode};
use tidings::rules::RuleSet;
use tidings::store::EmbeddedStore;

use crate::machine;
use crate::server::{BUCKET, Home};

/// Commits under way at once while the backlog is made.
const WRITERS: usize = 256;
const BODY: usize = 1024;
/// Messages that the loop has outstanding: what the connector's window is.
const OUTSTANDING: u64 = 65_536;

/// What the process that makes a backlog is asked for.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Fill {
    #[arg(long)]
    config: std::path::PathBuf,
    #[arg(long)]
    entries: u64,
    /// Bytes of each body.
    #[arg(long, default_value_t = BODY)]
    body: usize,
}

/// Makes the backlog in a process of its own, which ends as by `kill -9`.
pub(crate) fn make(home: &Home, entries: u64) -> Result<()> {
    let status = Command::new(std::env::current_exe()?)
        .args(["fill", "--entries", &entries.to_string(), "--config"])
        .arg(home.config())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?
        .wait_with_output()?;
    let done = String::from_utf8_lossy(&status.stdout).contains("filled");
    ensure!(done, "the backlog was not made");
    Ok(())
}

fn now_us() -> i64 {
    jiff::Timestamp::now().as_microsecond()
}

fn journal_options(config: &Config) -> journal::Options {
    journal::Options {
        dir: config.server.data.join("journal"),
        segment_bytes: config.queue.segment_bytes,
        max_bytes: config.queue.max_bytes,
        retain_bytes: config.queue.retain_bytes,
        retain_age: config.queue.retain_age,
        clock: now_us,
        random: |b| getrandom::fill(b).map_err(|e| std::io::Error::other(e.to_string())),
        observer: Arc::new(|_| {}),
    }
}

fn load(path: &Path) -> Result<Config> {
    config::load(Some(path), std::iter::empty()).map_err(|e| anyhow!("{e}"))
}

/// The process that fills: commits so many entries for the first target and aborts.
pub(crate) fn fill(fill: &Fill) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let config = load(&fill.config)?;
        let data = config.server.data.clone();
        std::fs::create_dir_all(&data)?;
        let disk: Arc<dyn journal::Disk> = Arc::new(OsDisk);
        let store = EmbeddedStore::open(Arc::clone(&disk), &data, &config.store)?;
        let options = Options {
            journal: journal_options(&config),
            progress_dir: data.join("progress"),
            overlay_bytes: config.queue.overlay_bytes,
            tail_bytes: config.queue.tail_bytes,
            reserve_timeout: Duration::from_secs(60),
        };
        let queue = Arc::new(EmbeddedQueue::open(disk, options, store.checkpoint_next(), store.publisher())?);
        store.start(queue.feed(store.checkpoint_next()))?;
        let commit = Arc::new(Commit::new(queue.clone(), store.clone(), now_us, fastrand::Rng::new()));
        let target = config.targets.first().context("no target")?;
        let number = TargetNo(1);
        let since = commit.register_target(number, &target.name, target.connector.kind()).await?.offset;
        queue.add_reader(number, since)?;
        commit.set_rules(RuleSet::build(&[(number, target.rules.clone())]));
        let permit = commit.reserve(0).await?;
        commit.create_bucket(permit, BUCKET, request()).await?;
        let body = fill.body;
        let mut writers = tokio::task::JoinSet::new();
        for writer in 0..WRITERS as u64 {
            let (commit, count) = (
                Arc::clone(&commit),
                fill.entries / WRITERS as u64 + u64::from(writer < fill.entries % WRITERS as u64),
            );
            writers.spawn(async move {
                for n in 0..count {
                    put(&commit, writer, n, body).await?;
                }
                anyhow::Ok(())
            });
        }
        while let Some(done) = writers.join_next().await {
            done??;
        }
        println!("filled");
        std::process::abort()
    })
}

fn request() -> RequestInfo {
    RequestInfo {
        id: "0123456789ABCDEF".into(),
        source_ip: Some([127, 0, 0, 1].into()),
        principal: "BENCHACCESSKEY".into(),
    }
}

async fn put(commit: &Commit, writer: u64, n: u64, len: usize) -> Result<()> {
    let mut body = vec![0; len];
    fastrand::fill(&mut body);
    let permit = commit.reserve(2048).await?;
    let put = PutObject {
        bucket: BUCKET.into(),
        key: format!("o/{:016x}-{writer:04x}-{n:08x}", fastrand::u64(..)).into(),
        kind: EventKind::CreatedPut,
        size: len as u64,
        etag: format!("{:032x}", fastrand::u128(..)).into(),
        crc64: u64::from(crc32c(&body)),
        headers: Vec::new(),
        body: NewBody::Inline(Bytes::from(body)),
        conditions: Conditions::default(),
        request: request(),
    };
    commit.put_object(permit, put).await?;
    Ok(())
}

struct Nowhere;

impl Sink<()> for Nowhere {
    fn publish(&self, _: Vec<Durable<()>>) {}
}

/// Counts what was acknowledged and what was not.
#[derive(Clone, Default)]
struct Count(Arc<(AtomicU64, AtomicU64)>);

impl ClientContext for Count {}

impl ProducerContext for Count {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let counter = if result.is_ok() { &self.0.0 } else { &self.0.1 };
        counter.fetch_add(1, Ordering::Release);
    }
}

/// Reads segments, decodes, encodes and produces, with the product's producer settings and without a lane:
/// events a second until all are acknowledged.
pub(crate) fn without_a_lane(home: &Home, broker: &str, topic: &str) -> Result<f64> {
    let config = load(&home.config())?;
    let opened = Opened::open(Arc::new(OsDisk), journal_options(&config), 0)?;
    let journal: Journal<()> = opened.start(Arc::new(Nowhere))?;
    let options = tidings_kafka::KafkaOptions {
        brokers: vec![broker.to_owned()],
        topic: topic.to_owned(),
        ..tidings_kafka::KafkaOptions::default()
    };
    let client = options.checked("reference").map_err(anyhow::Error::msg)?.client()?;
    let count = Count::default();
    let producer = ThreadedProducer::from_config_and_context(&client, count.clone())?;
    let (region, appid) = (&*config.server.region, &*config.account.appid);
    let origin = Origin { region, appid, domain: None, target: "reference" };
    let encoder = Encoder::new(Encoding::S3, Binding::Kafka, origin, None);
    let begin = Instant::now();
    let mut reader = journal.reader(journal.stat().first);
    let mut sent = 0;
    let mut batch = Vec::new();
    loop {
        let more = reader.read_batch(|view| {
            batch.push(decode(view.meta, view.labels()).map(|entry| (journal::position(view), entry)));
        });
        match more {
            Ok(true) => {}
            Ok(false) => break,
            Err(ReadError::Io(e)) => return Err(e.into()),
            Err(e) => return Err(e.into()),
        }
        for entry in batch.drain(..) {
            let (position, entry) = entry?;
            sent += u64::from(produce(&producer, &encoder, &count, topic, sent, position, entry)?);
        }
    }
    producer.flush(Duration::from_secs(60))?;
    let (acked, failed) = (count.0.0.load(Ordering::Acquire), count.0.1.load(Ordering::Acquire));
    ensure!(acked == sent && failed == 0, "{acked} of {sent} acknowledged");
    let rate = sent as f64 / begin.elapsed().as_secs_f64();
    journal.stop();
    Ok(rate)
}

fn produce(
    producer: &ThreadedProducer<Count>,
    encoder: &Encoder,
    count: &Count,
    topic: &str,
    sent: u64,
    position: tidings::event::Position,
    entry: Entry,
) -> Result<bool> {
    let Some(rule) = entry.deliveries.first().map(|d| Arc::clone(&d.rule)) else { return Ok(false) };
    let stored = Stored { position, entry, body: Bytes::new(), bare: 0, charge: 0 };
    let message = encoder.message(&stored, &rule).map_err(|e| anyhow!("{}", e.text))?;
    while sent - count.0.0.load(Ordering::Acquire) >= OUTSTANDING {
        machine::pause(Duration::from_millis(1));
    }
    let headers = message.headers.iter().fold(OwnedHeaders::new_with_capacity(4), |headers, h| {
        headers.insert(Header { key: h.name, value: Some(h.value.as_bytes()) })
    });
    let record: BaseRecord<'_, [u8], [u8]> =
        BaseRecord::to(topic).key(&message.key[..]).payload(&message.payload[..]).headers(headers);
    let mut record = Some(record);
    while let Some(next) = record.take() {
        match producer.send(next) {
            Ok(()) => {}
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                machine::pause(Duration::from_millis(1));
                record = Some(back);
            }
            Err((e, _)) => return Err(e.into()),
        }
    }
    Ok(true)
}
