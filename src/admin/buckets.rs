//! Buckets as operators see them: their quotas, and what those with a quota hold.
//!
//! Must never show anything of a single object.

use serde::Serialize;
use serde_json::Value;

use super::backend::ChangeError;
use super::shapes::{count, object, or_null, text, time};

/// One bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BucketView {
    /// Its name.
    pub name: String,
    /// When it was made, RFC 3339 in UTC.
    pub created: Option<String>,
    /// Bytes that it may hold; none without a limit.
    pub max_bytes: Option<u64>,
    /// Objects that it may hold; none without a limit.
    pub max_objects: Option<u64>,
    /// Bytes that it holds; none if it has no quota, and so is not counted.
    pub bytes: Option<u64>,
    /// Objects that it holds; none if it has no quota.
    pub objects: Option<u64>,
}

/// What an operator wishes a bucket's quota to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QuotaWish {
    /// None any more.
    Unlimited,
    /// These; at least one is set.
    Limits {
        /// Bytes.
        max_bytes: Option<u64>,
        /// Objects.
        max_objects: Option<u64>,
    },
}

impl QuotaWish {
    /// The wish of a checked query.
    pub(super) fn of(query: Option<&str>) -> Result<Self, ChangeError> {
        let pairs = query.unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
        let (mut max_bytes, mut max_objects, mut unlimited) = (None, None, false);
        for (name, value) in pairs {
            // The highest number stands for none where quotas are kept.
            let number = || match value.parse::<u64>() {
                Ok(number) if number < u64::MAX => Ok(Some(number)),
                _ => Err(ChangeError::BadRequest(format!("`{name}` must be a number"))),
            };
            match name {
                "max_bytes" => max_bytes = number()?,
                "max_objects" => max_objects = number()?,
                _ => unlimited |= value == "true",
            }
        }
        match (unlimited, max_bytes.is_some() || max_objects.is_some()) {
            (true, false) => Ok(Self::Unlimited),
            (false, true) => Ok(Self::Limits { max_bytes, max_objects }),
            _ => Err(ChangeError::BadRequest(
                "say `max_bytes`, `max_objects` or both, or else `unlimited=true`".into(),
            )),
        }
    }
}

/// The schema of [`BucketView`].
pub(super) fn schema() -> Value {
    object(vec![
        ("name", text(), "Its name."),
        ("created", or_null(time()), "When it was made."),
        ("max_bytes", or_null(count()), "Bytes that it may hold; null without a limit."),
        ("max_objects", or_null(count()), "Objects that it may hold; null without a limit."),
        ("bytes", or_null(count()), "Bytes that it holds; null if it has no quota."),
        ("objects", or_null(count()), "Objects that it holds; null if it has no quota."),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_says_one_thing() {
        let limits = |max_bytes, max_objects| Ok(QuotaWish::Limits { max_bytes, max_objects });
        for (query, wish) in [
            ("max_bytes=10", limits(Some(10), None)),
            ("max_objects=0", limits(None, Some(0))),
            ("max_bytes=1&max_objects=2&unlimited=false", limits(Some(1), Some(2))),
            ("unlimited=true", Ok(QuotaWish::Unlimited)),
        ] {
            assert_eq!(QuotaWish::of(Some(query)), wish, "{query}");
        }
        for query in [
            "",
            "unlimited=false",
            "unlimited=true&max_bytes=1",
            "max_bytes=",
            "max_bytes=-1",
            "max_bytes=10GiB",
            "max_bytes=18446744073709551615",
            "max_objects=99999999999999999999",
        ] {
            assert!(matches!(QuotaWish::of(Some(query)), Err(ChangeError::BadRequest(_))), "{query}");
        }
    }
}
