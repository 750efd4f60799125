//! 503 SlowDown: not now, and when to come again.
//!
//! Must never be the answer to a change that may have happened.

use http::HeaderMap;
use http::header::{CONNECTION, HeaderValue, RETRY_AFTER};
use s3s::{S3Error, S3ErrorCode};

/// What a client is told to wait before it asks again, in seconds.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("1");

/// Not now: 503, with when to come again.
pub(super) fn slow_down(message: String) -> S3Error {
    let mut slow_down = S3Error::with_message(S3ErrorCode::SlowDown, message);
    slow_down.set_headers(HeaderMap::from_iter([(RETRY_AFTER, RETRY_AFTER_SECONDS)]));
    slow_down
}

/// The same, and the connection ends.
pub(super) fn and_close(mut error: S3Error) -> S3Error {
    let mut headers = error.headers().cloned().unwrap_or_default();
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    error.set_headers(headers);
    error
}
