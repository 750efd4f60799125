//! The admin token: made on first start, kept in `<data>/admin.token` for the owner only.
//!
//! Must never print the token or accept one that others on the machine can read.

use std::path::Path;

use secrecy::{ExposeSecret as _, SecretString};
use subtle::ConstantTimeEq as _;

use crate::config::secret_file::{self, SecretFileError};

/// Random bytes in a new token; its text is twice as long.
const TOKEN_BYTES: usize = 32;
/// The shortest token that a person may write into the file, in characters.
const MIN_CHARS: usize = 32;
/// The longest.
const MAX_CHARS: usize = 1024;
const NAME: &str = "admin.token";

/// The secret that every request must carry, except health and metrics from this machine.
#[derive(Debug, Clone)]
pub struct Token(SecretString);

impl Token {
    /// The token of this data directory; made, and durable, if there is none. The directory must exist.
    /// `random` fills its argument with unpredictable bytes.
    ///
    /// # Errors
    /// See [`SecretFileError`]: all of them stop the start.
    pub fn load_or_create(data: &Path, random: &mut dyn FnMut(&mut [u8])) -> Result<Self, SecretFileError> {
        let path = data.join(NAME);
        let (text, _) = secret_file::read_or_make(&path, || {
            let mut bytes = [0; TOKEN_BYTES];
            random(&mut bytes);
            format!("{}\n", hex::encode(bytes))
        })?;
        Self::of_file(&path, &text)
    }

    /// The token of this data directory, for clients on the same machine.
    ///
    /// # Errors
    /// See [`SecretFileError`]; `Io` with `NotFound` where no server has run yet.
    pub fn load(data: &Path) -> Result<Self, SecretFileError> {
        let path = data.join(NAME);
        Self::of_file(&path, &secret_file::read(&path)?)
    }

    fn of_file(path: &Path, text: &SecretString) -> Result<Self, SecretFileError> {
        let token = Self::parse(text.expose_secret().trim_end_matches(['\r', '\n']));
        token.ok_or_else(|| SecretFileError::Malformed {
            path: path.to_owned(),
            why: format!(
                "it must hold one line of {MIN_CHARS} to {MAX_CHARS} printable ASCII characters without \
                 spaces; remove it and start tidings to get a new one"
            ),
        })
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
}
