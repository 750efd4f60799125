//! Answers that are not the one asked for: one shape, `{"error":{"code","message"}}`, one status per reason.
//!
//! Must never say more to somebody without the token than that a token is missing.

use axum::Json;
use axum::response::{IntoResponse as _, Response};
use http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use serde_json::json;

use super::backend::ChangeError;
use super::guard::Denied;

/// An answer that is not the one asked for.
#[derive(Debug)]
pub(super) struct Failure {
    /// The HTTP status.
    pub(super) status: StatusCode,
    /// For programs; stable.
    pub(super) code: &'static str,
    /// For people: what happened and what to do.
    pub(super) message: String,
}

/// There is nothing here.
pub(super) fn not_found(message: &str) -> Failure {
    Failure { status: StatusCode::NOT_FOUND, code: "not_found", message: message.into() }
}

impl Failure {
    pub(super) fn into_response(self) -> Response {
        let body = json!({ "error": { "code": self.code, "message": self.message } });
        let mut answer = (self.status, Json(body)).into_response();
        let headers = answer.headers_mut();
        match self.status {
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
            Denied::Host => Failure {
                status: StatusCode::MISDIRECTED_REQUEST,
                code: "wrong_host",
                message: "this listener answers only to localhost and loopback addresses".into(),
            },
            Denied::Token => Failure {
                status: StatusCode::UNAUTHORIZED,
                code: "unauthorized",
                message: "send `Authorization: Bearer` with the token in admin.token of the data directory"
                    .into(),
            },
        }
    }
}

impl ChangeError {
    /// Status and code: also the result in the audit log.
    pub(super) fn meaning(&self) -> (StatusCode, &'static str) {
        match self {
            ChangeError::NoSuchTarget => (StatusCode::NOT_FOUND, "no_such_target"),
            ChangeError::NoSuchLetter => (StatusCode::NOT_FOUND, "no_such_dead_letter"),
            ChangeError::BadRequest(_) => (StatusCode::BAD_REQUEST, "bad_request"),
            ChangeError::Invalid(_) => (StatusCode::UNPROCESSABLE_ENTITY, "invalid_configuration"),
            ChangeError::Conflict(_) => (StatusCode::CONFLICT, "conflict"),
            ChangeError::Unavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
            ChangeError::Unknown(_) => (StatusCode::INTERNAL_SERVER_ERROR, "outcome_unknown"),
        }
    }
}

impl From<ChangeError> for Failure {
    fn from(error: ChangeError) -> Self {
        let (status, code) = error.meaning();
        Failure { status, code, message: error.to_string() }
    }
}
