//! One target that comes, changes or goes while the others stay: a function's.
//!
//! Must never look at the other targets one by one, of which there may be thousands, nor start a lane whose
//! target is not registered durably.

use super::apply::Change;
use super::targets::Targets;
use crate::admin::Reloaded;
use crate::config;

impl Targets {
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
