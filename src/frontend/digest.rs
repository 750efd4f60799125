//! Checksums: what a request declares about its body, and what the bytes say, in one pass.
//!
//! Must never let a declared checksum go unchecked: what cannot be checked is refused before the body is
//! read.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use crc_fast::CrcAlgorithm;
use http::HeaderMap;
use md5::{Digest as _, Md5};
use s3s::{S3Error, S3ErrorCode, s3_error};

use super::checksum::{Algorithm, Sum};
use super::context::BodyFault;

/// What a request declares about its body.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Declared {
    md5: Option<[u8; 16]>,
    sum: Option<(Algorithm, Source)>,
}

/// Where the value of a declared checksum comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Source {
    /// A header, in base64 of the right length.
    Header(String),
    /// A trailer that must come after the last chunk.
    Trailer,
}

impl Declared {
    /// Reads the declarations from a request's headers; refuses those that nobody could check.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, S3Error> {
        let mut declared = Declared::default();
        let mut announced = false;
        for (name, value) in headers {
            let name = name.as_str();
            let relevant = name == "content-md5" || name == "x-amz-trailer" || name.contains("-checksum-");
            if !relevant {
                continue;
            }
            let value = value.to_str().map_err(|_| s3_error!(InvalidRequest, "{name} is not text"))?;
            match name {
                "content-md5" => declared.md5 = Some(md5_of(value)?),
                "x-amz-trailer" => {
                    let algorithm = Algorithm::of_header(value.trim());
                    let unknown = || s3_error!(InvalidRequest, "The x-amz-trailer header is not supported");
                    declared.add(algorithm.ok_or_else(unknown)?, Source::Trailer)?;
                }
                "x-amz-checksum-type" if value != "FULL_OBJECT" => {
                    return Err(s3_error!(InvalidRequest, "Only checksums of the full object are supported"));
                }
                "x-amz-sdk-checksum-algorithm" => announced = true,
                _ => {
                    let Some(algorithm) = Algorithm::of_header(name) else { continue };
                    if !BASE64.decode(value).is_ok_and(|bytes| bytes.len() == algorithm.bytes()) {
                        return Err(s3_error!(InvalidRequest, "Value for {name} is invalid"));
                    }
                    declared.add(algorithm, Source::Header(value.to_owned()))?;
                }
            }
        }
        if announced && declared.is_empty() {
            return Err(s3_error!(InvalidRequest, "A checksum was announced but did not come"));
        }
        Ok(declared)
    }

    /// What a request declares about its document, where checksum headers are those of an object that is not
    /// in it.
    pub(super) fn of_document(headers: &HeaderMap) -> Result<Self, S3Error> {
        let md5 = headers.get("content-md5").map(|value| md5_of(value.to_str().unwrap_or_default()));
        Ok(Self { md5: md5.transpose()?, sum: None })
    }

    /// The algorithm of the declared checksum.
    pub(super) fn algorithm(&self) -> Option<Algorithm> {
        self.sum.as_ref().map(|(algorithm, _)| *algorithm)
    }

    fn add(&mut self, algorithm: Algorithm, source: Source) -> Result<(), S3Error> {
        match self.sum.replace((algorithm, source)) {
            None => Ok(()),
            Some(_) => Err(s3_error!(InvalidRequest, "Expecting a single x-amz-checksum- header")),
        }
    }

    /// True if there is nothing to check.
    pub(super) fn is_empty(&self) -> bool {
        self.md5.is_none() && self.sum.is_none()
    }
}

fn md5_of(value: &str) -> Result<[u8; 16], S3Error> {
    let bytes = BASE64.decode(value).ok().and_then(|bytes| <[u8; 16]>::try_from(bytes).ok());
    bytes.ok_or_else(|| S3Error::from(S3ErrorCode::InvalidDigest))
}

/// The hashes of one object's body, in the making.
pub(super) struct BodyHash {
    md5: Md5,
    crc64: crc_fast::Digest,
    sum: Option<(Algorithm, Sum)>,
    declared: Declared,
}

/// The hashes of one object's body, equal to what was declared.
#[derive(Debug)]
pub(super) struct Hashes {
    /// MD5.
    pub(super) md5: [u8; 16],
    /// CRC-64/XZ.
    pub(super) crc64: u64,
    /// The declared checksum, or the one asked for, in base64.
    pub(super) sum: Option<(Algorithm, String)>,
}

impl BodyHash {
    pub(super) fn new(declared: Declared) -> Self {
        Self::with_sum(declared, None)
    }

    /// The same; where no checksum is declared, one of `algorithm` is computed.
    pub(super) fn with_sum(declared: Declared, algorithm: Option<Algorithm>) -> Self {
        let algorithm = declared.algorithm().or(algorithm);
        Self {
            md5: Md5::new(),
            crc64: crc_fast::Digest::new(CrcAlgorithm::Crc64Xz),
            sum: algorithm.map(|algorithm| (algorithm, Sum::new(algorithm))),
            declared,
        }
    }

    pub(super) fn update(&mut self, data: &[u8]) {
        self.md5.update(data);
        self.crc64.update(data);
        if let Some((_, sum)) = &mut self.sum {
            sum.update(data);
        }
    }

    /// The hashes of bytes about which nothing was declared.
    pub(super) fn computed(self) -> Hashes {
        let sum = self.sum.map(|(algorithm, sum)| (algorithm, sum.base64()));
        Hashes { md5: self.md5.finalize().into(), crc64: self.crc64.finalize(), sum }
    }

    /// Compares everything that was declared, after the last byte. `trailers` are those that came after it.
    pub(super) fn finish(self, trailers: Option<HeaderMap>) -> Result<Hashes, BodyFault> {
        let md5: [u8; 16] = self.md5.finalize().into();
        if self.declared.md5.is_some_and(|declared| declared != md5) {
            return Err(BodyFault::Digest);
        }
        let trailers = trailers.unwrap_or_default();
        let sum = self.sum.map(|(algorithm, sum)| (algorithm, sum.base64()));
        match (self.declared.sum, &sum) {
            (Some((algorithm, source)), Some((_, computed))) => {
                let declared = match &source {
                    Source::Header(value) => value.as_str(),
                    Source::Trailer => the_trailer(&trailers, algorithm)?,
                };
                if declared != computed {
                    return Err(BodyFault::Digest);
                }
                if source == Source::Trailer && trailers.len() != 1 {
                    return Err(BodyFault::Framing("a trailer came that was not declared"));
                }
            }
            _ if trailers.is_empty() => {}
            _ => return Err(BodyFault::Framing("a trailer came that was not declared")),
        }
        Ok(Hashes { md5, crc64: self.crc64.finalize(), sum })
    }
}

fn the_trailer(trailers: &HeaderMap, algorithm: Algorithm) -> Result<&str, BodyFault> {
    let mut values = trailers.get_all(algorithm.header()).iter();
    match (values.next().and_then(|value| value.to_str().ok()), values.next()) {
        (Some(value), None) => Ok(value),
        (Some(_), Some(_)) => Err(BodyFault::Framing("a trailer came twice")),
        (None, _) => Err(BodyFault::Framing("the declared trailer did not come")),
    }
}

/// Follows the body of a request whose bytes no handler sees, and says at its end whether it is what was
/// declared.
pub(super) struct DocumentHash {
    md5: Option<Md5>,
    sum: Option<Sum>,
    declared: Declared,
}

impl DocumentHash {
    pub(super) fn new(declared: Declared) -> Self {
        let sum = declared.sum.as_ref().map(|(algorithm, _)| Sum::new(*algorithm));
        Self { md5: declared.md5.map(|_| Md5::new()), sum, declared }
    }

    pub(super) fn update(&mut self, data: &[u8]) {
        if let Some(md5) = &mut self.md5 {
            md5.update(data);
        }
        if let Some(sum) = &mut self.sum {
            sum.update(data);
        }
    }

    pub(super) fn finish(self) -> Result<(), BodyFault> {
        if let (Some(declared), Some(md5)) = (self.declared.md5, self.md5)
            && declared != <[u8; 16]>::from(md5.finalize())
        {
            return Err(BodyFault::Digest);
        }
        let computed = self.sum.map(Sum::base64);
        match (self.declared.sum, computed) {
            (Some((_, Source::Header(declared))), Some(computed)) if declared == computed => Ok(()),
            (None, _) => Ok(()),
            _ => Err(BodyFault::Digest),
        }
    }
}

#[cfg(test)]
mod tests;
