//! The store against a list of versions for each key: random changes in a bucket that has no versioning, or
//! whose versioning is enabled, suspended and begun anew; uploads, tags, clean stops and kills in between.
//!
//! Must never ask the store what to expect, but for the offsets that tags name.

mod checks;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;

use super::super::index::Space;
use super::*;
use crate::event::{Version, VersionId};
use crate::queue::{NewPart, NewUpload, ObjectTags, Piece, UploadChange, UploadId, encode_manifest};
use crate::store::Versioning;

/// Keys there are.
const KEYS: u8 = 9;

#[derive(Debug, Clone)]
enum Op {
    Put(u8, u16),
    /// Again and again, so that packs fill with what nobody needs.
    Rewrite(u8, u16),
    Blob(u8, u16),
    /// Without naming a version.
    Delete(u8),
    /// The version at this place goes, if there is one.
    Remove(u8, u8),
    /// Gives the version at this place, if it is there and an object, other tags.
    Tag(u8, u8),
    /// Begins an upload in one of a few places, for this key; one that is open there ends.
    Begin(u8, u8),
    Part(u8, u16, u16),
    /// Makes an object of all parts but this one.
    Complete(u8, u16),
    Enable,
    Suspend,
    /// Every version goes, and the bucket with its uploads; it is made anew.
    Anew,
    /// Waits until the index has everything.
    Settle,
    /// Stops and opens again.
    Reopen,
    /// Goes on with the files as they are now, as after `kill -9`.
    Kill,
    List(u8, Option<u8>, usize),
    /// Every version in pages of this size.
    Pages(u8, usize),
}

fn op() -> impl Strategy<Value = Op> {
    let (key, place) = (0..KEYS, 0..3_u8);
    prop_oneof![
        8 => (key.clone(), 0..6000_u16).prop_map(|(k, n)| Op::Put(k, n)),
        2 => (key.clone(), 0..6000_u16).prop_map(|(k, n)| Op::Rewrite(k, n)),
        4 => (key.clone(), 1..2000_u16).prop_map(|(k, n)| Op::Blob(k, n)),
        5 => key.clone().prop_map(Op::Delete),
        6 => (key.clone(), 0..4_u8).prop_map(|(k, n)| Op::Remove(k, n)),
        4 => (key.clone(), 0..3_u8).prop_map(|(k, n)| Op::Tag(k, n)),
        2 => (place.clone(), key.clone()).prop_map(|(u, k)| Op::Begin(u, k)),
        6 => (place.clone(), 1..5_u16, 0..2000_u16).prop_map(|(u, n, len)| Op::Part(u, n, len)),
        3 => (place, 1..6_u16).prop_map(|(u, n)| Op::Complete(u, n)),
        2 => Just(Op::Enable),
        2 => Just(Op::Suspend),
        1 => Just(Op::Anew),
        3 => Just(Op::Settle),
        1 => Just(Op::Reopen),
        1 => Just(Op::Kill),
        3 => (0..3_u8, prop::option::of(key), 1..8_usize).prop_map(|(p, a, m)| Op::List(p, a, m)),
        2 => (0..3_u8, 1..5_usize).prop_map(|(p, m)| Op::Pages(p, m)),
    ]
}

/// Keys whose prefixes nest, one of them the beginning of another: `0/0`, `0/00`, `0/1`, `1/0` …
fn key(k: u8) -> String {
    format!("{}/{}", k / 3, ["0", "00", "1"][usize::from(k % 3)])
}

/// One version.
#[derive(Debug, Clone, PartialEq)]
struct Made {
    offset: u64,
    id: VersionId,
    marker: bool,
    body: Vec<u8>,
    /// How many blobs it is made of.
    blobs: usize,
    /// The tags that were set after it was made.
    tags: Option<String>,
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
    mode: Versioning,
    /// The newest first; no key without a version.
    model: BTreeMap<String, Vec<Made>>,
    /// By place.
    uploads: BTreeMap<u8, Upload>,
    runtime: tokio::runtime::Runtime,
    checkpoint: Duration,
}

impl World {
    fn new(mode: Versioning, checkpoint: Duration) -> Self {
        let (log, dir) = (Arc::<Log>::default(), tempfile::tempdir().unwrap());
        let disk = Arc::<TestDisk>::default();
        let store = Some(open_reclaiming(&log, disk.clone(), dir.path(), checkpoint));
        let (model, uploads) = (BTreeMap::new(), BTreeMap::new());
        Self { log, disk, store, dir, mode, model, uploads, runtime: runtime(), checkpoint }
    }

    fn store(&self) -> &EmbeddedStore {
        self.store.as_ref().expect("open")
    }

    /// Closed before the same files are opened again.
    fn reopen(&mut self) {
        self.store = None;
        let (log, disk) = (self.log.clone(), self.disk.clone());
        self.store = Some(open_reclaiming(&log, disk, self.dir.path(), self.checkpoint));
    }

    fn kill(&mut self) {
        let copy = tempfile::tempdir().unwrap();
        let closed = self.disk.gate.write().unwrap();
        copy_all(self.dir.path(), copy.path());
        drop(closed);
        *self.log.publisher.lock().unwrap() = None;
        self.store = None;
        self.dir = copy;
        self.reopen();
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

    /// A new version, or delete marker, as the change at `offset` made it.
    fn made(&mut self, key: &str, offset: u64, marker: bool, body: Vec<u8>, blobs: usize) {
        let id = match self.mode {
            Versioning::Enabled => VersionId::At(Position { epoch: 1, offset }),
            _ => VersionId::Null,
        };
        let versions = self.model.entry(key.to_owned()).or_default();
        match self.mode {
            Versioning::Never => versions.clear(),
            Versioning::Enabled => {}
            Versioning::Suspended => versions.retain(|v| v.id != VersionId::Null),
        }
        versions.insert(0, Made { offset, id, marker, body, blobs, tags: None });
    }

    fn event(&self, kind: EventKind, key: &str, size: usize) -> Event {
        Event { version: self.mode.of_new(), ..event(kind, key, size as u64) }
    }

    fn put(&mut self, k: u8, body: Vec<u8>, blob: Option<(Arc<str>, u32)>) {
        let event = self.event(EventKind::CreatedPut, &key(k), body.len());
        let (place, inline) = match &blob {
            Some((name, crc32c)) => (BodyRef::Blob { name: name.clone(), crc32c: *crc32c }, Bytes::new()),
            None if body.is_empty() => (BodyRef::Empty, Bytes::new()),
            None => (BodyRef::Inline { crc32c: crc32c(&body) }, Bytes::from(body.clone())),
        };
        let meta = ObjectMeta { body: place, crc64: 7, ..ObjectMeta::default() };
        let offset = self.log.push(Change::PutObject(meta), Some(event), inline);
        self.made(&key(k), offset, false, body, usize::from(blob.is_some()));
    }

    fn begin(&mut self, n: usize, place: u8, k: u8) {
        self.end_upload(place);
        let id = UploadId((n as u128 + 1).to_be_bytes());
        let (headers, checksum) = (Vec::new(), None);
        let (bucket, owner) = ("b".into(), "p".into());
        let begun = NewUpload { id, bucket, key: key(k).into(), time_us: n as i64, owner, headers, checksum };
        self.log.push(Change::Upload(UploadChange::Begin(Arc::new(begun))), None, Bytes::new());
        self.uploads.insert(place, Upload { id, key: key(k), parts: BTreeMap::new() });
    }

    fn end_upload(&mut self, place: u8) {
        if let Some(upload) = self.uploads.remove(&place) {
            self.log.push(Change::Upload(UploadChange::End(upload.id)), None, Bytes::new());
        }
    }

    fn part(&mut self, n: usize, place: u8, number: u16, len: u16) {
        let Some(upload) = self.uploads.get(&place).map(|upload| upload.id) else { return };
        let body = vec![n as u8 ^ number as u8; usize::from(len)];
        let (name, crc32c) = self.blob(&body);
        let part = Arc::new(NewPart {
            upload,
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
        let event = self.event(EventKind::CreatedMultipart, &upload.key, body.len());
        let change = Change::CompleteUpload { upload: upload.id, meta };
        let offset = self.log.push(change, Some(event), manifest);
        self.made(&upload.key, offset, false, body, pieces.len());
        let done = self.store().upload(upload.id).unwrap().expect("remembered").done.expect("done").version;
        let id = self.model[&upload.key][0].id.to_string();
        assert_eq!(done.as_deref(), Some(&*id).filter(|_| self.mode != Versioning::Never));
    }

    fn delete(&mut self, k: u8) {
        if self.mode == Versioning::Never {
            // The commit path makes no change of what is not there; the store bears one.
            self.log.delete(&key(k));
            self.model.remove(&key(k));
            return;
        }
        let event = self.event(EventKind::RemovedMarker, &key(k), 0);
        let offset = self.log.push(Change::DeleteObject, Some(event), Bytes::new());
        self.made(&key(k), offset, true, Vec::new(), 0);
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

    fn tag(&mut self, n: usize, k: u8, place: usize) {
        let found = self.model.get_mut(&key(k)).and_then(|versions| versions.get_mut(place));
        let Some(made) = found.filter(|made| !made.marker) else { return };
        made.tags = Some(format!("n={n}"));
        let tags = format!("n={n}").into();
        let change = ObjectTags { bucket: "b".into(), key: key(k).into(), of: made.offset, tags };
        self.log.push(Change::TagObject(Arc::new(change)), None, Bytes::new());
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
        self.uploads.keys().copied().collect::<Vec<_>>().into_iter().for_each(|place| self.end_upload(place));
        self.mode = Versioning::Never;
    }

    fn run(&mut self, n: usize, op: &Op) {
        let body = |len: &u16| vec![n as u8; usize::from(*len)];
        match op {
            Op::Put(k, len) => self.put(*k, body(len), None),
            Op::Rewrite(k, len) => {
                (0..16).for_each(|last| self.put(*k, vec![last; usize::from(*len)], None));
            }
            Op::Blob(k, len) => {
                let blob = self.blob(&body(len));
                self.put(*k, body(len), Some(blob));
            }
            Op::Delete(k) => self.delete(*k),
            Op::Remove(k, place) => self.remove(&key(*k), usize::from(*place)),
            Op::Tag(k, place) => self.tag(n, *k, usize::from(*place)),
            Op::Begin(place, k) => self.begin(n, *place, *k),
            Op::Part(place, number, len) => self.part(n, *place, *number, *len),
            Op::Complete(place, without) => self.complete(*place, *without),
            Op::Enable => self.mode = Versioning::Enabled,
            Op::Suspend => self.mode = Versioning::Suspended,
            Op::Anew => self.anew(),
            Op::Settle => self.log.wait_applied(),
            Op::Reopen => self.reopen(),
            Op::Kill => self.kill(),
            Op::List(prefix, after, max) => self.check_list(&format!("{prefix}/"), *after, *max),
            Op::Pages(prefix, max) => self.check_versions(&format!("{prefix}/"), *max),
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

/// What a run is: the bucket's versioning at its beginning, whether it ever changes, whether every change is
/// checkpointed, and whether the index may lag as far as it does.
fn lived(mode: Versioning, ops: &[Op], often: bool, settles: bool) {
    let mut world = World::new(mode, if often { ALWAYS } else { NEVER });
    let never = mode == Versioning::Never;
    let skipped = |op: &Op| match op {
        Op::Enable | Op::Suspend => never,
        Op::Settle => !settles,
        _ => false,
    };
    for (n, op) in ops.iter().enumerate().filter(|(_, op)| !skipped(op)) {
        world.run(n, op);
    }
    world.check_all();
    world.log.wait_applied();
    world.check_all();
    world.check_usage();
    world.check_tags();
    world.check_verify();
    if often {
        world.check_files();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_bucket_without_versions_shows_what_a_map_shows(
        ops in prop::collection::vec(op(), 1..60),
        often in any::<bool>(),
    ) {
        lived(Versioning::Never, &ops, often, true);
    }

    #[test]
    fn a_bucket_with_versions_shows_every_version_that_a_list_shows(
        ops in prop::collection::vec(op(), 1..80),
        often in any::<bool>(),
        settles in any::<bool>(),
    ) {
        lived(Versioning::Enabled, &ops, often, settles);
    }
}
