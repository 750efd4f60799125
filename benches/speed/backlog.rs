//! A data directory with a large backlog, made by the product's own commit path and left as a crash leaves
//! it.
//!
//! Must never write an entry in a way that the product would not.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, anyhow, ensure};
use bytes::Bytes;
use tidings::commit::{Commit, Conditions, NewBody, PutObject};
use tidings::config::{self, Config};
use tidings::event::{EventKind, RequestInfo};
use tidings::journal::{self, OsDisk, crc32c};
use tidings::queue::TargetNo;
use tidings::queue::embedded::{EmbeddedQueue, Options};
use tidings::rules::RuleSet;
use tidings::store::EmbeddedStore;

use crate::server::{BUCKET, Home};

/// Commits under way at once while the backlog is made.
const WRITERS: usize = 256;
/// Bytes of each body, where a row does not say otherwise.
pub(crate) const BODY: usize = 1024;

/// What the process that makes a backlog is asked for.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Fill {
    #[arg(long)]
    config: std::path::PathBuf,
    #[arg(long)]
    entries: u64,
    /// Bytes of each body.
    #[arg(long)]
    body: usize,
}

/// Makes the backlog in a process of its own, which ends as by `kill -9`.
pub(crate) fn make(home: &Home, entries: u64, body: usize) -> Result<()> {
    let status = Command::new(std::env::current_exe()?)
        .args(["fill", "--entries", &entries.to_string(), "--body", &body.to_string(), "--config"])
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

/// The journal of a configuration.
pub(crate) fn journal_options(config: &Config) -> journal::Options {
    journal::Options {
        dir: config.server.data.join("journal"),
        segment_bytes: config.queue.segment_bytes,
        max_bytes: config.queue.max_bytes,
        retain_bytes: config.queue.retain_bytes,
        retain_age: config.queue.retain_age,
        first_epoch: 1,
        clock: now_us,
        random: |b| getrandom::fill(b).map_err(|e| std::io::Error::other(e.to_string())),
        observer: Arc::new(|_| {}),
    }
}

/// A configuration from its file.
pub(crate) fn load(path: &Path) -> Result<Config> {
    config::load(Some(path), std::iter::empty()).map_err(|e| anyhow!("{e}"))
}

/// The process that fills: commits so many entries for every target and aborts.
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
        let mut rules = Vec::new();
        for (number, target) in (1..).map(TargetNo).zip(&config.targets) {
            let since = commit.register_target(number, &target.name, target.connector.kind()).await?.offset;
            queue.add_reader(number, since)?;
            rules.push((number, target.rules.clone()));
        }
        commit.set_rules(RuleSet::build(&rules));
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
        hops: 0,
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
