//! One target that comes, changes or goes while the others stay: a function's.
//!
//! Must never look at the other targets one by one, of which there may be thousands, nor start a lane whose
//! target is not registered durably.

use super::apply::Change;
use super::targets::Targets;
use crate::admin::{ChangeError, Reloaded};
use crate::config;
use crate::queue::Books;

impl Targets {
    /// Refuses to give a target up for which something is kept.
    pub(super) fn refuse_unsettled(&self, name: &str) -> Result<(), ChangeError> {
        let Some(entry) = self.get(name) else { return Ok(()) };
        match unsettled(&entry.progress.books()) {
            0 => Ok(()),
            events => Err(still_kept(events)),
        }
    }

    /// Makes one target what is wanted of it; none: it is wanted no more, and what waits for it is kept. As
    /// [`Targets::apply`], for it alone.
    pub(super) async fn apply_one(&self, name: &str, wanted: Option<&config::Target>) -> anyhow::Result<()> {
        let _alone = self.changing().await;
        let commit = &self.around.commit;
        if let Some(target) = wanted {
            self.check_kinds(std::slice::from_ref(target), &[])?;
            self.register(target, &mut Reloaded::default()).await?;
        }
        let Some(entry) = self.get(name) else { return Ok(()) };
        match wanted {
            Some(target) => {
                entry.progress.budget().set(&target.name, target.budget);
                let named = self.named(target, entry.registered.target);
                commit.alter_rules(|rules| rules.with(&target.name, named, &target.rules));
            }
            None => commit.alter_rules(|rules| rules.without(name)),
        }
        if let (name, Change::Failed(why)) = self.bring_up(entry, wanted).await {
            tracing::error!(target_name = name, "its lane cannot be started: {why}");
        }
        Ok(())
    }
}

/// What a target has not got, or would have to be sent again.
pub(super) fn unsettled(books: &Books) -> u64 {
    books.backlog + books.held + books.dead_lettered
}

/// Why a target is not given up.
pub(super) fn still_kept(events: u64) -> ChangeError {
    ChangeError::Conflict(format!(
        "{events} events, dead letters included, are kept for the target and would be lost; repeat it with \
         `--discard` (`?discard=true`) if that is meant"
    ))
}
