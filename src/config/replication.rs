//! `[replication]`: whom this server takes replicas from. Whom it sends them to are targets.
//!
//! Must never let a replica be pulled from an address that no operator named.

use std::path::PathBuf;

use serde::Deserialize;

use super::check::Checker;
use super::tree::KeyPath;

/// Peers that are more than these are nobody's.
const MAX_PEERS: usize = 100;

/// Whom this server takes replicas from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Replication {
    /// Where objects are pulled from, each `scheme://host:port` as the peer calls itself; none: nowhere.
    pub pull_from: Vec<String>,
    /// Certificates (PEM) that those of these peers must come from, instead of the system's.
    pub ca_file: Option<PathBuf>,
}

/// The same as it is typed.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Raw {
    pull_from: Vec<String>,
    ca_file: Option<String>,
}

impl Checker<'_> {
    /// `[replication]`.
    pub(super) fn replication(&mut self, raw: Raw) -> Replication {
        let at = KeyPath::of(&["replication", "pull_from"]);
        self.count(&at, raw.pull_from.len(), 0..=MAX_PEERS);
        let mut pull_from = Vec::new();
        for (n, text) in raw.pull_from.iter().enumerate() {
            match tidings_origin::peer(text) {
                Ok(peer) => pull_from.push(peer),
                Err(why) => self.problem(&at.index(n), why, &["such as \"https://s3.example.com:9000\""]),
            }
        }
        let ca_file = raw.ca_file.filter(|path| !path.is_empty());
        if let Some(path) = &ca_file
            && let Err(why) = std::fs::metadata(path)
        {
            let what = format!("`ca_file` cannot be read: {why}");
            self.problem(&KeyPath::of(&["replication", "ca_file"]), what, &[]);
        }
        Replication { pull_from, ca_file: ca_file.map(PathBuf::from) }
    }
}
