//! Percent-encoding: text whose characters a place does not take, as `%XX` of their UTF-8 bytes.
//!
//! Must never drop a character: every set escapes `%` itself, so that decoding once gives the text back.

const HEX_UPPER: &[u8; 16] = b"0123456789ABCDEF";

/// Which characters stand as they are. Each set leaves out `%`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep {
    /// Letters, digits and `-._~`: one segment of a URI.
    Segment,
    /// The same and `/`: the path of a URI.
    Path,
    /// What a CloudEvents attribute may hold: neither controls nor noncharacters.
    Attribute,
    /// What CloudEvents allows in a header of HTTP or NATS: printable ASCII without space and `"`.
    HeaderValue,
}

impl Keep {
    fn keeps(self, c: char) -> bool {
        let unreserved = c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | '~');
        match self {
            Self::Segment => unreserved,
            Self::Path => unreserved || c == '/',
            Self::Attribute => !c.is_control() && !is_noncharacter(c) && c != '%',
            Self::HeaderValue => c.is_ascii_graphic() && !matches!(c, '"' | '%'),
        }
    }
}

fn is_noncharacter(c: char) -> bool {
    matches!(c, '\u{fdd0}'..='\u{fdef}') || u32::from(c) & 0xfffe == 0xfffe
}

/// `text` with everything that `keep` does not keep as `%XX`.
pub(super) fn encoded(text: &str, keep: Keep) -> String {
    let mut out = String::with_capacity(text.len());
    push(&mut out, text, keep);
    out
}

/// Appends the same.
pub(super) fn push(out: &mut String, text: &str, keep: Keep) {
    for c in text.chars() {
        if keep.keeps(c) {
            out.push(c);
            continue;
        }
        let mut bytes = [0; 4];
        for byte in c.encode_utf8(&mut bytes).bytes() {
            let digit = |half: u8| char::from(HEX_UPPER[usize::from(half & 15)]);
            out.extend(['%', digit(byte >> 4), digit(byte)]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_place_has_its_own_characters() {
        let text = "a/b c\"%é\n\u{85}\u{fdd0}\u{1fffe}";
        assert_eq!(encoded(text, Keep::Segment), "a%2Fb%20c%22%25%C3%A9%0A%C2%85%EF%B7%90%F0%9F%BF%BE");
        assert_eq!(encoded(text, Keep::Path), "a/b%20c%22%25%C3%A9%0A%C2%85%EF%B7%90%F0%9F%BF%BE");
        assert_eq!(encoded(text, Keep::Attribute), "a/b c\"%25é%0A%C2%85%EF%B7%90%F0%9F%BF%BE");
        assert_eq!(encoded(text, Keep::HeaderValue), "a/b%20c%22%25%C3%A9%0A%C2%85%EF%B7%90%F0%9F%BF%BE");
    }
}
