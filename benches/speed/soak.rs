//! The soak: many objects are put, overwritten and removed, every event delivered to a receiver, while lists
//! are asked for all the time. Space must come back, memory and the latency of lists must stay as they are.
//!
//! Must never count on what the server says of itself: space is what the file system says, memory what the
//! system says.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use bytes::Bytes;
use tidings::client::Client;

use crate::far::Far as _;
use crate::http::Receiver;
use crate::machine;
use crate::server::{BUCKET, Home, Server};

/// Requests at once.
const CLIENTS: usize = 32;
/// One object in so many is large: a blob of its own instead of a place in a pack.
const LARGE_EVERY: u64 = 100;
const SMALL_BYTES: usize = 1 << 10;
const LARGE_BYTES: usize = 100 << 10;
/// The space of bodies has come back when it stayed as it is for so long …
const STEADY: Duration = Duration::from_secs(30);
/// … and it is waited for no longer than this.
const PATIENCE: Duration = Duration::from_secs(600);
const LOOK: Duration = Duration::from_secs(1);
/// Between two lists.
const LIST_EVERY: Duration = Duration::from_millis(100);

/// How much.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Soak {
    /// Objects.
    #[arg(long, default_value_t = 1_000_000)]
    objects: u64,
}

/// What is done to every object.
#[derive(Debug, Clone, Copy)]
enum Phase {
    Put,
    Overwrite,
    Remove,
}

/// How it was at the end of a phase, once space had come back.
struct Row {
    phase: Phase,
    rate: f64,
    lists: Vec<u32>,
    memory_mib: f64,
    peak_mib: f64,
    /// MiB of bodies, of the index, and of everything.
    space: [f64; 3],
    /// From the last answer until space stayed as it was.
    settled: Duration,
}

/// Runs it, prints a table, and fails if space, memory or latency did not stay as they must.
pub(crate) async fn run(soak: &Soak) -> Result<()> {
    let receiver = Receiver::start()?;
    let home = Home::new(&receiver.target("all"))?;
    let server = home.start()?;
    server.create_bucket().await?;
    println!("other work took {:.0} % of the machine before the start", 100.0 * machine::busy_share()?);
    let mut rows = Vec::new();
    for (turn, phase) in [Phase::Put, Phase::Overwrite, Phase::Remove].into_iter().enumerate() {
        let row = pass(&server, &home.data(), phase, soak.objects).await?;
        println!("{}", line(&row));
        rows.push(row);
        let wanted = soak.objects * (turn as u64 + 1);
        let (begin, mut arrived) = (Instant::now(), 0);
        while arrived < wanted {
            ensure!(begin.elapsed() < PATIENCE, "{arrived} of {wanted} events arrived");
            arrived = receiver.arrived().await?;
        }
        ensure!(arrived <= wanted + wanted / 1_000, "{arrived} events arrived of {wanted} changes");
    }
    server.stop()?;
    println!("\n{}", table(soak.objects, &rows));
    judge(&rows)
}

fn key(n: u64) -> String {
    // Neighbours in time are none in the list.
    format!("{:02x}/{n:08}", n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56)
}

fn body(n: u64) -> Bytes {
    let len = if n.is_multiple_of(LARGE_EVERY) { LARGE_BYTES } else { SMALL_BYTES };
    let mut body = vec![0; len];
    fastrand::Rng::with_seed(n).fill(&mut body);
    body.into()
}

async fn pass(server: &Server, data: &Path, phase: Phase, objects: u64) -> Result<Row> {
    let (client, next, done) =
        (server.client()?, Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let begin = Instant::now();
    let lists = tokio::spawn(list_until(client.clone(), Arc::clone(&done)));
    let mut workers = tokio::task::JoinSet::new();
    for _ in 0..CLIENTS {
        workers.spawn(change_all(client.clone(), phase, Arc::clone(&next), objects));
    }
    while let Some(worker) = workers.join_next().await {
        worker??;
    }
    let (rate, ended) = (objects as f64 / begin.elapsed().as_secs_f64(), Instant::now());
    done.store(true, Ordering::Relaxed);
    let mut lists = lists.await??;
    lists.sort_unstable();
    let settled = tokio::task::block_in_place(|| steady(data))?;
    let memory = |field| machine::memory_kib(server.pid(), field).map(|kib| kib as f64 / 1024.0);
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    Ok(Row {
        phase,
        rate,
        lists,
        memory_mib: memory("VmRSS")?,
        peak_mib: memory("VmHWM")?,
        space: [mib(bodies(data)), mib(du(&data.join("index.redb"))), mib(du(data))],
        settled: settled.saturating_duration_since(ended),
    })
}

async fn change_all(client: Client, phase: Phase, next: Arc<AtomicU64>, objects: u64) -> Result<()> {
    loop {
        let n = next.fetch_add(1, Ordering::Relaxed);
        if n >= objects {
            return Ok(());
        }
        let answer = match phase {
            Phase::Put => client.put(BUCKET, &key(n), body(n)).await?,
            Phase::Overwrite => client.put(BUCKET, &key(n), body(n + objects * LARGE_EVERY)).await?,
            Phase::Remove => client.delete(BUCKET, &key(n)).await?,
        };
        ensure!(answer.status.is_success(), "{phase:?} of {}: {}", key(n), answer.status);
    }
}

/// Lists of 1,000 keys from anywhere on; how long each took, in microseconds.
async fn list_until(client: Client, done: Arc<AtomicBool>) -> Result<Vec<u32>> {
    let (mut took, mut random) = (Vec::new(), fastrand::Rng::with_seed(1));
    let mut ticks = tokio::time::interval(LIST_EVERY);
    while !done.load(Ordering::Relaxed) {
        ticks.tick().await;
        let after = format!("{:02x}/", random.u8(..));
        let begin = Instant::now();
        let answer = client.list_v2(BUCKET, &[("start-after", &after)]).await?;
        ensure!(answer.status.is_success(), "a list: {}", answer.status);
        took.push(begin.elapsed().as_micros().min(u128::from(u32::MAX)) as u32);
    }
    Ok(took)
}

/// Waits until bodies take what they took for a while; gives since when.
fn steady(data: &Path) -> Result<Instant> {
    let begin = Instant::now();
    let (mut since, mut last) = (begin, bodies(data));
    while since.elapsed() < STEADY {
        ensure!(begin.elapsed() < PATIENCE, "bodies take {last} bytes, and it never stays so");
        machine::pause(LOOK);
        let now = bodies(data);
        if now != last {
            (since, last) = (Instant::now(), now);
        }
    }
    Ok(since)
}

fn bodies(data: &Path) -> u64 {
    du(&data.join("packs")) + du(&data.join("blobs"))
}

/// What a file or a directory takes on the disk, in bytes. What goes meanwhile is nothing.
fn du(path: &Path) -> u64 {
    let Ok(meta) = fs::symlink_metadata(path) else { return 0 };
    if !meta.is_dir() {
        return meta.blocks() * 512;
    }
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries.map(|entry| du(&entry.path())).sum()
}

fn at(sorted: &[u32], share: f64) -> f64 {
    sorted.get(((sorted.len().max(1) - 1) as f64 * share) as usize).map_or(0.0, |us| f64::from(*us) / 1000.0)
}

fn line(row: &Row) -> String {
    let name = match row.phase {
        Phase::Put => "put",
        Phase::Overwrite => "overwritten",
        Phase::Remove => "removed",
    };
    let [bodies, index, all] = row.space;
    format!(
        "| {name} | {:.0} /s | {:.1} / {:.1} ms | {:.0} / {:.0} MiB | {bodies:.0} MiB | {index:.0} MiB \
         | {all:.0} MiB | {:.0} s |",
        row.rate,
        at(&row.lists, 0.5),
        at(&row.lists, 0.99),
        row.memory_mib,
        row.peak_mib,
        row.settled.as_secs_f64()
    )
}

fn table(objects: u64, rows: &[Row]) -> String {
    let large = objects.div_ceil(LARGE_EVERY);
    let head = format!(
        "{objects} objects: {large} of {LARGE_BYTES} bytes, the others of {SMALL_BYTES}; {CLIENTS} clients, \
         every event to an HTTP receiver. {}.\n\n\
         | | changes | list of 1,000 keys, p50 / p99 | memory, now / most | bodies | index | data directory \
         | space steady after |\n|---|---|---|---|---|---|---|---|\n",
        machine::describe()
    );
    head + &rows.iter().map(|row| line(row) + "\n").collect::<String>()
}

fn judge(rows: &[Row]) -> Result<()> {
    let [put, over, gone] = rows else { anyhow::bail!("not every phase ran") };
    // A pack that is not half dead stays as it is, and the newest one is open.
    ensure!(over.space[0] < 2.0 * put.space[0] + 64.0, "overwritten bodies do not give their space back");
    ensure!(gone.space[0] < 0.05 * put.space[0] + 32.0, "removed bodies do not give their space back");
    ensure!(over.space[1] < 2.5 * put.space[1] + 64.0, "the index grows with every overwrite");
    ensure!(gone.peak_mib < 1.3 * put.peak_mib + 32.0, "memory grows");
    for row in [over, gone] {
        let (now, first) = (at(&row.lists, 0.5), at(&put.lists, 0.5));
        ensure!(now < 2.0 * first + 5.0, "lists take {now:.1} ms, and took {first:.1} ms");
    }
    Ok(())
}
