//! The index's file after a crash at any call: what a checkpoint made durable is there, and nothing is half
//! there.

use std::collections::BTreeMap;

use super::*;
use crate::store::embedded::index::{Batch, Index, Reads as _, Space};
use crate::store::embedded::redb_index::RedbIndex;

/// One call that changes a file.
#[derive(Debug, Clone)]
enum Call {
    Write(u64, Vec<u8>),
    Resize(u64),
    Sync,
}

/// A disk with one file in memory that remembers every call.
#[derive(Default, Clone)]
struct Recorder {
    file: Arc<Mutex<Option<Vec<u8>>>>,
    calls: Arc<Mutex<Vec<Call>>>,
}

impl Recorder {
    fn with(bytes: Vec<u8>) -> Self {
        Self { file: Arc::new(Mutex::new(Some(bytes))), calls: Arc::default() }
    }
    fn calls(&self) -> usize {
        self.calls.lock().unwrap().len()
    }
    fn change(&self, call: Call) {
        apply(self.file.lock().unwrap().as_mut().unwrap(), &call);
        self.calls.lock().unwrap().push(call);
    }
}

fn apply(file: &mut Vec<u8>, call: &Call) {
    match call {
        Call::Write(at, data) => {
            let end = *at as usize + data.len();
            file.resize(file.len().max(end), 0);
            file[*at as usize..end].copy_from_slice(data);
        }
        Call::Resize(len) => file.resize(*len as usize, 0),
        Call::Sync => {}
    }
}

impl Disk for Recorder {
    fn create(&self, _: &Path) -> io::Result<Arc<dyn DiskFile>> {
        *self.file.lock().unwrap() = Some(Vec::new());
        Ok(Arc::new(self.clone()))
    }
    fn open(&self, _: &Path) -> io::Result<Arc<dyn DiskFile>> {
        if self.file.lock().unwrap().is_none() {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(Arc::new(self.clone()))
    }
    fn rename(&self, _: &Path, _: &Path) -> io::Result<()> {
        Ok(())
    }
    fn remove(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }
    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }
    fn create_dir_all(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }
    fn list(&self, _: &Path) -> io::Result<Vec<PathBuf>> {
        Ok(Vec::new())
    }
}

impl DiskFile for Recorder {
    fn write_at(&self, data: &[u8], at: u64) -> io::Result<()> {
        self.change(Call::Write(at, data.to_vec()));
        Ok(())
    }
    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        let file = self.file.lock().unwrap();
        let rest = file.as_ref().unwrap().get(at as usize..).unwrap_or(&[]);
        let n = rest.len().min(buf.len());
        buf[..n].copy_from_slice(&rest[..n]);
        Ok(n)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.change(Call::Sync);
        Ok(())
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(Call::Resize(len));
        Ok(())
    }
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.lock().unwrap().as_ref().unwrap().len() as u64)
    }
}

type Rows = BTreeMap<Vec<u8>, Vec<u8>>;
/// A file, one above its last applied offset, its rows.
type Base = (Vec<u8>, u64, Rows);

/// What the index may hold after a crash at a call: the state of a checkpoint, from the call at which it
/// began on.
struct Run {
    disk: Recorder,
    base: Vec<u8>,
    rows: Rows,
    next: u64,
    /// Call at which the checkpoint began, call at which it was over, offset, rows.
    states: Vec<(usize, usize, u64, Rows)>,
}

fn index_of(disk: &Recorder) -> Result<RedbIndex, StoreError> {
    RedbIndex::open(disk, Path::new("x"), 1 << 20, false)
}

impl Run {
    /// Opens `base` and makes random batches and checkpoints.
    fn new(base: Option<Base>, random: &mut fastrand::Rng, steps: usize) -> Self {
        let (disk, base, next, rows) = match base {
            Some((bytes, next, rows)) => (Recorder::with(bytes.clone()), bytes, next, rows),
            None => (Recorder::default(), Vec::new(), 1, Rows::new()),
        };
        let fresh = base.is_empty();
        let index = index_of(&disk).unwrap();
        let opened = if fresh { disk.calls() } else { 0 };
        let mut run = Self { states: vec![(opened, opened, next, rows.clone())], disk, base, rows, next };
        for _ in 0..steps {
            run.step(&index, random);
        }
        if random.bool() {
            // A clean end; the crash may come while the engine closes.
            run.checkpoint(&index);
        }
        run
    }

    fn checkpoint(&mut self, index: &RedbIndex) {
        let began = self.disk.calls();
        assert_eq!(index.checkpoint(&Batch::default()).unwrap(), self.next);
        self.states.push((began, self.disk.calls(), self.next, self.rows.clone()));
    }

    fn step(&mut self, index: &RedbIndex, random: &mut fastrand::Rng) {
        let mut batch = Batch::default();
        // Sometimes many rows, sometimes most of them removed: the file grows and shrinks.
        let many = if random.u8(..4) == 0 { 400 } else { 20 };
        let removing = random.u8(..4) == 0;
        for _ in 0..random.usize(1..many) {
            let key = random.u16(..600).to_be_bytes();
            if removing {
                batch.remove(Space::Objects, &key);
                self.rows.remove(&key[..]);
            } else {
                let row = vec![random.u8(..); random.usize(1..900)];
                batch.put(Space::Objects, &key, |out| out.extend_from_slice(&row));
                self.rows.insert(key.to_vec(), row);
            }
        }
        self.next += 1;
        index.apply(&batch, self.next, &mut |_, _| {}).unwrap();
        if random.u8(..3) == 0 {
            self.checkpoint(index);
        }
    }

    /// The file after a crash at call `at`: everything up to the last sync, and of the calls after it those
    /// that `keep` picks.
    fn crash(&self, at: usize, mut keep: impl FnMut() -> bool) -> Vec<u8> {
        let calls = &self.disk.calls.lock().unwrap()[..at];
        let synced = calls.iter().rposition(|c| matches!(c, Call::Sync)).map_or(0, |n| n + 1);
        let mut file = self.base.clone();
        calls[..synced].iter().for_each(|call| apply(&mut file, call));
        for call in &calls[synced..] {
            if keep() {
                apply(&mut file, call);
            }
        }
        file
    }

    /// The checkpoint that `file`, crashed at call `at`, holds; panics if it is none that may be there.
    fn check(&self, at: usize, file: Vec<u8>) -> (u64, Rows) {
        let index = index_of(&Recorder::with(file)).unwrap_or_else(|e| panic!("crash at call {at}: {e}"));
        let mut rows = Rows::new();
        index
            .scan(Space::Objects, std::ops::Bound::Unbounded, None, &mut |key, row| {
                rows.insert(key.to_vec(), row.to_vec());
                Ok(true)
            })
            .unwrap();
        let newest_over = self.states.iter().rposition(|(_, over, ..)| *over <= at).unwrap_or(0);
        let allowed = self.states[newest_over..].iter().filter(|(began, ..)| *began <= at);
        let found = allowed.into_iter().find(|(_, _, next, _)| *next == index.applied_next());
        let Some((_, _, next, expected)) = found else {
            panic!("crash at call {at}: the index says {}", index.applied_next())
        };
        assert!(rows == *expected, "crash at call {at}: the rows are not those of offset {next}");
        (*next, rows)
    }
}

#[test]
fn after_a_crash_at_any_call_the_last_checkpoint_is_there() {
    for seed in 0..crash_seeds() {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut base = None;
        // Each round crashes what the round before left after its own crash.
        for _ in 0..4 {
            let run = Run::new(base.take(), &mut random, 12);
            let first = run.states[0].0;
            for at in first..=run.disk.calls() {
                if random.u8(..4) != 0 && at < run.disk.calls() {
                    continue;
                }
                let killed = run.crash(at, || true);
                let lost = run.crash(at, || random.bool());
                let (next, rows) = run.check(at, killed.clone());
                run.check(at, lost);
                base = Some((killed, next, rows));
            }
        }
    }
}

fn crash_seeds() -> u64 {
    std::env::var("TIDINGS_CRASH_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(3)
}
