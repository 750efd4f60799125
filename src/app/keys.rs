//! The credentials in force: read by every request, replaced as a whole by a reload; beside them the key
//! pairs of functions that run.
//!
//! Must never let a request see half of a new file.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tidings_replication::PULL_ACCESS_KEY;

use super::random;
use crate::config::credentials::{Credential, Credentials, Difference, Scope};
use crate::frontend::CredentialLookup;
use crate::functions::RoleKeys;

/// The credentials in force.
pub(super) struct Keys {
    of_file: ArcSwap<Credentials>,
    of_roles: Arc<RoleKeys>,
    /// What signs the URLs by which peers pull.
    of_pulls: Arc<Credential>,
}

/// The secret that signs URLs of pulls: made before the first target is started that signs one.
pub(super) fn pull_secret() -> &'static str {
    tidings_replication::pull_secret(|| {
        let mut bytes = [0; 32];
        random(&mut bytes).expect("the operating system gives random bytes");
        bytes
    })
}

impl Keys {
    pub(super) fn new(credentials: Credentials, of_roles: Arc<RoleKeys>) -> Self {
        let pulls = Credential::unlimited(pull_secret().to_owned().into());
        let of_pulls = Arc::new(Credential { scope: Scope::Pull, ..pulls });
        Self { of_file: ArcSwap::from_pointee(credentials), of_roles, of_pulls }
    }

    /// From now on these; says what that changes.
    pub(super) fn replace(&self, new: Credentials) -> Difference {
        let new = Arc::new(new);
        self.of_file.swap(Arc::clone(&new)).difference(&new)
    }
}

impl CredentialLookup for Keys {
    fn credential(&self, access_key: &str) -> Option<Arc<Credential>> {
        if access_key == PULL_ACCESS_KEY {
            return Some(Arc::clone(&self.of_pulls));
        }
        let of_file = self.of_file.load().get(access_key).cloned();
        of_file.or_else(|| self.of_roles.credential(access_key))
    }
}
