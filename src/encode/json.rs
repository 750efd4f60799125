//! Appending JSON text to a byte buffer: strings, numbers and times, without allocating.
//!
//! Must never know what an event is, and must never write invalid UTF-8 or unescaped control characters.

use jiff::{Timestamp, tz::Offset};

const HEX_UPPER: &[u8; 16] = b"0123456789ABCDEF";
const HEX_LOWER: &[u8; 16] = b"0123456789abcdef";

/// What to do with each byte of a string: 0 = copy, `u` = `\u00xx`, else a backslash and this character.
const ESCAPES: [u8; 256] = {
    let mut table = [0; 256];
    let mut control = 0;
    while control < 0x20 {
        table[control] = b'u';
        control += 1;
    }
    table[0x08] = b'b';
    table[b'\t' as usize] = b't';
    table[b'\n' as usize] = b'n';
    table[0x0c] = b'f';
    table[b'\r' as usize] = b'r';
    table[b'"' as usize] = b'"';
    table[b'\\' as usize] = b'\\';
    // DEL is legal JSON; escaped because terminals that print a payload should not obey it.
    table[0x7f] = b'u';
    table
};

/// Appends `text` as a JSON string with its quotes.
pub(super) fn string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    escaped(out, text);
    out.push(b'"');
}

/// Appends `text` as it stands between the quotes of a JSON string. Runs without escapes are copied as a
/// whole.
pub(super) fn escaped(out: &mut Vec<u8>, text: &str) {
    let bytes = text.as_bytes();
    let mut copied = 0;
    for (at, byte) in bytes.iter().enumerate() {
        let escape = ESCAPES[*byte as usize];
        if escape == 0 {
            continue;
        }
        out.extend_from_slice(&bytes[copied..at]);
        copied = at + 1;
        match escape {
            b'u' => {
                let (high, low) = (HEX_LOWER[(byte >> 4) as usize], HEX_LOWER[(byte & 15) as usize]);
                out.extend_from_slice(&[b'\\', b'u', b'0', b'0', high, low]);
            }
            short => out.extend_from_slice(&[b'\\', short]),
        }
    }
    out.extend_from_slice(&bytes[copied..]);
}

/// Appends `key` as a JSON string, written as S3 writes keys in events: form encoding (letters, digits and
/// `-_.*` stay, a space is `+`, every other byte is `%XX`), except that `/` stays too. The result needs no
/// JSON escape.
pub(super) fn s3_key(out: &mut Vec<u8>, key: &str) {
    out.push(b'"');
    for byte in key.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'*' | b'/' => out.push(byte),
            b' ' => out.push(b'+'),
            other => out.extend_from_slice(&[
                b'%',
                HEX_UPPER[(other >> 4) as usize],
                HEX_UPPER[(other & 15) as usize],
            ]),
        }
    }
    out.push(b'"');
}

/// Appends a whole number in decimal.
pub(super) fn number(out: &mut Vec<u8>, mut value: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// Appends a time as a JSON string: `"2026-01-02T03:04:05.678Z"`.
pub(super) fn time(out: &mut Vec<u8>, time_us: i64) {
    out.push(b'"');
    time_text(time_us, |ascii| out.push(ascii));
    out.push(b'"');
}

/// Gives the ASCII characters of a time: ISO 8601 in UTC with milliseconds. Times before 1970 or after 9999
/// are drawn to those bounds, so that the width never changes.
pub(super) fn time_text(time_us: i64, mut push: impl FnMut(u8)) {
    let stamp = Timestamp::from_microsecond(time_us.max(0)).unwrap_or(Timestamp::MAX);
    let at = Offset::UTC.to_datetime(stamp);
    let two = |value: i8| {
        let value = value.unsigned_abs();
        [b'0' + value / 10 % 10, b'0' + value % 10]
    };
    let year = at.year().unsigned_abs();
    let millis = at.subsec_nanosecond().unsigned_abs() / 1_000_000;
    two((year / 100) as i8).into_iter().chain(two((year % 100) as i8)).for_each(&mut push);
    for (before, value) in
        [(b'-', at.month()), (b'-', at.day()), (b'T', at.hour()), (b':', at.minute()), (b':', at.second())]
    {
        push(before);
        two(value).into_iter().for_each(&mut push);
    }
    let digit = |value: u32| b'0' + (value % 10) as u8;
    [b'.', digit(millis / 100), digit(millis / 10), digit(millis), b'Z'].into_iter().for_each(push);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn every_character_below_the_surrogates_and_some_above_round_trip() {
        let text: String = (0..0xd800)
            .chain([0xe000, 0xfffd, 0xffff, 0x10000, 0x10ffff])
            .filter_map(char::from_u32)
            .collect();
        let json = written(|out| string(out, &text));
        assert_eq!(serde_json::from_str::<String>(&json).expect("valid JSON"), text);
        assert!(json.bytes().all(|b| b >= 0x20 && b != 0x7f), "a control character was written as it is");
    }

    #[test]
    fn escapes_are_the_short_ones() {
        assert_eq!(written(|out| string(out, "a\"\\\n\u{1}\u{7f}é")), r#""a\"\\\n\u0001\u007fé""#);
        assert_eq!(written(|out| string(out, "")), "\"\"");
    }

    #[test]
    fn keys_keep_slashes_and_write_spaces_as_plus() {
        assert_eq!(
            written(|out| s3_key(out, "in/red flower+é(1)~.jpg")),
            r#""in/red+flower%2B%C3%A9%281%29%7E.jpg""#
        );
    }

    #[test]
    fn numbers_and_times() {
        assert_eq!(written(|out| number(out, 0)), "0");
        assert_eq!(written(|out| number(out, u64::MAX)), u64::MAX.to_string());
        assert_eq!(written(|out| time(out, 1_767_323_045_678_999)), "\"2026-01-02T03:04:05.678Z\"");
        assert_eq!(written(|out| time(out, -1)), "\"1970-01-01T00:00:00.000Z\"");
        assert_eq!(written(|out| time(out, i64::MAX)), "\"9999-12-30T22:00:00.999Z\"");
    }
}
