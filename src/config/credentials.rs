//! The key pairs that may sign requests: a file of their own, made on first start.
//!
//! Must never hold a built-in credential or show a secret.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use base64::Engine as _;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use super::secret_file::{Created, SecretFileError, read_or_make};

/// The file's name in the data directory.
const CREDENTIALS_FILE: &str = "credentials.toml";
/// More pairs than this are refused.
const MAX_PAIRS: usize = 1_000;
/// What a generated access key begins with.
const ACCESS_PREFIX: &str = "TD";
const ACCESS_CHARS: usize = 20;
/// 30 random bytes are 40 characters of base64 without padding.
const SECRET_BYTES: usize = 30;

/// The key pairs that may sign requests. Its `Debug` shows access keys only.
#[derive(Clone)]
pub struct Credentials {
    pairs: BTreeMap<String, SecretString>,
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
}

/// A secret on its way from the parser: wrapped as soon as it is text.
struct Secret(SecretString);

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(text.into()))
    }
}

impl Credentials {
    /// The secret that belongs to an access key.
    pub fn secret(&self, access_key: &str) -> Option<&SecretString> {
        self.pairs.get(access_key)
    }

    /// Every access key, sorted.
    pub fn access_keys(&self) -> impl Iterator<Item = &str> {
        self.pairs.keys().map(String::as_str)
    }

    fn parse(text: &str) -> Result<Self, String> {
        let shape: Shape = toml::from_str(text).map_err(|e| {
            // The parser's own message may quote what it read.
            let at = e.span().map_or(0, |span| span.start.min(text.len()));
            let line = text.as_bytes()[..at].iter().filter(|b| **b == b'\n').count() + 1;
            format!("line {line} does not fit a [[credential]] table with `access_key` and `secret_key`")
        })?;
        if shape.credential.is_empty() {
            return Err("it holds no [[credential]]: remove the file and a new one is made".to_owned());
        }
        if shape.credential.len() > MAX_PAIRS {
            return Err(format!("it holds more than {MAX_PAIRS} credentials"));
        }
        let mut pairs = BTreeMap::new();
        for (n, Pair { access_key, secret_key: Secret(secret) }) in (1..).zip(shape.credential) {
            let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
            if !(3..=128).contains(&access_key.len()) || !access_key.bytes().all(legal) {
                return Err(format!(
                    "credential {n}: `access_key` must be 3 to 128 of A-Z, a-z, 0-9, -, _ and ."
                ));
            }
            let shown = secret.expose_secret();
            if !(8..=128).contains(&shown.len()) || !shown.bytes().all(|b| b.is_ascii_graphic()) {
                return Err(format!(
                    "credential {n}: `secret_key` must be 8 to 128 visible ASCII characters"
                ));
            }
            if pairs.insert(access_key, secret).is_some() {
                return Err(format!("credential {n}: its `access_key` is there already"));
            }
        }
        Ok(Self { pairs })
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.pairs.keys()).finish()
    }
}

/// Reads `<data>/credentials.toml`, or makes it with one random pair. The directory must exist. `random`
/// fills its argument with unpredictable bytes.
///
/// # Errors
/// Each names the file: readable by others, malformed, or not readable at all. A bad file is never replaced.
pub fn load_or_create(
    data: &Path,
    random: &mut dyn FnMut(&mut [u8]),
) -> Result<(Credentials, Created), SecretFileError> {
    let path = data.join(CREDENTIALS_FILE);
    let (text, created) = read_or_make(&path, || {
        let (access, secret) = (access_key(random), secret_key(random));
        format!(
            "# The key pairs that may sign S3 and COS requests. Add one [[credential]] for each client.\n\
             [[credential]]\naccess_key = \"{access}\"\nsecret_key = \"{secret}\"\n"
        )
    })?;
    let credentials = Credentials::parse(text.expose_secret());
    Ok((credentials.map_err(|why| SecretFileError::Malformed { path, why })?, created))
}

/// 20 characters of `A-Z0-9`, the first two fixed.
fn access_key(random: &mut dyn FnMut(&mut [u8])) -> String {
    const LETTERS: &[u8; 36] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    // Bytes past the last whole round of the alphabet would favour its first letters.
    const FAIR: usize = 256 / LETTERS.len() * LETTERS.len();
    let mut key = ACCESS_PREFIX.to_owned();
    while key.len() < ACCESS_CHARS {
        let mut bytes = [0; ACCESS_CHARS];
        random(&mut bytes);
        let fair = bytes.iter().map(|b| usize::from(*b)).filter(|b| *b < FAIR);
        key.extend(fair.map(|b| char::from(LETTERS[b % LETTERS.len()])).take(ACCESS_CHARS - key.len()));
    }
    key
}

/// 40 characters of `A-Za-z0-9-_`.
fn secret_key(random: &mut dyn FnMut(&mut [u8])) -> String {
    let mut bytes = [0; SECRET_BYTES];
    random(&mut bytes);
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
    use std::path::PathBuf;

    use super::*;

    const PAIR: &str = "[[credential]]\naccess_key = \"ABC\"\nsecret_key = \"planted-secret\"\n";

    /// Counts upwards, so that two draws differ.
    fn counting() -> impl FnMut(&mut [u8]) {
        let mut next = 200_u8;
        move |bytes| bytes.iter_mut().for_each(|b| (*b, next) = (next, next.wrapping_add(1)))
    }

    fn directory() -> tempfile::TempDir {
        tempfile::tempdir().expect("a directory")
    }

    fn write(data: &Path, text: &str, mode: u32) -> PathBuf {
        let path = data.join(CREDENTIALS_FILE);
        fs::write(&path, text).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("mode set");
        path
    }

    #[test]
    fn the_first_start_makes_a_pair_and_the_second_reads_it() {
        let data = directory();
        let mut random = counting();
        let (first, created) = load_or_create(data.path(), &mut random).expect("made");
        let path = data.path().join(CREDENTIALS_FILE);
        assert_eq!(created, Created::Now(path.clone()));
        assert_eq!(fs::metadata(&path).expect("there").mode() & 0o777, 0o600);
        let keys: Vec<&str> = first.access_keys().collect();
        let [key] = keys[..] else { panic!("{keys:?}") };
        assert!(key.len() == 20 && key.starts_with("TD"), "{key}");
        assert!(key.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit()), "{key}");
        let secret = first.secret(key).expect("its secret").expose_secret();
        assert_eq!(secret.len(), 40);
        assert!(!format!("{first:?}").contains(secret) && format!("{first:?}").contains(key));

        let (second, created) = load_or_create(data.path(), &mut random).expect("read");
        assert_eq!(created, Created::Before(path));
        assert_eq!(second.secret(key).expect("the same").expose_secret(), secret);
        assert!(second.secret("TDOTHER").is_none());
        let files = fs::read_dir(data.path()).expect("listed").count();
        assert_eq!(files, 1, "no temporary file is left");
    }

    #[test]
    fn an_interrupted_first_start_is_made_good() {
        let data = directory();
        fs::write(data.path().join("credentials.new"), "half").expect("written");
        let (made, _) = load_or_create(data.path(), &mut counting()).expect("made");
        assert_eq!(made.access_keys().count(), 1);
    }

    #[test]
    fn a_file_that_others_may_read_is_refused() {
        for mode in [0o640, 0o604, 0o620, 0o601] {
            let data = directory();
            let path = write(data.path(), PAIR, mode);
            let error = load_or_create(data.path(), &mut counting()).expect_err("exposed");
            assert!(error.to_string().contains(&format!("chmod 600 {}", path.display())), "{error}");
            assert!(matches!(error, SecretFileError::Exposed { mode: m, .. } if m == mode), "{error}");
        }
        let data = directory();
        write(data.path(), PAIR, 0o400);
        assert!(load_or_create(data.path(), &mut counting()).is_ok());
    }

    #[test]
    fn a_malformed_file_is_refused_without_quoting_it() {
        for (text, says) in [
            (String::new(), "holds no [[credential]]"),
            (PAIR.replace('"', ""), "line 2"),
            (PAIR.replace("secret_key", "secret"), "line"),
            (PAIR.replace("ABC", "A B"), "credential 1: `access_key`"),
            (PAIR.replace("planted-", "planted "), "credential 1: `secret_key`"),
            (PAIR.repeat(2), "credential 2: its `access_key`"),
        ] {
            let data = directory();
            write(data.path(), &text, 0o600);
            let error = load_or_create(data.path(), &mut counting()).expect_err("malformed").to_string();
            assert!(error.contains(says), "{error}");
            assert!(!error.contains("planted"), "{error}");
        }
    }

    #[test]
    fn every_letter_is_as_likely_as_any_other() {
        let mut random = fastrand::Rng::with_seed(1);
        let mut random = |bytes: &mut [u8]| random.fill(bytes);
        let keys: String = (0..14_000).map(|_| access_key(&mut random)[2..].to_owned()).collect();
        let mut counts = BTreeMap::new();
        keys.chars().for_each(|c| *counts.entry(c).or_insert(0) += 1);
        // Without the fair bound the first four letters would come up a seventh more often.
        let (least, most) = (counts.values().min(), counts.values().max());
        assert_eq!(counts.len(), 36);
        assert!(least.zip(most).is_some_and(|(least, most)| most - least <= most / 10), "{counts:?}");
    }
}
