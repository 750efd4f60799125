//! Secrets by reference: the file or the environment variable that a configuration names.
//!
//! Must never show what a secret holds: an error names the reference only.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use secrecy::SecretString;

use crate::{ErrorClass, Fault};

/// A longer file holds no secret, in bytes.
const MAX_BYTES: u64 = 64 << 10;

/// Where a secret is. Read it at every connect, so that a changed one needs no restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretRef {
    /// In this file, as text; newlines at its end do not belong to it.
    File(PathBuf),
    /// In this environment variable of the process.
    Env(String),
}

impl SecretRef {
    /// What the keys `KEY_file` and `KEY_env` of a connector's table refer to; an empty text is no key.
    ///
    /// # Errors
    /// One sentence that begins with the key: both keys are given, or the secret cannot be read now.
    pub fn checked(key: &str, file: &str, env: &str) -> Result<Option<Self>, String> {
        let (reference, key) = match (file.is_empty(), env.is_empty()) {
            (true, true) => return Ok(None),
            (false, true) => (Self::File(file.into()), format!("{key}_file")),
            (true, false) => (Self::Env(env.to_owned()), format!("{key}_env")),
            (false, false) => return Err(format!("`{key}_env` and `{key}_file` exclude each other")),
        };
        reference.read().map_err(|why| format!("`{key}`: {why}"))?;
        Ok(Some(reference))
    }

    /// How the key that gave this reference ends: `_file` or `_env`.
    pub fn suffix(&self) -> &'static str {
        match self {
            Self::File(_) => "_file",
            Self::Env(_) => "_env",
        }
    }

    /// The file that it refers to, if it is one.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::Env(_) => None,
        }
    }

    /// The secret as it is now, for a connection that needs it.
    ///
    /// # Errors
    /// A fault of this class with the sentence of [`SecretRef::read`]: a person must repair what it names.
    pub fn reveal(&self, class: ErrorClass) -> Result<SecretString, Fault> {
        self.read().map_err(|why| Fault::faulted(class, why))
    }

    /// The secret as it is now.
    ///
    /// # Errors
    /// One sentence that names the reference and never its content: it is missing, empty, longer than 64 KiB
    /// or not UTF-8.
    pub fn read(&self) -> Result<SecretString, String> {
        let text = match self {
            Self::File(path) => {
                let mut text = String::new();
                File::open(path)
                    .and_then(|file| file.take(MAX_BYTES + 1).read_to_string(&mut text))
                    .map_err(|e| format!("{} cannot be read: {e}", path.display()))?;
                if text.len() as u64 > MAX_BYTES {
                    return Err(format!("{} is longer than {MAX_BYTES} bytes", path.display()));
                }
                text
            }
            Self::Env(name) => match std::env::var(name) {
                Ok(text) => text,
                Err(std::env::VarError::NotPresent) => {
                    return Err(format!("the environment variable {name} is not set"));
                }
                Err(std::env::VarError::NotUnicode(_)) => {
                    return Err(format!("the environment variable {name} is not UTF-8"));
                }
            },
        };
        let secret = text.trim_end_matches(['\n', '\r']);
        match (secret.is_empty(), self) {
            (false, _) => Ok(secret.into()),
            (true, Self::File(path)) => Err(format!("{} is empty", path.display())),
            (true, Self::Env(name)) => Err(format!("the environment variable {name} is empty")),
        }
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    /// A variable that every test process has: the runner sets it.
    const SET: &str = "CARGO_MANIFEST_DIR";

    fn file(name: &str, content: &[u8]) -> PathBuf {
        let path = std::env::temp_dir().join(format!("tidings-secret-{}-{name}", std::process::id()));
        std::fs::write(&path, content).expect("a writable directory");
        path
    }

    #[test]
    fn a_file_is_read_anew_without_the_newline_at_its_end() {
        let path = file("good", b"s3cret \n\r\n");
        let found = SecretRef::checked("password", path.to_str().expect("UTF-8"), "");
        let reference = found.expect("readable").expect("given");
        assert_eq!(reference.read().expect("readable").expose_secret(), "s3cret ");
        std::fs::write(&path, "changed").expect("writable");
        assert_eq!(reference.read().expect("readable").expose_secret(), "changed");
        std::fs::remove_file(&path).expect("there");
        assert!(reference.read().expect_err("gone").contains("cannot be read"));
    }

    #[test]
    fn what_does_not_resolve_is_told_by_its_key_and_never_by_its_content() {
        let of = |file: &str, env: &str| SecretRef::checked("token", file, env);
        assert_eq!(of("", ""), Ok(None));
        assert_eq!(of("", SET), Ok(Some(SecretRef::Env(SET.to_owned()))));
        let told = |file: &str, env: &str| of(file, env).expect_err("refused");
        assert!(told("/nowhere/at/all", "").starts_with("`token_file`: /nowhere/at/all cannot be read"));
        assert!(told("", "TIDINGS_TEST_UNSET").starts_with("`token_env`: the environment variable TIDINGS_"));
        assert!(told("a", SET).contains("exclude each other"));
        for (name, content, says) in [
            ("empty", &b"\n"[..], "is empty"),
            ("bytes", b"planted\xff", "cannot be read"),
            ("long", &[b'x'; (MAX_BYTES + 1) as usize], "is longer than"),
        ] {
            let path = file(name, content);
            let told = told(path.to_str().expect("UTF-8"), "");
            std::fs::remove_file(&path).expect("there");
            assert!(told.starts_with("`token_file`: ") && told.contains(says), "{told}");
            assert!(!told.contains("planted") && !told.contains("xxxx"), "{told}");
        }
    }
}
