//! The store against a list of versions for each key: random changes in a bucket whose versioning is enabled,
//! suspended and begun anew, clean stops and kills in between.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::model::copy_all;
use super::*;
use crate::event::{Version, VersionId};
use crate::queue::{NewPart, NewUpload, Piece, UploadChange, UploadId, encode_manifest};
use crate::store::{ObjectVersion, Versioning, VersionsAfter};

#[derive(Debug, Clone)]
enum Op {
    Put(u8, u16),
    Blob(u8, u16),
    /// An upload of so many parts, made an object at once.
    Upload(u8, u8),
    Delete(u8),
    /// The version at this place goes, if there is one.
    Remove(u8, u8),
    Enable,
    Suspend,
    /// Every version goes, and the bucket with them; it is made anew.
    Anew,
    Settle,
    Reopen,
    Kill,
    List(u8, Option<u8>, usize),
    /// Every version in pages of this size.
    Pages(u8, usize),
}

fn op() -> impl Strategy<Value = Op> {
    let key = 0..6_u8;
    prop_oneof![
        8 => (key.clone(), 0..4000_u16).prop_map(|(k, n)| Op::Put(k, n)),
        4 => (key.clone(), 1..2000_u16).prop_map(|(k, n)| Op::Blob(k, n)),
        2 => (key.clone(), 1..4_u8).prop_map(|(k, n)| Op::Upload(k, n)),
        6 => key.clone().prop_map(Op::Delete),
        8 => (key.clone(), 0..4_u8).prop_map(|(k, n)| Op::Remove(k, n)),
        2 => Just(Op::Enable),
        2 => Just(Op::Suspend),
        1 => Just(Op::Anew),
        4 => Just(Op::Settle),
        1 => Just(Op::Reopen),
        1 => Just(Op::Kill),
        2 => (0..3_u8, prop::option::of(key), 1..8_usize).prop_map(|(p, a, m)| Op::List(p, a, m)),
        3 => (0..3_u8, 1..5_usize).prop_map(|(p, m)| Op::Pages(p, m)),
    ]
}

/// Keys whose prefixes nest, one of them the beginning of another: `0/0`, `0/00`, `1/0` …
fn key(k: u8) -> String {
    format!("{}/{}", k / 2, if k.is_multiple_of(2) { "0" } else { "00" })
}

#[derive(Debug, Clone, PartialEq)]
struct Made {
    offset: u64,
    id: VersionId,
    marker: bool,
    body: Vec<u8>,
    blobs: usize,
}

struct World {
    log: Arc<Log>,
    disk: Arc<TestDisk>,
    store: Option<Arc<EmbeddedStore>>,
    dir: tempfile::TempDir,
    mode: Versioning,
    /// The newest first; no key without a version.
    model: BTreeMap<String, Vec<Made>>,
    runtime: tokio::runtime::Runtime,
    checkpoint: Duration,
}

impl World {
    fn new(checkpoint: Duration) -> Self {
        let (log, dir) = (Arc::<Log>::default(), tempfile::tempdir().unwrap());
        let disk = Arc::<TestDisk>::default();
        let store = Some(open(&log, disk.clone(), dir.path(), checkpoint));
        let (mode, model) = (Versioning::Never, BTreeMap::new());
        Self { log, disk, store, dir, mode, model, runtime: runtime(), checkpoint }
    }

    fn store(&self) -> &EmbeddedStore {
        self.store.as_ref().expect("open")
    }

    fn blob(&self, body: &[u8]) -> (Arc<str>, u32) {
        self.runtime.block_on(async {
            let mut writer = self.store().new_blob().await.unwrap();
            writer.write(body.to_vec().into()).await.unwrap();
            let mut handle = writer.finish().await.unwrap();
            handle.keep();
            (handle.name.clone(), handle.crc32c)
        })
    }

    fn event(&self, kind: EventKind, key: &str, size: usize) -> Event {
        Event { version: self.mode.of_new(), ..event(kind, key, size as u64) }
    }

    /// A new version, or delete marker, as the change at `offset` made it.
    fn made(&mut self, k: u8, offset: u64, marker: bool, body: Vec<u8>, blobs: usize) {
        let id = match self.mode {
            Versioning::Enabled => VersionId::At(Position { epoch: 1, offset }),
            _ => VersionId::Null,
        };
        let versions = self.model.entry(key(k)).or_default();
        match self.mode {
            Versioning::Never => versions.clear(),
            Versioning::Enabled => {}
            Versioning::Suspended => versions.retain(|v| v.id != VersionId::Null),
        }
        versions.insert(0, Made { offset, id, marker, body, blobs });
    }

    fn put(&mut self, k: u8, body: Vec<u8>, place: BodyRef) {
        let (event, blobs) = (self.event(EventKind::CreatedPut, &key(k), body.len()), place.clone());
        let inline = match &place {
            BodyRef::Inline { .. } => Bytes::from(body.clone()),
            _ => Bytes::new(),
        };
        let meta = ObjectMeta { body: place, crc64: 7, ..ObjectMeta::default() };
        let offset = self.log.push(Change::PutObject(meta), Some(event), inline);
        self.made(k, offset, false, body, usize::from(matches!(blobs, BodyRef::Blob { .. })));
    }

    fn upload(&mut self, n: usize, k: u8, parts: u8) {
        let id = UploadId((n as u128 + 1).to_be_bytes());
        let (headers, checksum) = (Vec::new(), None);
        let (bucket, owner) = ("b".into(), "p".into());
        let begun = NewUpload { id, bucket, key: key(k).into(), time_us: n as i64, owner, headers, checksum };
        self.log.push(Change::Upload(UploadChange::Begin(Arc::new(begun))), None, Bytes::new());
        let (mut pieces, mut whole) = (Vec::new(), Vec::new());
        for number in 1..=u16::from(parts) {
            let body = vec![n as u8 ^ number as u8; 700];
            let (name, crc32c) = self.blob(&body);
            let part = Arc::new(NewPart {
                upload: id,
                number,
                size: 700,
                md5: [0; 16],
                crc64: 0,
                time_us: n as i64,
                sum: None,
                blob: crate::store::blob_name(&name).unwrap(),
                crc32c,
            });
            pieces.push(Piece::from(&*part));
            self.log.push(Change::Upload(UploadChange::Part(part)), None, Bytes::new());
            whole.extend(body);
        }
        let manifest = Bytes::from(encode_manifest(&pieces));
        let place = BodyRef::Manifest {
            crc32c: crc32c(&manifest),
            bytes: manifest.len() as u32,
            parts: pieces.len() as u16,
        };
        let meta = ObjectMeta { body: place, ..ObjectMeta::default() };
        let event = self.event(EventKind::CreatedMultipart, &key(k), whole.len());
        let offset = self.log.push(Change::CompleteUpload { upload: id, meta }, Some(event), manifest);
        self.made(k, offset, false, whole, pieces.len());
        let done = self.store().upload(id).unwrap().expect("remembered").done.expect("done").version;
        assert_eq!(
            done.as_deref().map(str::to_owned),
            match self.mode {
                Versioning::Never => None,
                _ => Some(self.model[&key(k)][0].id.to_string()),
            }
        );
    }

    fn delete(&mut self, k: u8) {
        if self.mode == Versioning::Never {
            if self.model.remove(&key(k)).is_some() {
                self.log.delete(&key(k));
            }
            return;
        }
        let event = self.event(EventKind::RemovedMarker, &key(k), 0);
        let offset = self.log.push(Change::DeleteObject, Some(event), Bytes::new());
        self.made(k, offset, true, Vec::new(), 0);
    }

    fn remove(&mut self, key: &str, place: usize) {
        if self.mode == Versioning::Never {
            return;
        }
        let Some(versions) = self.model.get_mut(key).filter(|versions| place < versions.len()) else {
            return;
        };
        let version = Some(Version::Named(versions.remove(place).id));
        if versions.is_empty() {
            self.model.remove(key);
        }
        let event = Event { version, ..event(EventKind::RemovedDelete, key, 0) };
        self.log.push(Change::DeleteObject, Some(event), Bytes::new());
    }

    fn anew(&mut self) {
        for (key, versions) in self.model.clone() {
            if self.mode == Versioning::Never {
                self.log.delete(&key);
            } else {
                versions.iter().for_each(|_| self.remove(&key, 0));
            }
        }
        self.model.clear();
        self.mode = Versioning::Never;
    }

    fn run(&mut self, n: usize, op: &Op) {
        match op {
            Op::Put(k, len) => {
                let body = vec![n as u8; usize::from(*len)];
                let crc32c = crc32c(&body);
                let place = if body.is_empty() { BodyRef::Empty } else { BodyRef::Inline { crc32c } };
                self.put(*k, body, place);
            }
            Op::Blob(k, len) => {
                let body = vec![n as u8; usize::from(*len)];
                let (name, crc32c) = self.blob(&body);
                self.put(*k, body, BodyRef::Blob { name, crc32c });
            }
            Op::Upload(k, parts) => self.upload(n, *k, *parts),
            Op::Delete(k) => self.delete(*k),
            Op::Remove(k, place) => self.remove(&key(*k), usize::from(*place)),
            Op::Enable => self.mode = Versioning::Enabled,
            Op::Suspend => self.mode = Versioning::Suspended,
            Op::Anew => self.anew(),
            Op::Settle => self.log.wait_applied(),
            Op::Reopen => {
                let (log, disk) = (self.log.clone(), self.disk.clone());
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
            Op::Pages(prefix, max) => self.check_versions(&format!("{prefix}/"), *max),
        }
    }

    fn check_list(&self, prefix: &str, after: Option<u8>, max: usize) {
        let after = after.map(key);
        let found = self.store().list("b", prefix, after.as_deref(), max).unwrap();
        let current = self.model.iter().filter(|(_, versions)| !versions[0].marker);
        let wanted =
            current.filter(|(k, _)| k.starts_with(prefix) && after.as_ref().is_none_or(|after| *k > after));
        let wanted: Vec<_> = wanted.take(max).map(|(k, v)| (k.clone(), v[0].id, v[0].offset)).collect();
        let found: Vec<_> = found.iter().map(|o| (o.key.to_string(), o.version, o.offset)).collect();
        assert_eq!(found, wanted);
    }

    /// What a page says of a version.
    fn said(found: &ObjectVersion) -> (String, u64, VersionId, bool, bool) {
        let object = &found.object;
        (object.key.to_string(), object.offset, object.version, found.marker, found.latest)
    }

    fn check_versions(&self, prefix: &str, max: usize) {
        let of_prefix = self.model.iter().filter(|(k, _)| k.starts_with(prefix));
        let wanted: Vec<_> = of_prefix
            .flat_map(|(k, versions)| {
                let said = |(at, v): (usize, &Made)| (k.clone(), v.offset, v.id, v.marker, at == 0);
                versions.iter().enumerate().map(said).collect::<Vec<_>>()
            })
            .collect();
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let page = self.store().versions("b", prefix, after.as_ref(), max).unwrap();
            assert!(page.len() <= max);
            all.extend(page.iter().map(Self::said));
            let Some(last) = page.last().filter(|_| page.len() == max) else { break };
            let (key, offset) = (last.object.key.clone(), Some(last.object.offset));
            after = Some(VersionsAfter { key, offset });
        }
        assert_eq!(all, wanted);
        for key in self.model.keys().filter(|k| k.starts_with(prefix)) {
            let behind = VersionsAfter { key: key.as_str().into(), offset: None };
            let found = self.store().versions("b", prefix, Some(&behind), 1).unwrap();
            assert_eq!(found.first().map(Self::said), wanted.iter().find(|w| w.0 > *key).cloned());
        }
    }

    fn check_all(&self) {
        self.check_list("", None, 100);
        for max in [1, 3, 100] {
            self.check_versions("", max);
        }
        for k in 0..6 {
            let versions = self.model.get(&key(k)).cloned().unwrap_or_default();
            let newest = self.store().version("b", &key(k), None).unwrap();
            assert_eq!(newest.map(|v| (v.object.offset, v.marker, v.latest)), {
                versions.first().map(|v| (v.offset, v.marker, true))
            });
            let current = self.store().object("b", &key(k)).unwrap().map(|o| o.offset);
            assert_eq!(current, versions.first().filter(|v| !v.marker).map(|v| v.offset));
            let null = self.store().version("b", &key(k), Some(VersionId::Null)).unwrap();
            let wanted = versions.iter().find(|v| v.id == VersionId::Null);
            assert_eq!(null.map(|v| v.object.offset), wanted.map(|v| v.offset));
            for (at, made) in versions.iter().enumerate() {
                let found = self.store().version("b", &key(k), Some(made.id)).unwrap().expect("there");
                assert_eq!(Self::said(&found), (key(k), made.offset, made.id, made.marker, at == 0));
                if !made.marker {
                    let bytes = self.runtime.block_on(body(self.store(), &found.object)).unwrap();
                    assert_eq!(bytes, made.body);
                }
            }
            let nobody = VersionId::At(Position { epoch: 1, offset: 1 << 40 });
            assert!(self.store().version("b", &key(k), Some(nobody)).unwrap().is_none());
        }
    }

    /// Every file that nobody needs goes, and no other.
    fn check_files(&self) {
        let wanted: usize = self.model.values().flatten().map(|made| made.blobs).sum();
        let files = || -> usize {
            let folders = std::fs::read_dir(self.dir.path().join("blobs")).unwrap();
            folders.map(|f| std::fs::read_dir(f.unwrap().path()).unwrap().count()).sum()
        };
        super::crash::tick_until(&self.log, || files() <= wanted);
        assert_eq!(files(), wanted);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn shows_every_version_that_a_list_shows(
        ops in prop::collection::vec(op(), 1..80),
        often in any::<bool>(),
        never_applied in any::<bool>(),
    ) {
        let mut world = World::new(if often { ALWAYS } else { NEVER });
        world.mode = Versioning::Enabled;
        for (n, op) in ops.iter().enumerate().filter(|(_, op)| !never_applied || !matches!(op, Op::Settle)) {
            world.run(n, op);
        }
        world.check_all();
        world.log.wait_applied();
        world.check_all();
        if often {
            world.check_files();
        }
    }
}
