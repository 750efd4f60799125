//! What an answer of AWS's Runtime Interface Emulator says: it answers 200 to nearly everything.
//!
//! Must never take for a success what it cannot read.

use serde::Deserialize;
use serde::de::IgnoredAny;

/// True for the answer of code that failed; none: it is no JSON.
pub(super) fn names_error(body: &[u8]) -> Option<bool> {
    #[derive(Deserialize)]
    struct Answer {
        #[serde(rename = "errorType")]
        error: Option<IgnoredAny>,
    }
    match body.trim_ascii_start().first() {
        Some(b'{') => serde_json::from_slice::<Answer>(body).ok().map(|answer| answer.error.is_some()),
        _ => serde_json::from_slice::<IgnoredAny>(body).ok().map(|_| false),
    }
}

#[cfg(test)]
mod tests {
    use super::names_error;

    #[test]
    fn only_json_without_an_error_is_a_success_of_the_emulator() {
        for (body, means) in [
            (&b"null"[..], Some(false)),
            (b" {\"statusCode\": 200}", Some(false)),
            (b"[{\"errorType\": \"within\"}]", Some(false)),
            (b"{\"errorType\": \"KeyError\", \"errorMessage\": \"x\"}", Some(true)),
            (b"Task timed out after 3.00 seconds", None),
            (b"", None),
            (b"{\"a\": \"\xff\"", None),
        ] {
            assert_eq!(names_error(body), means, "{}", String::from_utf8_lossy(body));
        }
    }
}
