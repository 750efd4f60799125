//! Storage classes: what an object may be asked to be kept as. The class is kept and shown; the bytes lie
//! where all bytes lie.
//!
//! Must never take a class whose objects cannot be read until they are restored: nothing restores them yet.

use std::sync::Arc;

use http::HeaderMap;
use s3s::{S3ErrorCode, S3Result, s3_error};

/// Where the class stands in a request, in an answer, and among an object's headers.
pub(super) const HEADER: &str = "x-amz-storage-class";
/// The same in the words of COS.
const COS_HEADER: &str = "x-cos-storage-class";
/// The class of an object that names none. It is never kept.
const STANDARD: &str = "STANDARD";
/// The other classes whose objects can be read at once, by their S3 and their COS names.
const READABLE: [&str; 8] = [
    "STANDARD_IA",
    "INTELLIGENT_TIERING",
    "REDUCED_REDUNDANCY",
    "ONEZONE_IA",
    "GLACIER_IR",
    "MAZ_STANDARD",
    "MAZ_STANDARD_IA",
    "MAZ_INTELLIGENT_TIERING",
];
/// The classes whose objects would have to be restored first.
const ARCHIVED: [&str; 3] = ["GLACIER", "ARCHIVE", "DEEP_ARCHIVE"];

/// The class that a request asks for, to be kept with its object; none: the one that needs no word.
pub(super) fn wanted(headers: &HeaderMap) -> S3Result<Option<(Arc<str>, Arc<str>)>> {
    let of = |name| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let class = match (of(HEADER), of(COS_HEADER)) {
        (Some(one), Some(other)) if one != other => {
            return Err(s3_error!(InvalidArgument, "{HEADER} and {COS_HEADER} name two storage classes"));
        }
        (one, other) => one.or(other),
    };
    match class {
        None | Some(STANDARD) => Ok(None),
        Some(class) if READABLE.contains(&class) => Ok(Some((HEADER.into(), class.into()))),
        Some(class) if ARCHIVED.contains(&class) => Err(s3_error!(
            NotImplemented,
            "Not implemented: the storage class {class}, since no object can be restored from it yet"
        )),
        Some(_) => Err(S3ErrorCode::InvalidStorageClass.into()),
    }
}

/// True if a request names a class at all.
pub(super) fn is_named(headers: &HeaderMap) -> bool {
    headers.contains_key(HEADER) || headers.contains_key(COS_HEADER)
}

/// The class among an object's headers.
pub(super) fn of_kept(kept: &[(Arc<str>, Arc<str>)]) -> String {
    kept.iter().find(|(name, _)| **name == *HEADER).map_or(STANDARD, |(_, class)| class).to_owned()
}
