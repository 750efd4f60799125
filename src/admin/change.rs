//! What the routes that change something do.
//!
//! Must never be reached but through `service.rs`, which admits and audits.

use axum::Json;
use axum::response::{IntoResponse as _, Response};

use super::backend::{AdminBackend, ChangeError};
use super::dead;
use super::routes::Action;

/// Makes one change and answers with what it made. `target` is the one in the path.
pub(super) async fn perform(
    backend: &dyn AdminBackend,
    action: Action,
    target: &str,
    query: Option<&str>,
) -> Result<Response, ChangeError> {
    Ok(match action {
        Action::TargetPause => Json(backend.set_paused(target, true).await?).into_response(),
        Action::TargetResume => Json(backend.set_paused(target, false).await?).into_response(),
        Action::DeadReplay | Action::DeadPurge | Action::DeadAccept => {
            dead::perform(backend, action, target, query).await?
        }
        Action::Live
        | Action::Ready
        | Action::Metrics
        | Action::TargetList
        | Action::TargetShow
        | Action::DeadList
        | Action::DeadShow
        | Action::JournalStat => return Err(ChangeError::Conflict("reading changes nothing".into())),
    })
}
