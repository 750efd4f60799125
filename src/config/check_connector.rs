//! Judges `[target.NAME.connector.KIND]` by the connector's own word, and tells where the word belongs.
//!
//! Must never quote a line whose value may hold a secret.

use std::sync::Arc;

use tidings_connector::ConnectorConfig;
use tidings_http::{HttpConfig, HttpOptions};

use super::check::Checker;
use super::diagnostics::Problem;
use super::places::Part;
use super::tree::KeyPath;

/// Keys of connectors whose values may hold a secret that belongs elsewhere: their line is not quoted.
const UNQUOTED: &[&str] = &["headers", "servers", "url"];

impl Checker<'_> {
    /// An HTTP target, which knows whose functions it calls.
    pub(super) fn http(&self, options: HttpOptions, target: &str) -> Result<HttpConfig, String> {
        options.checked(target).map(|http| http.of_account(&self.region, &self.appid))
    }

    /// What is replicated, and where to, is for buckets to say.
    pub(super) fn no_rules(&mut self, target_at: &KeyPath, rules: &[super::raw::Rule]) -> Vec<super::Rule> {
        if !rules.is_empty() {
            let what = "a target that replicates has no rules of its own".to_owned();
            let help = ["set `?replication` of each bucket, which says where its objects go"];
            self.problem_at(&target_at.key("rule"), Part::Key, what, &help);
        }
        Vec::new()
    }

    /// A connector's configuration, or its problem at the key that it names.
    pub(super) fn connected(
        &mut self,
        at: &KeyPath,
        checked: Result<Arc<dyn ConnectorConfig>, String>,
    ) -> Option<Arc<dyn ConnectorConfig>> {
        match checked {
            Ok(config) => Some(config),
            Err(what) => {
                // A connector's sentence begins with its key in backticks: the caret stands there.
                let key = what.strip_prefix('`').and_then(|rest| rest.split_once('`')).map(|(key, _)| key);
                let known =
                    self.known.iter().find(|(path, _)| path == at).map_or(&[][..], |(_, fields)| *fields);
                let key = key.filter(|key| known.contains(key));
                let at = key.map_or_else(|| at.clone(), |key| at.key(key));
                match key.is_some_and(|key| UNQUOTED.contains(&key)) {
                    true if self.is_broken(&at) => {}
                    true => {
                        let place = self.places.of(&at, Part::Key).without_what_follows();
                        self.problems.push(Problem { place, what, help: Vec::new() });
                    }
                    false => self.problem(&at, what, &[]),
                }
                None
            }
        }
    }
}
