//! The journal's row: 64 waiters against a bare loop that writes and syncs the same batches.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use bytes::Bytes;
use tidings::journal::{Durable, Journal, NewRecord, Opened, Options, OsDisk, Sink, crc32c};

use crate::report::{Figure, Run, Table};

const WAITERS: usize = 64;
const BODY: usize = 1024;
const SEGMENT: u64 = 64 << 20;
/// Bytes of a record and of a batch beside the bodies, as `format.rs` has them.
const RECORD: usize = 32;
const BATCH: usize = 56;

struct Nowhere;

impl Sink<()> for Nowhere {
    fn publish(&self, _: Vec<Durable<()>>) {}
}

/// Runs both.
pub(crate) async fn row(run: &Run, table: &mut Table) -> Result<()> {
    let dir = tempfile::TempDir::with_prefix_in("journal-", env!("CARGO_TARGET_TMPDIR"))?;
    let (ours, batches) = ours(dir.path(), run.window()).await?;
    let reference = tokio::task::block_in_place(|| bare(dir.path(), &batches))?;
    let mean = batches.iter().sum::<usize>() as f64 / batches.len() as f64;
    table.note(format!("journal: {} batches of {mean:.1} records on average", batches.len()));
    table.add(Figure {
        what: "journal append, 64 waiters, 1 KiB",
        unit: "/s",
        value: ours,
        reference: Some(reference),
        target: "0.8 x a bare loop that writes and syncs the same batches",
        met: |value, reference| value >= 0.8 * reference,
    });
    Ok(())
}

/// Appends a second, and how many records each batch had.
async fn ours(dir: &std::path::Path, seconds: f64) -> Result<(f64, Vec<usize>)> {
    let sizes = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&sizes);
    let options = Options {
        dir: dir.join("journal"),
        segment_bytes: SEGMENT,
        max_bytes: 16 * SEGMENT,
        retain_bytes: 0,
        retain_age: Duration::ZERO,
        first_epoch: 1,
        clock: || jiff::Timestamp::now().as_microsecond(),
        random: |b| getrandom::fill(b).map_err(|e| std::io::Error::other(e.to_string())),
        observer: Arc::new(move |batch| {
            seen.lock().unwrap_or_else(PoisonError::into_inner).push(batch.records);
        }),
    };
    let journal: Arc<Journal<()>> =
        Arc::new(Opened::open(Arc::new(OsDisk), options, 0)?.start(Arc::new(Nowhere))?);
    journal.prepared().wait_for(|ready| *ready >= 2).await?;
    // Files are recycled after the first ones, as in a system whose events are delivered.
    append(&journal, 4.0_f64.min(seconds)).await?;
    sizes.lock().unwrap_or_else(PoisonError::into_inner).clear();
    let begin = Instant::now();
    let appended = append(&journal, seconds).await?;
    let rate = appended as f64 / begin.elapsed().as_secs_f64();
    tokio::task::block_in_place(|| journal.stop());
    let sizes = std::mem::take(&mut *sizes.lock().unwrap_or_else(PoisonError::into_inner));
    Ok((rate, sizes))
}

async fn append(journal: &Arc<Journal<()>>, seconds: f64) -> Result<u64> {
    let until = Instant::now() + Duration::from_secs_f64(seconds);
    let mut waiters = tokio::task::JoinSet::new();
    for n in 0..WAITERS {
        let journal = Arc::clone(journal);
        let body = Bytes::from(vec![n as u8; BODY]);
        let body_crc = crc32c(&body);
        waiters.spawn(async move {
            let mut appended = 0;
            while Instant::now() < until {
                let record = NewRecord {
                    kind: 1,
                    labels: Vec::new(),
                    meta: Vec::new(),
                    body: body.clone(),
                    body_crc,
                    item: (),
                };
                let offset = journal.append(record).await.map_err(anyhow::Error::msg)?;
                appended += 1;
                if offset % 10_000 == 0 {
                    journal.trim(offset);
                }
            }
            anyhow::Ok(appended)
        });
    }
    let mut appended = 0;
    while let Some(done) = waiters.join_next().await {
        appended += done??;
    }
    Ok(appended)
}

/// The same batches, written to files of zeros and synced one by one: records a second.
fn bare(dir: &std::path::Path, batches: &[usize]) -> Result<f64> {
    let mut files = Vec::new();
    for n in 0..3 {
        let file =
            File::options().read(true).write(true).create_new(true).open(dir.join(format!("bare-{n}")))?;
        let zeros = vec![0; 4 << 20];
        for at in 0..SEGMENT / zeros.len() as u64 {
            file.write_all_at(&zeros, at * zeros.len() as u64)?;
        }
        file.sync_all()?;
        files.push(file);
    }
    let largest = batches.iter().max().copied().unwrap_or(0);
    let data = vec![7; span(largest)];
    let (mut file, mut at, mut records) = (0, 0, 0);
    let begin = Instant::now();
    for batch in batches {
        let bytes = span(*batch);
        if at + bytes as u64 > SEGMENT {
            (file, at) = ((file + 1) % files.len(), 0);
        }
        files[file].write_all_at(&data[..bytes], at)?;
        files[file].sync_data()?;
        at += bytes as u64;
        records += batch;
    }
    Ok(records as f64 / begin.elapsed().as_secs_f64())
}

fn span(records: usize) -> usize {
    (BATCH + records * (RECORD + BODY)).next_multiple_of(4096)
}
