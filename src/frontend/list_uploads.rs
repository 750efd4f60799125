//! ListMultipartUploads: pages of open uploads and common prefixes, by key and then by beginning.
//!
//! Must never skip or repeat an upload between pages.

use s3s::dto::{
    ChecksumAlgorithm, CommonPrefix, Initiator, ListMultipartUploadsInput, ListMultipartUploadsOutput,
    MultipartUpload, StorageClass,
};
use s3s::{S3ErrorCode, S3Request, S3Response, S3Result, s3_error};

use super::checksum::Algorithm;
use super::context::Caller;
use super::list::{common_prefix, encodes, page_size, past_every_key, url_encode};
use super::multipart::type_of;
use super::operations::Operations;
use super::{buckets, classes, errors, headers};
use crate::queue::UploadId;
use crate::store::{Store, StoreError, Upload, UploadsAfter};

/// One page.
#[derive(Default)]
struct Page {
    uploads: Vec<Upload>,
    prefixes: Vec<String>,
    /// Key, and upload if it was one, that came last, if there is more.
    next: Option<(String, Option<UploadId>)>,
}

/// Lists one page.
pub(super) fn list(
    operations: &Operations,
    req: S3Request<ListMultipartUploadsInput>,
) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
    Caller::of(&req.extensions)?;
    headers::only_known(&req.headers, &[])?;
    headers::expected_owner(&req.headers, &operations.limits.account)?;
    let input = req.input;
    let store = operations.commit.store();
    if store.bucket(&input.bucket).map_err(errors::of_store)?.is_none() {
        return Err(S3ErrorCode::NoSuchBucket.into());
    }
    let encode = encodes(input.encoding_type.as_ref())?;
    let (max_uploads, max) = page_size(input.max_uploads)?;
    let after = after(&input)?;
    let (prefix, delimiter) =
        (input.prefix.as_deref().unwrap_or_default(), input.delimiter.as_deref().unwrap_or_default());
    let page = page(&**store, &input.bucket, prefix, delimiter, after, max).map_err(errors::of_store)?;

    let name = |text: String| if encode { url_encode(&text) } else { text };
    let owner = buckets::owner(operations);
    let uploads = page.uploads.into_iter().map(|upload| {
        let chosen = upload.begun.checksum.as_ref();
        let algorithm = chosen.and_then(|chosen| Algorithm::of_header(&chosen.header));
        MultipartUpload {
            checksum_algorithm: algorithm.map(|algorithm| ChecksumAlgorithm::from_static(algorithm.name())),
            checksum_type: chosen.map(|chosen| type_of(chosen.composite)),
            initiated: Some(buckets::time(upload.begun.time_us)),
            initiator: Some(Initiator { display_name: owner.display_name.clone(), id: owner.id.clone() }),
            key: Some(name(upload.begun.key.to_string())),
            owner: Some(owner.clone()),
            storage_class: Some(StorageClass::from(classes::of_kept(&upload.begun.headers))),
            upload_id: Some(upload.begun.id.to_string()),
        }
    });
    let (next_key, next_id) = page.next.clone().unzip();
    Ok(S3Response::new(ListMultipartUploadsOutput {
        bucket: Some(input.bucket),
        common_prefixes: Some(
            page.prefixes.into_iter().map(|prefix| CommonPrefix { prefix: Some(name(prefix)) }).collect(),
        ),
        delimiter: input.delimiter.map(name),
        encoding_type: input.encoding_type,
        is_truncated: Some(page.next.is_some()),
        key_marker: Some(name(input.key_marker.unwrap_or_default())),
        max_uploads: Some(max_uploads),
        next_key_marker: next_key.map(name),
        next_upload_id_marker: next_id.flatten().map(|id| id.to_string()),
        prefix: Some(name(input.prefix.unwrap_or_default())),
        upload_id_marker: input.upload_id_marker,
        uploads: Some(uploads.collect()),
        ..Default::default()
    }))
}

/// Where the list begins. An upload marker without a key marker says nothing.
fn after(input: &ListMultipartUploadsInput) -> S3Result<Option<UploadsAfter>> {
    let Some(key) = input.key_marker.as_deref().filter(|key| !key.is_empty()) else { return Ok(None) };
    let id = match input.upload_id_marker.as_deref().filter(|id| !id.is_empty()) {
        None => None,
        Some(id) => {
            let unknown = || s3_error!(InvalidArgument, "The upload id marker is not one of ours");
            Some(UploadId::parse(id).ok_or_else(unknown)?)
        }
    };
    Ok(Some(UploadsAfter { key: key.into(), id }))
}

fn page(
    store: &dyn Store,
    bucket: &str,
    prefix: &str,
    delimiter: &str,
    after: Option<UploadsAfter>,
    max: usize,
) -> Result<Page, StoreError> {
    let mut page = Page::default();
    if max == 0 {
        return Ok(page);
    }
    // A marker inside a common prefix was that prefix: all below it was told.
    let inside = |after: &UploadsAfter| common_prefix(&after.key, prefix, delimiter).map(past_every_key);
    let mut after = after.map(|after| match inside(&after) {
        Some(end) if after.id.is_none() => UploadsAfter { key: end.into(), id: None },
        _ => after,
    });
    let mut last = None;
    loop {
        let batch = store.uploads(bucket, prefix, after.as_ref(), max + 1)?;
        let full = batch.len() == max + 1;
        for upload in batch {
            let key = &upload.begun.key;
            if after.as_ref().is_some_and(|after| after.id.is_none() && **key <= *after.key) {
                continue;
            }
            if page.uploads.len() + page.prefixes.len() == max {
                page.next = last;
                return Ok(page);
            }
            match common_prefix(key, prefix, delimiter) {
                None => {
                    let id = Some(upload.begun.id);
                    last = Some((key.to_string(), id));
                    after = Some(UploadsAfter { key: key.clone(), id });
                    page.uploads.push(upload);
                }
                Some(common) => {
                    page.prefixes.push(common.to_owned());
                    last = Some((common.to_owned(), None));
                    after = Some(UploadsAfter { key: past_every_key(common).into(), id: None });
                }
            }
        }
        if !full {
            return Ok(page);
        }
    }
}
