//! The admin token: made on first start, kept in `<data>/admin.token` for the owner only.
//!
//! Must never print the token or accept one that others on the machine can read.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret as _, SecretString};
use subtle::ConstantTimeEq as _;

/// Random bytes in a new token; its text is twice as long.
const TOKEN_BYTES: usize = 32;
/// The shortest token that a person may write into the file, in characters.
const MIN_CHARS: usize = 32;
/// The longest, which is also what is read of the file.
const MAX_CHARS: usize = 1024;
const NAME: &str = "admin.token";

/// The secret that every request must carry, except health and metrics from this machine.
#[derive(Debug, Clone)]
pub struct Token(SecretString);

/// Why there is no usable token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The file cannot be read, made or synced.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file can be read by others.
    #[error("{path} has mode {mode:o}, so others can read it: run `chmod 600 {path}`")]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file holds no usable token.
    #[error(
        "{path} must hold one line of {MIN_CHARS} to {MAX_CHARS} printable ASCII characters without spaces; \
         remove it and start tidings to get a new one"
    )]
    Malformed {
        /// The file.
        path: PathBuf,
    },
}

impl Token {
    /// The token of this data directory; made, and durable, if there is none. The directory must exist.
    ///
    /// # Errors
    /// See [`TokenError`]: all of them stop the start.
    pub fn load_or_create(data: &Path) -> Result<Self, TokenError> {
        match Self::load(data) {
            Err(TokenError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Self::create(data)
            }
            other => other,
        }
    }

    /// The token of this data directory, for clients on the same machine.
    ///
    /// # Errors
    /// See [`TokenError`]; `Io` with `NotFound` where no server has run yet.
    pub fn load(data: &Path) -> Result<Self, TokenError> {
        let path = data.join(NAME);
        let io = |source| TokenError::Io { path: path.clone(), source };
        let file = File::open(&path).map_err(io)?;
        let mode = file.metadata().map_err(io)?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(TokenError::Exposed { path, mode });
        }
        let mut text = String::new();
        file.take(MAX_CHARS as u64 + 2).read_to_string(&mut text).map_err(io)?;
        Self::parse(text.trim_end_matches(['\r', '\n'])).ok_or(TokenError::Malformed { path })
    }

    /// A token of this text, if it is one.
    pub fn parse(text: &str) -> Option<Self> {
        let fits =
            (MIN_CHARS..=MAX_CHARS).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        fits.then(|| Self(text.into()))
    }

    /// The text, to be sent in a request.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// True if `offered` is the token; takes as long for a wrong one of the same length.
    pub(super) fn matches(&self, offered: &[u8]) -> bool {
        self.expose().as_bytes().ct_eq(offered).into()
    }

    fn create(data: &Path) -> Result<Self, TokenError> {
        let (path, draft) = (data.join(NAME), data.join("admin.token.new"));
        let io = |source| TokenError::Io { path: path.clone(), source };
        let mut random = [0; TOKEN_BYTES];
        getrandom::fill(&mut random).map_err(|e| io(io::Error::other(e)))?;
        let text = hex::encode(random);
        // A draft left by a crash may be somebody else's file by now: only one that we make ourselves has our
        // mode.
        match fs::remove_file(&draft) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(io(e)),
            _ => {}
        }
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft).map_err(io)?;
        file.write_all(format!("{text}\n").as_bytes()).map_err(io)?;
        file.sync_all().map_err(io)?;
        fs::rename(&draft, &path).map_err(io)?;
        File::open(data).and_then(|d| d.sync_all()).map_err(io)?;
        Ok(Self(text.into()))
    }
}
