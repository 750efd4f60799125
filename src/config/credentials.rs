//! The key pairs that may sign requests, and what each may do: a file of their own, made on first start.
//!
//! Must never hold a built-in credential, show a secret, or let a credential do what its scope does not say.

mod difference;
pub mod edit;
mod generate;
mod grant;
mod scope;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use super::pattern;
use super::secret_file::{self, Created, SecretFileError, read_or_make};
pub use difference::Difference;
use generate::{access_key, secret_key};
pub use grant::{Acting, Grant, check_role};
pub use scope::Scope;

/// The file's name in the data directory.
const CREDENTIALS_FILE: &str = "credentials.toml";
/// More pairs than this are refused.
const MAX_PAIRS: usize = 1_000;
/// The most patterns of buckets' names in one credential.
const MAX_PATTERNS: usize = 100;
/// The longest note, in characters.
const MAX_NOTE: usize = 200;

/// One key pair but for its access key. Its `Debug` hides the secret.
#[derive(Debug, Clone)]
pub struct Credential {
    /// What signs.
    pub secret: SecretString,
    /// What it may do.
    pub scope: Scope,
    /// In which buckets: names, or patterns in which `*` stands for any characters.
    pub buckets: Vec<String>,
    /// What a person wrote about it.
    pub note: Option<String>,
    /// What it may do beside that: a function's role has scopes in buckets of their own.
    pub grants: Vec<Grant>,
    /// Whom it works for, if it is a function's.
    pub acting: Option<Arc<Acting>>,
}

impl Credential {
    /// A credential that may do everything everywhere.
    pub fn unlimited(secret: SecretString) -> Self {
        Self::in_file(secret, Scope::Admin, everywhere(), None)
    }

    /// One that the file can hold.
    fn in_file(secret: SecretString, scope: Scope, buckets: Vec<String>, note: Option<String>) -> Self {
        Self { secret, scope, buckets, note, grants: Vec::new(), acting: None }
    }

    /// True if it may do in this bucket what needs this scope.
    pub fn may(&self, scope: Scope, bucket: &str) -> bool {
        let here = || self.buckets.iter().any(|pattern| pattern::matches(pattern, bucket));
        (self.scope.allows(scope) && here()) || self.grants.iter().any(|grant| grant.allows(scope, bucket))
    }

    /// True if it may do anything at all in this bucket, whether or not there is one.
    pub fn covers(&self, bucket: &str) -> bool {
        self.may(Scope::Read, bucket)
    }
}

/// The key pairs that may sign requests. Its `Debug` shows access keys only.
#[derive(Clone, Default)]
pub struct Credentials {
    pairs: BTreeMap<String, Arc<Credential>>,
}

/// The file's shape.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Shape {
    #[serde(default)]
    credential: Vec<Pair>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Pair {
    access_key: String,
    secret_key: Secret,
    /// A pair of which nothing more is said may do everything, as the only one of a first start does.
    #[serde(default)]
    scope: Scope,
    #[serde(default = "everywhere")]
    buckets: Vec<String>,
    note: Option<String>,
}

fn everywhere() -> Vec<String> {
    vec!["*".to_owned()]
}

/// A secret on its way from the parser: wrapped as soon as it is text.
struct Secret(SecretString);

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(text.into()))
    }
}

impl Credentials {
    /// The credential of an access key.
    pub fn get(&self, access_key: &str) -> Option<&Arc<Credential>> {
        self.pairs.get(access_key)
    }

    /// The secret that belongs to an access key.
    pub fn secret(&self, access_key: &str) -> Option<&SecretString> {
        self.pairs.get(access_key).map(|pair| &pair.secret)
    }

    /// Every access key, sorted.
    pub fn access_keys(&self) -> impl Iterator<Item = &str> {
        self.pairs.keys().map(String::as_str)
    }

    /// Every access key with its credential, by access key.
    pub fn all(&self) -> impl Iterator<Item = (&str, &Credential)> {
        self.pairs.iter().map(|(key, pair)| (key.as_str(), &**pair))
    }

    fn parse(text: &str) -> Result<Self, String> {
        let shape: Shape = toml::from_str(text).map_err(|e| {
            // The parser's own message may quote what it read.
            let at = e.span().map_or(0, |span| span.start.min(text.len()));
            let line = text.as_bytes()[..at].iter().filter(|b| **b == b'\n').count() + 1;
            format!(
                "line {line} does not fit a [[credential]] table with `access_key`, `secret_key` and, \
                 if need be, `scope` (\"read\", \"write\", \"admin\" or \"replication\"), `buckets` \
                 (a list of patterns) and `note`"
            )
        })?;
        if shape.credential.is_empty() {
            return Err("it holds no [[credential]]: remove the file and a new one is made".to_owned());
        }
        let mut found = Self::default();
        for (n, Pair { access_key, secret_key: Secret(secret), scope, buckets, note }) in
            (1..).zip(shape.credential)
        {
            let pair = Credential::in_file(secret, scope, buckets, note);
            found.insert(access_key, pair).map_err(|why| format!("credential {n}: {why}"))?;
        }
        Ok(found)
    }

    /// Adds one more, checked. Says what is wrong with it without quoting a secret.
    fn insert(&mut self, access_key: String, pair: Credential) -> Result<(), String> {
        let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        if !(3..=128).contains(&access_key.len()) || !access_key.bytes().all(legal) {
            return Err("`access_key` must be 3 to 128 of A-Z, a-z, 0-9, -, _ and .".to_owned());
        }
        let shown = pair.secret.expose_secret();
        if !(8..=128).contains(&shown.len()) || !shown.bytes().all(|b| b.is_ascii_graphic()) {
            return Err("`secret_key` must be 8 to 128 visible ASCII characters".to_owned());
        }
        if !(1..=MAX_PATTERNS).contains(&pair.buckets.len()) {
            return Err(format!("`buckets` must hold 1 to {MAX_PATTERNS} names or patterns"));
        }
        if let Some(wrong) = pair.buckets.iter().find(|pattern| !pattern::is_legal(pattern)) {
            let wrong: String = wrong.chars().take(64).flat_map(char::escape_debug).collect();
            return Err(format!("`buckets`: `{wrong}` cannot match any bucket's name"));
        }
        let plain = |note: &String| note.chars().count() <= MAX_NOTE && !note.chars().any(char::is_control);
        if !pair.note.as_ref().is_none_or(plain) {
            return Err(format!("`note` must be one line of at most {MAX_NOTE} characters"));
        }
        if self.pairs.contains_key(&access_key) {
            return Err("its `access_key` is there already".to_owned());
        }
        if self.pairs.len() == MAX_PAIRS {
            return Err(format!("there are {MAX_PAIRS} already"));
        }
        self.pairs.insert(access_key, Arc::new(pair));
        Ok(())
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.pairs.keys()).finish()
    }
}

/// A file of credentials: what is read is written and read again alike; what is refused is not quoted.
#[cfg(any(test, feature = "fuzzing"))]
pub(super) fn fuzzing(text: &str) {
    let Ok(read) = Credentials::parse(text) else { return };
    let again = Credentials::parse(&edit::text_of(&read)).expect("what is written can be read");
    assert_eq!(format!("{read:?}"), format!("{again:?}"), "the same keys");
}

/// Reads `<data>/credentials.toml`.
///
/// # Errors
/// Each names the file: readable by others, malformed, or not readable at all.
pub fn load(data: &Path) -> Result<Credentials, SecretFileError> {
    let path = data.join(CREDENTIALS_FILE);
    let text = secret_file::read(&path)?;
    Credentials::parse(text.expose_secret()).map_err(|why| SecretFileError::Malformed { path, why })
}

/// Reads `<data>/credentials.toml`, or makes it with one random pair. The directory must exist. `random`
/// fills its argument with unpredictable bytes.
///
/// # Errors
/// As [`load`]. A bad file is never replaced.
pub fn load_or_create(
    data: &Path,
    random: &mut dyn FnMut(&mut [u8]),
) -> Result<(Credentials, Created), SecretFileError> {
    let path = data.join(CREDENTIALS_FILE);
    let (_, created) = read_or_make(&path, || {
        let mut first = Credentials::default();
        let pair = Credential::unlimited(secret_key(random).into());
        first.insert(access_key(random), pair).expect("what is generated is legal");
        edit::text_of(&first)
    })?;
    Ok((load(data)?, created))
}
