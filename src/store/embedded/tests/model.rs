//! The store against a map: random changes, clean stops and kills in between.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Op {
    Put(u8, u16),
    Blob(u8, u16),
    Delete(u8),
    /// Waits until the index has everything.
    Settle,
    /// Stops and opens again.
    Reopen,
    /// Goes on with the files as they are now, as after `kill -9`.
    Kill,
    List(u8, Option<u8>, usize),
}

fn op() -> impl Strategy<Value = Op> {
    let key = 0..12_u8;
    prop_oneof![
        8 => (key.clone(), 0..6000_u16).prop_map(|(k, n)| Op::Put(k, n)),
        3 => (key.clone(), 1..2000_u16).prop_map(|(k, n)| Op::Blob(k, n)),
        4 => key.clone().prop_map(Op::Delete),
        3 => Just(Op::Settle),
        1 => Just(Op::Reopen),
        1 => Just(Op::Kill),
        3 => (0..4_u8, prop::option::of(key), 1..8_usize).prop_map(|(p, a, m)| Op::List(p, a, m)),
    ]
}

/// Keys whose prefixes nest: `0/0`, `0/1`, `0/2`, `1/0` …
fn key(k: u8) -> String {
    format!("{}/{}", k / 3, k % 3)
}

struct World {
    log: Arc<Log>,
    disk: Arc<TestDisk>,
    store: Option<Arc<EmbeddedStore>>,
    dir: tempfile::TempDir,
    model: BTreeMap<String, Vec<u8>>,
    runtime: tokio::runtime::Runtime,
    checkpoint: Duration,
}

impl World {
    fn new(checkpoint: Duration) -> Self {
        let (log, dir) = (Arc::<Log>::default(), tempfile::tempdir().unwrap());
        let disk = Arc::<TestDisk>::default();
        let store = Some(open(&log, disk.clone(), dir.path(), checkpoint));
        Self { log, disk, store, dir, model: BTreeMap::new(), runtime: runtime(), checkpoint }
    }

    fn store(&self) -> &EmbeddedStore {
        self.store.as_ref().expect("open")
    }

    fn run(&mut self, n: usize, op: &Op) {
        match op {
            Op::Put(k, len) => {
                let body = vec![n as u8; usize::from(*len)];
                self.log.put(&key(*k), body.clone());
                self.model.insert(key(*k), body);
            }
            Op::Blob(k, len) => {
                let body = vec![n as u8; usize::from(*len)];
                let blob = self.runtime.block_on(async {
                    let mut writer = self.store().new_blob().await.unwrap();
                    writer.write(body.clone().into()).await.unwrap();
                    let mut handle = writer.finish().await.unwrap();
                    handle.keep();
                    (handle.name.clone(), handle.crc32c)
                });
                self.log.put_blob(&key(*k), &blob.0, blob.1, body.len() as u64);
                self.model.insert(key(*k), body);
            }
            Op::Delete(k) => {
                self.log.delete(&key(*k));
                self.model.remove(&key(*k));
            }
            Op::Settle => self.log.wait_applied(),
            Op::Reopen => {
                let (log, disk) = (self.log.clone(), self.disk.clone());
                // Closed before the same files are opened again.
                self.store = None;
                self.store = Some(open(&log, disk, self.dir.path(), self.checkpoint));
            }
            Op::Kill => {
                let copy = tempfile::tempdir().unwrap();
                let closed = self.disk.gate.write().unwrap();
                copy_all(self.dir.path(), copy.path());
                drop(closed);
                *self.log.publisher.lock().unwrap() = None;
                self.store = None;
                self.store = Some(open(&self.log, self.disk.clone(), copy.path(), self.checkpoint));
                self.dir = copy;
            }
            Op::List(prefix, after, max) => self.check_list(&format!("{prefix}/"), *after, *max),
        }
    }

    fn check_list(&self, prefix: &str, after: Option<u8>, max: usize) {
        let after = after.map(key);
        let found = self.store().list("b", prefix, after.as_deref(), max).unwrap();
        let wanted = self
            .model
            .iter()
            .filter(|(k, _)| k.starts_with(prefix) && after.as_ref().is_none_or(|after| *k > after));
        let wanted: Vec<_> = wanted.take(max).map(|(k, v)| (k.clone(), v.len() as u64)).collect();
        let found: Vec<_> = found.iter().map(|o| (o.key.to_string(), o.size)).collect();
        assert_eq!(found, wanted);
    }

    fn check_all(&self) {
        self.check_list("", None, 100);
        for k in 0..12 {
            let found = self.store().object("b", &key(k)).unwrap();
            let found = found.map(|o| self.runtime.block_on(body(self.store(), &o)).unwrap());
            assert_eq!(found.as_ref(), self.model.get(&key(k)), "{}", key(k));
        }
    }
}

fn copy_all(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir_all(&to).unwrap();
            copy_all(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), &to).unwrap();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn shows_what_a_map_shows(ops in prop::collection::vec(op(), 1..60), often in any::<bool>()) {
        let mut world = World::new(if often { ALWAYS } else { NEVER });
        for (n, op) in ops.iter().enumerate() {
            world.run(n, op);
        }
        world.check_all();
        world.log.wait_applied();
        world.check_all();
    }
}
