//! What the routes that change something do.
//!
//! Must never be reached but through `service.rs`, which admits and audits.

use axum::Json;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;

use super::backend::{AdminBackend, ChangeError};
use super::buckets::QuotaWish;
use super::routes::Action;
use super::rules::{TriggerState, TriggerWish};
use super::{dead, functions};

/// The parameters of a change, as its query has them: names, numbers and flags need no decoding.
#[derive(Debug, Default)]
struct Parameters(Vec<(String, String)>);

impl Parameters {
    fn of(query: Option<&str>) -> Self {
        let pairs = query.unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
        Self(pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect())
    }

    fn all(&self, key: &str) -> Vec<String> {
        self.0.iter().filter(|(k, _)| k == key).map(|(_, value)| value.clone()).collect()
    }

    fn flag(&self, key: &str) -> bool {
        self.0.iter().any(|(k, value)| k == key && value == "true")
    }
}

/// Makes one change and answers with what it made. `target` is the one in the path, or the bucket,
/// or the function; `body` is empty but for routes that take one.
pub(super) async fn perform(
    backend: &dyn AdminBackend,
    action: Action,
    target: &str,
    query: Option<&str>,
    body: Bytes,
) -> Result<Response, ChangeError> {
    let parameters = Parameters::of(query);
    Ok(match action {
        Action::TargetPause => Json(backend.set_paused(target, true).await?).into_response(),
        Action::TargetResume => Json(backend.set_paused(target, false).await?).into_response(),
        Action::DeadReplay | Action::DeadPurge | Action::DeadAccept => {
            dead::perform(backend, action, target, query).await?
        }
        Action::TargetReplay => {
            let from = parameters.all("from").pop().ok_or_else(|| {
                ChangeError::BadRequest(
                    "`from` is missing: an offset, or a time such as 2026-01-31T12:00:00Z".into(),
                )
            })?;
            Json(backend.replay(target, &from, parameters.flag("rematch")).await?).into_response()
        }
        Action::TargetTest => Json(backend.test(target).await?).into_response(),
        Action::TargetForget => {
            Json(backend.forget(target, parameters.flag("discard")).await?).into_response()
        }
        Action::BucketQuota => Json(backend.set_quota(target, QuotaWish::of(query)?).await?).into_response(),
        Action::FunctionCreate | Action::FunctionUpdate | Action::FunctionRemove | Action::FunctionInvoke => {
            functions::perform(backend.functions(), action, target, query, body).await?
        }
        Action::TriggerAdd => Json(backend.trigger(TriggerWish::to_add(query)?).await?).into_response(),
        Action::TriggerEnable => trigger(backend, query, TriggerState::Enabled).await?,
        Action::TriggerDisable => trigger(backend, query, TriggerState::Disabled).await?,
        Action::TriggerRemove => trigger(backend, query, TriggerState::Removed).await?,
        Action::Reload => Json(backend.reload(&parameters.all("accept")).await?).into_response(),
        Action::Live
        | Action::Ready
        | Action::Metrics
        | Action::TargetList
        | Action::TargetShow
        | Action::DeadList
        | Action::DeadShow
        | Action::BucketList
        | Action::FunctionList
        | Action::FunctionShow
        | Action::FunctionLogs
        | Action::FunctionTemplates
        | Action::RuleList
        | Action::TriggerList
        | Action::JournalStat
        | Action::StoreStat
        | Action::OpenApi
        | Action::Scf => return Err(ChangeError::Conflict("reading changes nothing".into())),
    })
}

async fn trigger(
    backend: &dyn AdminBackend,
    query: Option<&str>,
    to: TriggerState,
) -> Result<Response, ChangeError> {
    Ok(Json(backend.trigger(TriggerWish::to_change(query, to)?).await?).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_said_counts() {
        let of = |query| Parameters::of(Some(query));
        assert_eq!(of("accept=a&x=b&accept=c").all("accept"), ["a", "c"]);
        assert!(of("discard=true").flag("discard"));
        for query in ["", "discard", "discard=false", "discard=1", "Discard=true", "x=discard=true"] {
            assert!(!of(query).flag("discard"), "{query}");
        }
        assert!(!Parameters::of(None).flag("discard"));
    }
}
