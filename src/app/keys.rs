//! The credentials in force: read by every request, replaced as a whole by a reload.
//!
//! Must never let a request see half of a new file.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::config::credentials::{Credential, Credentials, Difference};
use crate::frontend::CredentialLookup;

/// The credentials in force.
pub(super) struct Keys(ArcSwap<Credentials>);

impl Keys {
    pub(super) fn new(credentials: Credentials) -> Self {
        Self(ArcSwap::from_pointee(credentials))
    }

    /// From now on these; says what that changes.
    pub(super) fn replace(&self, new: Credentials) -> Difference {
        let new = Arc::new(new);
        self.0.swap(Arc::clone(&new)).difference(&new)
    }
}

impl CredentialLookup for Keys {
    fn credential(&self, access_key: &str) -> Option<Arc<Credential>> {
        self.0.load().get(access_key).cloned()
    }
}
