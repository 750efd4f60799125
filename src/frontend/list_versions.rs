//! ListObjectVersions: pages of versions, delete markers and common prefixes; keys in bytewise order, the
//! newest
//! version of a key first.
//!
//! Must never skip or repeat a version between pages.

use s3s::dto::{
    CommonPrefix, DeleteMarkerEntry, ETag, ListObjectVersionsInput, ListObjectVersionsOutput,
    ObjectVersion as Listed, ObjectVersionStorageClass, Owner,
};
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::context::Caller;
use super::family::Family;
use super::list::{common_prefix, encodes, page_size, past_every_key, url_encode};
use super::operations::Operations;
use super::{buckets, classes, errors, headers, versioning};
use crate::event::VersionId;
use crate::store::{ObjectVersion, Store, StoreError, Versioning, VersionsAfter};

/// One page.
#[derive(Default)]
struct Page {
    versions: Vec<ObjectVersion>,
    prefixes: Vec<String>,
    /// Key, and version if it was one, that came last, if there is more.
    next: Option<(String, Option<VersionId>)>,
}

/// Lists one page.
pub(super) fn list(
    operations: &Operations,
    req: S3Request<ListObjectVersionsInput>,
) -> S3Result<S3Response<ListObjectVersionsOutput>> {
    let caller = Caller::of(&req.extensions)?;
    headers::only_known(&req.headers, &[])?;
    headers::expected_owner(&req.headers, &operations.limits.account)?;
    let input = req.input;
    let store = &**operations.commit.store();
    let versioning = versioning::of_bucket(operations, &input.bucket)?;
    let encode = encodes(input.encoding_type.as_ref())?;
    let (max_keys, max) = page_size(input.max_keys)?;
    let after = after(store, &input)?;
    let (prefix, delimiter) =
        (input.prefix.as_deref().unwrap_or_default(), input.delimiter.as_deref().unwrap_or_default());
    let page = page(store, &input.bucket, prefix, delimiter, after, max).map_err(errors::of_store)?;

    let name = |text: &str| if encode { url_encode(text) } else { text.to_owned() };
    let owner = buckets::owner(operations);
    // S3 calls the only version of an object `null`, COS nothing.
    let nameless = versioning == Versioning::Never && caller.context.family == Family::Cos;
    let id = |version: &ObjectVersion| match nameless {
        true => String::new(),
        false => version.object.version.to_string(),
    };
    let (markers, versions): (Vec<_>, Vec<_>) = page.versions.iter().partition(|version| version.marker);
    let markers = markers.into_iter().map(|marker| DeleteMarkerEntry {
        is_latest: Some(marker.latest),
        key: Some(name(&marker.object.key)),
        last_modified: Some(buckets::time(marker.object.modified_us)),
        owner: Some(owner.clone()),
        version_id: Some(marker.object.version.to_string()),
    });
    let versions =
        versions.into_iter().map(|version| listed(version, name(&version.object.key), id(version), &owner));
    let prefixes = page.prefixes.iter().map(|prefix| CommonPrefix { prefix: Some(name(prefix)) });
    let (next_key, next_version) = page.next.as_ref().map(|(key, id)| (name(key), *id)).unzip();
    Ok(S3Response::new(ListObjectVersionsOutput {
        common_prefixes: Some(prefixes.collect()),
        delete_markers: Some(markers.collect()),
        delimiter: input.delimiter.as_deref().map(name),
        encoding_type: input.encoding_type,
        is_truncated: Some(page.next.is_some()),
        key_marker: Some(name(input.key_marker.as_deref().unwrap_or_default())),
        max_keys: Some(max_keys),
        name: Some(input.bucket),
        next_key_marker: next_key,
        next_version_id_marker: next_version.flatten().map(|id| id.to_string()),
        prefix: Some(name(input.prefix.as_deref().unwrap_or_default())),
        version_id_marker: Some(input.version_id_marker.unwrap_or_default()),
        versions: Some(versions.collect()),
        ..Default::default()
    }))
}

fn listed(version: &ObjectVersion, key: String, id: String, owner: &Owner) -> Listed {
    let object = &version.object;
    Listed {
        e_tag: Some(ETag::Strong(object.etag.to_string())),
        is_latest: Some(version.latest),
        key: Some(key),
        last_modified: Some(buckets::time(object.modified_us)),
        owner: Some(owner.clone()),
        size: i64::try_from(object.size).ok(),
        storage_class: Some(ObjectVersionStorageClass::from(classes::of_kept(&object.meta.headers))),
        version_id: Some(id),
        ..Default::default()
    }
}

/// Where the list begins.
fn after(store: &dyn Store, input: &ListObjectVersionsInput) -> S3Result<Option<VersionsAfter>> {
    let version = input.version_id_marker.as_deref().filter(|id| !id.is_empty());
    let Some(key) = input.key_marker.as_deref().filter(|key| !key.is_empty()) else {
        return match version {
            None => Ok(None),
            Some(_) => Err(s3_error!(
                InvalidArgument,
                "A version-id marker cannot be specified without a key marker."
            )),
        };
    };
    let offset = match versioning::named(version)? {
        None => None,
        Some(id @ VersionId::At(at)) => {
            // Another server may have named it: then it stands elsewhere.
            let found = store.version(&input.bucket, key, Some(id)).map_err(errors::of_store)?;
            Some(found.map_or(at.offset, |found| found.object.offset))
        }
        // Where it stood is not known once it is gone: the key is told again rather than skipped.
        Some(VersionId::Null) => {
            let found = store.version(&input.bucket, key, Some(VersionId::Null)).map_err(errors::of_store)?;
            Some(found.map_or(u64::MAX, |found| found.object.offset))
        }
    };
    Ok(Some(VersionsAfter { key: key.into(), offset }))
}

fn page(
    store: &dyn Store,
    bucket: &str,
    prefix: &str,
    delimiter: &str,
    after: Option<VersionsAfter>,
    max: usize,
) -> Result<Page, StoreError> {
    let mut page = Page::default();
    if max == 0 {
        return Ok(page);
    }
    let behind = |prefix: &str| VersionsAfter { key: past_every_key(prefix).into(), offset: None };
    // A marker that is a common prefix: everything below it was told.
    let told = |after: &VersionsAfter| match common_prefix(&after.key, prefix, delimiter) {
        Some(common) if after.offset.is_none() && common == &*after.key => Some(behind(common)),
        _ => None,
    };
    let mut after = after.map(|after| told(&after).unwrap_or(after));
    let mut last = None;
    loop {
        let batch = store.versions(bucket, prefix, after.as_ref(), max + 1)?;
        let full = batch.len() == max + 1;
        let mut jump = None::<VersionsAfter>;
        for version in batch {
            let key = &version.object.key;
            if jump.as_ref().is_some_and(|jump| **key < *jump.key) {
                continue;
            }
            jump = None;
            if page.versions.len() + page.prefixes.len() == max {
                page.next = last;
                return Ok(page);
            }
            match common_prefix(key, prefix, delimiter) {
                None => {
                    last = Some((key.to_string(), Some(version.object.version)));
                    after = Some(VersionsAfter { key: key.clone(), offset: Some(version.object.offset) });
                    page.versions.push(version);
                }
                Some(common) => {
                    page.prefixes.push(common.to_owned());
                    last = Some((common.to_owned(), None));
                    jump = Some(behind(common));
                    after = jump.clone();
                }
            }
        }
        if !full {
            return Ok(page);
        }
    }
}
