//! What reading the configuration anew changed: the answer of `/v1/reload`.
//!
//! Must never hold a secret.

use serde::Serialize;

/// What became of the targets when the configuration was read anew, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Reloaded {
    /// New: they get what is committed from now on.
    pub added: Vec<String>,
    /// They were known, and go on with the backlog that was kept for them.
    pub resumed: Vec<String>,
    /// Their lanes and connections were built anew.
    pub rebuilt: Vec<String>,
    /// Nothing of their lanes changed.
    pub unchanged: Vec<String>,
    /// Not configured any more: their backlogs are kept.
    pub removed: Vec<String>,
    /// Configured, and their lanes cannot be started: see the log.
    pub failed: Vec<String>,
    /// Access keys that may sign requests from now on.
    pub credentials_added: Vec<String>,
    /// Access keys with another secret, scope or other buckets.
    pub credentials_changed: Vec<String>,
    /// Access keys that are void from now on.
    pub credentials_removed: Vec<String>,
    /// Keys that changed and take effect with a restart.
    pub needs_restart: Vec<&'static str>,
    /// What is allowed and probably not meant.
    pub warnings: Vec<String>,
}
