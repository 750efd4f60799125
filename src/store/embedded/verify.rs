//! `store verify`: index, packs and blobs against each other and their checksums.
//!
//! Goes over every row of every space and every byte of every body. Nothing else may work on the directory
//! meanwhile. Must never change a file, and never take a row's absence for the proof that there is none: the
//! engine checks all of its pages, and every space must give as many rows as it counts.

use std::collections::HashMap;
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;

use super::examine::{INDEX, Look, names_of};
use super::frozen::Frozen;
use super::index::{Index, Reads, Space};
use super::packs::{PackEnd, Packs};
use super::redb_index::{REBUILD, RedbIndex};
use super::row::{self, BlobName};
use super::{META_PACK_END, blobs, buckets, restores, row_edit, upload_rows, usage};
use crate::journal::disk::Disk;
use crate::store::{Finding, FindingKind, Inspection, StoreError};

/// The engine's memory while everything is read once.
const CACHE: u64 = 64 << 20;

/// Told objects and bytes looked at so far.
pub type Progress<'a> = dyn FnMut(u64, u64) + 'a;

/// Looks at everything under the data directory `dir`. Blocking, and as long as it takes to read all bodies.
///
/// # Errors
/// The disk failed where a folder is listed. Everything else that cannot be read is a finding.
pub fn verify(
    disk: Arc<dyn Disk>,
    dir: &Path,
    progress: &mut Progress<'_>,
) -> Result<Inspection, StoreError> {
    let disk: Arc<dyn Disk> = Arc::new(Frozen(disk));
    let mut done = Inspection::default();
    let index = match RedbIndex::open(&*disk, dir, CACHE, true) {
        Ok(index) => index,
        Err(e) => {
            tell(&mut done, FindingKind::Index, INDEX, format!("it cannot be opened: {e}"));
            return Ok(done);
        }
    };
    done.applied_end = index.applied_next();
    let pages = match index.check() {
        Ok(true) => None,
        Ok(false) => Some("pages are damaged; the engine could make them anew".to_owned()),
        Err(e) => Some(format!("pages are damaged: {e}; {REBUILD}")),
    };
    if let Some(what) = pages {
        tell(&mut done, FindingKind::Index, INDEX, what);
    }
    let packs = Packs::new(disk.clone(), dir.join("packs"));
    let blobs = blobs::Blobs::new(disk, dir.join("blobs"));
    let mut verifier = Verifier {
        index: &index,
        packs,
        blobs,
        done,
        owners: HashMap::new(),
        live: HashMap::new(),
        progress,
    };
    for space in Space::ALL {
        verifier.space(space);
    }
    verifier.blobs()?;
    verifier.packs()?;
    Ok(verifier.done)
}

fn tell(done: &mut Inspection, kind: FindingKind, file: &str, what: String) {
    done.add(Finding { kind, bucket: None, key: None, file: file.into(), at: None, what });
}

struct Verifier<'a, 'p> {
    index: &'a RedbIndex,
    packs: Packs,
    blobs: blobs::Blobs,
    done: Inspection,
    /// Every blob that an object or a part names, with its bytes.
    owners: HashMap<BlobName, u64>,
    /// Needed bytes of every pack.
    live: HashMap<u32, u64>,
    progress: &'a mut Progress<'p>,
}

impl Verifier<'_, '_> {
    /// Every row of a space: it can be reached, read, and what it says is true.
    fn space(&mut self, space: Space) {
        let index = self.index;
        let (mut rows, mut last) = (0_u64, Vec::new());
        let walked = index.scan(space, Bound::Unbounded, None, &mut |key, row| {
            if rows > 0 && key <= &last[..] {
                tell(&mut self.done, FindingKind::Index, INDEX, format!("{space:?}: keys are out of order"));
            }
            last.clear();
            last.extend_from_slice(key);
            rows += 1;
            self.row(space, key, row);
            Ok(true)
        });
        let behind = || match names_of(space, &last) {
            (Some(bucket), Some(key)) => format!("behind `{bucket}/{}`", key.escape_debug()),
            _ => format!("behind row {rows}"),
        };
        match (walked, index.len(space)) {
            (Err(e), _) => {
                let what = format!("{space:?} cannot be read {}: {e}; {REBUILD}", behind());
                tell(&mut self.done, FindingKind::Index, INDEX, what);
            }
            (Ok(()), Ok(count)) if count == rows => {}
            (Ok(()), Ok(count)) => {
                let what = format!("{space:?} has {count} rows and gives {rows}; {REBUILD}");
                tell(&mut self.done, FindingKind::Index, INDEX, what);
            }
            (Ok(()), Err(e)) => tell(&mut self.done, FindingKind::Index, INDEX, format!("{space:?}: {e}")),
        }
    }

    fn row(&mut self, space: Space, key: &[u8], row: &[u8]) {
        let sound = match space {
            Space::Parts => {
                self.done.parts += 1;
                return self.body(space, key, row);
            }
            _ if space.has_bodies() => {
                self.done.objects += 1;
                return self.body(space, key, row);
            }
            Space::Buckets => buckets::bucket(key, row).is_ok(),
            Space::Targets => super::targets::target(key, row).is_ok(),
            Space::Tags => row::open(key, row).is_some(),
            Space::Restores => restores::restore_row(key, row).is_ok(),
            Space::RestoreTimers => restores::due_of(key).is_some(),
            Space::Uploads => upload_rows::upload(key, row).is_ok(),
            Space::OpenUploads => upload_rows::id_of_open_key(key)
                .is_some_and(|id| matches!(self.index.get(Space::Uploads, &id.0), Ok(Some(_)))),
            Space::Blobs => row.is_empty() || row_edit::number(key, row).is_some(),
            _ => true,
        };
        if !sound {
            let name = String::from_utf8_lossy(key).escape_debug().to_string();
            tell(
                &mut self.done,
                FindingKind::Row,
                INDEX,
                format!("{space:?}: the row of `{name}` is damaged"),
            );
        }
    }

    fn body(&mut self, space: Space, key: &[u8], row: &[u8]) {
        let mut bytes = 0;
        let mut pace = |read: u64| {
            bytes += read;
            true
        };
        let look = Look::at(&self.packs, &self.blobs, (space, key, row), &mut pace);
        let (found, owns) = (look.found, look.owns);
        self.done.bytes += bytes;
        found.into_iter().for_each(|finding| self.done.add(finding));
        for (name, bytes) in owns {
            let (bucket, object) = names_of(space, key);
            if self.owners.insert(name, bytes).is_some() {
                let (file, what) = (blobs::Blobs::file_name(&name), "two rows own this blob".into());
                let kind = FindingKind::Mismatch;
                self.done.add(Finding { kind, bucket, key: object, file, at: None, what });
            }
        }
        if let (true, Ok(Some(packed))) = (space.has_bodies(), row_edit::packed(key, row)) {
            *self.live.entry(packed.pack).or_default() += packed.bytes;
        }
        if (self.done.objects + self.done.parts).is_multiple_of(1_000) {
            (self.progress)(self.done.objects + self.done.parts, self.done.bytes);
        }
    }

    /// Blobs: who owns one has a row that says so, and the other way round; files without either are orphans.
    fn blobs(&mut self) -> Result<(), StoreError> {
        let (index, owners) = (self.index, std::mem::take(&mut self.owners));
        let mut wrong = Vec::new();
        let walked = index.scan(Space::Blobs, Bound::Unbounded, None, &mut |key, row| {
            let Ok(name) = BlobName::try_from(key) else { return Ok(true) };
            match (owners.get(&name), row_edit::number(key, row)) {
                (None, _) => {
                    wrong.push((name, "the index says that it is owned, and no object or part does"))
                }
                (Some(bytes), Some(counted)) if *bytes != counted => {
                    wrong.push((name, "its owner and the index disagree about its bytes"));
                }
                _ => {}
            }
            Ok(true)
        });
        // What cannot be read of this space was told when it was walked.
        drop(walked);
        for name in owners.keys() {
            if matches!(index.get(Space::Blobs, name), Ok(None)) {
                wrong.push((*name, "an object or part owns it, and the index says that nobody does"));
            }
        }
        for (name, what) in wrong {
            tell(&mut self.done, FindingKind::Mismatch, &blobs::Blobs::file_name(&name), what.into());
        }
        let mut files = self.blobs.names()?;
        files.sort_unstable();
        for name in files.into_iter().filter(|name| !owners.contains_key(name)) {
            let bytes = self.blobs.bytes(&name).unwrap_or_default();
            self.done.add_orphan(blobs::Blobs::file_name(&name), bytes);
        }
        Ok(())
    }

    /// Packs: the index knows where they end and how much of each is needed; others are left over.
    fn packs(&mut self) -> Result<(), StoreError> {
        let end = match self.index.get(Space::Meta, META_PACK_END) {
            Ok(None) => PackEnd::NONE,
            Ok(Some(row)) if PackEnd::from_bytes(&row).is_some_and(|end| end.pack > 0) => {
                PackEnd::from_bytes(&row).unwrap_or(PackEnd::NONE)
            }
            _ => {
                let what = "the row that says where packs end is damaged".to_owned();
                tell(&mut self.done, FindingKind::Row, INDEX, what);
                return Ok(());
            }
        };
        let counted = usage::written(self.index).unwrap_or_default();
        for pack in self.packs.numbers()? {
            let (file, needed) = (Packs::file_name(pack), self.live.remove(&pack).unwrap_or_default());
            if let Err(e) = self.packs.file(pack) {
                tell(&mut self.done, FindingKind::Body, &file, e.to_string());
            }
            if needed == 0 || pack > end.pack {
                self.done.add_orphan(file.clone(), self.packs.bytes(pack).unwrap_or_default());
            }
            if counted.get(&pack).is_some_and(|counted| *counted != needed) {
                let what = format!("{needed} bytes of it are needed, the index counted {}", counted[&pack]);
                tell(&mut self.done, FindingKind::Mismatch, &file, what);
            }
        }
        Ok(())
    }
}
