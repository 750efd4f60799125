//! GetObjectAttributes: what an object is, without its bytes, and of which parts.
//!
//! Must never read a body, and never answer an attribute that was not asked for.

use s3s::dto::{
    Checksum, ETag, GetObjectAttributesInput, GetObjectAttributesOutput, GetObjectAttributesParts,
    ObjectAttributes, ObjectPart, StorageClass,
};
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::checksum::Algorithm;
use super::context::Caller;
use super::found::{lookup, modified, version_of};
use super::list::page_size;
use super::multipart::type_of;
use super::objects::MAX_LOOKUPS;
use super::operations::Operations;
use super::{classes, errors, headers, names};
use crate::queue::Piece;
use crate::store::{Object, StoreError};

/// The headers that say which attributes, and which parts.
const OWN_HEADERS: [&str; 3] = ["x-amz-object-attributes", "x-amz-max-parts", "x-amz-part-number-marker"];
const ALL: [&str; 5] = [
    ObjectAttributes::CHECKSUM,
    ObjectAttributes::ETAG,
    ObjectAttributes::OBJECT_PARTS,
    ObjectAttributes::OBJECT_SIZE,
    ObjectAttributes::STORAGE_CLASS,
];

/// Answers the attributes that the request names.
pub(super) async fn get(
    operations: &Operations,
    req: S3Request<GetObjectAttributesInput>,
) -> S3Result<S3Response<GetObjectAttributesOutput>> {
    Caller::of(&req.extensions)?;
    headers::only_known(&req.headers, &OWN_HEADERS)?;
    headers::expected_owner(&req.headers, &operations.limits.account)?;
    let input = req.input;
    names::check_key(&input.key)?;
    let wanted = wanted(&input)?;
    let wants = |attribute| wanted.contains(&attribute);
    for _ in 0..MAX_LOOKUPS {
        let object = lookup(operations, &input.bucket, &input.key, input.version_id.as_deref())?;
        let parts = match wants(ObjectAttributes::OBJECT_PARTS) {
            false => None,
            true => match operations.commit.store().pieces(&object).await {
                Err(StoreError::Gone) => continue,
                pieces => parts(&input, &pieces.map_err(errors::of_store)?)?,
            },
        };
        return Ok(S3Response::new(GetObjectAttributesOutput {
            checksum: wants(ObjectAttributes::CHECKSUM).then(|| checksum(&object)).flatten(),
            e_tag: wants(ObjectAttributes::ETAG).then(|| ETag::Strong(object.etag.to_string())),
            last_modified: Some(modified(&object)),
            object_parts: parts,
            object_size: wants(ObjectAttributes::OBJECT_SIZE)
                .then(|| i64::try_from(object.size).ok())
                .flatten(),
            storage_class: wants(ObjectAttributes::STORAGE_CLASS)
                .then(|| StorageClass::from(classes::of_kept(&object.meta.headers))),
            version_id: version_of(operations, &object)?,
            ..Default::default()
        }));
    }
    Err(errors::of_store(StoreError::Gone))
}

/// The attributes that a request names: in one header, with commas between them, or in several.
fn wanted(input: &GetObjectAttributesInput) -> S3Result<Vec<&str>> {
    let named = input.object_attributes.iter().flat_map(|value| value.as_str().split(','));
    let named: Vec<_> = named.map(str::trim).filter(|name| !name.is_empty()).collect();
    if named.is_empty() || named.iter().any(|name| !ALL.contains(name)) {
        return Err(s3_error!(InvalidArgument, "Invalid attribute name specified"));
    }
    Ok(named)
}

/// The checksum that the object was given. Of an object of parts it is said without their number.
fn checksum(object: &Object) -> Option<Checksum> {
    let mut kept = object.meta.headers.iter();
    let (algorithm, value) = kept.find_map(|(name, value)| Some((Algorithm::of_header(name)?, &**value)))?;
    let (bare, composite) = value.split_once('-').map_or((value, false), |(bare, _)| (bare, true));
    let mut checksum = Checksum { checksum_type: Some(type_of(composite)), ..Default::default() };
    set_checksum!(checksum, algorithm, bare.to_owned());
    Some(checksum)
}

/// A page of an object's parts; none if it came in one piece. Their checksums are not kept beyond the upload.
fn parts(input: &GetObjectAttributesInput, pieces: &[Piece]) -> S3Result<Option<GetObjectAttributesParts>> {
    let (max_parts, max) = page_size(input.max_parts)?;
    let after = input.part_number_marker.unwrap_or(0);
    if after < 0 {
        return Err(s3_error!(InvalidArgument, "x-amz-part-number-marker is not a part's number"));
    }
    if pieces.is_empty() {
        return Ok(None);
    }
    let from = pieces.partition_point(|piece| i32::from(piece.number) <= after);
    let page = &pieces[from..pieces.len().min(from + max)];
    let listed = page.iter().map(|piece| ObjectPart {
        part_number: Some(i32::from(piece.number)),
        size: i64::try_from(piece.size).ok(),
        ..Default::default()
    });
    Ok(Some(GetObjectAttributesParts {
        is_truncated: Some(from + page.len() < pieces.len()),
        max_parts: Some(max_parts),
        next_part_number_marker: Some(page.last().map_or(after, |piece| i32::from(piece.number))),
        part_number_marker: Some(after),
        parts: Some(listed.collect()),
        total_parts_count: i32::try_from(pieces.len()).ok(),
    }))
}
