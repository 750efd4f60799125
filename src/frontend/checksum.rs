//! The checksums that clients may declare: their names, and their values in the making.
//!
//! Must never know where a value is declared or what follows from a wrong one (`digest.rs`).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use s3s::crypto::{Checksum as _, Crc32, Crc32c, Crc64Nvme, Sha1, Sha256};

/// A checksum that a client may declare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Algorithm {
    Crc32,
    Crc32c,
    Crc64Nvme,
    Sha1,
    Sha256,
}

impl Algorithm {
    pub(super) const ALL: [Algorithm; 5] =
        [Algorithm::Crc32, Algorithm::Crc32c, Algorithm::Crc64Nvme, Algorithm::Sha1, Algorithm::Sha256];

    /// The header, or the trailer, that carries it.
    pub(super) fn header(self) -> &'static str {
        match self {
            Algorithm::Crc32 => "x-amz-checksum-crc32",
            Algorithm::Crc32c => "x-amz-checksum-crc32c",
            Algorithm::Crc64Nvme => "x-amz-checksum-crc64nvme",
            Algorithm::Sha1 => "x-amz-checksum-sha1",
            Algorithm::Sha256 => "x-amz-checksum-sha256",
        }
    }

    /// How long its value is, in bytes.
    pub(super) fn bytes(self) -> usize {
        match self {
            Algorithm::Crc32 | Algorithm::Crc32c => 4,
            Algorithm::Crc64Nvme => 8,
            Algorithm::Sha1 => 20,
            Algorithm::Sha256 => 32,
        }
    }

    /// The one that this header or trailer carries.
    pub(super) fn of_header(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|a| a.header().eq_ignore_ascii_case(name))
    }

    /// True if `name` is a header that carries one of ours.
    pub(super) fn is_header(name: &str) -> bool {
        Self::of_header(name).is_some()
    }
}

/// A checksum in the making.
pub(super) enum Sum {
    Crc32(Crc32),
    Crc32c(Crc32c),
    Crc64Nvme(Crc64Nvme),
    Sha1(Sha1),
    Sha256(Sha256),
}

impl Sum {
    pub(super) fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Crc32 => Sum::Crc32(Crc32::new()),
            Algorithm::Crc32c => Sum::Crc32c(Crc32c::new()),
            Algorithm::Crc64Nvme => Sum::Crc64Nvme(Crc64Nvme::new()),
            Algorithm::Sha1 => Sum::Sha1(Sha1::new()),
            Algorithm::Sha256 => Sum::Sha256(Sha256::new()),
        }
    }

    pub(super) fn update(&mut self, data: &[u8]) {
        match self {
            Sum::Crc32(sum) => sum.update(data),
            Sum::Crc32c(sum) => sum.update(data),
            Sum::Crc64Nvme(sum) => sum.update(data),
            Sum::Sha1(sum) => sum.update(data),
            Sum::Sha256(sum) => sum.update(data),
        }
    }

    pub(super) fn base64(self) -> String {
        match self {
            Sum::Crc32(sum) => BASE64.encode(sum.finalize()),
            Sum::Crc32c(sum) => BASE64.encode(sum.finalize()),
            Sum::Crc64Nvme(sum) => BASE64.encode(sum.finalize()),
            Sum::Sha1(sum) => BASE64.encode(sum.finalize()),
            Sum::Sha256(sum) => BASE64.encode(sum.finalize()),
        }
    }
}
