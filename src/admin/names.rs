//! The names that stand in the paths of routes.
//!
//! Must never let a text through that cannot be such a name.

use super::backend::ChangeError;
use crate::functions::is_name;

/// What stands in a path in place of its pattern's `{name}` (a target), `{bucket}` or
/// `{function}`; empty: none of them.
pub(super) fn named<'a>(pattern: &str, path: &'a str) -> Result<&'a str, ChangeError> {
    let found = |wanted| {
        let at = pattern.split('/').position(|part| part == wanted)?;
        path.split('/').nth(at)
    };
    if let Some(target) = found("{name}") {
        // A function's target is named after it.
        let (name, function) = match target.strip_prefix("function:") {
            Some(name) => (name, true),
            None => (target, false),
        };
        let legal = |b: u8| {
            b.is_ascii_lowercase()
                || b.is_ascii_digit()
                || matches!(b, b'-' | b'_')
                || function && b.is_ascii_uppercase()
        };
        let fits = (1..=64).contains(&name.len()) && name.bytes().all(legal);
        return if fits { Ok(target) } else { Err(ChangeError::NoSuchTarget) };
    }
    if let Some(bucket) = found("{bucket}") {
        let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.');
        let fits = (3..=63).contains(&bucket.len()) && bucket.bytes().all(legal);
        return if fits { Ok(bucket) } else { Err(ChangeError::NoSuchBucket) };
    }
    if let Some(function) = found("{function}") {
        return if is_name(function) { Ok(function) } else { Err(ChangeError::NoSuchFunction) };
    }
    Ok("")
}
