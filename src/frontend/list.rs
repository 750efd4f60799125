//! ListObjectsV2: pages of keys and common prefixes, in bytewise order.
//!
//! Must never skip or repeat a key between pages, whatever is between a prefix and its delimiter.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use s3s::dto::{
    CommonPrefix, ETag, EncodingType, ListObjectsV2Input, ListObjectsV2Output, Object as Listed,
    ObjectStorageClass, Owner,
};
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};

use super::context::Caller;
use super::names::MAX_KEY;
use super::operations::Operations;
use super::{buckets, classes, errors, headers};
use crate::store::{Object, Store, StoreError};

/// The most keys and common prefixes in one page.
const MAX_PAGE: usize = 1000;
/// The fewest rows asked of the store at once.
const MIN_ROWS: usize = 8;

/// What a page is made from.
pub(super) struct Query<'a> {
    pub(super) bucket: &'a str,
    pub(super) prefix: &'a str,
    /// Empty: none.
    pub(super) delimiter: &'a str,
    /// Exclusive.
    pub(super) after: Option<String>,
    pub(super) max: usize,
}

/// One page.
#[derive(Default)]
pub(super) struct Page {
    pub(super) objects: Vec<Object>,
    pub(super) prefixes: Vec<String>,
    /// What came last, if there is a next page.
    pub(super) next: Option<Last>,
}

/// What came last in a page.
pub(super) enum Last {
    Key(Arc<str>),
    Prefix(String),
}

/// Lists one page.
pub(super) fn objects(
    operations: &Operations,
    req: S3Request<ListObjectsV2Input>,
) -> S3Result<S3Response<ListObjectsV2Output>> {
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
    let after = match &input.continuation_token {
        Some(token) => Some(read_token(token)?),
        None => input.start_after.clone().filter(|after| !after.is_empty()),
    };
    let query = Query {
        bucket: &input.bucket,
        prefix: input.prefix.as_deref().unwrap_or_default(),
        delimiter: input.delimiter.as_deref().unwrap_or_default(),
        after,
        max,
    };
    let page = page(&**store, query).map_err(errors::of_store)?;

    let owner = input.fetch_owner.unwrap_or(false).then(|| buckets::owner(operations));
    let name = |text: String| if encode { url_encode(&text) } else { text };
    let count = page.objects.len() + page.prefixes.len();
    let contents = page.objects.into_iter().map(|object| listed(object, encode, owner.clone()));
    let prefixes = page.prefixes.into_iter().map(|prefix| CommonPrefix { prefix: Some(name(prefix)) });
    Ok(S3Response::new(ListObjectsV2Output {
        common_prefixes: Some(prefixes.collect()),
        contents: Some(contents.collect()),
        continuation_token: input.continuation_token,
        delimiter: input.delimiter.map(name),
        encoding_type: input.encoding_type,
        is_truncated: Some(page.next.is_some()),
        key_count: i32::try_from(count).ok(),
        max_keys: Some(max_keys),
        name: Some(input.bucket),
        next_continuation_token: page.next.as_ref().map(write_token),
        prefix: Some(name(input.prefix.unwrap_or_default())),
        start_after: input.start_after.map(name),
        ..Default::default()
    }))
}

/// True if names are to be percent-encoded.
pub(super) fn encodes(encoding: Option<&EncodingType>) -> S3Result<bool> {
    match encoding.map(EncodingType::as_str) {
        None => Ok(false),
        Some(EncodingType::URL) => Ok(true),
        Some(_) => Err(s3_error!(InvalidArgument, "encoding-type must be url")),
    }
}

/// How many a page may have, as it is answered and as it is counted.
pub(super) fn page_size(wanted: Option<i32>) -> S3Result<(i32, usize)> {
    let size = wanted.unwrap_or(MAX_PAGE as i32).min(MAX_PAGE as i32);
    let count = usize::try_from(size);
    Ok((size, count.map_err(|_| s3_error!(InvalidArgument, "The size of a page must not be negative"))?))
}

pub(super) fn listed(object: Object, encode: bool, owner: Option<Owner>) -> Listed {
    let key = if encode { url_encode(&object.key) } else { object.key.to_string() };
    Listed {
        e_tag: Some(ETag::Strong(object.etag.to_string())),
        key: Some(key),
        last_modified: Some(buckets::time(object.modified_us)),
        owner,
        size: i64::try_from(object.size).ok(),
        storage_class: Some(ObjectStorageClass::from(classes::of_kept(&object.meta.headers))),
        ..Default::default()
    }
}

/// A token says what came last: a key, or a common prefix with everything below it.
fn write_token(last: &Last) -> String {
    match last {
        Last::Key(key) => BASE64.encode(format!("k{key}")),
        Last::Prefix(prefix) => BASE64.encode(format!("p{prefix}")),
    }
}

fn read_token(token: &str) -> Result<String, S3Error> {
    let text = BASE64.decode(token).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let text = text.filter(|text| text.len() <= MAX_KEY + 1);
    let after = text.as_deref().and_then(|text| match text.split_at_checked(1)? {
        ("k", key) => Some(key.to_owned()),
        ("p", prefix) => Some(past_every_key(prefix)),
        _ => None,
    });
    after.ok_or_else(|| s3_error!(InvalidArgument, "The continuation token is not one of ours"))
}

/// Makes a page: rows are read in batches, and a common prefix that reaches past its batch is jumped over.
pub(super) fn page(store: &dyn Store, query: Query<'_>) -> Result<Page, StoreError> {
    let mut page = Page::default();
    if query.max == 0 {
        return Ok(page);
    }
    let mut after = query.after;
    let mut last = None;
    let mut rows = if query.delimiter.is_empty() { query.max + 1 } else { (query.max + 1).min(64) };
    loop {
        let batch = store.list(query.bucket, query.prefix, after.as_deref(), rows)?;
        let full = batch.len() == rows;
        let mut jump = None;
        for object in batch {
            if jump.as_deref().is_some_and(|jump: &str| &*object.key < jump) {
                continue;
            }
            jump = None;
            if page.objects.len() + page.prefixes.len() == query.max {
                page.next = last;
                return Ok(page);
            }
            match common_prefix(&object.key, query.prefix, query.delimiter) {
                None => {
                    after = Some(object.key.to_string());
                    last = Some(Last::Key(Arc::clone(&object.key)));
                    page.objects.push(object);
                }
                Some(prefix) => {
                    let end = past_every_key(prefix);
                    page.prefixes.push(prefix.to_owned());
                    last = Some(Last::Prefix(prefix.to_owned()));
                    after = Some(end.clone());
                    jump = Some(end);
                }
            }
        }
        if !full {
            return Ok(page);
        }
        // A batch that ended inside a prefix was mostly waste: the next one is smaller. One that did not is
        // larger.
        rows = match jump {
            Some(_) => (rows / 2).max(MIN_ROWS),
            None => (rows * 2).min(query.max + 1).max(MIN_ROWS),
        };
    }
}

/// The part of `key` up to the first delimiter after the prefix.
pub(super) fn common_prefix<'a>(key: &'a str, prefix: &str, delimiter: &str) -> Option<&'a str> {
    if delimiter.is_empty() {
        return None;
    }
    let at = key.get(prefix.len()..)?.find(delimiter)?;
    key.get(..prefix.len() + at + delimiter.len())
}

/// A string above every key that begins with `prefix`, and below every other key above those: the prefix and
/// then the highest character until no key could be longer.
pub(super) fn past_every_key(prefix: &str) -> String {
    const HIGHEST: char = '\u{10FFFF}';
    let mut end = String::with_capacity(MAX_KEY + 2 * HIGHEST.len_utf8());
    end.push_str(prefix);
    while end.len() <= MAX_KEY {
        end.push(HIGHEST);
    }
    end
}

/// Percent-encodes all but what S3 leaves: unreserved characters and `/`.
pub(super) fn url_encode(text: &str) -> String {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut out = String::with_capacity(text.len() + 16);
    for &byte in text.as_bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' => {
                out.push(char::from(byte));
            }
            _ => {
                out.push('%');
                out.push(char::from(HEX[usize::from(byte >> 4)]));
                out.push(char::from(HEX[usize::from(byte & 15)]));
            }
        }
    }
    out
}
