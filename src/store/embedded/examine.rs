//! Looks at one row and at the bytes that it promises.
//!
//! Must never change anything, and never take more memory than a small body or one run of a large one.

use std::io;

use crc_fast::{CrcAlgorithm, Digest};

use super::blobs::{Blobs, HEADER};
use super::index::Space;
use super::packs::Packs;
use super::row::{self, BlobName, BodyPlace};
use super::upload_rows;
use super::version_rows::{identity, split_version_key};
use crate::event::VersionId;
use crate::journal::disk::read_exact_at;
use crate::queue::{Piece, decode_manifest};
use crate::store::{Finding, FindingKind};

/// Bytes of a blob per read.
const RUN: u64 = 256 << 10;
/// The index's file, under the data directory.
pub(super) const INDEX: &str = "index.redb";

/// Told how many bytes were read; false ends the look.
pub(super) type Pace<'a> = dyn FnMut(u64) -> bool + 'a;

/// One look.
pub(super) struct Look<'a> {
    packs: &'a Packs,
    blobs: &'a Blobs,
    pace: &'a mut Pace<'a>,
    bucket: Option<String>,
    key: Option<String>,
    /// The version that the row is of, if it is not the current one.
    version: Option<VersionId>,
    pub(super) found: Vec<Finding>,
    /// Blobs that the row owns, each with its bytes.
    pub(super) owns: Vec<(BlobName, u64)>,
}

impl<'a> Look<'a> {
    /// Looks at a row of [`Space::Objects`] (or another with bodies) or [`Space::Parts`], and at all of its
    /// bytes.
    pub(super) fn at(
        packs: &'a Packs,
        blobs: &'a Blobs,
        (space, key, row): (Space, &[u8], &[u8]),
        pace: &'a mut Pace<'a>,
    ) -> Self {
        let (bucket, name) = names_of(space, key);
        let version = identity(key, row).filter(|_| space == Space::Versions).map(|found| found.version);
        let (found, owns) = (Vec::new(), Vec::new());
        let mut look = Self { packs, blobs, pace, bucket, key: name, version, found, owns };
        match space {
            Space::Parts => look.part(key, row),
            _ => look.object(object_of(space, key), key, row),
        }
        look
    }

    fn tell(&mut self, kind: FindingKind, file: String, at: Option<u64>, what: impl Into<String>) {
        let (bucket, key) = (self.bucket.clone(), self.key.clone());
        let what = match self.version {
            Some(id) => format!("{} (version {id})", what.into()),
            None => what.into(),
        };
        self.found.push(Finding { kind, bucket, key, file, at, what });
    }

    fn part(&mut self, key: &[u8], row: &[u8]) {
        match upload_rows::part(key, row) {
            Ok(part) => self.blob(&Piece::from(&*part)),
            Err(_) => self.tell(FindingKind::Row, INDEX.into(), None, "the row of a part is damaged"),
        }
    }

    /// `object` is the index key of the object whose row, or whose version's row, stands under `key`.
    fn object(&mut self, object: &[u8], key: &[u8], row: &[u8]) {
        let bucket = self.bucket.as_deref().unwrap_or_default().into();
        let whole = row::version(&bucket, object, key, row);
        let (Some((size, place)), Ok(_)) = (row::body(key, row), whole) else {
            return self.tell(FindingKind::Row, INDEX.into(), None, "the row of the object is damaged");
        };
        match place {
            BodyPlace::Empty | BodyPlace::Marker => {}
            BodyPlace::Blob { name, crc32c } => self.blob(&Piece { number: 0, size, blob: name, crc32c }),
            BodyPlace::Pack { pack, at, crc32c } => drop(self.packed(pack, at, size, crc32c)),
            BodyPlace::Manifest { pack, at, crc32c, bytes, parts } => {
                let Some(manifest) = self.packed(pack, at, bytes.into(), crc32c) else { return };
                let pieces = decode_manifest(&manifest).unwrap_or_default();
                let sum = pieces.iter().try_fold(0_u64, |sum, piece| sum.checked_add(piece.size));
                if (pieces.len(), sum) != (usize::from(parts), Some(size)) {
                    let file = Packs::file_name(pack);
                    self.tell(FindingKind::Mismatch, file, Some(at), "its manifest does not fit its row");
                }
                pieces.iter().for_each(|piece| self.blob(piece));
            }
        }
    }

    fn packed(&mut self, pack: u32, at: u64, bytes: u64, crc32c: u32) -> Option<Vec<u8>> {
        let _ = (self.pace)(bytes);
        let file = Packs::file_name(pack);
        match self.packs.read(pack, at, usize::try_from(bytes).unwrap_or(usize::MAX), crc32c) {
            Ok(body) => return Some(body),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                self.tell(FindingKind::Missing, file, None, "the pack is missing");
            }
            Err(e) => self.tell(FindingKind::Body, file, Some(at), format!("{bytes} bytes: {}", said(&e))),
        }
        None
    }

    fn blob(&mut self, piece: &Piece) {
        self.owns.push((piece.blob, piece.size));
        let file = Blobs::file_name(&piece.blob);
        match self.read_blob(piece) {
            Ok(None) => {}
            Ok(Some(what)) => self.tell(FindingKind::Body, file, None, what),
            Err((_, e)) if e.kind() == io::ErrorKind::NotFound => {
                self.tell(FindingKind::Missing, file, None, "the blob is missing");
            }
            Err((at, e)) => self.tell(FindingKind::Body, file, Some(at), said(&e)),
        }
    }

    /// Reads a blob; gives what is wrong with it, or where it could not be read.
    fn read_blob(&mut self, piece: &Piece) -> Result<Option<String>, (u64, io::Error)> {
        let file = self.blobs.open(&piece.blob).map_err(|e| (0, e))?;
        let (mut at, mut digest) = (0, Digest::new(CrcAlgorithm::Crc32Iscsi));
        let mut run = vec![0; RUN.min(piece.size) as usize];
        while at < piece.size {
            run.truncate((piece.size - at) as usize);
            read_exact_at(&*file, &mut run, HEADER + at).map_err(|e| (HEADER + at, e))?;
            digest.update(&run);
            at += run.len() as u64;
            if !(self.pace)(run.len() as u64) {
                return Ok(None);
            }
        }
        if digest.finalize() as u32 != piece.crc32c {
            return Ok(Some("its bytes do not fit their checksum".into()));
        }
        let len = file.len().map_err(|e| (0, e))?;
        let more = len.saturating_sub(HEADER + piece.size);
        Ok((more > 0).then(|| format!("the file is {more} bytes longer than the body")))
    }
}

/// The index key of the object that a row with a body is of.
fn object_of(space: Space, key: &[u8]) -> &[u8] {
    match space {
        Space::Versions => split_version_key(key).map_or(key, |(object, _)| object),
        _ => key,
    }
}

/// Bucket and key of a row with a body; of other rows nothing.
pub(super) fn names_of(space: Space, key: &[u8]) -> (Option<String>, Option<String>) {
    if space.has_bodies() { names(object_of(space, key)) } else { (None, None) }
}

/// Bucket and key of an object's row, as far as they are text.
fn names(key: &[u8]) -> (Option<String>, Option<String>) {
    let text = |bytes: &[u8]| Some(String::from_utf8_lossy(bytes).into_owned());
    match key.iter().position(|b| *b == 0) {
        Some(end) => (text(&key[..end]), text(&key[end + 1..])),
        None => (None, text(key)),
    }
}

fn said(e: &io::Error) -> String {
    match e.kind() {
        io::ErrorKind::UnexpectedEof => "the file ends before".into(),
        _ => e.to_string(),
    }
}
