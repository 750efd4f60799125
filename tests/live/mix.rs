//! All faults mixed, drawn from one seed: the server killed, killed while it starts, standing still, stopped,
//! reloaded, out of disk; each of four far sides killed or standing still; several at a time. In the end each
//! target has everything.
//!
//! Must never leave a kind of fault out: each is done once before any is drawn again. `TIDINGS_MIX_MINUTES`
//! says how long it goes on, `TIDINGS_SEED` repeats the choices.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use http::Method;
use tokio::time::{Instant, sleep, timeout};

use crate::consumer::Topic;
use crate::far::{FarSide, Fault};
use crate::finish::conclude_all;
use crate::load::{Load, Plan};
use crate::nats::Stream;
use crate::rabbitmq::Queue;
use crate::receiver::Receiver;
use crate::server::{Ready, Server};
use crate::{number, seed, turn};

/// Minutes unless `TIDINGS_MIX_MINUTES` says otherwise.
const MINUTES: u64 = 1;
/// Far sides, by the names of their targets.
const NAMES: [&str; 4] = ["kafka", "nats", "amqp", "http"];
/// Whatever was harmed, changes are acknowledged again by then.
const PATIENCE: Duration = Duration::from_secs(120);
/// A kill while it starts comes within this many milliseconds.
const STARTING_MS: u64 = 150;
/// Small segments and a log that is compacted, and far sides that are asked again soon.
const TIGHT: &str = "
[queue]
max_bytes = \"256MiB\"
segment_bytes = \"1MiB\"
retain_bytes = 0
[store]
checkpoint_interval = \"1s\"
";
/// The size of a data directory's own disk.
const DISK: &str = "size=1g";

/// What is done to the system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Deed {
    Kill,
    KillStarting,
    StandStill,
    Terminate,
    Reload,
    FillDisk,
    KillFar(usize),
    FreezeFar(usize),
}

/// All of them, in an order that the seed draws.
fn all_deeds(rng: &mut fastrand::Rng) -> Vec<Deed> {
    use Deed::{FillDisk, FreezeFar, Kill, KillFar, KillStarting, Reload, StandStill, Terminate};
    let mut deeds = vec![Kill, KillStarting, StandStill, Terminate, Reload, FillDisk];
    deeds.extend((0..NAMES.len()).flat_map(|far| [KillFar(far), FreezeFar(far)]));
    rng.shuffle(&mut deeds);
    deeds
}

/// A disk in memory for one data directory: filling it harms nobody else.
struct OwnDisk(PathBuf);

impl OwnDisk {
    /// None where nobody may mount.
    fn mount(path: &Path) -> Option<Self> {
        fs::create_dir_all(path).expect("a writable directory");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", DISK, "tmpfs"]).arg(path).status();
        mounted.is_ok_and(|status| status.success()).then(|| Self(path.to_owned()))
    }

    /// Takes all space; gives it back when the file is removed.
    fn fill(&self) -> PathBuf {
        let path = self.0.join("filler");
        let mut file = fs::File::create(&path).expect("a name takes no space");
        let zeros = vec![0; 1 << 20];
        while file.write_all(&zeros).is_ok() {}
        path
    }
}

impl Drop for OwnDisk {
    /// What a failed test leaves to be looked at is copied to where it stays.
    fn drop(&mut self) {
        if std::thread::panicking() {
            let kept = self.0.with_extension("kept");
            let _ = Command::new("cp").arg("-a").arg(&self.0).arg(kept).status();
        }
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// The system and what is harmed of it. The disk goes before the directory that it is mounted in.
struct Scene<'a> {
    disk: Option<OwnDisk>,
    server: Server,
    ready: Ready,
    load: Load,
    far: [&'a dyn FarSide; 4],
    /// Far sides that are harmed, and for how many steps more.
    harmed: BTreeMap<usize, (Fault, u8)>,
    rng: fastrand::Rng,
    done: BTreeMap<Deed, u64>,
}

impl Scene<'_> {
    /// Clients work until so many more changes are acknowledged.
    async fn work(&self, changes: u64) {
        self.load.serve(Some(self.ready.s3.clone()));
        let all = self.load.acknowledged_now() + changes;
        let done = timeout(PATIENCE, self.load.acknowledged(all)).await;
        assert!(done.is_ok(), "{changes} changes are not acknowledged within {PATIENCE:?}");
    }

    /// One fault in the middle of the work; what was harmed before is mended when its time is over.
    async fn step(&mut self, deed: Deed) {
        let changes = self.rng.u64(50..1_000);
        self.work(changes).await;
        *self.done.entry(deed).or_default() += 1;
        println!("mix: {deed:?} at {} changes", self.load.acknowledged_now());
        match deed {
            Deed::Kill => self.server.kill().await,
            Deed::KillStarting => {
                self.server.kill().await;
                self.server.launch(None);
                let delay = Duration::from_millis(self.rng.u64(..STARTING_MS));
                let _ = timeout(delay, self.server.ready()).await;
                self.server.kill().await;
            }
            Deed::StandStill => {
                self.server.signal("STOP").await;
                sleep(Duration::from_millis(self.rng.u64(500..3_000))).await;
                self.server.signal("CONT").await;
            }
            Deed::Terminate => self.server.stop().await,
            Deed::Reload => self.reload().await,
            Deed::FillDisk => self.fill().await,
            Deed::KillFar(far) | Deed::FreezeFar(far) => self.harm(deed, far).await,
        }
        if matches!(deed, Deed::Kill | Deed::KillStarting | Deed::Terminate) {
            self.load.serve(None);
            self.ready = self.server.start().await;
        }
        let over: Vec<usize> =
            self.harmed.iter().filter(|(_, (_, left))| *left == 0).map(|(n, _)| *n).collect();
        for far in over {
            self.mend(far).await;
        }
        self.harmed.values_mut().for_each(|(_, left)| *left -= 1);
    }

    async fn reload(&self) {
        let bearer = format!("Bearer {}", self.server.token());
        let headers = [("authorization", bearer.as_str())];
        let answer = self.ready.admin.send(Method::POST, "/v1/reload", &headers, "").await;
        let answer = answer.expect("an answer");
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    /// Changes are refused while the disk is full, by a process that may die of something else meanwhile.
    async fn fill(&mut self) {
        let Some(disk) = &self.disk else { return };
        let refused = self.load.shared.refused();
        let filler = disk.fill();
        let since = Instant::now();
        while self.load.shared.refused() == refused {
            assert!(since.elapsed() < PATIENCE, "nothing is refused on a full disk");
            sleep(Duration::from_millis(20)).await;
        }
        fs::remove_file(filler).expect("it is there");
    }

    async fn harm(&mut self, deed: Deed, far: usize) {
        self.mend(far).await;
        let fault = match deed {
            Deed::KillFar(_) => self.far[far].kill().await,
            _ => self.far[far].stop().await,
        };
        self.harmed.insert(far, (fault, self.rng.u8(0..3)));
    }

    async fn mend(&mut self, far: usize) {
        if let Some((fault, _)) = self.harmed.remove(&far) {
            println!("mix: {} is mended", NAMES[far]);
            fault.mend().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_mixed_loses_nothing_at_four_targets() {
    let _turn = turn().await;
    let test = "mix";
    let seed = seed(test);
    let mut rng = fastrand::Rng::with_seed(seed);
    let (kafka, nats) = (Topic::create(test).await, Stream::create(test).await);
    let (amqp, http) = (Queue::create(test, "quorum").await, Receiver::start().await);
    let far: [&dyn FarSide; 4] = [&kafka, &nats, &*amqp, &http];
    let targets: Vec<_> = NAMES.iter().zip(far).map(|(name, far)| (*name, far, "live-*")).collect();
    let soon: String = NAMES.iter().map(|name| format!("[target.{name}]\nbackoff_max = \"1s\"\n")).collect();
    let mut server = Server::with(&targets, &format!("{TIGHT}{soon}"));
    let disk = OwnDisk::mount(&server.data());
    if disk.is_none() {
        println!("{test}: nobody may mount here: the disk is never full");
    }
    let ready = server.start().await;
    let made = ready.s3.create_bucket("live-mix").await.expect("an answer");
    assert_eq!(made.status, 200, "{made:?}");
    let plan = Plan {
        clients: 16,
        keys: 1_000,
        changes: u64::MAX,
        deletes: 100,
        reads: 100,
        blobs: 10,
        uploads: 10,
        batches: 4,
        seed,
    };
    let load = Load::start("live-mix", plan);
    let deeds = all_deeds(&mut rng);
    let (harmed, done) = (BTreeMap::new(), BTreeMap::new());
    let mut scene = Scene { disk, server, ready, load, far, harmed, rng, done };
    let until = Instant::now() + Duration::from_secs(60 * number("TIDINGS_MIX_MINUTES").unwrap_or(MINUTES));
    for deed in deeds {
        scene.step(deed).await;
    }
    while Instant::now() < until {
        let deeds = all_deeds(&mut scene.rng);
        scene.step(deeds[0]).await;
    }
    for far in 0..NAMES.len() {
        scene.mend(far).await;
    }
    scene.work(500).await;
    scene.load.stop();
    let Scene { disk, mut server, ready, load, done, .. } = scene;
    let shared = load.finished().await;
    let judged: Vec<_> = NAMES.iter().zip(far).map(|(name, far)| (*name, far, usize::MAX)).collect();
    let reports = conclude_all(test, &mut server, &ready, &shared, &judged).await;
    let (changes, repeats) = (reports[0].acknowledged, reports.iter().map(|report| report.duplicates()));
    println!("{test}: {done:?}");
    println!("figure: mix_faults={}", done.values().sum::<u64>());
    println!("figure: mix_changes={changes}");
    println!("figure: mix_repeats={}", repeats.sum::<usize>());
    drop(disk);
}
