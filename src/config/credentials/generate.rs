//! Random key pairs.
//!
//! Must never draw from anything but the generator that it is given.

use base64::Engine as _;

/// What a generated access key begins with.
const ACCESS_PREFIX: &str = "TD";
const ACCESS_CHARS: usize = 20;
/// 30 random bytes are 40 characters of base64 without padding.
const SECRET_BYTES: usize = 30;

/// 20 characters of `A-Z0-9`, the first two fixed.
pub(super) fn access_key(random: &mut dyn FnMut(&mut [u8])) -> String {
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
pub(super) fn secret_key(random: &mut dyn FnMut(&mut [u8])) -> String {
    let mut bytes = [0; SECRET_BYTES];
    random(&mut bytes);
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}
