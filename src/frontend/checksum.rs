//! The checksums that clients may declare: their names, and their values in the making.
//!
//! Must never know where a value is declared or what follows from a wrong one (`digest.rs`).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use crc_fast::CrcAlgorithm;
use s3s::crypto::{Checksum as _, Crc32, Crc32c, Crc64Nvme, Sha1, Sha256};

/// Sets the field of an output that carries a checksum of this algorithm.
macro_rules! set_checksum {
    ($output:expr, $algorithm:expr, $value:expr) => {
        match $algorithm {
            $crate::frontend::checksum::Algorithm::Crc32 => $output.checksum_crc32 = Some($value),
            $crate::frontend::checksum::Algorithm::Crc32c => $output.checksum_crc32c = Some($value),
            $crate::frontend::checksum::Algorithm::Crc64Nvme => $output.checksum_crc64nvme = Some($value),
            $crate::frontend::checksum::Algorithm::Sha1 => $output.checksum_sha1 = Some($value),
            $crate::frontend::checksum::Algorithm::Sha256 => $output.checksum_sha256 = Some($value),
        }
    };
}

/// The checksum of this algorithm that an input carries.
macro_rules! get_checksum {
    ($input:expr, $algorithm:expr) => {
        match $algorithm {
            $crate::frontend::checksum::Algorithm::Crc32 => $input.checksum_crc32.as_deref(),
            $crate::frontend::checksum::Algorithm::Crc32c => $input.checksum_crc32c.as_deref(),
            $crate::frontend::checksum::Algorithm::Crc64Nvme => $input.checksum_crc64nvme.as_deref(),
            $crate::frontend::checksum::Algorithm::Sha1 => $input.checksum_sha1.as_deref(),
            $crate::frontend::checksum::Algorithm::Sha256 => $input.checksum_sha256.as_deref(),
        }
    };
}

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

    /// Its name in requests and answers.
    pub(super) fn name(self) -> &'static str {
        match self {
            Algorithm::Crc32 => "CRC32",
            Algorithm::Crc32c => "CRC32C",
            Algorithm::Crc64Nvme => "CRC64NVME",
            Algorithm::Sha1 => "SHA1",
            Algorithm::Sha256 => "SHA256",
        }
    }

    /// The one with this name.
    pub(super) fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|a| a.name() == name)
    }

    /// The CRC that can be combined from those of an object's parts; hashes cannot.
    fn crc(self) -> Option<CrcAlgorithm> {
        match self {
            Algorithm::Crc32 => Some(CrcAlgorithm::Crc32IsoHdlc),
            Algorithm::Crc32c => Some(CrcAlgorithm::Crc32Iscsi),
            Algorithm::Crc64Nvme => Some(CrcAlgorithm::Crc64Nvme),
            Algorithm::Sha1 | Algorithm::Sha256 => None,
        }
    }

    /// True if it can be a checksum of a whole object that came in parts.
    pub(super) fn is_combinable(self) -> bool {
        self.crc().is_some()
    }

    /// The checksum of the whole in base64, of those of its parts in order with their sizes. None: a hash,
    /// or a value that is none of this algorithm.
    pub(super) fn combined<'a>(self, parts: impl Iterator<Item = (&'a str, u64)>) -> Option<String> {
        let crc = self.crc()?;
        let mut whole = None;
        for (sum, size) in parts {
            let bytes = BASE64.decode(sum).ok().filter(|bytes| bytes.len() == self.bytes())?;
            let value = bytes.iter().fold(0, |n, byte| (n << 8) | u64::from(*byte));
            whole = Some(whole.map_or(value, |whole| crc_fast::checksum_combine(crc, whole, value, size)));
        }
        let bytes = whole?.to_be_bytes();
        Some(BASE64.encode(&bytes[8 - self.bytes()..]))
    }

    /// The checksum of the parts' checksums in base64, without the number of parts.
    pub(super) fn composite<'a>(self, parts: impl Iterator<Item = &'a str>) -> Option<String> {
        let mut sum = Sum::new(self);
        for part in parts {
            sum.update(&BASE64.decode(part).ok().filter(|bytes| bytes.len() == self.bytes())?);
        }
        Some(sum.base64())
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

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(algorithm: Algorithm, data: &[u8]) -> String {
        let mut sum = Sum::new(algorithm);
        sum.update(data);
        sum.base64()
    }

    #[test]
    fn the_whole_is_combined_from_its_parts() {
        let parts: [&[u8]; 4] = [b"12345", b"", b"678", b"9"];
        for algorithm in Algorithm::ALL {
            let sums: Vec<_> = parts.iter().map(|part| (sum(algorithm, part), part.len() as u64)).collect();
            let combined = algorithm.combined(sums.iter().map(|(sum, size)| (sum.as_str(), *size)));
            let whole = algorithm.is_combinable().then(|| sum(algorithm, b"123456789"));
            assert_eq!(combined, whole, "{}", algorithm.name());
        }
        assert_eq!(Algorithm::Crc32.combined([("AAAA", 1)].into_iter()), None, "too short");
        assert_eq!(Algorithm::Crc32.combined([].into_iter()), None, "no parts");
    }
}
