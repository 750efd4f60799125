//! Power cuts: the server works on a device that remembers every write; then, for many moments of that life,
//! the device is made as a cut of the power at that moment may have left it, and another server starts on it.
//!
//! Must never take a write for durable that no flush followed: each of its sectors is there or not by chance.

mod disk;
mod nbd;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use disk::{Fuse, Mounted, Replay};
use nbd::{Device, Done};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::checker::{Action, Around, Delivery, Op, Outcome, Recorder, Report, Run, TICK_NEVER, check};
use crate::far::{FarSide, Fault};
use crate::finish::{list_all, read_every_key};
use crate::load::{Load, Plan};
use crate::server::Server;
use crate::{books, number, record, seed, turn};

/// Cuts, unless `TIDINGS_IMAGES` says otherwise.
const IMAGES: u64 = 40;
/// The size of the device.
const DEVICE: usize = 384 << 20;
/// Changes in the life that is cut.
const CHANGES: u64 = 6_000;
/// Cuts of the life with a deliberate fault.
const CONTROL: u64 = 5;
/// A backlog that is still there after so long stays: a far side that answers at once takes seconds.
const DRAINED_WITHIN: Duration = Duration::from_secs(30);
/// A load after a cut is answered within this, or never.
const LOADED_WITHIN: Duration = Duration::from_secs(120);
/// Changes after each cut.
const AFTER: u64 = 40;
/// The clients' bucket.
const BUCKET: &str = "live-cut";
/// The log rolls, trims and is recycled; the index has checkpoints.
const TIGHT: &str = "
[queue]
max_bytes = \"24MiB\"
segment_bytes = \"1MiB\"
retain_bytes = 0
[store]
checkpoint_interval = \"1s\"
";

/// What arrived, and when on the clock of clients and device.
#[derive(Clone)]
struct Inbox {
    address: String,
    arrived: Arc<Mutex<Vec<(u64, Delivery)>>>,
}

#[async_trait]
impl FarSide for Inbox {
    fn connector(&self) -> String {
        format!("[target.live.connector.http]\nurl = \"http://{}/\"\n", self.address)
    }

    async fn read_all(&self) -> Vec<Delivery> {
        self.taken().into_iter().map(|(_, delivery)| delivery).collect()
    }

    async fn kill(&self) -> Fault {
        unreachable!("it stands on another machine, whose power stays")
    }

    async fn stop(&self) -> Fault {
        unreachable!("it stands on another machine, whose power stays")
    }
}

impl Inbox {
    async fn open(clock: &Arc<AtomicU64>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound").to_string();
        let inbox = Self { address, arrived: Arc::default() };
        let state = (Arc::clone(&inbox.arrived), Arc::clone(clock));
        type Shared = (Arc<Mutex<Vec<(u64, Delivery)>>>, Arc<AtomicU64>);
        let take = |State((arrived, clock)): State<Shared>, body: Bytes| async move {
            let delivery = record::parse(&body, None, 0);
            let mut arrived = arrived.lock().expect("nobody panics here");
            arrived.push((clock.fetch_add(1, Ordering::SeqCst), delivery));
            StatusCode::NO_CONTENT
        };
        let router = Router::new().route("/", post(take)).with_state(state);
        tokio::spawn(async move { axum::serve(listener, router).await });
        inbox
    }

    /// What arrived since it was asked last.
    fn taken(&self) -> Vec<(u64, Delivery)> {
        std::mem::take(&mut self.arrived.lock().expect("nobody panics here"))
    }
}

/// A life on a device, and everything that is known of it.
struct Life {
    clock: Arc<AtomicU64>,
    inbox: Inbox,
    plan: Plan,
    server: Server,
    data: PathBuf,
    done: Vec<Done>,
    ops: Vec<Op>,
    arrived: Vec<(u64, Delivery)>,
    /// From the first change to the last answer.
    moments: std::ops::Range<u64>,
}

impl Life {
    async fn lived(seed: u64, mutant: Option<&str>) -> Self {
        let clock = Arc::new(AtomicU64::new(0));
        let inbox = Inbox::open(&clock).await;
        let mut server = Server::new(&inbox, TIGHT);
        let data = server.data();
        let dir = TempDir::with_prefix_in("cut-", env!("CARGO_TARGET_TMPDIR")).expect("a directory");
        let (socket, file) = (dir.path().join("nbd"), dir.path().join("device"));
        let device = Device::serve(&socket, DEVICE, &clock).expect("a socket");
        let fuse = Fuse::new(&socket, &file).await;
        disk::format(&file);
        let mounted = Mounted::new(&file, &data);
        server.deliberate(mutant);
        let ready = server.start().await;
        let made = ready.s3.create_bucket(BUCKET).await.expect("an answer");
        assert_eq!(made.status, 200, "{made:?}");
        let plan = Plan {
            clients: 16,
            keys: 200,
            changes: CHANGES,
            deletes: 100,
            reads: 50,
            blobs: 10,
            uploads: 10,
            batches: 4,
            seed,
        };
        let begin = clock.load(Ordering::SeqCst);
        let load = Load::start_with(BUCKET, plan, Recorder::on(&clock, 0));
        load.serve(Some(ready.s3.clone()));
        let ops = load.finished().await.recorder.ops();
        let moments = begin..clock.load(Ordering::SeqCst);
        server.kill().await;
        server.deliberate(None);
        let arrived = inbox.taken();
        let done = device.take();
        drop((mounted, fuse));
        Self { clock, inbox, plan, server, data, done, ops, arrived, moments }
    }

    /// What clients knew at a moment: later answers nobody got, later requests nobody sent.
    fn known_at(&self, tick: u64) -> Vec<Op> {
        let begun = self.ops.iter().filter(|op| op.invoked < tick);
        let known = begun.filter_map(|op| match op.action {
            _ if op.returned < tick => Some(op.clone()),
            Action::Read { .. } => None,
            _ => Some(Op { returned: TICK_NEVER, outcome: Outcome::Info, request_id: None, ..op.clone() }),
        });
        known.collect()
    }

    /// Starts a server on what is mounted in place of its data, lets it work on, and judges everything.
    ///
    /// After a deliberate fault nobody watches: the judgement itself must notice. `None` if the target never
    /// has everything: what is damaged is kept, and said.
    async fn judged(&mut self, tick: u64, watched: bool) -> Option<Report> {
        self.inbox.taken();
        self.server.is_of_another_moment(watched);
        let ready = self.server.start().await;
        let plan = Plan { changes: AFTER, clients: 4, ..self.plan };
        let recorder = Recorder::on(&self.clock, self.ops.len() as u64 * 100);
        let load = Load::start_with(BUCKET, plan, recorder);
        load.serve(Some(ready.s3.clone()));
        // Where the log lost what it had confirmed, changes are refused for good.
        let Ok(shared) = timeout(LOADED_WITHIN, load.finished()).await else {
            self.server.kill().await;
            return None;
        };
        let Ok(reading) = timeout(DRAINED_WITHIN, books::drained(&ready.admin, "live")).await else {
            self.server.kill().await;
            return None;
        };
        read_every_key(&ready.s3, &shared).await;
        let listing = list_all(&ready.s3, BUCKET).await;
        self.server.kill().await;
        let ops = [self.known_at(tick), shared.recorder.ops()].concat();
        let before = self.arrived.iter().filter(|(arrived, _)| *arrived < tick).cloned();
        let deliveries: Vec<_> = before.chain(self.inbox.taken()).map(|(_, delivery)| delivery).collect();
        Some(check(&Run {
            ops: &ops,
            deliveries: &deliveries,
            listing: Some(&listing),
            books: Some(reading.books),
            matches: &|_| true,
            max_duplicates: usize::MAX,
            around: Around::default(),
        }))
    }
}

/// How many of so many cuts of one life something is wrong after.
async fn cuts(test: &str, images: u64, mutant: Option<&str>) -> usize {
    let seed = seed(test);
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut life = Life::lived(seed, mutant).await;
    let mut moments: Vec<u64> = (0..images).map(|_| rng.u64(life.moments.clone())).collect();
    moments.sort_unstable();
    let writes = life.done.iter().filter(|done| matches!(done, Done::Write { .. })).count();
    println!("{test}: {writes} writes, {} flushes in {:?}", life.done.len() - writes, life.moments);
    let dir = TempDir::with_prefix_in("image-", env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let image = dir.path().join("image");
    let done = std::mem::take(&mut life.done);
    let mut replay = Replay::new(DEVICE, &done);
    let (mut wrong, mut unknown, mut repeats) = (0, 0, 0);
    for (number, tick) in moments.into_iter().enumerate() {
        replay.cut(tick, &mut rng, &image).expect("an image");
        let mounted = Mounted::new(&image, &life.data);
        let report = life.judged(tick, mutant.is_none()).await;
        drop(mounted);
        match report {
            Some(report) => {
                println!("{test}: image {number} at {tick}: {report}");
                unknown += report.unknown;
                repeats += report.duplicates();
                wrong += usize::from(!report.violations.is_empty());
            }
            None => {
                println!("{test}: image {number} at {tick}: something is never delivered");
                wrong += 1;
            }
        }
    }
    println!(
        "{test}: {images} images, {unknown} changes under way at a cut, {repeats} repeats, {wrong} wrong"
    );
    wrong
}

#[tokio::test(flavor = "multi_thread")]
async fn power_cuts_lose_nothing() {
    let _turn = turn().await;
    let wrong = cuts("power cuts", number("TIDINGS_IMAGES").unwrap_or(IMAGES), None).await;
    assert_eq!(wrong, 0, "images after which something is wrong");
}

/// The instrument sees what it is for: the same with answers before their sync.
#[tokio::test(flavor = "multi_thread")]
async fn power_cuts_show_an_answer_before_its_sync() {
    let _turn = turn().await;
    let wrong = cuts("power cuts, answers before syncs", CONTROL, Some("ack-before-sync")).await;
    assert!(wrong > 0, "nobody noticed");
}
