//! Reads of bodies: from memory, from a pack, from a blob.
//!
//! Must never block an async worker on the disk, and never end a damaged body as if it were whole.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use crc_fast::{CrcAlgorithm, Digest};
use futures_util::StreamExt as _;
use futures_util::stream;
use tokio::task::{JoinHandle, spawn_blocking};

use super::apply::Shared;
use super::blobs;
use super::manifest;
use super::row;
use crate::journal::disk::{DiskFile, read_exact_at};
use crate::queue::{BodyRef, Piece};
use crate::store::{BodyStream, Object, Place, StoreError};

/// Bytes of a blob per read; one read is ahead of the reader.
const READ_BYTES: u64 = 256 << 10;
/// How often a body may move to another file while one read looks for it.
const LOOKUPS: usize = 3;

/// The bytes `range` of an object. A file that is gone makes it look the row up again: [`StoreError::Gone`]
/// if another change is the newest now, [`StoreError::Damaged`] if this one is and its bytes are not there.
pub(super) async fn read(
    shared: &Arc<Shared>,
    object: &Object,
    range: Range<u64>,
) -> Result<BodyStream, StoreError> {
    if range.start > range.end || range.end > object.size {
        let text = format!("range {range:?} of {} bytes", object.size);
        return Err(StoreError::Io(io::Error::new(io::ErrorKind::InvalidInput, text)));
    }
    if range.is_empty() {
        return Ok(stream::empty().boxed());
    }
    let mut object = object.clone();
    for _ in 0..LOOKUPS {
        match read_place(shared, &object, range.clone()).await {
            Err(StoreError::Io(e)) => object = look_again(shared, &object, e).await?,
            other => return other,
        }
    }
    Err(StoreError::Gone)
}

/// The pieces of an object that was uploaded in parts. Errors as [`read`].
pub(super) async fn pieces(shared: &Arc<Shared>, object: &Object) -> Result<Vec<Piece>, StoreError> {
    let mut object = object.clone();
    for _ in 0..LOOKUPS {
        match manifest::load(shared, &object).await {
            Err(StoreError::Io(e)) => object = look_again(shared, &object, e).await?,
            other => return other,
        }
    }
    Err(StoreError::Gone)
}

/// The same object where it is now, after a read that failed because a file is gone; every other failure is
/// given back.
async fn look_again(shared: &Arc<Shared>, object: &Object, failure: io::Error) -> Result<Object, StoreError> {
    if is_damage(&failure) {
        return Err(damaged(object, failure.to_string()));
    }
    if failure.kind() != io::ErrorKind::NotFound {
        return Err(failure.into());
    }
    let (again, same) = (shared.clone(), object.clone());
    match spawn_blocking(move || again.same(&same)).await.map_err(io::Error::other)?? {
        Some(found) if found.place == object.place => Err(damaged(object, "its file is missing".into())),
        Some(found) => Ok(found),
        None => Err(StoreError::Gone),
    }
}

pub(super) fn is_damage(e: &io::Error) -> bool {
    matches!(e.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof)
}

pub(super) fn damaged(object: &Object, what: String) -> StoreError {
    StoreError::Damaged { bucket: object.bucket.clone(), key: object.key.clone(), what }
}

async fn read_place(
    shared: &Arc<Shared>,
    object: &Object,
    range: Range<u64>,
) -> Result<BodyStream, StoreError> {
    match (&object.place, &object.meta.body) {
        (_, BodyRef::Manifest { .. }) => manifest::read(shared, object, range).await,
        (Place::Memory(body), _) if body.len() as u64 == object.size => {
            let part = body.slice(range.start as usize..range.end as usize);
            Ok(stream::iter([Ok(part)]).boxed())
        }
        (Place::Pack { pack, at }, BodyRef::Inline { crc32c }) => {
            let (packs, pack, at, crc) = (shared.packs.clone(), *pack, *at, *crc32c);
            let len = usize::try_from(object.size).map_err(io::Error::other)?;
            let body = spawn_blocking(move || packs.read(pack, at, len, crc));
            let body = Bytes::from(body.await.map_err(io::Error::other)??);
            let part = body.slice(range.start as usize..range.end as usize);
            Ok(stream::iter([Ok(part)]).boxed())
        }
        (Place::Blob, BodyRef::Blob { name, crc32c }) => {
            let name = row::blob_name(name).ok_or_else(|| damaged(object, "its blob has no name".into()))?;
            let blobs = shared.blobs.clone();
            let file = spawn_blocking(move || blobs.open(&name)).await.map_err(io::Error::other)??;
            Ok(BlobRead::new(file, object.clone(), object.size, range, *crc32c).into_stream())
        }
        _ => Err(damaged(object, "its row contradicts itself".into())),
    }
}

/// A blob being read, one run ahead.
pub(super) struct BlobRead {
    file: Arc<dyn DiskFile>,
    object: Object,
    /// The next byte to ask for, and the end.
    at: u64,
    end: u64,
    ahead: Option<JoinHandle<io::Result<Vec<u8>>>>,
    /// Only a read of the whole body can be compared with the checksum.
    check: Option<(Digest, u32)>,
}

impl BlobRead {
    /// Reads `range` of a blob of `size` bytes; `object` is what its damage is reported for.
    pub(super) fn new(
        file: Arc<dyn DiskFile>,
        object: Object,
        size: u64,
        range: Range<u64>,
        crc32c: u32,
    ) -> Self {
        let whole = range == (0..size);
        let check = whole.then(|| (Digest::new(CrcAlgorithm::Crc32Iscsi), crc32c));
        let mut read = Self { file, object, at: range.start, end: range.end, ahead: None, check };
        read.ahead = read.ask();
        read
    }

    fn ask(&mut self) -> Option<JoinHandle<io::Result<Vec<u8>>>> {
        let len = READ_BYTES.min(self.end - self.at);
        if len == 0 {
            return None;
        }
        let (file, from) = (self.file.clone(), blobs::HEADER + self.at);
        self.at += len;
        Some(spawn_blocking(move || {
            let mut run = vec![0; len as usize];
            read_exact_at(&*file, &mut run, from)?;
            Ok(run)
        }))
    }

    /// The bytes, in order.
    pub(super) fn into_stream(self) -> BodyStream {
        stream::try_unfold(self, |mut read| async move {
            let Some(ahead) = read.ahead.take() else { return Ok(None) };
            let run = match ahead.await.map_err(io::Error::other)? {
                Err(e) if is_damage(&e) => return Err(damaged(&read.object, e.to_string())),
                run => Bytes::from(run?),
            };
            read.ahead = read.ask();
            if let Some((digest, crc)) = &mut read.check {
                digest.update(&run);
                // The last run is kept back, so that the reader sees that the body is not whole.
                if read.ahead.is_none() && digest.finalize() as u32 != *crc {
                    return Err(damaged(&read.object, "the checksum of its blob does not match".into()));
                }
            }
            Ok(Some((run, read)))
        })
        .boxed()
    }
}
