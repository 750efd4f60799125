//! A bucket's rules: read from COS's document, and checked.
//!
//! Must never take a word that it does not understand, nor one that would send a client's credentials away.

use http::{HeaderName, HeaderValue};

use crate::read::{invalid, rule};
use crate::xml;

/// The most rules of a bucket.
pub const MAX_RULES: usize = 100;

/// What happens where an object is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It is fetched, stored and answered.
    Mirror,
    /// The client is sent to the origin; the object is fetched and stored meanwhile.
    Proxy,
    /// The client is sent to the origin. Nothing is stored.
    Redirect,
}

/// How an origin is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Without TLS.
    Http,
    /// With it.
    Https,
    /// As the client calls this server.
    Follow,
}

/// What the path of an object at the origin is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum File {
    /// Its key, with something before and behind it.
    Key {
        /// Before it.
        prefix: String,
        /// Behind it.
        suffix: String,
    },
    /// The same for every key.
    Fixed(String),
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Smaller numbers are asked first.
    pub priority: u32,
    /// What happens.
    pub kind: Kind,
    /// Keys that begin with this …
    pub prefix: String,
    /// … and end with this.
    pub suffix: String,
    /// How the origin is called.
    pub protocol: Protocol,
    /// The client's query goes along, without what signs it.
    pub follow_query: bool,
    /// The origin's error is the client's, instead of 424.
    pub transparent_errors: bool,
    /// Redirects of the origin are followed.
    pub follow_redirects: bool,
    /// The status of a redirect to the origin: 301, 302 or 307.
    pub redirect_code: u16,
    /// Headers of the client's that go along.
    pub follow_headers: Vec<HeaderName>,
    /// All of the client's headers go along that may.
    pub follow_all_headers: bool,
    /// Headers that are added.
    pub new_headers: Vec<(HeaderName, HeaderValue)>,
    /// Where the origin is: `HOST` or `HOST:PORT`, the first one first.
    pub hosts: Vec<String>,
    /// The path at the origin.
    pub file: File,
}

/// Why a document is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RuleError {
    /// It is no such document.
    Malformed,
    /// It says something that may not be; one sentence.
    Invalid(String),
    /// It wants something that is not there; what.
    NotImplemented(String),
}

/// The rules of a bucket, the first to be asked first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules(Vec<Rule>);

impl Rules {
    /// Reads and checks a document. `allow_private`: origins may have private addresses.
    ///
    /// # Errors
    /// [`RuleError`]: nothing of it is taken.
    pub fn parse(document: &str, allow_private: bool) -> Result<Self, RuleError> {
        let root = xml::parse(document).filter(|root| root.name == "OriginConfiguration");
        let root = root.ok_or(RuleError::Malformed)?;
        let mut rules = Vec::new();
        for child in &root.children {
            if child.name != "OriginRule" {
                return Err(RuleError::Malformed);
            }
            rules.push(rule(child, rules.len(), allow_private)?);
        }
        if rules.is_empty() || rules.len() > MAX_RULES {
            return Err(invalid(format!("a bucket has 1 to {MAX_RULES} origin rules")));
        }
        rules.sort_by_key(|rule: &Rule| rule.priority);
        Ok(Self(rules))
    }

    /// The rule for a key that is not there.
    pub fn for_key(&self, key: &str) -> Option<&Rule> {
        self.0.iter().find(|rule| key.starts_with(&rule.prefix) && key.ends_with(&rule.suffix))
    }

    /// All of them, the first to be asked first.
    pub fn rules(&self) -> &[Rule] {
        &self.0
    }
}

#[cfg(test)]
#[path = "rules_tests.rs"]
mod tests;
