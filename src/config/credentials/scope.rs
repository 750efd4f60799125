//! The scopes of credentials: what each lets its holder do.
//!
//! Must never let one that is for servers do what clients do, nor the other way round.

use serde::{Deserialize, Serialize};

/// What a credential may do in its buckets. Each scope from `Read` on may also do what those before it may,
/// from `Read` on; the two others may do one thing each, and nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Get one version for a while, by a URL: no file holds such a credential.
    #[serde(skip)]
    Pull,
    /// Tell of replicas: a peer's.
    Replication,
    /// Read and list objects, uploads and settings.
    Read,
    /// Change objects too.
    Write,
    /// Make, remove and configure the buckets themselves too.
    #[default]
    Admin,
}

impl Scope {
    /// True if it may do what needs this scope.
    pub fn allows(self, needed: Self) -> bool {
        match needed {
            Self::Pull | Self::Replication => self == needed,
            Self::Read | Self::Write | Self::Admin => self >= needed,
        }
    }

    /// The word in the file.
    pub fn label(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Replication => "replication",
            Self::Read => "read",
            Self::Write => "write",
            Self::Admin => "admin",
        }
    }
}
