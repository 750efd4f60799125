//! The tables of options: one line for each key with its type and default, and the checks that many need.
//!
//! Must never accept what a check did not see; unknown keys are the loader's to find.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

use tidings_connector::{Place, Size, Span, Template};

/// Declares what a connector's table may say: the keys as they are typed, and the value of each that is left
/// out, which without `=` is its type's own.
#[macro_export]
macro_rules! options {
    ($(#[$about:meta])* pub struct $name:ident {
        $($(#[$doc:meta])* $key:ident: $type:ty $(= $value:expr)?,)*
    }) => {
        $(#[$about])*
        #[derive(Debug, Clone, PartialEq, Eq, ::serde::Deserialize)]
        #[serde(default)]
        pub struct $name { $($(#[$doc])* pub $key: $type,)* }

        impl Default for $name {
            fn default() -> Self {
                Self { $($key: $crate::options!(@default $($value)?),)* }
            }
        }
    };
    (@default) => { Default::default() };
    (@default $value:expr) => { $value };
}

/// Declares the words of which a key takes one, and their meanings; `name` gives the word back.
#[macro_export]
macro_rules! choice {
    ($(#[$about:meta])* pub enum $name:ident {
        $($(#[$doc:meta])* $variant:ident = $word:literal,)*
    }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, ::serde::Deserialize)]
        pub enum $name { $($(#[$doc])* #[serde(rename = $word)] $variant,)* }

        impl $name {
            /// The word that the configuration has for it.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $word),* }
            }
        }
    };
}

/// A duration within bounds, which are written as a configuration writes them.
///
/// # Errors
/// One sentence that begins with the key.
pub fn span(key: &str, value: Span, least: &str, most: &str) -> Result<Duration, String> {
    within(key, value, Span::parse(least)?..=Span::parse(most)?, least, most).map(|span| span.0)
}

/// A size within bounds, which are written as a configuration writes them, in bytes.
///
/// # Errors
/// One sentence that begins with the key.
pub fn size(key: &str, value: Size, least: &str, most: &str) -> Result<usize, String> {
    within(key, value, Size::parse(least)?..=Size::parse(most)?, least, most).map(|size| size.0 as usize)
}

/// A number within bounds.
///
/// # Errors
/// One sentence that begins with the key.
pub fn count(key: &str, value: usize, most: usize) -> Result<usize, String> {
    within(key, value, 1..=most, 1, most)
}

fn within<T: PartialOrd>(
    key: &str,
    value: T,
    bounds: RangeInclusive<T>,
    least: impl Display,
    most: impl Display,
) -> Result<T, String> {
    match bounds.contains(&value) {
        true => Ok(value),
        false => Err(format!("`{key}` must be {least} to {most}")),
    }
}

/// A template that must be given. `hint`: what to name, for people.
///
/// # Errors
/// One sentence that begins with the key: it is missing, or could not be rendered for any event.
pub fn template(key: &str, source: &str, place: Place, hint: &str) -> Result<Template, String> {
    if source.is_empty() {
        return Err(format!("`{key}` is required: {hint}"));
    }
    Template::parse(source, place).map_err(|why| format!("`{key}`: {why}"))
}

/// The first key that was given.
pub fn first_given<'a>(keys: &[(&'a str, &str)]) -> Option<&'a str> {
    keys.iter().find(|(_, value)| !value.is_empty()).map(|(key, _)| *key)
}

#[cfg(test)]
mod tests {
    use serde::Deserialize as _;
    use serde::de::value::{Error as ValueError, StrDeserializer};

    use super::*;

    crate::options! {
        /// An example.
        pub struct Example {
            /// A text.
            text: String,
            /// A number.
            number: usize = 7,
        }
    }

    crate::choice! {
        /// Another.
        pub enum Colour {
            /// One.
            LightRed = "light-red-1",
            /// Two.
            Blue = "blue",
        }
    }

    #[test]
    fn what_is_left_out_has_its_default() {
        assert_eq!(Example::default(), Example { text: String::new(), number: 7 });
        let word = |word| Colour::deserialize(StrDeserializer::<ValueError>::new(word));
        assert_eq!(word("light-red-1"), Ok(Colour::LightRed));
        assert_eq!(word("blue").map(Colour::name), Ok("blue"));
        assert!(word("Blue").is_err());
    }

    #[test]
    fn bounds_belong_to_what_they_bound_and_are_told() {
        let of = |ms| span("wait", Span(Duration::from_millis(ms)), "100ms", "1m");
        assert_eq!(of(100), Ok(Duration::from_millis(100)));
        assert_eq!(of(60_000), Ok(Duration::from_secs(60)));
        for outside in [99, 60_001] {
            assert_eq!(of(outside), Err("`wait` must be 100ms to 1m".to_owned()));
        }
        assert_eq!(size("room", Size(1 << 20), "1MiB", "1GiB"), Ok(1 << 20));
        assert!(size("room", Size(1), "1MiB", "1GiB").is_err());
        assert_eq!(count("open", 9, 9), Ok(9));
        assert_eq!(count("open", 10, 9), Err("`open` must be 1 to 9".to_owned()));
        assert!(count("open", 0, 9).is_err());
    }

    #[test]
    fn templates_are_told_by_their_key() {
        let of = |source| template("topic", source, Place::KafkaTopic, "name one");
        assert!(of("objects.{bucket}").is_ok());
        assert_eq!(of(""), Err("`topic` is required: name one".to_owned()));
        assert!(of("a b").expect_err("a space").starts_with("`topic`: "));
        assert_eq!(first_given(&[("a", ""), ("b", "x"), ("c", "y")]), Some("b"));
        assert_eq!(first_given(&[("a", "")]), None);
    }
}
