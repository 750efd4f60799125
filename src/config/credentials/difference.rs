//! What a file that was read anew changes: for the answer of a reload.
//!
//! Must never show a secret: only which access keys differ.

use secrecy::ExposeSecret as _;

use super::{Credential, Credentials};

/// Access keys whose credentials differ between two readings of the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Difference {
    /// Only in the new one.
    pub added: Vec<String>,
    /// With another secret, scope or other buckets.
    pub changed: Vec<String>,
    /// Only in the old one.
    pub removed: Vec<String>,
}

impl Credentials {
    /// What differs from these to `new` ones.
    pub fn difference(&self, new: &Self) -> Difference {
        let only = |of: &Self, other: &Self| {
            of.pairs.keys().filter(|key| !other.pairs.contains_key(*key)).cloned().collect()
        };
        let is_changed = |key: &&String| new.get(key).is_some_and(|pair| !pair.same(&self.pairs[*key]));
        Difference {
            added: only(new, self),
            changed: self.pairs.keys().filter(is_changed).cloned().collect(),
            removed: only(self, new),
        }
    }
}

impl Credential {
    fn same(&self, other: &Self) -> bool {
        let Self { secret, scope, buckets, note: _, grants, acting: _ } = self;
        secret.expose_secret() == other.secret.expose_secret()
            && (scope, buckets, grants) == (&other.scope, &other.buckets, &other.grants)
    }
}
