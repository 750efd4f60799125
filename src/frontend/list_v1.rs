//! ListObjects, the older listing: its marker is a key, or a common prefix, in plain text.
//!
//! Must never skip or repeat a key between pages.

use s3s::dto::{CommonPrefix, ListObjectsInput, ListObjectsOutput};
use s3s::{S3ErrorCode, S3Request, S3Response, S3Result};

use super::context::Caller;
use super::list::{Last, Query, common_prefix, encodes, listed, page, page_size, past_every_key, url_encode};
use super::operations::Operations;
use super::{buckets, errors, headers};

/// Lists one page.
pub(super) fn objects(
    operations: &Operations,
    req: S3Request<ListObjectsInput>,
) -> S3Result<S3Response<ListObjectsOutput>> {
    Caller::of(&req.extensions)?;
    headers::only_known(&req.headers, &[])?;
    headers::expected_owner(&req.headers, &operations.limits.account)?;
    let input = req.input;
    let store = operations.commit.store();
    if store.bucket(&input.bucket).map_err(errors::of_store)?.is_none() {
        return Err(S3ErrorCode::NoSuchBucket.into());
    }
    let encode = encodes(input.encoding_type.as_ref())?;
    let (max_keys, max) = page_size(input.max_keys)?;
    let prefix = input.prefix.as_deref().unwrap_or_default();
    let delimiter = input.delimiter.as_deref().unwrap_or_default();
    let marker = input.marker.as_deref().filter(|marker| !marker.is_empty());
    let after = marker.map(|marker| match common_prefix(marker, prefix, delimiter) {
        // The marker is a common prefix: everything below it was told.
        Some(common) if common == marker => past_every_key(common),
        _ => marker.to_owned(),
    });
    let query = Query { bucket: &input.bucket, prefix, delimiter, after, max };
    let page = page(&**store, query).map_err(errors::of_store)?;
    let name = |text: String| if encode { url_encode(&text) } else { text };
    let owner = buckets::owner(operations);
    let next_marker = page.next.as_ref().map(|last| match last {
        Last::Key(key) => name(key.to_string()),
        Last::Prefix(prefix) => name(prefix.clone()),
    });
    let contents = page.objects.into_iter().map(|object| listed(object, encode, Some(owner.clone())));
    let prefixes = page.prefixes.into_iter().map(|prefix| CommonPrefix { prefix: Some(name(prefix)) });
    Ok(S3Response::new(ListObjectsOutput {
        common_prefixes: Some(prefixes.collect()),
        contents: Some(contents.collect()),
        delimiter: input.delimiter.map(name),
        encoding_type: input.encoding_type,
        is_truncated: Some(next_marker.is_some()),
        marker: Some(name(input.marker.unwrap_or_default())),
        max_keys: Some(max_keys),
        name: Some(input.bucket),
        next_marker,
        prefix: Some(name(input.prefix.unwrap_or_default())),
        ..Default::default()
    }))
}
