//! What keys and bucket names may be, in one place.
//!
//! Must never change a name: it is stored and listed exactly as it came, or refused.

use s3s::{S3Error, S3ErrorCode, s3_error};

/// The longest key, in bytes of UTF-8.
pub(super) const MAX_KEY: usize = 1024;

/// Checks a key: 1 to 1,024 bytes without NUL. Anything else is allowed, and stays as it is: `..`, `//`,
/// newlines.
pub(super) fn check_key(key: &str) -> Result<(), S3Error> {
    if key.len() > MAX_KEY {
        return Err(S3Error::from(S3ErrorCode::KeyTooLongError));
    }
    match key.is_empty() || key.contains('\0') {
        true => Err(s3_error!(InvalidArgument, "A key must have 1 to 1024 bytes and no NUL")),
        false => Ok(()),
    }
}

/// Checks the name of a bucket that is to be made: S3's rules, and none of the forms that S3 reserves.
pub(super) fn check_new_bucket(name: &str) -> Result<(), S3Error> {
    let reserved_start = ["xn--", "sthree-", "amzn-s3-demo-"].iter().any(|start| name.starts_with(start));
    let reserved_end = ["-s3alias", "--ol-s3", ".mrap", "--x-s3"].iter().any(|end| name.ends_with(end));
    match s3s::path::check_bucket_name(name) && !reserved_start && !reserved_end {
        true => Ok(()),
        false => Err(S3Error::from(S3ErrorCode::InvalidBucketName)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_free_within_their_bounds() {
        for key in ["a", "..", "../../etc/passwd", "a//b", "/", "new\nline", "é", "C:\\x", "\u{10FFFF}"] {
            assert!(check_key(key).is_ok(), "{key:?}");
        }
        assert!(check_key(&"k".repeat(1024)).is_ok());
        assert!(check_key(&"k".repeat(1025)).is_err());
        assert!(check_key(&"é".repeat(513)).is_err(), "bytes are counted, not characters");
        assert!(check_key("").is_err());
        assert!(check_key("a\0b").is_err());
    }

    #[test]
    fn bucket_names_follow_the_rules() {
        let longest = "a".repeat(63);
        for name in ["abc", "a.b-c", "photos-1250000000", "0-9", longest.as_str()] {
            assert!(check_new_bucket(name).is_ok(), "{name}");
        }
        let too_long = "a".repeat(64);
        for name in [
            "",
            "ab",
            "..",
            ".sys",
            "Abc",
            "a_b",
            "-abc",
            "abc-",
            "a..b",
            "192.168.1.1",
            "xn--abc",
            "abc-s3alias",
            "é-é-é",
            too_long.as_str(),
        ] {
            assert!(check_new_bucket(name).is_err(), "{name}");
        }
    }
}
