//! Rejected entries: whose fault they are, what becomes of them, and how they are sent again. Over a real
//! log on a disk that can fail.
//!
//! Must never look at a lane from inside: the far side, the queue and the dead letters are what counts.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::config::OnReject;
use crate::delivery::TargetState;
use crate::journal::{Disk, DiskFile, OsDisk};
use crate::queue::dead::{Blocked, DeadLetters, Filter, Letter, Selection};

/// A disk whose syncs fail while it is told so.
#[derive(Clone, Default)]
struct Shaky(Arc<AtomicBool>);

struct ShakyFile(Arc<dyn DiskFile>, Arc<AtomicBool>);

impl Disk for Shaky {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(ShakyFile(OsDisk.create(path)?, Arc::clone(&self.0))))
    }
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(ShakyFile(OsDisk.open(path)?, Arc::clone(&self.0))))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        OsDisk.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        OsDisk.remove(path)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        OsDisk.sync_dir(dir)
    }
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        OsDisk.create_dir_all(dir)
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        OsDisk.list(dir)
    }
}

impl DiskFile for ShakyFile {
    fn write_at(&self, data: &[u8], at: u64) -> io::Result<()> {
        self.0.write_at(data, at)
    }
    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        self.0.read_at(buf, at)
    }
    fn sync_data(&self) -> io::Result<()> {
        if self.1.load(Ordering::SeqCst) { Err(io::Error::other("on purpose")) } else { self.0.sync_data() }
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
}

/// A lane with dead letters.
struct Morgue {
    bench: Bench,
    dead: DeadLetters,
    disk: Shaky,
    _dir: tempfile::TempDir,
}

fn morgue(far: Arc<FarSide>, limits: TargetLimits) -> Morgue {
    let dir = tempfile::tempdir().expect("a folder");
    let (queue, disk) = (Queue::default(), Shaky::default());
    let dead = DeadLetters::alone(Arc::new(disk.clone()), dir.path(), TARGET, Arc::new(queue.clone()));
    queue.see(|log| log.dead = Some(dead.clone()));
    Morgue { bench: Bench::open(queue, far, limits, Pause::No), dead, disk, _dir: dir }
}

impl Morgue {
    fn buried(&self) -> usize {
        self.bench.queue.see(|log| log.buried.len())
    }

    async fn until_buried(&self, count: usize) {
        self.bench.until(&format!("{count} buried"), |_| self.buried() >= count).await;
        assert_eq!(self.buried(), count);
    }

    async fn all(&self) -> Vec<Letter> {
        self.dead.page(Filter::default(), 0, 10_000).await.expect("readable").letters
    }
}

fn reject() -> Act {
    Act::Answer(rejected(), Duration::ZERO)
}

/// Rejects the first event of every key that begins with `bad`.
fn rejects_first_bad() -> impl FnMut(&str, u64, u32) -> Act + Send {
    let mut firsts: HashMap<String, u64> = HashMap::new();
    move |key, offset, _| {
        let first = *firsts.entry(key.to_owned()).or_insert(offset);
        if key.starts_with("bad") && offset == first { reject() } else { ok() }
    }
}

const ALL: Selection =
    Selection::Fitting(Filter { since_unix_ms: None, until_unix_ms: None, class: None, object: None });

#[tokio::test(start_paused = true)]
async fn a_rejected_event_is_buried_and_its_key_goes_on() {
    let m = morgue(FarSide::new(rejects_first_bad()), LIMITS);
    m.bench.append("bad", 2);
    m.bench.append("good", 2);
    m.bench.until_delivered(3).await;
    assert_eq!(m.buried(), 1);
    let began = tokio::time::Instant::now();
    m.bench.append("bad-alone", 1);
    m.until_buried(2).await;
    assert!(began.elapsed() >= crate::delivery::letters::PATIENCE, "without other evidence it waits");
    let letters = m.all().await;
    assert_eq!(letters.iter().map(|l| l.position.offset).collect::<Vec<_>>(), [1, 5]);
    let first = &letters[0];
    assert_eq!(
        (&*first.class, &*first.text, first.attempts, first.replays),
        ("too_large", "on purpose", 1, 0)
    );
    assert_eq!((first.first_unix_ms, first.last_unix_ms, first.since_unix_ms), (1_000, 1_000, 1_000));
    assert_eq!(&*first.entry.event.as_ref().unwrap().key, "bad");
    assert_eq!(m.bench.far.attempts(), 5, "nothing was sent twice");
}

#[tokio::test(start_paused = true)]
async fn a_key_goes_on_only_after_its_letter_is_durable() {
    let m = morgue(FarSide::new(rejects_first_bad()), LIMITS);
    m.disk.0.store(true, Ordering::SeqCst);
    m.bench.append("bad", 2);
    m.bench.append("good", 1);
    let blocked = |s: &TargetStatus| s.blocked.as_ref().is_some_and(|why| why.contains("on purpose"));
    m.bench.until("it says so", blocked).await;
    m.bench.append("good", 1);
    m.bench.pass(60 * SECOND).await;
    assert_eq!((m.bench.queue.delivered(), m.buried(), m.bench.far.attempts()), (1, 0, 2));
    assert_eq!(m.bench.status().state, TargetState::Faulted);
    assert!(m.dead.status().failed > 1);
    m.disk.0.store(false, Ordering::SeqCst);
    m.bench.until_delivered(3).await;
    assert_eq!((m.buried(), m.bench.status().blocked), (1, None));
}

#[tokio::test(start_paused = true)]
async fn a_storm_buries_nothing() {
    let m = morgue(FarSide::new(|_, _, _| reject()), LIMITS);
    for n in 0..200 {
        m.bench.append(&key(n), 1);
    }
    m.bench.until("down", |s| s.state == TargetState::Down).await;
    m.bench.pass(3_600 * SECOND).await;
    assert_eq!(m.buried(), 0);
    m.bench.far.follow(|_, _, _| ok());
    m.bench.until_delivered(200).await;
    assert_eq!(m.buried(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_storm_between_successes_buries_nothing() {
    // Three of five keys are rejected: never many in a row.
    let m = morgue(
        FarSide::new(|key, _, _| {
            let n: usize = key[4..].parse().expect("a number");
            if n % 5 < 3 { reject() } else { ok() }
        }),
        LIMITS,
    );
    for n in 0..1_000 {
        m.bench.append(&key(n), 1);
    }
    m.bench.until("faulted", |s| s.state == TargetState::Faulted).await;
    assert_eq!(m.buried(), 0);
    m.bench.pass(600 * SECOND).await;
    assert_eq!(m.buried(), 0, "probes that succeed do not open the grave");
    m.bench.far.follow(|_, _, _| ok());
    m.bench.until_delivered(1_000).await;
}

#[tokio::test(start_paused = true)]
async fn many_bad_events_are_buried_once_good_ones_outnumber_them() {
    let m = morgue(FarSide::new(|key, _, _| if key.starts_with("bad") { reject() } else { ok() }), LIMITS);
    for n in 0..40 {
        m.bench.append(&format!("bad-{n}"), 1);
    }
    m.bench.until("down", |s| s.state == TargetState::Down).await;
    for n in 0..400 {
        m.bench.append(&format!("good-{n}"), 1);
        m.bench.pass(SECOND).await;
    }
    m.bench.until("settled", |_| m.buried() + m.bench.queue.delivered() == 440).await;
    assert_eq!(m.buried(), 40);
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_is_rejected_opens_a_target_that_was_away() {
    let m = morgue(FarSide::new(|_, _, _| fails()), LIMITS);
    for n in 0..20 {
        m.bench.append(&key(n), 1);
    }
    m.bench.until("down", |s| s.state == TargetState::Down).await;
    m.bench.far.follow(|key, _, _| if key == "key-19" { reject() } else { ok() });
    m.bench.until("settled", |_| m.buried() + m.bench.queue.delivered() == 20).await;
    assert_eq!((m.buried(), m.bench.status().state), (1, TargetState::Up));
}

#[tokio::test(start_paused = true)]
async fn hold_key_holds_the_key_and_buries_nothing() {
    let m =
        morgue(FarSide::new(rejects_first_bad()), TargetLimits { on_reject: OnReject::HoldKey, ..LIMITS });
    m.bench.append("bad", 3);
    m.bench.append("good", 2);
    m.bench.until("held", |s| s.held == 3).await;
    m.bench.pass(1_000 * SECOND).await;
    assert_eq!((m.bench.queue.delivered(), m.buried()), (2, 0));
    m.bench.far.follow(|_, _, _| ok());
    m.bench.handle.resume();
    m.bench.until_delivered(5).await;
}

#[tokio::test(start_paused = true)]
async fn at_its_byte_bound_the_target_waits_and_heals() {
    let m = morgue(
        FarSide::new(|key, _, _| if key.starts_with("bad") { reject() } else { ok() }),
        TargetLimits { dead_letters_max_bytes: 2_000, ..LIMITS },
    );
    for n in 0..20 {
        m.bench.append(&format!("bad-{n}"), 1);
        m.bench.append(&format!("good-{n}"), 2);
    }
    let full = m.bench.until("full", |s| s.blocked.is_some()).await;
    assert!(full.blocked.as_ref().unwrap().contains("dead_letters_max_bytes"), "{:?}", full.blocked);
    m.bench.pass(100 * SECOND).await;
    let (buried, attempts) = (m.buried(), m.bench.far.attempts());
    assert!((1..20).contains(&buried) && m.dead.status().bytes <= 2_000);
    m.bench.append("good", 1);
    m.bench.pass(100 * SECOND).await;
    assert_eq!((m.buried(), m.bench.far.attempts()), (buried, attempts), "nothing is sent");
    // A letter that is replayed makes room, too: the far side takes it now.
    m.bench.far.follow(|_, _, _| ok());
    assert_eq!(m.dead.replay(Selection::Offsets(vec![1])).await.expect("wished"), 1);
    m.bench.until("room", |_| m.bench.queue.see(|log| log.gone) == 1).await;
    m.bench.far.follow(|key, _, _| if key.starts_with("bad") { reject() } else { ok() });
    while m.bench.queue.delivered() < 41 || m.bench.status().blocked.is_some() {
        m.dead.purge(ALL).await.expect("purged");
        m.bench.pass(SECOND).await;
    }
    m.bench.until("settled", |_| m.bench.queue.see(|log| log.holes.len()) == 0).await;
    m.dead.set_max_bytes(1 << 20);
    assert_eq!(m.bench.status().blocked, None);
}

#[tokio::test(start_paused = true)]
async fn a_replay_is_marked_and_leaves_the_letters_once_it_is_delivered() {
    let replays: Arc<Mutex<Vec<u64>>> = Arc::default();
    let m = morgue(FarSide::new(rejects_first_bad()), LIMITS);
    for n in 0..10 {
        m.bench.append(&format!("bad-{n}"), 2);
        m.bench.append("good", 1);
    }
    m.bench.until_delivered(20).await;
    m.until_buried(10).await;
    // Slow answers, and live events of the same keys meanwhile: never two of a key together.
    let seen = Arc::clone(&replays);
    m.bench.far.follow(move |_, offset, _| {
        seen.lock().unwrap().push(offset);
        Act::Answer(tidings_connector::Outcome::Delivered, SECOND)
    });
    assert_eq!(m.dead.replay(ALL).await.expect("wished"), 10);
    assert_eq!(m.dead.replay(ALL).await.expect("wished"), 0, "they are on their way already");
    for n in 0..10 {
        m.bench.append(&format!("bad-{n}"), 2);
    }
    m.bench.until("all", |_| m.bench.queue.delivered() == 40 && m.dead.status().letters == 0).await;
    assert_eq!((m.bench.queue.see(|log| log.gone), m.dead.status().replaying), (10, 0));
    let sent = replays.lock().unwrap();
    assert_eq!(sent.iter().filter(|offset| **offset <= 30).count(), 10, "each once");
    assert_eq!(m.bench.far.marks(), (1..=10).map(|_| "1".to_owned()).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_replay_that_fails_stays_with_its_new_outcome() {
    let m = morgue(FarSide::new(rejects_first_bad()), LIMITS);
    m.bench.append("bad", 1);
    m.bench.append("good", 1);
    m.bench.until_delivered(1).await;
    m.until_buried(1).await;
    m.bench.far.follow(|_, _, _| reject());
    m.dead.replay(ALL).await.expect("wished");
    m.bench.until("rejected again", |_| m.dead.status().replaying == 0).await;
    m.bench.far.follow(|_, _, _| fails());
    let failed = m.all().await.remove(0);
    assert_eq!((failed.attempts, failed.replays), (2, 1));
    m.dead.replay(ALL).await.expect("wished");
    m.bench.until("failed", |_| m.dead.status().replaying == 0).await;
    m.bench.append("good", 1);
    m.bench.far.follow(|_, _, _| ok());
    m.bench.until_delivered(2).await;
    let failed = m.all().await.remove(0);
    assert_eq!((&*failed.class, failed.attempts, failed.replays), ("connect", 7, 2));
    assert_eq!(failed.position.offset, 1);
    m.dead.replay(ALL).await.expect("wished");
    m.bench.until("gone", |_| m.dead.status().letters == 0).await;
    assert_eq!(m.bench.far.marks().last().map(String::as_str), Some("3"));
    assert!(!matches!(m.dead.blocked(), Some(Blocked::Failing(_))));
}

#[tokio::test(start_paused = true)]
async fn a_replay_does_not_wait_for_room_among_the_dead_letters() {
    let limits = TargetLimits { dead_letters_max_bytes: 2_000, ..LIMITS };
    let m = morgue(FarSide::new(|key, _, _| if key.starts_with("bad") { reject() } else { ok() }), limits);
    for n in 0..20 {
        m.bench.append(&format!("bad-{n}"), 1);
        m.bench.append(&format!("good-{n}"), 2);
    }
    m.bench.until("full", |s| s.blocked.is_some()).await;
    // Answered, although what waits for room counts as in flight. This queue has nothing to go back to …
    let answered = tokio::time::timeout(100 * SECOND, m.bench.handle.replay(1, false)).await;
    assert!(matches!(answered, Ok(Err(crate::queue::RewindError::Nothing { .. }))), "{answered:?}");
    // … so that the letters are buried as before once there is room: none is lost, none comes twice.
    m.dead.set_max_bytes(1 << 20);
    m.until_buried(20).await;
    m.bench.until("settled", |_| m.bench.queue.see(|log| log.holes.len()) == 0).await;
    assert_eq!(m.bench.queue.delivered(), 40);
}
