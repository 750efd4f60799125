//! The log of dead letters over real files: what survives, what is damaged, what is counted.
//!
//! Must never ask the log what it ought to hold: every test keeps its own account.

use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::sync::Mutex;

use super::*;
use crate::event::{Event, EventKind, Position, RequestInfo};
use crate::journal::OsDisk;
use crate::queue::entry::{Change, DeliveryTo, Entry, ObjectMeta};

const TARGET: TargetNo = TargetNo(3);

#[derive(Default)]
struct Account {
    buried: Mutex<Vec<u64>>,
    gone: Mutex<(u64, u64)>,
    lost: Mutex<u64>,
    passed: Mutex<u64>,
    reach: Mutex<Option<u64>>,
}

impl Ledger for Account {
    fn buried(&self, offsets: &[u64]) {
        self.buried.lock().unwrap().extend(offsets);
    }
    fn gone(&self, count: u64, how: Gone) {
        let mut gone = self.gone.lock().unwrap();
        match how {
            Gone::Purged => gone.0 += count,
            Gone::Replayed => gone.1 += count,
        }
    }
    fn lost(&self, count: u64) {
        *self.lost.lock().unwrap() += count;
    }
    fn has_passed(&self, offset: u64) -> bool {
        offset < *self.passed.lock().unwrap()
    }
    fn reach(&self) -> u64 {
        self.reach.lock().unwrap().unwrap_or(u64::MAX)
    }
}

fn random(b: &mut [u8]) -> std::io::Result<()> {
    getrandom::fill(b).map_err(std::io::Error::other)
}

fn letter(offset: u64) -> Letter {
    let event = Event {
        id: uuid::Uuid::from_u128(u128::from(offset)),
        kind: EventKind::CreatedPut,
        time_us: 5,
        bucket: "bucket".into(),
        key: format!("key-{}", offset % 7).into(),
        version: None,
        size: 1,
        etag: "etag".into(),
        request: RequestInfo { id: "id".into(), source_ip: None, principal: "me".into(), hops: 0 },
    };
    let deliveries = vec![DeliveryTo { target: TARGET, rule: "rule".into() }];
    let change = Change::PutObject(ObjectMeta::default());
    Letter {
        position: Position { epoch: 2, offset },
        entry: Entry { change, event: Some(event), deliveries, shed: vec![] },
        class: if offset.is_multiple_of(2) { "http_4xx" } else { "too_large" }.into(),
        text: format!("answer {offset}").into(),
        attempts: 1,
        first_unix_ms: 10,
        last_unix_ms: 20,
        since_unix_ms: offset as i64 * 1_000,
        replays: 0,
        bare: 300,
    }
}

struct World {
    dir: tempfile::TempDir,
    account: Arc<Account>,
}

impl World {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().expect("a folder"), account: Arc::default() }
    }

    fn open(&self) -> DeadLetters {
        DeadLetters::alone(Arc::new(OsDisk), self.dir.path(), TARGET, self.account.clone())
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("00000003.dead")
    }

    fn change(&self, how: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = Vec::new();
        std::fs::File::open(self.file()).and_then(|mut f| f.read_to_end(&mut bytes)).expect("readable");
        how(&mut bytes);
        std::fs::File::create(self.file()).and_then(|mut f| f.write_all(&bytes)).expect("writable");
    }
}

/// Buries one letter in a batch of its own.
async fn bury(log: &DeadLetters, offset: u64) {
    log.bury(letter(offset));
    log.shared.idle.subscribe().wait_for(|idle| *idle).await.expect("alive");
}

async fn offsets(log: &DeadLetters) -> Vec<u64> {
    let page = log.page(Filter::default(), 0, 100_000).await.expect("readable");
    page.letters.iter().map(|letter| letter.position.offset).collect()
}

#[tokio::test]
async fn what_was_buried_is_there_after_a_restart_whole() {
    let world = World::new();
    let log = world.open();
    for offset in [5, 3, 9] {
        bury(&log, offset).await;
    }
    bury(&log, 5).await;
    assert_eq!(*world.account.buried.lock().unwrap(), [5, 3, 9], "each is settled once");
    drop(log);
    for _ in 0..3 {
        let log = world.open();
        assert_eq!(offsets(&log).await, [3, 5, 9]);
        assert_eq!(log.show(5).await.expect("readable"), Some(letter(5)));
        assert_eq!(log.show(4).await.expect("readable"), None);
        let status = log.status();
        assert_eq!((status.letters, status.oldest_unix_ms, status.blocked), (3, Some(3_000), None));
    }
}

#[tokio::test]
async fn letters_are_chosen_by_time_class_and_object_and_shown_by_pages() {
    let world = World::new();
    let log = world.open();
    for offset in 1..=100 {
        log.bury(letter(offset));
    }
    bury(&log, 101).await;
    let by = async |filter: Filter| {
        let page = log.page(filter, 0, 1_000).await.expect("readable");
        page.letters.iter().map(|l| l.position.offset).collect::<Vec<_>>()
    };
    let time = Filter { since_unix_ms: Some(40_000), until_unix_ms: Some(43_000), ..Filter::default() };
    assert_eq!(by(time).await, [40, 41, 42]);
    let class = Filter { class: Some("http_4xx".into()), since_unix_ms: Some(97_000), ..Filter::default() };
    assert_eq!(by(class).await, [98, 100]);
    let object = Filter { object: Some(("bucket".into(), "key-6".into())), ..Filter::default() };
    assert_eq!(by(object.clone()).await.len(), 14);
    assert!(by(Filter { class: Some("dns".into()), ..Filter::default() }).await.is_empty());
    let mut seen = Vec::new();
    let mut after = 0;
    loop {
        let page = log.page(Filter::default(), after, 30).await.expect("readable");
        seen.extend(page.letters.iter().map(|l| l.position.offset));
        let Some(next) = page.next else { break };
        after = next;
    }
    assert_eq!(seen, (1..=101).collect::<Vec<_>>());
    assert_eq!(log.purge(Selection::Fitting(object)).await.expect("purged"), 14);
    assert_eq!(offsets(&log).await.len(), 87);
}

#[tokio::test]
async fn a_purge_leaves_marks_until_the_row_has_passed_and_the_file_stays_small() {
    let world = World::new();
    let log = world.open();
    for round in 0..6 {
        for offset in 1..=1_000 {
            log.bury(letter(round * 1_000 + offset));
        }
        bury(&log, round * 1_000 + 1_001).await;
        log.purge(Selection::Fitting(Filter::default())).await.expect("purged");
        assert!(log.knows(round * 1_000 + 5), "a mark is left");
    }
    log.shared.idle.subscribe().wait_for(|idle| *idle).await.expect("alive");
    drop(log);
    let log = world.open();
    assert!(log.knows(5) && log.knows(5_999));
    *world.account.passed.lock().unwrap() = 100_000;
    for offset in 10_000..16_000 {
        log.bury(letter(offset));
    }
    bury(&log, 16_000).await;
    log.purge(Selection::Fitting(Filter::default())).await.expect("purged");
    bury(&log, 20_000).await;
    // The worker writes anew after it has answered.
    drop(log.shared.file.lock().unwrap());
    assert!(!log.knows(5), "the marks are only counted now");
    let len = std::fs::metadata(world.file()).expect("there").len();
    assert!(len < 2 << 20, "{len} bytes for one letter");
    drop(log);
    let mut opened = Opened::open(Arc::new(OsDisk), world.dir.path(), TARGET, random).expect("opens");
    let mut row = crate::queue::progress::Row { position: 100_000, ..Default::default() };
    row.totals.dead_lettered = 12_003;
    let joined = opened.join(&mut row);
    let gone = *world.account.gone.lock().unwrap();
    assert_eq!((joined.counts.purged, joined.counts.dead, joined.missing), (gone.0, 1, 12_003 - gone.0 - 1));
}

#[tokio::test]
async fn a_torn_tail_is_cut_and_damage_below_is_named() {
    let world = World::new();
    let log = world.open();
    for offset in 1..=4 {
        bury(&log, offset).await;
    }
    drop(log);
    // The file was made with the first letter's; each has blocks of its own from then on.
    let block = |n: usize| n * batch::BLOCK as usize;
    let len = std::fs::metadata(world.file()).expect("there").len();
    assert_eq!(len as usize, block(5) + batch::BATCH_HEADER, "four letters and a seal");
    let copy = std::fs::read(world.file()).expect("readable");
    // A write that nobody was told about: it goes beyond what was sealed.
    world.change(|bytes| {
        bytes.truncate(block(5));
        bytes.extend_from_slice(&copy[block(4)..block(4) + 300]);
    });
    assert_eq!(offsets(&world.open()).await, [1, 2, 3, 4]);
    // The last letter itself, without a seal: cannot be told from a torn write, but for the row.
    std::fs::write(world.file(), &copy[..block(5)]).expect("writable");
    world.change(|bytes| bytes[block(4) + 70] ^= 1);
    let mut opened = Opened::open(Arc::new(OsDisk), world.dir.path(), TARGET, random).expect("opens");
    let mut row = crate::queue::progress::Row { position: 10, ..Default::default() };
    row.totals.dead_lettered = 4;
    assert_eq!((opened.damaged, opened.join(&mut row).missing), (None, 1));
    // In the middle, and under the seal.
    for n in [2, 4] {
        for damage in [0usize, 70, 200] {
            std::fs::write(world.file(), &copy).expect("writable");
            world.change(|bytes| bytes[block(n) + damage] ^= 1);
            let log = world.open();
            let Some(Blocked::Damaged(why)) = log.blocked() else { panic!("{n} {damage}: not noticed") };
            assert!(why.contains(&format!("bytes {} to {}", block(n), block(n + 1))), "{why}");
            assert_eq!(offsets(&log).await.len(), 3, "what is whole is there");
            log.bury(letter(77));
            assert_eq!(log.accept_loss().await.expect("accepted"), 0, "the row says nothing here");
            log.shared.idle.subscribe().wait_for(|idle| *idle).await.expect("alive");
            assert_eq!((log.blocked(), offsets(&log).await.len()), (None, 4), "it goes on");
            drop(log);
            assert_eq!((world.open().blocked(), offsets(&world.open()).await.len()), (None, 4));
        }
    }
    // The header, and the whole file.
    std::fs::write(world.file(), &copy).expect("writable");
    world.change(|bytes| bytes[40] ^= 1);
    assert!(matches!(world.open().blocked(), Some(Blocked::Damaged(_))));
}

#[tokio::test]
async fn a_newer_format_is_refused_and_clients_bytes_are_no_batches() {
    let world = World::new();
    let log = world.open();
    bury(&log, 1).await;
    let mut forged = letter(2);
    // A batch that would fit where the second block of this letter lies, but for the salt.
    let fake = batch::Batch::bytes(1, 3 * batch::BLOCK, u64::MAX, 0, &[]);
    let text = String::from_utf8_lossy(&fake).into_owned().repeat(200);
    forged.entry.event.as_mut().expect("an event").key = text.into();
    log.bury(forged);
    log.shared.idle.subscribe().wait_for(|idle| *idle).await.expect("alive");
    bury(&log, 3).await;
    drop(log);
    assert_eq!(offsets(&world.open()).await, [1, 2, 3]);
    world.change(|bytes| bytes[8] = 9);
    let Err(error) = Opened::open(Arc::new(OsDisk), world.dir.path(), TARGET, random) else {
        panic!("opened a file of the future")
    };
    assert!(error.to_string().contains("format version 9"), "{error}");
}

proptest::proptest! {
    #[test]
    fn no_input_panics(at in 0..2_000_usize, to: u8, cut in 0..2_000_usize) {
        let mut bytes = Vec::new();
        record::put_letter(&letter(1), &mut bytes);
        record::put_gone(Gone::Purged, &[(1, 9), (2, 9)], &mut bytes);
        let n = bytes.len();
        bytes[at % n] = to;
        bytes.truncate(cut);
        let mut index = Index::default();
        if let Some((kind, content, _)) = record::record(&bytes) {
            index.apply(0, kind, content);
        }
        let content = bytes.get(record::RECORD_HEADER..).unwrap_or_default();
        let _ = (record::brief(content), record::letter(content), record::gone(content));
        index.apply(0, record::LETTER, content);
        index.apply(0, record::GONE, content);
    }
}

#[tokio::test]
async fn a_wish_to_send_again_outlives_the_process_until_it_is_answered() {
    let world = World::new();
    let log = world.open();
    for offset in 1..=6 {
        bury(&log, offset).await;
    }
    assert_eq!(log.replay(Selection::Offsets(vec![2, 3, 4, 5, 9])).await.expect("durable"), 4);
    assert_eq!(log.replay(Selection::Offsets(vec![3])).await.expect("durable"), 0, "it is on its way");
    // One is delivered, one refused again, one purged; the fourth is what remains of the wish.
    log.replayed(2);
    log.replay_failed(Letter { replays: 1, ..letter(3) });
    log.purge(Selection::Offsets(vec![4])).await.expect("purged");
    log.quiesce().await;
    drop(log);
    let log = world.open();
    assert_eq!((log.replays_waiting(), log.status().replaying), (1, 1));
    log.load_replays(8);
    let mut news = Vec::new();
    while news.len() < 2 {
        log.arrived().await;
        log.news(&mut news);
    }
    assert!(matches!(&news[0], News::Replay(letter) if letter.position.offset == 5), "{news:?}");
    // A file that is written anew has it too.
    log.shared.rewrite(&mut log.shared.file.lock().unwrap()).expect("rewritten");
    drop(log);
    assert_eq!(world.open().status().replaying, 1);
}

#[tokio::test]
async fn a_mark_stays_as_long_as_somebody_can_go_back_to_it() {
    let world = World::new();
    let log = world.open();
    for offset in 1..=6 {
        bury(&log, offset).await;
    }
    log.purge(Selection::Fitting(Filter::default())).await.expect("purged");
    *world.account.passed.lock().unwrap() = u64::MAX;
    *world.account.reach.lock().unwrap() = Some(4);
    log.shared.rewrite(&mut log.shared.file.lock().unwrap()).expect("rewritten");
    assert_eq!(
        (1..=6).map(|offset| log.knows(offset)).collect::<Vec<_>>(),
        [false, false, false, true, true, true]
    );
}

/// Whoever waits until nobody writes asks the state first: what it says and what is told must be one thing
/// at every moment that anybody can see, or the wait ends too early, or never.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_is_what_is_said_exactly_while_no_worker_runs() {
    let world = World::new();
    let log = world.open();
    let ended = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let (shared, over) = (Arc::clone(&log.shared), Arc::clone(&ended));
    let watching = std::thread::spawn(move || {
        let (mut looks, mut wrong) = (0_u64, 0_u64);
        while !over.load(std::sync::atomic::Ordering::SeqCst) {
            let state = shared.state();
            wrong += u64::from(*shared.idle.borrow() == state.running);
            looks += 1;
        }
        (looks, wrong)
    });
    // With something to do, and with nothing.
    for offset in 1..=300 {
        bury(&log, offset).await;
        for _ in 0..10 {
            log.shared.kick();
        }
    }
    ended.store(true, std::sync::atomic::Ordering::SeqCst);
    let (looks, wrong) = watching.join().expect("no panic");
    assert!(looks > 1_000, "{looks}");
    assert_eq!(wrong, 0, "of {looks} looks");
}
