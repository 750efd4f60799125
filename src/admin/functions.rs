//! The routes of functions: what they need, what they take, what they answer.
//!
//! Must never be reached but through `service.rs`, and never log a body: code and environments travel in it.

use async_trait::async_trait;
use axum::Json;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use serde::Serialize;
use serde_json::json;

use super::backend::ChangeError;
use super::routes::Action;
use crate::functions::{
    FunctionChange, FunctionView, Invoked, MAX_EVENT, MAX_RUNS, RunQuery, Runs, Templates,
};

/// Bytes of a body that carries code.
const MAX_CODE_BODY: usize = 96 << 20;
/// Runs on one page unless said.
const PAGE: usize = 100;

/// What the routes need.
#[async_trait]
pub trait FunctionBackend: Send + Sync {
    /// Every function, by name.
    fn list(&self) -> Vec<FunctionView>;
    /// One function.
    fn show(&self, name: &str) -> Result<FunctionView, ChangeError>;
    /// Makes one, durably.
    async fn create(&self, name: &str, change: FunctionChange) -> Result<FunctionView, ChangeError>;
    /// Changes one, durably.
    async fn update(&self, name: &str, change: FunctionChange) -> Result<FunctionView, ChangeError>;
    /// Removes one; `discard`: with the events that it has not got.
    async fn remove(&self, name: &str, discard: bool) -> Result<Removed, ChangeError>;
    /// Runs one with the event of a template, or with this one.
    async fn invoke(&self, name: &str, template: Option<&str>, event: Bytes) -> Result<Invoked, ChangeError>;
    /// What became of its runs.
    async fn runs(&self, name: &str, query: RunQuery) -> Result<Runs, ChangeError>;
    /// Every template.
    fn templates(&self) -> Templates;
}

/// A function that is gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Removed {
    /// Its name, free again.
    pub name: String,
}

/// How many bytes the body of a route may have, if it takes one.
pub(super) fn max_body(action: Action) -> Option<usize> {
    match action {
        Action::FunctionCreate | Action::FunctionUpdate => Some(MAX_CODE_BODY),
        Action::FunctionInvoke => Some(MAX_EVENT),
        _ => None,
    }
}

fn values<'a>(query: Option<&'a str>, name: &str) -> Option<&'a str> {
    let pairs = query.unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
    pairs.filter(|(key, _)| *key == name).map(|(_, value)| value).next_back()
}

fn number(query: Option<&str>, name: &str) -> Result<Option<u64>, ChangeError> {
    let parse = |text: &str| {
        text.parse().map_err(|_| ChangeError::BadRequest(format!("`{name}` must be a whole number")))
    };
    values(query, name).map(parse).transpose()
}

/// What is read.
pub(super) async fn read(
    backend: &dyn FunctionBackend,
    action: Action,
    name: &str,
    query: Option<&str>,
) -> Result<Response, ChangeError> {
    Ok(match action {
        Action::FunctionList => Json(json!({ "functions": backend.list() })).into_response(),
        Action::FunctionTemplates => Json(backend.templates()).into_response(),
        Action::FunctionShow => Json(backend.show(name)?).into_response(),
        _ => {
            let failed = match values(query, "status") {
                None => false,
                Some("failed") => true,
                Some(_) => return Err(ChangeError::BadRequest("`status` may be `failed`".into())),
            };
            let limit = number(query, "limit")?.and_then(|limit| usize::try_from(limit).ok());
            let limit = limit.unwrap_or(PAGE);
            if !(1..=MAX_RUNS).contains(&limit) {
                return Err(ChangeError::BadRequest(format!("`limit` may be 1 to {MAX_RUNS}")));
            }
            let request_id = values(query, "request-id").map(str::to_owned);
            let query = RunQuery { after: number(query, "after")?, limit, failed, request_id };
            Json(backend.runs(name, query).await?).into_response()
        }
    })
}

/// What is changed.
pub(super) async fn perform(
    backend: &dyn FunctionBackend,
    action: Action,
    name: &str,
    query: Option<&str>,
    body: Bytes,
) -> Result<Response, ChangeError> {
    let change = |body: &[u8]| -> Result<FunctionChange, ChangeError> {
        if body.is_empty() {
            return Ok(FunctionChange::default());
        }
        // The error names a place and a key, and quotes no value but a word that is no key.
        serde_json::from_slice(body).map_err(|e| {
            let at = format!("line {} column {}", e.line(), e.column());
            let unknown = e.to_string();
            let unknown = unknown.strip_prefix("unknown field").map(|rest| format!(": unknown field{rest}"));
            ChangeError::BadRequest(format!("the body is no function ({at}){}", unknown.unwrap_or_default()))
        })
    };
    Ok(match action {
        Action::FunctionCreate => Json(backend.create(name, change(&body)?).await?).into_response(),
        Action::FunctionUpdate => Json(backend.update(name, change(&body)?).await?).into_response(),
        Action::FunctionRemove => {
            let discard = values(query, "discard") == Some("true");
            Json(backend.remove(name, discard).await?).into_response()
        }
        _ => Json(backend.invoke(name, values(query, "template"), body).await?).into_response(),
    })
}
