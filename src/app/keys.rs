//! The credentials in force: read by every request, replaced as a whole by a reload; beside them the key
//! pairs of functions that run.
//!
//! Must never let a request see half of a new file.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::config::credentials::{Credential, Credentials, Difference};
use crate::frontend::CredentialLookup;
use crate::functions::RoleKeys;

/// The credentials in force.
pub(super) struct Keys {
    of_file: ArcSwap<Credentials>,
    of_roles: Arc<RoleKeys>,
}

impl Keys {
    pub(super) fn new(credentials: Credentials, of_roles: Arc<RoleKeys>) -> Self {
        Self { of_file: ArcSwap::from_pointee(credentials), of_roles }
    }

    /// From now on these; says what that changes.
    pub(super) fn replace(&self, new: Credentials) -> Difference {
        let new = Arc::new(new);
        self.of_file.swap(Arc::clone(&new)).difference(&new)
    }
}

impl CredentialLookup for Keys {
    fn credential(&self, access_key: &str) -> Option<Arc<Credential>> {
        let of_file = self.of_file.load().get(access_key).cloned();
        of_file.or_else(|| self.of_roles.credential(access_key))
    }
}
