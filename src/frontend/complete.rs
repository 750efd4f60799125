//! CompleteMultipartUpload: from the client's list of parts to an object.
//!
//! Must never make an object of parts that the client did not list, and never a second one of one upload.

use std::sync::Arc;

use crc_fast::CrcAlgorithm;
use http::header::HOST;
use md5::{Digest as _, Md5};
use s3s::dto::{CompleteMultipartUploadInput, CompleteMultipartUploadOutput, CompletedPart, ETag};
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};

use super::checksum::Algorithm;
use super::context::Caller;
use super::family::Family;
use super::multipart::{RECORD_OVERHEAD, find, type_of, upload_id};
use super::operations::Operations;
use super::put::{conditions, with_checksum};
use super::{errors, headers, names};
use crate::commit::{CommitError, CompleteUpload, Completion, Conditions};
use crate::queue::{MAX_PARTS, NewPart, PartChecksum, Piece, UploadId};
use crate::store::Done;

/// What a part takes in the record of its object, in bytes: more than it does.
const PIECE_BYTES: usize = 32;
/// The smallest part of COS's clients that is not an upload's last one, in bytes: they are made for this.
const COS_MIN_PART: u64 = 1 << 20;
/// How often parts are read again when one was uploaded again meanwhile.
const MAX_TRIES: usize = 3;

/// Makes an object of the listed parts; asked again, answers the same again.
pub(super) async fn upload(
    operations: &Operations,
    req: S3Request<CompleteMultipartUploadInput>,
) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
    let caller = Caller::of(&req.extensions)?;
    headers::only_known(&req.headers, &["x-amz-mp-object-size"])?;
    headers::expected_owner(&req.headers, &operations.limits.account)?;
    let mut input = req.input;
    names::check_key(&input.key)?;
    let id = upload_id(&input.upload_id)?;
    let mut conditions = conditions(&req.headers, input.if_match.take(), input.if_none_match.take())?;
    let listed = listed(input.multipart_upload.take().and_then(|list| list.parts).unwrap_or_default())?;
    let host = req.headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let location = format!("http://{host}{}", req.uri.path());
    let done = make(operations, &caller, &input, id, &listed, &mut conditions).await?;
    if caller.context.crc64.get().is_none() {
        // Asked again: the parts are gone, but most often the object is still the one they became.
        let object = operations.commit.store().object(&input.bucket, &input.key).map_err(errors::of_store)?;
        if let Some(object) = object.filter(|object| object.etag == done.etag) {
            caller.note_crc64(object.meta.crc64);
        }
    }
    let mut output = CompleteMultipartUploadOutput {
        bucket: Some(input.bucket),
        key: Some(input.key),
        e_tag: Some(ETag::Strong(done.etag.to_string())),
        location: Some(location),
        version_id: done.version.as_deref().map(str::to_owned),
        ..Default::default()
    };
    if let Some((header, value)) = &done.sum
        && let Some(algorithm) = Algorithm::of_header(header)
    {
        output.checksum_type = Some(type_of(value.contains('-')));
        set_checksum!(output, algorithm, value.to_string());
    }
    Ok(S3Response::new(output))
}

/// A part as the client lists it.
struct Listed {
    number: u16,
    md5: [u8; 16],
    /// As it came: the checksums are in it.
    part: CompletedPart,
}

/// The list, in order; a list that names no object is refused.
fn listed(parts: Vec<CompletedPart>) -> S3Result<Vec<Listed>> {
    if parts.is_empty() || parts.len() > usize::from(MAX_PARTS) {
        return Err(S3ErrorCode::MalformedXML.into());
    }
    let mut list: Vec<Listed> = Vec::with_capacity(parts.len());
    for part in parts {
        let number = part.part_number.ok_or(S3ErrorCode::MalformedXML)?;
        let number = u16::try_from(number).ok().filter(|n| (1..=MAX_PARTS).contains(n));
        let number = number.ok_or(S3ErrorCode::InvalidPart)?;
        if list.last().is_some_and(|before| before.number >= number) {
            return Err(S3ErrorCode::InvalidPartOrder.into());
        }
        let etag = part.e_tag.as_ref().ok_or(S3ErrorCode::MalformedXML)?;
        let mut md5 = [0; 16];
        hex::decode_to_slice(etag.value(), &mut md5).map_err(|_| S3ErrorCode::InvalidPart)?;
        list.push(Listed { number, md5, part });
    }
    Ok(list)
}

/// `md5-of-md5s-N`.
fn etag_of(listed: &[Listed]) -> Arc<str> {
    let mut md5 = Md5::new();
    for part in listed {
        md5.update(part.md5);
    }
    format!("{}-{}", hex::encode(md5.finalize()), listed.len()).into()
}

async fn make(
    operations: &Operations,
    caller: &Caller,
    input: &CompleteMultipartUploadInput,
    id: UploadId,
    listed: &[Listed],
    conditions: &mut Conditions,
) -> S3Result<Done> {
    let etag = etag_of(listed);
    for attempt in 0..MAX_TRIES {
        let upload = find(operations, &input.bucket, &input.key, id)?;
        if let Some(done) = upload.done {
            return if done.etag == etag { Ok(done) } else { Err(S3ErrorCode::NoSuchUpload.into()) };
        }
        if attempt == 0 {
            operations.commit.foresee(&input.bucket, &input.key, conditions).map_err(errors::of_commit)?;
        }
        let least = match caller.context.family {
            Family::S3 => operations.limits.min_part_bytes,
            Family::Cos => operations.limits.min_part_bytes.min(COS_MIN_PART),
        };
        let parts = matching_parts(operations, id, listed, least)?;
        let size = parts.iter().map(|part| part.size).sum();
        check_size(input, size)?;
        let sum = object_sum(upload.begun.checksum.as_ref(), input, &parts)?;
        let headers = with_checksum(upload.begun.headers.clone(), sum);
        let crc64 = crc64_of(&parts);
        let complete = CompleteUpload {
            upload: id,
            bucket: input.bucket.as_str().into(),
            key: input.key.as_str().into(),
            pieces: parts.iter().map(|part| Piece::from(&**part)).collect(),
            size,
            etag: Arc::clone(&etag),
            crc64,
            headers,
            conditions: conditions.clone(),
            request: caller.request_info(),
        };
        let metadata: usize = complete.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        let record = RECORD_OVERHEAD + input.bucket.len() + input.key.len() + metadata;
        let permit = operations.commit.reserve(record + parts.len() * PIECE_BYTES).await;
        let permit = permit.map_err(errors::of_commit)?;
        match operations.commit.complete_upload(permit, complete).await {
            Err(CommitError::PartsChanged) => {}
            Err(error) => return Err(errors::of_commit(error)),
            Ok(Completion::Repeated(done)) => return Ok(done),
            Ok(Completion::Made(_)) => {
                caller.note_crc64(crc64);
                let made = find(operations, &input.bucket, &input.key, id)?;
                // Shown from the moment of the commit on; without it nothing could be answered twice.
                return made.done.ok_or_else(|| S3ErrorCode::InternalError.into());
            }
        }
    }
    Err(errors::of_commit(CommitError::PartsChanged))
}

/// The uploaded parts that the list names.
fn matching_parts(
    operations: &Operations,
    id: UploadId,
    listed: &[Listed],
    least: u64,
) -> Result<Vec<Arc<NewPart>>, S3Error> {
    let all = operations.commit.store().parts(id, 0, usize::from(MAX_PARTS)).map_err(errors::of_store)?;
    let mut parts = Vec::with_capacity(listed.len());
    for (at, wanted) in listed.iter().enumerate() {
        let found = all.binary_search_by_key(&wanted.number, |part| part.number);
        let part = found.map(|at| &all[at]).map_err(|_| S3ErrorCode::InvalidPart)?;
        let sum_differs = Algorithm::ALL.into_iter().any(|algorithm| {
            let declared = get_checksum!(wanted.part, algorithm);
            let kept = part.sum.as_ref().filter(|(header, _)| **header == *algorithm.header());
            declared.is_some_and(|declared| kept.is_none_or(|(_, kept)| **kept != *declared))
        });
        if part.md5 != wanted.md5 || sum_differs {
            return Err(S3ErrorCode::InvalidPart.into());
        }
        if at + 1 < listed.len() && part.size < least {
            return Err(S3ErrorCode::EntityTooSmall.into());
        }
        parts.push(Arc::clone(part));
    }
    Ok(parts)
}

fn check_size(input: &CompleteMultipartUploadInput, size: u64) -> S3Result<()> {
    match input.mpu_object_size {
        Some(declared) if u64::try_from(declared).ok() != Some(size) => {
            Err(s3_error!(InvalidRequest, "The parts are not as large as x-amz-mp-object-size says"))
        }
        _ => Ok(()),
    }
}

/// The object's checksum, equal to what the client declared.
fn object_sum(
    chosen: Option<&PartChecksum>,
    input: &CompleteMultipartUploadInput,
    parts: &[Arc<NewPart>],
) -> S3Result<Option<(Algorithm, String)>> {
    let computed = chosen.and_then(|chosen| {
        let algorithm = Algorithm::of_header(&chosen.header)?;
        let sums = || parts.iter().filter_map(|part| Some((&*part.sum.as_ref()?.1, part.size)));
        let sum = match chosen.composite {
            true => format!("{}-{}", algorithm.composite(sums().map(|(sum, _)| sum))?, parts.len()),
            false => algorithm.combined(sums())?,
        };
        Some((algorithm, sum))
    });
    if let Some(kind) = &input.checksum_type
        && chosen.is_none_or(|chosen| type_of(chosen.composite) != *kind)
    {
        return Err(s3_error!(InvalidRequest, "x-amz-checksum-type is not that of the upload"));
    }
    for algorithm in Algorithm::ALL {
        let Some(declared) = get_checksum!(input, algorithm) else { continue };
        match &computed {
            Some((of, sum)) if *of == algorithm => {
                // Clients may leave out the number of parts.
                let bare = sum.split_once('-').map_or(sum.as_str(), |(bare, _)| bare);
                if declared != sum && declared != bare {
                    return Err(S3ErrorCode::BadDigest.into());
                }
            }
            _ => return Err(s3_error!(InvalidRequest, "The upload was begun without this checksum")),
        }
    }
    Ok(computed)
}

fn crc64_of(parts: &[Arc<NewPart>]) -> u64 {
    let mut parts = parts.iter();
    let first = parts.next().map_or(0, |part| part.crc64);
    parts.fold(first, |whole, part| {
        crc_fast::checksum_combine(CrcAlgorithm::Crc64Xz, whole, part.crc64, part.size)
    })
}
