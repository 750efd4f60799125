//! Errors as clients see them: XML with Code, Message, Resource and RequestId, always, in the words of the
//! family that asked.
//!
//! Must never show where a file lies, what a signature should have been, or a secret. Reasons for operators
//! go to the log, without keys.

mod changes;

use std::borrow::Cow;
use std::fmt::Write as _;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, TRANSFER_ENCODING};
use http::{HeaderMap, StatusCode};
use s3s::{Body, HttpResponse, S3Error, S3ErrorCode};

pub(super) use self::changes::of_commit;
use super::context::BodyFault;
use super::family::Family;
use super::guard::Refusal;
use super::ids::trace_of;
use super::slow_down::slow_down;
use crate::store::StoreError;

/// What a client is told when there is no space.
const NO_SPACE: &str = "No space for a change now; try again later.";
/// The longest `Resource` that is repeated to a client, in bytes.
const MAX_RESOURCE: usize = 2048;

/// What a failed read answers.
pub(super) fn of_store(error: StoreError) -> S3Error {
    let message = match &error {
        full if full.is_full() => return slow_down(NO_SPACE.to_owned()),
        // These name no key, so the log may have them.
        StoreError::Io(_) | StoreError::Index(_) => {
            tracing::error!(%error, "the store failed");
            "The store failed."
        }
        StoreError::Damaged { .. } => {
            tracing::error!("an object does not match its checksum; see `tidings store verify`");
            "The object is damaged."
        }
        StoreError::Unread => {
            let text = "Part of the event log is damaged: what is here now is not known until it is mended.";
            return S3Error::with_message(S3ErrorCode::ServiceUnavailable, text);
        }
        StoreError::Gone => "The object was replaced while it was read; try again.",
    };
    S3Error::with_message(S3ErrorCode::InternalError, message)
}

/// The request that an error answers.
#[derive(Debug, Clone, Copy)]
pub(super) struct About<'a> {
    /// The path of the request, as it was sent.
    pub(super) resource: &'a str,
    pub(super) request_id: &'a str,
    pub(super) family: Family,
    /// Its answers have no body.
    pub(super) bare: bool,
}

/// One error document.
pub(super) struct Document<'a> {
    pub(super) code: &'a str,
    /// Plain text.
    pub(super) message: Cow<'a, str>,
    pub(super) about: About<'a>,
    /// The region to sign for, where that was wrong.
    pub(super) region: Option<&'a str>,
}

impl Document<'_> {
    fn xml(&self) -> String {
        let mut out = String::with_capacity(384);
        out.push_str("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error>");
        let About { resource, request_id, family, .. } = self.about;
        let mut end = resource.len().min(MAX_RESOURCE);
        while !resource.is_char_boundary(end) {
            end -= 1;
        }
        element(&mut out, "Code", if family == Family::Cos { code_of_cos(self.code) } else { self.code });
        element(&mut out, "Message", &self.message);
        element(&mut out, "Resource", &resource[..end]);
        if let Some(region) = self.region {
            element(&mut out, "Region", region);
        }
        element(&mut out, "RequestId", request_id);
        if family == Family::Cos {
            element(&mut out, "TraceId", &trace_of(request_id));
        }
        out.push_str("</Error>");
        out
    }

    /// The whole answer. An answer to HEAD, and 304, has no body.
    pub(super) fn response(&self, status: StatusCode, mut headers: HeaderMap) -> HttpResponse {
        let bare = self.about.bare || status == StatusCode::NOT_MODIFIED;
        let body = if bare { Body::empty() } else { Body::from(Bytes::from(self.xml())) };
        headers.remove(CONTENT_LENGTH);
        headers.remove(TRANSFER_ENCODING);
        if bare {
            headers.remove(CONTENT_TYPE);
        } else {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
        }
        let mut response = HttpResponse::new(body);
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        response
    }
}

/// The answer to a request that the guard refused.
pub(super) fn refused(refusal: &Refusal, about: About<'_>) -> HttpResponse {
    let (status, code, message) = refusal.answer();
    let document = Document { code, message, about, region: refusal.region() };
    document.response(status, HeaderMap::new())
}

/// The answer to a request whose handler panicked, or whose answer could not be written.
pub(super) fn internal(about: About<'_>) -> HttpResponse {
    let message = default_message("InternalError").into();
    let document = Document { code: "InternalError", message, about, region: None };
    document.response(StatusCode::INTERNAL_SERVER_ERROR, HeaderMap::new())
}

/// Writes an error that the verifier or a handler answered again, complete. `fault` is what went wrong with
/// the body, which is then the reason for whatever was answered.
pub(super) fn complete(response: HttpResponse, fault: Option<BodyFault>, about: About<'_>) -> HttpResponse {
    let (parts, body) = response.into_parts();
    if let Some(fault) = fault {
        let error = S3Error::from(fault);
        let status = error.status_code().unwrap_or(StatusCode::BAD_REQUEST);
        let code = error.code().as_str();
        let document = Document { code, message: fault.to_string().into(), about, region: None };
        return document.response(status, HeaderMap::new());
    }
    let text = body.bytes().unwrap_or_default();
    let text = std::str::from_utf8(&text).unwrap_or_default();
    let code = content_of(text, "Code").unwrap_or(Cow::Borrowed("InternalError"));
    let message = content_of(text, "Message").unwrap_or_else(|| default_message(&code).into());
    let document = Document { code: &code, message, about, region: None };
    document.response(parts.status, parts.headers)
}

/// What COS calls an error that S3 calls otherwise.
fn code_of_cos(code: &str) -> &str {
    match code {
        "AuthorizationHeaderMalformed" => "InvalidRequest",
        "IllegalLocationConstraintException" => "InvalidLocationConstraint",
        "KeyTooLongError" => "KeyTooLong",
        "NoSuchBucketPolicy" => "NoSuchPolicy",
        "ReplicationConfigurationNotFoundError" => "ReplicationConfigurationnotFoundError",
        "AccessControlListNotSupported" => "InvalidArgument",
        "InvalidStorageClass" => "InvalidArgument",
        "InvalidToken" => "InvalidSecurityToken",
        same => same,
    }
}

/// The text of the first element with this name, in an error that the verifier's library wrote.
fn content_of<'a>(xml: &'a str, name: &str) -> Option<Cow<'a, str>> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    let (raw, _) = rest.split_once(&format!("</{name}>"))?;
    if !raw.contains('&') {
        return Some(Cow::Borrowed(raw));
    }
    let plain = raw.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"");
    Some(Cow::Owned(plain.replace("&apos;", "'").replace("&amp;", "&")))
}

fn default_message(code: &str) -> &'static str {
    match code {
        "NoSuchKey" => "The specified key does not exist.",
        "NoSuchBucket" => "The specified bucket does not exist.",
        "BucketAlreadyOwnedByYou" => "You have this bucket already.",
        "BucketAlreadyExists" => "The bucket name is taken.",
        "NoSuchVersion" => "The object has no such version.",
        "NoSuchUpload" => "The upload does not exist: it was aborted, has expired, or has become an object.",
        "InvalidPart" => "A part is missing, or its ETag is not the listed one.",
        "InvalidPartOrder" => "Parts must be listed by number, each once.",
        "EntityTooSmall" => "A part that is not the last one is too small.",
        "BucketNotEmpty" => "The bucket is not empty.",
        "PreconditionFailed" => "A precondition of the request does not hold.",
        "InvalidObjectState" => "The object is archived: restore it first, and wait until that is done.",
        "RestoreAlreadyInProgress" => "The object is being restored already.",
        "InvalidBucketName" => "The bucket name is not valid.",
        "KeyTooLongError" => "The key is longer than 1024 bytes.",
        "InvalidRange" => "The range cannot be satisfied.",
        "MalformedXML" => "The XML is not well-formed or not what this operation takes.",
        "InvalidDigest" => "The Content-MD5 is not valid.",
        "MetadataTooLarge" => "The metadata is larger than 2 KiB.",
        "EntityTooLarge" => "The body is larger than one request may carry.",
        "MissingContentLength" => "The length of the body must be declared.",
        "MaxMessageLengthExceeded" => "The document is larger than a request may carry.",
        "InvalidURI" => "The path is not valid.",
        "SignatureDoesNotMatch" => "The signature does not match.",
        "NotImplemented" => "This is not implemented.",
        "InternalError" => "An internal error occurred.",
        "InvalidStorageClass" => "The storage class is not one of those that exist here.",
        _ => "The request was refused.",
    }
}

/// Appends an element with escaped text. Characters that XML cannot carry become U+FFFD.
pub(super) fn element(out: &mut String, name: &str, text: &str) {
    let _ = write!(out, "<{name}>");
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\t' | '\n' => out.push(c),
            c if c.is_control() || matches!(c, '\u{FFFE}' | '\u{FFFF}') => out.push('\u{FFFD}'),
            c => out.push(c),
        }
    }
    let _ = write!(out, "</{name}>");
}

#[cfg(test)]
mod tests;
