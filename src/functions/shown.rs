//! What people may see of what code wrote: its end or its beginning, without its secret.
//!
//! Must never cut before it hides: of a secret that a cut goes through, a part would be left.

use std::ops::Range;

/// Bytes of an output that are kept, as SCF does.
pub(super) const TAIL: usize = 4 << 10;
/// Bytes of a failure's text that are kept.
pub(super) const MESSAGE: usize = 512;
/// Bytes beyond either that whoever reads keeps for this: no secret of ours is longer.
pub(super) const MARGIN: usize = 64;
/// What stands where the code wrote its secret.
const HIDDEN: &[u8] = b"[secret]";

/// The end of an output, of which the last [`TAIL`] and [`MARGIN`] bytes are here, or all.
pub(super) fn tail(said: &[u8], secret: &str) -> String {
    let first = said.len().saturating_sub(TAIL);
    String::from_utf8_lossy(&without(said, secret, first..said.len())).into_owned()
}

/// The beginning of a text.
pub(super) fn message(said: &str, secret: &str) -> String {
    let end = said.floor_char_boundary(MESSAGE);
    String::from_utf8_lossy(&without(said.as_bytes(), secret, 0..end)).into_owned()
}

/// A part of what was said. A secret that begins or ends outside of it is hidden as a whole.
fn without(said: &[u8], secret: &str, part: Range<usize>) -> Vec<u8> {
    let secret = secret.as_bytes();
    let (mut shown, mut at) = (Vec::with_capacity(part.len()), part.start);
    for start in (0..said.len()).filter(|at| !secret.is_empty() && said[*at..].starts_with(secret)) {
        let end = start + secret.len();
        // Those before `at` are outside, or would be shown by the one before them.
        if end <= at || start >= part.end {
            continue;
        }
        shown.extend_from_slice(said.get(at..start).unwrap_or_default());
        shown.extend_from_slice(HIDDEN);
        at = end;
    }
    shown.extend_from_slice(said.get(at..part.end).unwrap_or_default());
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY42";

    /// As [`tail`], of an output that went on for so long that a reader kept no more than it must.
    fn end_of(output: &str) -> String {
        let kept = &output.as_bytes()[output.len().saturating_sub(TAIL + MARGIN)..];
        tail(kept, SECRET)
    }

    #[test]
    fn wherever_an_output_is_cut_no_part_of_the_secret_is_left() {
        // Others behind it make the text shorter: what was cut off must not come back by that.
        for others in [0, 1, 20] {
            for behind in TAIL - 100..TAIL + 100 {
                let rest = behind.saturating_sub(others * SECRET.len());
                let said =
                    format!("{0}{SECRET}{1}{2}", "x".repeat(999), SECRET.repeat(others), "y".repeat(rest));
                let shown = end_of(&said);
                assert!(shown.len() <= TAIL + HIDDEN.len() && shown.ends_with('y'), "{behind}");
                assert!((4..=SECRET.len()).all(|n| !shown.contains(&SECRET[SECRET.len() - n..])), "{shown}");
                let seen = (0..=others).filter(|n| rest + n * SECRET.len() < TAIL).count();
                assert_eq!(shown.matches("[secret]").count(), seen, "{others} {behind}");
            }
        }
    }

    #[test]
    fn wherever_a_message_is_cut_no_part_of_the_secret_is_left() {
        for before in MESSAGE - 60..MESSAGE + 20 {
            let said = format!("{}{SECRET} and more", "ä".repeat(before / 2) + &"x".repeat(before % 2));
            let shown = message(&said, SECRET);
            assert!(!shown.contains(&SECRET[..4]), "{shown}");
            assert_eq!(shown.contains("[secret]"), before < MESSAGE, "{before}: {shown}");
        }
        assert_eq!(message("short", SECRET), "short");
        assert_eq!(message("short", ""), "short");
    }
}
