//! What functions are called, and their targets.
//!
//! Must never allow a name that a target of the configuration can have, or that leads out of a folder.

/// 2 to 60 of `A-Z a-z 0-9 - _`, the first a letter, the last neither `-` nor `_`.
pub fn is_name(text: &str) -> bool {
    let legal = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    (2..=60).contains(&text.len())
        && text.bytes().all(legal)
        && text.starts_with(|c: char| c.is_ascii_alphabetic())
        && !text.ends_with(['-', '_'])
}

/// The name of a function's target: no target of the configuration can have it.
pub fn target_name(function: &str) -> String {
    format!("function:{function}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_scf() {
        for good in ["hello", "Hello-World_2", "ab", &"a".repeat(60)] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", "a", "1a", "-a", "a-", "a_", "a b", "a/b", "..", "ä1", &"a".repeat(61)] {
            assert!(!is_name(bad), "{bad}");
        }
    }
}
