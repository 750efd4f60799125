//! Restores as the store shows them: against a reference, through batches of any size, stops and starts.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;

use super::super::index::{Reads, Space};
use super::model::copy_all;
use super::*;
use crate::event::VersionId;
use crate::queue::{Restore, RestoreChange, Tier};
use crate::store::{DueRestore, Restores as _};

#[derive(Debug, Clone)]
enum Op {
    Put(u8),
    Delete(u8),
    /// The restore of the object is due then, if it is there.
    Set(u8, i64),
    /// It has none any more.
    End(u8),
    /// What is due first is ended, or found void.
    Tick,
    Settle,
    Reopen,
    Kill,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => (0..4_u8).prop_map(Op::Put),
        1 => (0..4_u8).prop_map(Op::Delete),
        5 => (0..4_u8, -3..4_i64).prop_map(|(key, due)| Op::Set(key, due)),
        1 => (0..4_u8).prop_map(Op::End),
        2 => Just(Op::Tick),
        2 => Just(Op::Settle),
        1 => Just(Op::Reopen),
        1 => Just(Op::Kill),
    ]
}

fn restore(due: i64) -> Restore {
    Restore {
        version: VersionId::Null,
        class: "ARCHIVE".into(),
        tier: Tier::Bulk,
        days: 1,
        asked_us: due,
        ready_us: due,
        expires_us: None,
        request: RequestInfo { id: "r".into(), source_ip: None, principal: "p".into(), hops: 0 },
    }
}

struct World {
    log: Arc<Log>,
    dir: tempfile::TempDir,
    disk: TestDisk,
    store: Option<Arc<EmbeddedStore>>,
    checkpoint: Duration,
    /// Key → offset of the object, and when its restore is due.
    model: BTreeMap<String, (u64, Option<i64>)>,
    /// Timers: when, key, offset of the object.
    timers: Vec<(i64, String, u64)>,
}

impl World {
    fn store(&self) -> &Arc<EmbeddedStore> {
        self.store.as_ref().unwrap()
    }

    fn open(&mut self) {
        self.store = None;
        let disk = Arc::new(self.disk.clone());
        self.store = Some(open(&self.log, disk, self.dir.path(), self.checkpoint));
    }

    fn change(&mut self, key: &str, of: u64, was_due_us: Option<i64>, now: Option<i64>) {
        self.timers.retain(|timer| Some(timer) != was_due_us.map(|due| (due, key.to_owned(), of)).as_ref());
        self.timers.extend(now.map(|due| (due, key.to_owned(), of)));
        self.timers.sort();
        let (bucket, now, headers) = ("b".into(), now.map(restore), Vec::new());
        let change = RestoreChange { bucket, key: key.into(), of, was_due_us, now, headers };
        self.log.push(Change::Restore(Arc::new(change)), None, Bytes::new());
    }

    fn run(&mut self, op: &Op) {
        match op {
            Op::Put(k) => {
                let offset = self.log.put(&k.to_string(), "body");
                self.model.insert(k.to_string(), (offset, None));
            }
            Op::Delete(k) => {
                self.log.delete(&k.to_string());
                self.model.remove(&k.to_string());
            }
            Op::Set(k, _) | Op::End(k) => {
                let key = k.to_string();
                let Some((of, was)) = self.model.get(&key).copied() else { return };
                let now = if let Op::Set(_, due) = op { Some(*due) } else { None };
                self.change(&key, of, was, now);
                self.model.insert(key, (of, now));
            }
            Op::Tick => {
                let Some((due, key, of)) = self.timers.first().cloned() else { return };
                self.change(&key, of, Some(due), None);
                self.model.entry(key).and_modify(|at| at.1 = at.1.filter(|_| at.0 != of));
            }
            Op::Settle => self.log.wait_applied(),
            Op::Reopen => self.open(),
            Op::Kill => {
                let copy = tempfile::tempdir().unwrap();
                let closed = self.disk.gate.write().unwrap();
                copy_all(self.dir.path(), copy.path());
                drop(closed);
                *self.log.publisher.lock().unwrap() = None;
                self.store = None;
                self.dir = copy;
                self.open();
            }
        }
    }

    fn check(&self) {
        for (key, (of, due)) in &self.model {
            let found = self.store().restore("b", key, *of).unwrap();
            assert_eq!(found, due.map(restore), "{key} of {of}");
            assert_eq!(self.store().restore("b", key, of + 1).unwrap(), None, "another object");
        }
        let of = |(due_us, key, of): &(i64, String, u64)| DueRestore {
            due_us: *due_us,
            bucket: "b".into(),
            key: key.as_str().into(),
            of: *of,
        };
        let wanted: Vec<_> = self.timers.iter().map(of).collect();
        for (until, max) in [(i64::MAX, 100), (0, 100), (i64::MAX, 1), (1, 2), (i64::MIN, 1)] {
            let (mut found, mut after) = (Vec::new(), None);
            loop {
                let run = self.store().due_restores(after.as_ref(), until, max).unwrap();
                assert!(run.len() <= max);
                let Some(last) = run.last() else { break };
                after = Some(last.clone());
                found.extend(run);
            }
            let wanted: Vec<_> = wanted.iter().filter(|due| due.due_us <= until).cloned().collect();
            assert_eq!(found, wanted, "until {until}, {max} at once");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn shows_what_a_list_shows(ops in prop::collection::vec(op(), 1..40), often in any::<bool>()) {
        let log = Arc::<Log>::default();
        let mut world = World {
            log,
            dir: tempfile::tempdir().unwrap(),
            disk: TestDisk::default(),
            store: None,
            checkpoint: if often { ALWAYS } else { NEVER },
            model: BTreeMap::new(),
            timers: Vec::new(),
        };
        world.open();
        for op in &ops {
            world.run(op);
            world.check();
        }
        world.log.wait_applied();
        world.check();
        // No row is left of what is gone.
        let rows = Reads::len(&*world.store().shared.index, Space::Restores).unwrap();
        prop_assert_eq!(rows, world.model.values().filter(|(_, due)| due.is_some()).count() as u64);
        world.store = None;
        let found = crate::store::verify(os(), world.dir.path(), &mut |_, _| {}).unwrap();
        prop_assert_eq!((found.damaged, found.damage), (0, Vec::new()));
    }
}
