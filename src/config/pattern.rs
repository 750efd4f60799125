//! Patterns of buckets' names: `*` stands for any run of characters, none included.
//!
//! Must never take more than pattern times name steps, whatever the pattern.

/// The longest pattern of a bucket's name, in bytes.
const MAX_BYTES: usize = 128;

/// True for 1 to 128 of what a bucket's name may hold, and `*`.
pub fn is_legal(pattern: &str) -> bool {
    let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.' | b'*');
    (1..=MAX_BYTES).contains(&pattern.len()) && pattern.bytes().all(legal)
}

/// True if the whole of `name` is what `pattern` says.
pub fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let (mut p, mut n) = (0, 0);
    // The last star seen, and how much of the name it stands for now.
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        if pattern.get(p) == Some(&b'*') {
            star = Some((p, n));
            p += 1;
        } else if pattern.get(p) == Some(&name[n]) {
            p += 1;
            n += 1;
        } else if let Some((at, taken)) = star {
            // An earlier star never needs more: the last one can stand for whatever it would.
            star = Some((at, taken + 1));
            p = at + 1;
            n = taken + 1;
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|b| *b == b'*')
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn stars_stand_for_any_run_anywhere() {
        for (pattern, name) in [
            ("orders", "orders"),
            ("*", "orders"),
            ("*", ""),
            ("orders-*", "orders-1"),
            ("orders-*", "orders-"),
            ("*-125", "a-125"),
            ("a*b*c", "abc"),
            ("a*b*c", "axxbyybzzc"),
            ("**", "x"),
            ("*ab", "aab"),
        ] {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("orders", "orders-1"),
            ("orders-*", "orders"),
            ("a*b*c", "acb"),
            ("a*a", "a"),
            ("", "x"),
            ("order", "orders"),
        ] {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }

    #[test]
    fn hostile_patterns_end_soon() {
        let pattern = "*a".repeat(64) + "b";
        assert!(!matches(&pattern, &"a".repeat(10_000)));
    }
}
