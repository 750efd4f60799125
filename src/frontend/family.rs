//! The two families of clients: who speaks S3 and who speaks COS, and how each is answered.
//!
//! A request is of the family whose signature it carries, and gets its answer in that family's words. Must
//! never decide anything but words: what is allowed is the guard's and the gate's.

use http::Uri;
use http::header::{AUTHORIZATION, HeaderMap};

/// Whose words a request speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    /// AWS's: `x-amz-*`.
    S3,
    /// Tencent COS's: `x-cos-*`.
    Cos,
}

impl Family {
    /// The family of a request's head, whether or not its signature is right.
    pub(super) fn of(uri: &Uri, headers: &HeaderMap) -> Self {
        let in_header = headers.get(AUTHORIZATION).map(|value| {
            let text = value.as_bytes();
            text.trim_ascii_start().starts_with(b"q-sign-algorithm=")
        });
        let in_query =
            || uri.query().is_some_and(|query| query.split('&').any(|part| part.starts_with("q-")));
        match in_header.unwrap_or_else(in_query) {
            true => Family::Cos,
            false => Family::S3,
        }
    }
}
