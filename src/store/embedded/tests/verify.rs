//! `store verify`: says nothing about what is sound, names every damage, and changes nothing.

use super::*;
use crate::queue::{Piece, encode_manifest};
use crate::store::{Finding, FindingKind, Inspection, verify as verify_in};

fn verify(dir: &Path) -> Inspection {
    verify_in(os(), dir, &mut |_, _| {}).unwrap()
}

/// Every file with its bytes.
fn files(dir: &Path) -> std::collections::BTreeMap<PathBuf, Vec<u8>> {
    let mut found = std::collections::BTreeMap::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => drop(found.insert(path.clone(), std::fs::read(&path).unwrap())),
        }
    }
    found
}

/// A closed store with 300 small objects, a blob, an object of two parts, an empty one, and an orphan.
struct Closed {
    dir: tempfile::TempDir,
    blob: Arc<str>,
    parts: [Arc<str>; 2],
    orphan: Arc<str>,
}

impl Closed {
    fn new() -> Self {
        let (log, dir) = (Arc::<Log>::default(), tempfile::tempdir().unwrap());
        let store = open(&log, os(), dir.path(), NEVER);
        for n in 0..300_u16 {
            log.put(&format!("k{n:03}"), vec![n as u8; 2000]);
        }
        let runtime = runtime();
        let blob = |len: usize| {
            runtime.block_on(async {
                let mut writer = store.new_blob().await.unwrap();
                writer.write(vec![5; len].into()).await.unwrap();
                let mut handle = writer.finish().await.unwrap();
                handle.keep();
                (handle.name.clone(), handle.crc32c)
            })
        };
        let (name, crc) = blob(700_000);
        log.put_blob("large", &name, crc, 700_000);
        let parts = [blob(1000), blob(2000)];
        let piece = |number: u16, size| {
            let (name, crc32c) = &parts[usize::from(number) - 1];
            Piece { number, size, blob: crate::store::blob_name(name).unwrap(), crc32c: *crc32c }
        };
        let manifest = Bytes::from(encode_manifest(&[piece(1, 1000), piece(2, 2000)]));
        let body = BodyRef::Manifest { crc32c: crc32c(&manifest), bytes: manifest.len() as u32, parts: 2 };
        let meta = ObjectMeta { body, ..ObjectMeta::default() };
        let upload = crate::queue::UploadId([3; 16]);
        let event = event(EventKind::CreatedMultipart, "parts", 3000);
        log.push(Change::CompleteUpload { upload, meta }, Some(event), manifest);
        log.put("none", "");
        let orphan = blob(50).0;
        log.wait_applied();
        drop(store);
        Self { dir, blob: name, parts: parts.map(|(name, _)| name), orphan }
    }

    fn path(&self, blob: &str) -> PathBuf {
        self.dir.path().join("blobs").join(&blob[..2]).join(blob)
    }

    fn flip(&self, path: &Path, at: usize) {
        let mut bytes = std::fs::read(path).unwrap();
        bytes[at] ^= 1;
        std::fs::write(path, bytes).unwrap();
    }

    /// The only finding.
    #[track_caller]
    fn only(&self) -> Finding {
        let found = verify(self.dir.path());
        assert_eq!(found.damage.len(), 1, "{:?}", found.damage);
        found.damage.into_iter().next().unwrap()
    }
}

#[test]
fn a_sound_store_is_sound_its_orphans_are_listed_and_nothing_is_changed() {
    let closed = Closed::new();
    let before = files(closed.dir.path());
    let found = verify(closed.dir.path());
    assert_eq!((found.damaged, found.objects, found.parts), (0, 303, 0), "{:?}", found.damage);
    assert!(found.bytes >= 300 * 2000 + 703_000);
    let orphans: Vec<_> = found.orphans.iter().map(|o| (o.file.clone(), o.bytes)).collect();
    assert_eq!(orphans, [(format!("blobs/{}/{}", &closed.orphan[..2], closed.orphan), 50)]);
    assert_eq!(files(closed.dir.path()), before);
}

#[test]
fn a_damaged_body_is_named_by_its_object_file_and_position() {
    let closed = Closed::new();
    let store = open_only(os(), closed.dir.path(), NEVER).unwrap();
    let crate::store::Place::Pack { pack, at } = store.object("b", "k123").unwrap().unwrap().place else {
        panic!("not in a pack")
    };
    drop(store);
    closed.flip(&closed.dir.path().join(format!("packs/{pack:08x}.pack")), at as usize + 700);
    let found = closed.only();
    assert_eq!(
        (found.kind, found.bucket.as_deref(), found.key.as_deref()),
        (FindingKind::Body, Some("b"), Some("k123"))
    );
    assert_eq!((found.file, found.at), (format!("packs/{pack:08x}.pack"), Some(at)));
}

#[test]
fn damaged_cut_off_and_missing_blobs_are_named_by_their_object() {
    let closed = Closed::new();
    closed.flip(&closed.path(&closed.blob), 64 + 400_000);
    let found = closed.only();
    assert_eq!((found.kind, found.key.as_deref()), (FindingKind::Body, Some("large")));
    closed.flip(&closed.path(&closed.blob), 64 + 400_000);
    let part = closed.path(&closed.parts[1]);
    let whole = std::fs::read(&part).unwrap();
    std::fs::write(&part, &whole[..1000]).unwrap();
    let found = closed.only();
    assert_eq!((found.kind, found.key.as_deref()), (FindingKind::Body, Some("parts")));
    assert!(found.what.contains("ends before"), "{found}");
    std::fs::remove_file(&part).unwrap();
    let found = closed.only();
    assert_eq!((found.kind, found.key.as_deref()), (FindingKind::Missing, Some("parts")));
    std::fs::write(&part, &whole).unwrap();
    assert_eq!(verify(closed.dir.path()).damaged, 0);
}

#[test]
fn a_missing_pack_costs_each_of_its_objects_and_is_said() {
    let closed = Closed::new();
    std::fs::remove_file(closed.dir.path().join("packs/00000001.pack")).unwrap();
    let found = verify(closed.dir.path());
    assert!(found.damaged > 10, "{}", found.damaged);
    assert!(found.damage.iter().all(|f| f.kind == FindingKind::Missing && f.key.is_some()));
}

/// Rows, and what the store claims: the list, and each object it looks up.
fn claims(dir: &Path) -> Result<Vec<String>, StoreError> {
    let store = open_only(os(), dir, NEVER)?;
    let mut claims: Vec<String> =
        store.list("b", "", None, 10_000)?.iter().map(|o| format!("{} {}", o.key, o.offset)).collect();
    for n in 0..300 {
        claims.push(format!("{:?}", store.object("b", &format!("k{n:03}"))?.map(|o| o.offset)));
    }
    Ok(claims)
}

/// The engine reads a rotten inner page as it comes: a key may seem not to be there. Whatever page rots, if
/// anything reads differently from before, `verify` finds damage.
#[test]
fn no_rotten_page_of_the_index_makes_keys_vanish_unseen() {
    let closed = Closed::new();
    let truth = claims(closed.dir.path()).unwrap();
    let path = closed.dir.path().join("index.redb");
    let whole = std::fs::read(&path).unwrap();
    let (mut lies, mut found) = (0, 0);
    let mut random = fastrand::Rng::with_seed(7);
    for page in 0..whole.len() / 4096 {
        if whole[page * 4096..][..4096].iter().all(|b| *b == 0) {
            continue;
        }
        for at in [0, 2, 4, 8, 16, random.usize(..4096)] {
            let mut bad = whole.clone();
            bad[page * 4096 + at] ^= 1 << random.u8(..8);
            std::fs::write(&path, &bad).unwrap();
            let inspection = verify(closed.dir.path());
            assert_eq!(std::fs::read(&path).unwrap(), bad, "it changed the file");
            let damaged = inspection.damaged > 0;
            found += u32::from(damaged);
            // Opening repairs what it can, so it comes last.
            let claimed = claims(closed.dir.path());
            let lie = claimed.as_ref().is_ok_and(|claimed| *claimed != truth);
            lies += u32::from(lie);
            let right = claimed.is_ok_and(|claimed| claimed == truth);
            assert!(damaged || right, "page {page}, byte {at}: a lie, and nobody says so");
        }
    }
    println!("{found} were found, {lies} would have been lies");
    assert!(found > 20, "{found}");
}

#[test]
fn an_index_that_cannot_be_opened_says_which_file_and_what_to_do() {
    let closed = Closed::new();
    let path = closed.dir.path().join("index.redb");
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &[0; 512], 0).unwrap();
    let Err(refused) = open_only(os(), closed.dir.path(), NEVER) else { panic!("it opened") };
    let said = refused.to_string();
    assert!(said.contains(&path.display().to_string()) && said.contains("from a backup"), "{said}");
}
