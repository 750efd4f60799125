//! The manifest: of which blobs an object is made that was uploaded in parts.
//!
//! Must never panic on any input. It travels in the record where the body of a small object does.

use super::upload::NewPart;

/// The first byte of a manifest: another one is a manifest of a newer tidings.
const MANIFEST_VERSION: u8 = 1;
/// Bytes of one piece in a manifest.
const PIECE_BYTES: usize = 2 + 8 + 16 + 4;

/// One piece of an object that was uploaded in parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// The part's number.
    pub number: u16,
    /// Bytes.
    pub size: u64,
    /// The blob's random name.
    pub blob: [u8; 16],
    /// CRC-32C of the bytes.
    pub crc32c: u32,
}

impl From<&NewPart> for Piece {
    fn from(part: &NewPart) -> Self {
        Self { number: part.number, size: part.size, blob: part.blob, crc32c: part.crc32c }
    }
}

/// The manifest's bytes.
pub fn encode_manifest(pieces: &[Piece]) -> Vec<u8> {
    let mut out = Vec::with_capacity(1 + pieces.len() * PIECE_BYTES);
    out.push(MANIFEST_VERSION);
    for piece in pieces {
        out.extend_from_slice(&piece.number.to_le_bytes());
        out.extend_from_slice(&piece.size.to_le_bytes());
        out.extend_from_slice(&piece.blob);
        out.extend_from_slice(&piece.crc32c.to_le_bytes());
    }
    out
}

/// Reads what [`encode_manifest`] wrote; none if it is something else.
pub fn decode_manifest(bytes: &[u8]) -> Option<Vec<Piece>> {
    let (&[MANIFEST_VERSION], rest) = bytes.split_first_chunk::<1>()? else { return None };
    let (pieces, []) = rest.as_chunks::<PIECE_BYTES>() else { return None };
    let piece = |b: &[u8; PIECE_BYTES]| {
        Some(Piece {
            number: u16::from_le_bytes(b[..2].try_into().ok()?),
            size: u64::from_le_bytes(b[2..10].try_into().ok()?),
            blob: b[10..26].try_into().ok()?,
            crc32c: u32::from_le_bytes(b[26..].try_into().ok()?),
        })
    };
    pieces.iter().map(piece).collect()
}

#[cfg(test)]
mod tests {
    use super::super::upload::MAX_PARTS;
    use super::*;

    #[test]
    fn manifests_round_trip_and_nothing_else_is_one() {
        let piece = |n: u16| Piece { number: n, size: u64::from(n) << 40, blob: [n as u8; 16], crc32c: 7 };
        let pieces: Vec<_> = (1..=MAX_PARTS).map(piece).collect();
        let bytes = encode_manifest(&pieces);
        assert!(bytes.len() < crate::journal::MAX_RECORD / 2, "{} bytes", bytes.len());
        assert_eq!(decode_manifest(&bytes), Some(pieces));
        assert_eq!(decode_manifest(&bytes[..bytes.len() - 1]), None);
        assert_eq!(decode_manifest(&[]), None);
        assert_eq!(decode_manifest(&[2]), None);
    }
}
