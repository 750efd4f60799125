//! Changes of the credentials' file by commands: whole, durable, for its owner only, one at a time.
//!
//! Must never leave half a file, weaken its mode, take it from its owner, or remove the last credential.

use std::fmt::Write as _;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use secrecy::{ExposeSecret as _, SecretString};

use super::generate::{access_key, secret_key};
use super::{CREDENTIALS_FILE, Credential, Credentials, Scope, load};
use crate::config::secret_file::{SecretFileError, replace};

/// What stands above the credentials.
const HEAD: &str = "\
# The key pairs that may sign S3 and COS requests, one [[credential]] for each client.
# `scope` is \"read\", \"write\" (objects too) or \"admin\" (buckets too); `buckets` are names or patterns
# with *. `tidings reload` (or SIGHUP) makes changes count. `tidings credential` writes this file anew: it
# keeps a `note`, but no comments.
";

/// Why the file was not changed.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// The file cannot be read or written.
    #[error(transparent)]
    File(#[from] SecretFileError),
    /// What was asked for is not possible; says why.
    #[error("{0}")]
    Refused(String),
}

/// A new credential.
#[derive(Debug)]
pub struct New {
    /// Its access key; none: one is generated.
    pub access_key: Option<String>,
    /// What it may do.
    pub scope: Scope,
    /// In which buckets.
    pub buckets: Vec<String>,
    /// About it.
    pub note: Option<String>,
}

/// A pair as it is shown once, to who made it.
#[derive(Debug)]
pub struct Issued {
    /// The access key.
    pub access_key: String,
    /// Its new secret.
    pub secret: SecretString,
}

impl Issued {
    /// The secret's text, for the one who asked for it.
    pub fn expose(&self) -> &str {
        self.secret.expose_secret()
    }
}

/// Adds a credential with a random secret.
pub fn add(data: &Path, new: New, random: &mut dyn FnMut(&mut [u8])) -> Result<Issued, EditError> {
    let New { access_key: wanted, scope, buckets, note } = new;
    change(data, |credentials| {
        let key = wanted.unwrap_or_else(|| access_key(random));
        let secret = SecretString::from(secret_key(random));
        let pair = Credential::in_file(secret.clone(), scope, buckets, note);
        credentials.insert(key.clone(), pair)?;
        Ok(Issued { access_key: key, secret })
    })
}

/// Removes a credential that is not the last one.
pub fn remove(data: &Path, key: &str) -> Result<(), EditError> {
    change(data, |credentials| {
        if credentials.pairs.remove(key).is_none() {
            return Err(no_such(key));
        }
        if credentials.pairs.is_empty() {
            return Err("it is the only credential: add another one first".to_owned());
        }
        Ok(())
    })
}

/// Gives a credential a new random secret. The old one is void from the next reload on.
pub fn rotate(data: &Path, key: &str, random: &mut dyn FnMut(&mut [u8])) -> Result<Issued, EditError> {
    change(data, |credentials| {
        let pair = credentials.pairs.get_mut(key).ok_or_else(|| no_such(key))?;
        let secret = SecretString::from(secret_key(random));
        *pair = Arc::new(Credential { secret: secret.clone(), ..Credential::clone(pair) });
        Ok(Issued { access_key: key.to_owned(), secret })
    })
}

fn no_such(key: &str) -> String {
    let key: String = key.chars().take(128).flat_map(char::escape_debug).collect();
    format!("there is no credential `{key}`: see `tidings credential ls`")
}

/// Reads, changes and writes the file; nobody else does in between.
fn change<R>(
    data: &Path,
    change: impl FnOnce(&mut Credentials) -> Result<R, String>,
) -> Result<R, EditError> {
    let path = data.join(CREDENTIALS_FILE);
    let io = |error| SecretFileError::Io { path: path.clone(), error };
    // The directory is locked, not the file: that one is replaced.
    let directory = File::open(data).map_err(io)?;
    directory.lock().map_err(io)?;
    let mut credentials = load(data)?;
    let result = change(&mut credentials).map_err(EditError::Refused)?;
    replace(&path, &text_of(&credentials)).map_err(io)?;
    Ok(result)
}

/// The file's text.
pub(super) fn text_of(credentials: &Credentials) -> String {
    let mut text = HEAD.to_owned();
    for (key, pair) in &credentials.pairs {
        let buckets: Vec<_> = pair.buckets.iter().map(|pattern| quoted(pattern)).collect();
        let secret = quoted(pair.secret.expose_secret());
        let _ = write!(
            text,
            "\n[[credential]]\naccess_key = {}\nsecret_key = {secret}\nscope = {}\nbuckets = [{}]\n",
            quoted(key),
            quoted(pair.scope.label()),
            buckets.join(", "),
        );
        if let Some(note) = &pair.note {
            let _ = writeln!(text, "note = {}", quoted(note));
        }
    }
    text
}

/// A TOML string of text without control characters.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
