//! The tables of options: one line for each key with its type and default, and the checks that many need.
//!
//! Must never accept what a check did not see; unknown keys are the loader's to find.

use tidings_connector::{Place, Size, Span, Template};

/// Declares what a connector's table may say: the keys as they are typed, the value of each that is left out,
/// which without `=` is its type's own, and the bounds of those that have some, as a configuration writes
/// them.
#[macro_export]
macro_rules! options {
    ($(#[$about:meta])* pub struct $name:ident {
        $($(#[$doc:meta])* $key:ident: $type:ty $(= $value:expr $(=> $least:literal to $most:literal)?)?,)*
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

        impl $name {
            /// Judges every key that has bounds. `Err` is one sentence that begins with the key.
            fn bounded(&self) -> Result<(), String> {
                $($($($crate::options::within(stringify!($key), self.$key, $least, $most)?;)?)?)*
                Ok(())
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

/// What may have bounds.
pub trait Bounded: PartialOrd + Sized {
    /// Reads a bound as a configuration writes it.
    ///
    /// # Errors
    /// One sentence: it is none.
    fn read(text: &str) -> Result<Self, String>;
}

impl Bounded for Span {
    fn read(text: &str) -> Result<Self, String> {
        Self::parse(text)
    }
}

impl Bounded for Size {
    fn read(text: &str) -> Result<Self, String> {
        Self::parse(text)
    }
}

impl Bounded for usize {
    fn read(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| format!("`{text}` is no number"))
    }
}

/// Judges a value by its bounds, which are written as a configuration writes them.
///
/// # Errors
/// One sentence that begins with the key.
pub fn within<T: Bounded>(key: &str, value: T, least: &str, most: &str) -> Result<(), String> {
    match (T::read(least)?..=T::read(most)?).contains(&value) {
        true => Ok(()),
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
    use std::time::Duration;

    use serde::Deserialize as _;
    use serde::de::value::{Error as ValueError, StrDeserializer};

    use super::*;

    crate::options! {
        /// An example.
        pub struct Example {
            /// A text.
            text: String,
            /// A number.
            number: usize = 7 => "1" to "9",
            /// A time.
            time: Span = Span(Duration::from_secs(1)) => "100ms" to "1m",
            /// A size.
            size: Size = Size(1 << 20) => "1MiB" to "1GiB",
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
        let (time, size) = (Span(Duration::from_secs(1)), Size(1 << 20));
        assert_eq!(Example::default(), Example { text: String::new(), number: 7, time, size });
        let word = |word| Colour::deserialize(StrDeserializer::<ValueError>::new(word));
        assert_eq!(word("light-red-1"), Ok(Colour::LightRed));
        assert_eq!(word("blue").map(Colour::name), Ok("blue"));
        assert!(word("Blue").is_err());
    }

    #[test]
    fn bounds_belong_to_what_they_bound_and_are_told() {
        assert_eq!(Example::default().bounded(), Ok(()));
        let time = |ms| Example { time: Span(Duration::from_millis(ms)), ..Example::default() }.bounded();
        assert_eq!([time(100), time(60_000)], [Ok(()), Ok(())]);
        for outside in [99, 60_001] {
            assert_eq!(time(outside), Err("`time` must be 100ms to 1m".to_owned()));
        }
        let size = |size| Example { size: Size(size), ..Example::default() }.bounded();
        assert_eq!([size(1 << 20), size(1 << 30)], [Ok(()), Ok(())]);
        assert_eq!(size((1 << 20) - 1), Err("`size` must be 1MiB to 1GiB".to_owned()));
        let number = |number| Example { number, ..Example::default() }.bounded();
        assert_eq!([number(1), number(9)], [Ok(()), Ok(())]);
        assert_eq!([number(0), number(10)], [(); 2].map(|()| Err("`number` must be 1 to 9".to_owned())));
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
