//! Opens store and queue, and closes them.
//!
//! Must never let a request in before reads are complete, nor close the queue before the store has made its
//! last checkpoint.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{index, now_us, random};
use crate::config::Config;
use crate::frontend::{Frontend, Served};
use crate::journal::{self, Headroom, OsDisk};
use crate::metrics::Metrics;
use crate::queue::embedded::{EmbeddedQueue, Options};
use crate::queue::repair;
use crate::store::EmbeddedStore;

/// How long a start waits for the log's next segments. On a disk that needs longer it goes on without, and
/// says so: objects can be read.
const SEGMENTS_WITHIN: Duration = Duration::from_secs(30);

/// Waits until so many segments stand ready, or cannot for now.
pub(super) async fn first_segments(queue: &EmbeddedQueue, segments: usize) {
    if let Err(why) = queue.segments_ready(segments, SEGMENTS_WITHIN).await {
        tracing::warn!("{why}; until there is room changes are refused with 503, and objects can be read");
    }
}

/// Serves clients once the log can take their changes: who connects before waits. Says when that is.
pub(super) fn serve(
    frontend: Frontend,
    listener: TcpListener,
    queue: Arc<EmbeddedQueue>,
    stop: CancellationToken,
) -> (watch::Receiver<bool>, JoinHandle<Served>) {
    let (opens, opened) = watch::channel(false);
    let serving = async move {
        tokio::select! {
            () = first_segments(&queue, 2) => {}
            () = stop.cancelled() => {}
        }
        opens.send_replace(true);
        frontend.serve(listener, stop.cancelled_owned()).await
    };
    (opened, tokio::spawn(serving))
}

/// Makes everything durable and ends the threads of store and queue.
pub(super) async fn close(store: Arc<EmbeddedStore>, queue: Arc<EmbeddedQueue>) -> anyhow::Result<()> {
    let closing = tokio::task::spawn_blocking(move || {
        store.stop();
        queue.stop();
    });
    closing.await.context("closing ended by a bug")
}

/// What gets the space that is kept back for a full disk: everything but what clients fill it with, the log's
/// segments and the bodies of large objects.
fn relieves(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let of_clients = name.ends_with(".seg") || name.starts_with("spare-");
    !of_clients && !path.components().any(|part| part.as_os_str() == "blobs")
}

/// Where the epochs of a journal begin that is made now: none is ever reached that another server has, and
/// there is room above for every start that may come.
fn first_epoch() -> anyhow::Result<u32> {
    let mut bytes = [0; 4];
    random(&mut bytes).context("the operating system gives no random bytes")?;
    Ok(1 + u32::from_le_bytes(bytes) % (1 << 30))
}

/// Opens store and queue and applies what the index lacks, so that reads are complete before the first
/// request.
pub(super) async fn open_storage(
    config: &Config,
    metrics: &Metrics,
) -> anyhow::Result<(Arc<EmbeddedStore>, Arc<EmbeddedQueue>)> {
    let config = config.clone();
    let data = config.server.data.clone();
    let (counted, losses) = (Arc::clone(&metrics.journal), data.join("journal"));
    let options = Options {
        journal: journal::Options {
            dir: data.join("journal"),
            segment_bytes: config.queue.segment_bytes,
            max_bytes: config.queue.max_bytes,
            retain_bytes: config.queue.retain_bytes,
            retain_age: config.queue.retain_age,
            first_epoch: first_epoch()?,
            clock: now_us,
            random,
            observer: Arc::new(move |batch| counted.batch(batch.records, batch.write, batch.sync)),
        },
        progress_dir: data.join("progress"),
        overlay_bytes: config.queue.overlay_bytes,
        tail_bytes: config.queue.tail_bytes,
        reserve_timeout: config.server.reserve_timeout,
    };
    let opening = tokio::task::spawn_blocking(move || {
        let bytes = config.queue.segment_bytes + config.queue.overlay_bytes;
        let headroom = Headroom::over(Arc::new(OsDisk), data.join("ballast"), bytes, relieves)?;
        let headroom = Arc::new(headroom);
        let disk: Arc<dyn journal::Disk> = Arc::clone(&headroom) as _;
        let began = Instant::now();
        let store = EmbeddedStore::open(Arc::clone(&disk), &data, &config.store)?;
        let (from, index) = (store.checkpoint_next(), began.elapsed());
        let queue = EmbeddedQueue::open(disk, options, from, store.publisher())?;
        let log = began.elapsed();
        store.start(queue.feed(from))?;
        tracing::info!(
            ?index,
            log = ?log - index,
            applied = store.applied_next() - from,
            applying = ?began.elapsed() - log,
            "opened: the index, the log, and what the index had to apply again"
        );
        headroom.keep()?;
        anyhow::Ok((store, Arc::new(queue)))
    });
    let opened = opening.await.context("opening ended by a bug")??;
    let losses = repair::accepted(&OsDisk, &losses).context("accepted losses")?;
    index::count_losses(&losses, &metrics.journal);
    Ok(opened)
}
