//! Why the guard refuses, and what the client is told.
//!
//! Must never repeat what the client sent: a refusal is written before anybody is known.

use std::borrow::Cow;

use http::StatusCode;
use s3s::{S3Error, S3ErrorCode};

/// Why a request goes no further. Each variant is one S3 error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// 403 AccessDenied.
    Denied(&'static str),
    /// 400 InvalidRequest.
    Invalid(&'static str),
    /// 400 InvalidURI.
    BadUri(&'static str),
    /// 400 InvalidArgument.
    BadArgument(&'static str),
    /// 400 AuthorizationHeaderMalformed.
    Malformed(&'static str),
    /// 400 AuthorizationHeaderMalformed, with the region that would be right.
    WrongRegion {
        /// Ours.
        expected: String,
    },
    /// 403 InvalidAccessKeyId.
    UnknownKey,
    /// 403 SignatureDoesNotMatch.
    BadSignature,
    /// 403 RequestTimeTooSkewed.
    Skewed,
    /// 400 InvalidToken.
    Token,
    /// 411 MissingContentLength.
    NoLength,
    /// 405 MethodNotAllowed.
    Method,
    /// 501 NotImplemented.
    NotImplemented(Cow<'static, str>),
}

impl Refusal {
    /// The answer's status, code and message.
    pub(crate) fn answer(&self) -> (StatusCode, &'static str, Cow<'_, str>) {
        use Refusal as R;
        let fixed = Cow::Borrowed;
        match self {
            R::Denied(why) => (StatusCode::FORBIDDEN, "AccessDenied", fixed(why)),
            R::Invalid(why) => (StatusCode::BAD_REQUEST, "InvalidRequest", fixed(why)),
            R::BadUri(why) => (StatusCode::BAD_REQUEST, "InvalidURI", fixed(why)),
            R::BadArgument(why) => (StatusCode::BAD_REQUEST, "InvalidArgument", fixed(why)),
            R::Malformed(why) => (StatusCode::BAD_REQUEST, "AuthorizationHeaderMalformed", fixed(why)),
            R::WrongRegion { expected } => (
                StatusCode::BAD_REQUEST,
                "AuthorizationHeaderMalformed",
                Cow::Owned(format!("The request is signed for another region; this one is '{expected}'.")),
            ),
            R::UnknownKey => (StatusCode::FORBIDDEN, "InvalidAccessKeyId", fixed("No such access key.")),
            R::BadSignature => {
                (StatusCode::FORBIDDEN, "SignatureDoesNotMatch", fixed("The signature does not match."))
            }
            R::Skewed => (
                StatusCode::FORBIDDEN,
                "RequestTimeTooSkewed",
                fixed("The signed date is more than 15 minutes away from the server's clock."),
            ),
            R::Token => (StatusCode::BAD_REQUEST, "InvalidToken", fixed("Session tokens are not supported.")),
            R::NoLength => (
                StatusCode::LENGTH_REQUIRED,
                "MissingContentLength",
                fixed("The length of the body must be declared."),
            ),
            R::Method => (
                StatusCode::METHOD_NOT_ALLOWED,
                "MethodNotAllowed",
                fixed("This method is not allowed here."),
            ),
            R::NotImplemented(what) => (
                StatusCode::NOT_IMPLEMENTED,
                "NotImplemented",
                Cow::Owned(format!("Not implemented: {what}.")),
            ),
        }
    }

    /// The same as an operation answers.
    pub(crate) fn to_error(&self) -> S3Error {
        let (status, code, message) = self.answer();
        let known = S3ErrorCode::from_bytes(code.as_bytes());
        let code = known.unwrap_or_else(|| S3ErrorCode::Custom(code.into()));
        let mut error = S3Error::with_message(code, message.into_owned());
        error.set_status_code(status);
        error
    }

    /// The region that a client should sign for, where that is what is wrong.
    pub(crate) fn region(&self) -> Option<&str> {
        match self {
            Refusal::WrongRegion { expected } => Some(expected),
            _ => None,
        }
    }
}
