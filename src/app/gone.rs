//! Far sides that said that they are gone: kept, so that a restart does not call them again.
//!
//! Must never decide that one is gone: its lane does.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::Parts;

/// Keeps durably what lanes say, until the end.
pub(super) fn start(parts: &Arc<Parts>, stop: &CancellationToken) {
    let (parts, stop) = (Arc::clone(parts), stop.clone());
    tokio::spawn(async move {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = parts.targets.gone.notified() => parts.targets.keep_gone().await,
            }
        }
    });
}
