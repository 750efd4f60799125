//! Answers in the shape of Tencent Cloud's API: `{"Response":{…,"RequestId"}}`, errors too, always with
//! HTTP 200: its SDKs read the body of no other status.
//!
//! Must never hold a secret, code or an event in an error.

use std::borrow::Cow;

use axum::Json;
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

use super::super::backend::ChangeError;

/// Why something was not done: a code of the vendor's, and words for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) code: &'static str,
    pub(super) message: Cow<'static, str>,
}

impl Refusal {
    pub(super) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: Cow::Owned(message.into()) }
    }

    /// What the vendor has and we have not.
    pub(super) fn unsupported(what: impl Into<String>) -> Self {
        Self::new("UnsupportedOperation", what)
    }

    /// What cannot be a parameter's value.
    pub(super) fn value(what: impl Into<String>) -> Self {
        Self::new("InvalidParameterValue", what)
    }
}

/// What an action answers: an object, to which the request's id comes.
pub(super) type Answer = Result<Value, Refusal>;

/// The answer on its way.
pub(super) fn response(request_id: &str, answer: Answer) -> Response {
    let mut said = answer
        .unwrap_or_else(|Refusal { code, message }| json!({ "Error": { "Code": code, "Message": message } }));
    said["RequestId"] = request_id.into();
    Json(json!({ "Response": said })).into_response()
}

impl From<ChangeError> for Refusal {
    fn from(error: ChangeError) -> Self {
        let code = match &error {
            ChangeError::NoSuchTarget | ChangeError::NoSuchFunction => "ResourceNotFound.Function",
            ChangeError::NoSuchBucket => "ResourceNotFound.Cos",
            ChangeError::NoSuchTrigger => "ResourceNotFound.Trigger",
            ChangeError::BadRequest(_) => "InvalidParameterValue",
            ChangeError::NoSuchLetter | ChangeError::Invalid(_) | ChangeError::Conflict(_) => {
                "FailedOperation"
            }
            ChangeError::Unavailable(_) => "ResourceUnavailable",
            ChangeError::Unknown(_) => "InternalError",
        };
        Self::new(code, error.to_string())
    }
}
