//! Storage classes: what an object may be asked to be kept as. The class is kept and shown; the bytes lie
//! where all bytes lie.
//!
//! Must never take a class that means nothing here, nor an archived one for one whose objects can be read.

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
/// The classes whose objects must be restored first, and whether that takes longer than an hour at best.
const ARCHIVED: [(&str, bool); 3] = [("GLACIER", false), ("ARCHIVE", false), ("DEEP_ARCHIVE", true)];

/// The class of an archived object.
pub(super) struct Archive {
    pub(super) class: Arc<str>,
    /// It is the one without a quick tier.
    pub(super) deep: bool,
}

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
        Some(class) if READABLE.contains(&class) || deep(class).is_some() => {
            Ok(Some((HEADER.into(), class.into())))
        }
        Some(_) => Err(S3ErrorCode::InvalidStorageClass.into()),
    }
}

/// True if a request names a class at all.
pub(super) fn is_named(headers: &HeaderMap) -> bool {
    headers.contains_key(HEADER) || headers.contains_key(COS_HEADER)
}

/// The archive's class among an object's headers; none: the object can be read as it is.
pub(super) fn archive_of(kept: &[(Arc<str>, Arc<str>)]) -> Option<Archive> {
    let (_, class) = kept.iter().find(|(name, _)| **name == *HEADER)?;
    deep(class).map(|deep| Archive { class: Arc::clone(class), deep })
}

fn deep(class: &str) -> Option<bool> {
    ARCHIVED.iter().find(|(archived, _)| *archived == class).map(|(_, deep)| *deep)
}

/// The class among an object's headers.
pub(super) fn of_kept(kept: &[(Arc<str>, Arc<str>)]) -> String {
    kept.iter().find(|(name, _)| **name == *HEADER).map_or(STANDARD, |(_, class)| class).to_owned()
}
