//! Objects that were uploaded in parts: their manifest, and their bytes out of the blobs that it names.
//!
//! Must never hold more than one blob open for one reader, and never lose one of the others meanwhile: all
//! that a reader will need are pinned before it gets its first byte.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio::task::spawn_blocking;

use super::apply::Shared;
use super::body::{self, BlobRead};
use crate::queue::{BodyRef, Piece, decode_manifest};
use crate::store::{BodyStream, Object, Place, StoreError};

/// The pieces of an object, in order. Errors are those of a body's read.
pub(super) async fn load(shared: &Arc<Shared>, object: &Object) -> Result<Vec<Piece>, StoreError> {
    let BodyRef::Manifest { crc32c, bytes, parts } = object.meta.body else { return Ok(Vec::new()) };
    let contradiction = || body::damaged(object, "its manifest does not fit its row".into());
    let manifest = match &object.place {
        Place::Memory(manifest) => manifest.to_vec(),
        Place::Pack { pack, at } => {
            let (packs, pack, at) = (shared.packs.clone(), *pack, *at);
            let read = spawn_blocking(move || packs.read(pack, at, bytes as usize, crc32c));
            read.await.map_err(io::Error::other)??
        }
        Place::Blob => return Err(contradiction()),
    };
    let pieces = decode_manifest(&manifest).ok_or_else(contradiction)?;
    let size = pieces.iter().try_fold(0_u64, |sum, piece| sum.checked_add(piece.size));
    if pieces.len() == usize::from(parts) && size == Some(object.size) {
        Ok(pieces)
    } else {
        Err(contradiction())
    }
}

/// The bytes `range`, which is not empty. `Io` with `NotFound`: look the row up again.
pub(super) async fn read(
    shared: &Arc<Shared>,
    object: &Object,
    range: Range<u64>,
) -> Result<BodyStream, StoreError> {
    let wanted = overlap(&load(shared, object).await?, &range);
    let pin = Arc::new(shared.blobs.pin(wanted.iter().map(|(piece, _)| piece.blob)));
    // What the row names once the pin is set stays as long as the pin; before that it may have gone.
    let (again, same) = (shared.clone(), object.clone());
    let same = spawn_blocking(move || again.same(&same)).await.map_err(io::Error::other)??;
    if same.is_none() {
        return Err(StoreError::Gone);
    }
    let mut wanted = wanted.into_iter();
    let Some((piece, part)) = wanted.next() else { return Ok(stream::empty().boxed()) };
    let first = open(shared, object, piece, part).await?;
    let (shared, object) = (shared.clone(), object.clone());
    let rest = stream::iter(wanted).then(move |(piece, part)| {
        let (shared, object, pin) = (shared.clone(), object.clone(), pin.clone());
        async move {
            let opened = match open(&shared, &object, piece, part).await {
                Err(StoreError::Io(e)) if e.kind() == io::ErrorKind::NotFound || body::is_damage(&e) => {
                    Err(body::damaged(&object, format!("part {}: {e}", piece.number)))
                }
                opened => opened,
            };
            drop(pin);
            opened
        }
    });
    Ok(first.chain(rest.try_flatten()).boxed())
}

/// The pieces that `range` touches, each with its own range.
fn overlap(pieces: &[Piece], range: &Range<u64>) -> Vec<(Piece, Range<u64>)> {
    let mut at = 0;
    let mut wanted = Vec::new();
    for piece in pieces {
        let (from, to) = (range.start.max(at), range.end.min(at + piece.size));
        if from < to {
            wanted.push((*piece, from - at..to - at));
        }
        at += piece.size;
    }
    wanted
}

async fn open(
    shared: &Arc<Shared>,
    object: &Object,
    piece: Piece,
    range: Range<u64>,
) -> Result<BodyStream, StoreError> {
    let blobs = shared.blobs.clone();
    let file = spawn_blocking(move || blobs.open(&piece.blob)).await.map_err(io::Error::other)??;
    Ok(BlobRead::new(file, object.clone(), piece.size, range, piece.crc32c).into_stream())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_takes_the_pieces_it_touches() {
        let piece = |number, size| Piece { number, size, blob: [0; 16], crc32c: 0 };
        let pieces = [piece(1, 10), piece(2, 0), piece(5, 10), piece(6, 1)];
        let wanted =
            |range| overlap(&pieces, &range).into_iter().map(|(p, r)| (p.number, r)).collect::<Vec<_>>();
        assert_eq!(wanted(0..21), [(1, 0..10), (5, 0..10), (6, 0..1)]);
        assert_eq!(wanted(9..11), [(1, 9..10), (5, 0..1)]);
        assert_eq!(wanted(10..20), [(5, 0..10)]);
        assert_eq!(wanted(20..21), [(6, 0..1)]);
    }
}
