//! Answers that are not the one asked for: one shape, `{"error":{"code","message","hint"}}`, and one table of
//! codes with their status and what to do next.
//!
//! Must never say more to somebody without the token than that a token is missing.

use axum::Json;
use axum::response::{IntoResponse as _, Response};
use http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use serde_json::json;

use super::backend::ChangeError;
use super::guard::Denied;

macro_rules! codes {
    ($($code:ident: $status:ident, $name:literal, $hint:literal;)+) => {
        /// Why a request was not answered as asked. Its name is stable: programs decide by it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum Code { $($code),+ }

        impl Code {
            /// Every code.
            pub(super) const ALL: &'static [Self] = &[$(Self::$code),+];

            /// The HTTP status.
            pub(super) fn status(self) -> StatusCode {
                match self { $(Self::$code => StatusCode::$status),+ }
            }

            /// For programs; stable.
            pub(super) fn name(self) -> &'static str {
                match self { $(Self::$code => $name),+ }
            }

            /// For people: what to do next.
            pub(super) fn hint(self) -> &'static str {
                match self { $(Self::$code => $hint),+ }
            }
        }
    };
}

codes! {
    Unauthorized: UNAUTHORIZED, "unauthorized",
        "send `Authorization: Bearer` with the token in admin.token of the data directory";
    WrongHost: MISDIRECTED_REQUEST, "wrong_host",
        "ask for localhost or a loopback address, or let [admin] listen on the address you use";
    NotFound: NOT_FOUND, "not_found", "GET /v1/openapi.json lists every path";
    MethodNotAllowed: METHOD_NOT_ALLOWED, "method_not_allowed", "the header `allow` names the methods";
    BadRequest: BAD_REQUEST, "bad_request", "GET /v1/openapi.json lists the parameters of every path";
    BodyTooLarge: PAYLOAD_TOO_LARGE, "body_too_large",
        "send no body: parameters stand in the query";
    NoSuchTarget: NOT_FOUND, "no_such_target", "`tidings target ls` or GET /v1/targets lists them";
    NoSuchBucket: NOT_FOUND, "no_such_bucket", "`tidings bucket ls` or GET /v1/buckets lists them";
    NoSuchTrigger: NOT_FOUND, "no_such_trigger", "`tidings trigger ls` or GET /v1/triggers lists them";
    NoSuchLetter: NOT_FOUND, "no_such_dead_letter",
        "`tidings dlq ls NAME` or GET /v1/targets/{name}/dead-letters lists them";
    Invalid: UNPROCESSABLE_ENTITY, "invalid_configuration",
        "mend the file and reload again; what ran before still runs";
    Conflict: CONFLICT, "conflict", "repeating it does not help: look at the target's state first";
    Busy: SERVICE_UNAVAILABLE, "busy", "nothing was changed; repeat it when the changes before it are made";
    Unavailable: SERVICE_UNAVAILABLE, "unavailable", "nothing was changed; repeat it later";
    NotReady: SERVICE_UNAVAILABLE, "not_ready", "changes of objects get 503 until it is mended; reads go on";
    Timeout: SERVICE_UNAVAILABLE, "timeout", "nothing was changed; repeat it later";
    AuditUnavailable: SERVICE_UNAVAILABLE, "audit_unavailable",
        "nothing was changed; make room for audit.log in the data directory, then repeat it";
    Unknown: INTERNAL_SERVER_ERROR, "outcome_unknown",
        "it may have happened: look at the target before repeating it";
}

/// An answer that is not the one asked for.
#[derive(Debug)]
pub(super) struct Failure {
    /// Status, name and hint.
    pub(super) code: Code,
    /// For people: what happened.
    pub(super) message: String,
}

impl Failure {
    pub(super) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    pub(super) fn into_response(self) -> Response {
        let Self { code, message } = self;
        let body = json!({ "error": { "code": code.name(), "message": message, "hint": code.hint() } });
        let mut answer = (code.status(), Json(body)).into_response();
        let headers = answer.headers_mut();
        match code.status() {
            StatusCode::UNAUTHORIZED => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        answer
    }
}

impl From<Denied> for Failure {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Host => {
                Self::new(Code::WrongHost, "this listener answers only to localhost and loopback addresses")
            }
            Denied::Token => Self::new(Code::Unauthorized, "the admin token is missing or wrong"),
        }
    }
}

impl ChangeError {
    /// The code: also the result in the audit log.
    pub(super) fn code(&self) -> Code {
        match self {
            ChangeError::NoSuchTarget => Code::NoSuchTarget,
            ChangeError::NoSuchBucket => Code::NoSuchBucket,
            ChangeError::NoSuchTrigger => Code::NoSuchTrigger,
            ChangeError::NoSuchLetter => Code::NoSuchLetter,
            ChangeError::BadRequest(_) => Code::BadRequest,
            ChangeError::Invalid(_) => Code::Invalid,
            ChangeError::Conflict(_) => Code::Conflict,
            ChangeError::Unavailable(_) => Code::Unavailable,
            ChangeError::Unknown(_) => Code::Unknown,
        }
    }
}

impl From<ChangeError> for Failure {
    fn from(error: ChangeError) -> Self {
        Self::new(error.code(), error.to_string())
    }
}
