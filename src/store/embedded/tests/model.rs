//! The store against a map: random changes, clean stops and kills in between.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;

use super::super::index::{Reads as _, Space};
use super::*;
use crate::queue::{NewPart, NewUpload, ObjectTags, Piece, UploadChange, UploadId, encode_manifest};

#[derive(Debug, Clone)]
enum Op {
    Put(u8, u16),
    /// Again and again, so that packs fill with what nobody needs.
    Rewrite(u8, u16),
    Blob(u8, u16),
    Delete(u8),
    /// Gives the object, if there is one, other tags.
    Tag(u8),
    /// Begins an upload in one of a few places, for this key; one that is open there ends.
    Begin(u8, u8),
    Part(u8, u16, u16),
    /// Makes an object of all parts but this one.
    Complete(u8, u16),
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
        2 => (key.clone(), 0..6000_u16).prop_map(|(k, n)| Op::Rewrite(k, n)),
        3 => (key.clone(), 1..2000_u16).prop_map(|(k, n)| Op::Blob(k, n)),
        4 => key.clone().prop_map(Op::Delete),
        4 => key.clone().prop_map(Op::Tag),
        2 => (0..3_u8, key.clone()).prop_map(|(u, k)| Op::Begin(u, k)),
        6 => (0..3_u8, 1..5_u16, 0..2000_u16).prop_map(|(u, n, len)| Op::Part(u, n, len)),
        2 => (0..3_u8, 1..6_u16).prop_map(|(u, n)| Op::Complete(u, n)),
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

struct Upload {
    id: UploadId,
    key: String,
    parts: BTreeMap<u16, (Vec<u8>, Arc<NewPart>)>,
}

struct World {
    log: Arc<Log>,
    disk: Arc<TestDisk>,
    store: Option<Arc<EmbeddedStore>>,
    dir: tempfile::TempDir,
    model: BTreeMap<String, Vec<u8>>,
    /// By place: id, key, and each part with its bytes.
    uploads: BTreeMap<u8, Upload>,
    /// How many blobs each object is made of, if it is made of any.
    blobs: BTreeMap<String, usize>,
    /// The tags that were set after their object was made.
    tags: BTreeMap<String, String>,
    runtime: tokio::runtime::Runtime,
    checkpoint: Duration,
}

impl World {
    fn new(checkpoint: Duration) -> Self {
        let (log, dir) = (Arc::<Log>::default(), tempfile::tempdir().unwrap());
        let disk = Arc::<TestDisk>::default();
        let store = Some(open_reclaiming(&log, disk.clone(), dir.path(), checkpoint));
        Self {
            log,
            disk,
            store,
            dir,
            model: BTreeMap::new(),
            uploads: BTreeMap::new(),
            blobs: BTreeMap::new(),
            tags: BTreeMap::new(),
            runtime: runtime(),
            checkpoint,
        }
    }

    fn store(&self) -> &EmbeddedStore {
        self.store.as_ref().expect("open")
    }

    /// A blob with these bytes, that a record may name.
    fn blob(&self, body: &[u8]) -> (Arc<str>, u32) {
        self.runtime.block_on(async {
            let mut writer = self.store().new_blob().await.unwrap();
            writer.write(body.to_vec().into()).await.unwrap();
            let mut handle = writer.finish().await.unwrap();
            handle.keep();
            (handle.name.clone(), handle.crc32c)
        })
    }

    fn set(&mut self, k: u8, body: Vec<u8>, blobs: usize) {
        self.model.insert(key(k), body);
        self.blobs.insert(key(k), blobs);
        self.tags.remove(&key(k));
    }

    fn begin(&mut self, n: usize, place: u8, k: u8) {
        if let Some(upload) = self.uploads.remove(&place) {
            self.log.push(Change::Upload(UploadChange::End(upload.id)), None, Bytes::new());
        }
        let id = UploadId((n as u128 + 1).to_be_bytes());
        let begun = NewUpload {
            id,
            bucket: "b".into(),
            key: key(k).into(),
            time_us: n as i64,
            owner: "p".into(),
            headers: Vec::new(),
            checksum: None,
        };
        self.log.push(Change::Upload(UploadChange::Begin(Arc::new(begun))), None, Bytes::new());
        self.uploads.insert(place, Upload { id, key: key(k), parts: BTreeMap::new() });
    }

    fn part(&mut self, n: usize, place: u8, number: u16, len: u16) {
        let Some(id) = self.uploads.get(&place).map(|upload| upload.id) else { return };
        let body = vec![n as u8; usize::from(len)];
        let (name, crc32c) = self.blob(&body);
        let part = Arc::new(NewPart {
            upload: id,
            number,
            size: u64::from(len),
            md5: [n as u8; 16],
            crc64: 0,
            time_us: n as i64,
            sum: None,
            blob: crate::store::blob_name(&name).unwrap(),
            crc32c,
        });
        self.log.push(Change::Upload(UploadChange::Part(part.clone())), None, Bytes::new());
        self.uploads.get_mut(&place).unwrap().parts.insert(number, (body, part));
    }

    fn complete(&mut self, place: u8, without: u16) {
        let Some(mut upload) = self.uploads.remove(&place) else { return };
        upload.parts.remove(&without);
        let pieces: Vec<_> = upload.parts.values().map(|(_, part)| Piece::from(&**part)).collect();
        let body: Vec<u8> = upload.parts.values().flat_map(|(body, _)| body.clone()).collect();
        let manifest = Bytes::from(encode_manifest(&pieces));
        let place = BodyRef::Manifest {
            crc32c: crc32c(&manifest),
            bytes: manifest.len() as u32,
            parts: pieces.len() as u16,
        };
        let meta = ObjectMeta { body: place, ..ObjectMeta::default() };
        let event = event(EventKind::CreatedMultipart, &upload.key, body.len() as u64);
        self.log.push(Change::CompleteUpload { upload: upload.id, meta }, Some(event), manifest);
        self.model.insert(upload.key.clone(), body);
        self.tags.remove(&upload.key);
        self.blobs.insert(upload.key, pieces.len());
    }

    fn check_uploads(&self) {
        for upload in self.uploads.values() {
            let found = self.store().upload(upload.id).unwrap().expect("open");
            assert_eq!((&*found.begun.key, found.done), (&*upload.key, None));
            let parts = self.store().parts(upload.id, 0, 100).unwrap();
            let wanted: Vec<_> = upload.parts.values().map(|(_, part)| part.clone()).collect();
            assert_eq!(parts, wanted);
        }
        let mut wanted: Vec<_> = self.uploads.values().map(|u| (u.key.clone(), u.id)).collect();
        wanted.sort();
        let found = self.store().uploads("b", "", None, 100).unwrap();
        let found: Vec<_> = found.iter().map(|u| (u.begun.key.to_string(), u.begun.id)).collect();
        assert_eq!(found, wanted);
    }

    /// Every file that nobody needs goes, and no other.
    fn check_files(&self) {
        let parts: usize = self.uploads.values().map(|upload| upload.parts.len()).sum();
        let wanted = self.blobs.values().sum::<usize>() + parts;
        let files = || -> usize {
            let folders = std::fs::read_dir(self.dir.path().join("blobs")).unwrap();
            folders.map(|f| std::fs::read_dir(f.unwrap().path()).unwrap().count()).sum()
        };
        super::crash::tick_until(&self.log, || files() <= wanted);
        assert_eq!(files(), wanted);
    }

    /// What is counted as needed is what the model needs, and no file is larger than what is counted in all.
    fn check_usage(&self) {
        let mut wanted = 0;
        for (key, body) in &self.model {
            let pieces = self.blobs[key];
            let whole = self.store().object("b", key).unwrap().unwrap();
            let manifest = matches!(whole.meta.body, BodyRef::Manifest { .. });
            wanted += body.len() as u64 + if manifest { 1 + 30 * pieces as u64 } else { 0 };
        }
        let parts = self.uploads.values().flat_map(|upload| upload.parts.values());
        wanted += parts.map(|(body, _)| body.len() as u64).sum::<u64>();
        assert_eq!(self.store().body_bytes().live, wanted);
    }

    /// A stopped store is sound, whatever was done to it.
    fn check_verify(&mut self) {
        self.store = None;
        let found = crate::store::verify(self.disk.clone(), self.dir.path(), &mut |_, _| {}).unwrap();
        assert_eq!((found.damaged, found.damage), (0, Vec::new()));
        assert_eq!(found.objects, self.model.len() as u64);
        let (log, disk) = (self.log.clone(), self.disk.clone());
        self.store = Some(open_reclaiming(&log, disk, self.dir.path(), self.checkpoint));
    }

    fn run(&mut self, n: usize, op: &Op) {
        match op {
            Op::Begin(place, k) => self.begin(n, *place, *k),
            Op::Part(place, number, len) => self.part(n, *place, *number, *len),
            Op::Complete(place, without) => self.complete(*place, *without),
            Op::Put(k, len) => {
                let body = vec![n as u8; usize::from(*len)];
                self.log.put(&key(*k), body.clone());
                self.set(*k, body, 0);
            }
            Op::Rewrite(k, len) => {
                for last in 0..16 {
                    self.log.put(&key(*k), vec![last; usize::from(*len)]);
                }
                self.set(*k, vec![15; usize::from(*len)], 0);
            }
            Op::Blob(k, len) => {
                let body = vec![n as u8; usize::from(*len)];
                let blob = self.blob(&body);
                self.log.put_blob(&key(*k), &blob.0, blob.1, body.len() as u64);
                self.set(*k, body, 1);
            }
            Op::Delete(k) => {
                self.log.delete(&key(*k));
                self.model.remove(&key(*k));
                self.blobs.remove(&key(*k));
                self.tags.remove(&key(*k));
            }
            Op::Tag(k) => {
                let Some(object) = self.store().object("b", &key(*k)).unwrap() else { return };
                let tags = format!("n={n}");
                let (bucket, of) = (object.bucket, object.offset);
                let change = ObjectTags { bucket, key: object.key, of, tags: tags.as_str().into() };
                self.log.push(Change::TagObject(Arc::new(change)), None, Bytes::new());
                self.tags.insert(key(*k), tags);
            }
            Op::Settle => self.log.wait_applied(),
            Op::Reopen => {
                let (log, disk) = (self.log.clone(), self.disk.clone());
                // Closed before the same files are opened again.
                self.store = None;
                self.store = Some(open_reclaiming(&log, disk, self.dir.path(), self.checkpoint));
            }
            Op::Kill => {
                let copy = tempfile::tempdir().unwrap();
                let closed = self.disk.gate.write().unwrap();
                copy_all(self.dir.path(), copy.path());
                drop(closed);
                *self.log.publisher.lock().unwrap() = None;
                self.store = None;
                self.store =
                    Some(open_reclaiming(&self.log, self.disk.clone(), copy.path(), self.checkpoint));
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
        self.check_uploads();
        for k in 0..12 {
            let found = self.store().object("b", &key(k)).unwrap();
            let tags = found.as_ref().map_or("", |object| object.meta.tags());
            assert_eq!(tags, self.tags.get(&key(k)).map_or("", String::as_str), "{}", key(k));
            let found = found.map(|o| self.runtime.block_on(body(self.store(), &o)).unwrap());
            assert_eq!(found.as_ref(), self.model.get(&key(k)), "{}", key(k));
        }
    }
}

pub(super) fn copy_all(from: &Path, to: &Path) {
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
        world.check_usage();
        let rows = world.store().shared.index.len(Space::Tags).unwrap();
        assert_eq!(rows, world.tags.len() as u64, "tags go with their object");
        world.check_verify();
        if often {
            world.check_files();
        }
    }
}
