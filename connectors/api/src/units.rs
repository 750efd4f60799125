//! Durations and sizes as people write them in a configuration file: `"5ms"`, `"64KiB"`.
//!
//! Must never guess: a number without a unit is bytes for a size and an error for a duration; overflow is an
//! error.

use std::fmt;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error, Visitor};

/// A duration written as `"5ms"`, `"30s"`, `"5m"`, `"1h"` or `"2d"`: whole numbers only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

/// A size in bytes, written as a whole number or as `"64KiB"`, `"20GiB"`, `"1MB"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

const SPAN_UNITS: &[(&str, u64)] =
    &[("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

const SIZE_UNITS: &[(&str, u64)] = &[
    ("", 1),
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
];

impl Span {
    /// Parses a duration. `Err` is one sentence for people.
    pub fn parse(text: &str) -> Result<Self, String> {
        let expected =
            "write a duration as a whole number and a unit: \"200ms\", \"5s\", \"10m\", \"1h\" or \"2d\"";
        scaled(text, SPAN_UNITS, expected).map(|ms| Self(Duration::from_millis(ms)))
    }
}

impl Size {
    /// Parses a size. `Err` is one sentence for people.
    pub fn parse(text: &str) -> Result<Self, String> {
        let expected = "write a size as bytes or with a unit: 65536, \"64KiB\", \"20GiB\" or \"1MB\"";
        scaled(text, SIZE_UNITS, expected).map(Self)
    }
}

fn scaled(text: &str, units: &[(&str, u64)], expected: &str) -> Result<u64, String> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = units.iter().find(|(name, _)| *name == unit.trim_start()).map(|(_, factor)| *factor);
    let (Some(factor), false) = (factor, number.is_empty()) else {
        return Err(expected.to_owned());
    };
    let scaled = number.parse::<u64>().ok().and_then(|n| n.checked_mul(factor));
    scaled.ok_or_else(|| format!("`{text}` is too large"))
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct V;
        impl Visitor<'_> for V {
            type Value = Span;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration such as \"200ms\" or \"5s\"")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Span, E> {
                Span::parse(text).map_err(E::custom)
            }
        }
        deserializer.deserialize_any(V)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct V;
        impl Visitor<'_> for V {
            type Value = Size;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a size such as 65536 or \"64KiB\"")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Size, E> {
                Size::parse(text).map_err(E::custom)
            }

            fn visit_u64<E: Error>(self, bytes: u64) -> Result<Size, E> {
                Ok(Size(bytes))
            }

            fn visit_i64<E: Error>(self, bytes: i64) -> Result<Size, E> {
                u64::try_from(bytes).map(Size).map_err(|_| E::custom("a size cannot be negative"))
            }
        }
        deserializer.deserialize_any(V)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let ms = |text| Span::parse(text).map(|span| span.0.as_millis());
        assert_eq!(ms("5ms"), Ok(5));
        assert_eq!(ms("0s"), Ok(0));
        assert_eq!(ms(" 2 h "), Ok(7_200_000));
        for bad in ["", "5", "ms", "1.5s", "-1s", "5 sec", "1h30m"] {
            assert!(ms(bad).is_err(), "{bad:?} was accepted");
        }
        assert_eq!(ms("999999999999999999d"), Err("`999999999999999999d` is too large".to_owned()));
    }

    #[test]
    fn sizes() {
        let bytes = |text| Size::parse(text).map(|size| size.0);
        assert_eq!(bytes("65536"), Ok(65_536));
        assert_eq!(bytes("64KiB"), Ok(65_536));
        assert_eq!(bytes("20 GiB"), Ok(20 << 30));
        assert_eq!(bytes("1MB"), Ok(1_000_000));
        for bad in ["", "KiB", "64kib", "1.5GiB", "-1"] {
            assert!(bytes(bad).is_err(), "{bad:?} was accepted");
        }
        assert!(bytes("99999999999TiB").is_err());
    }
}
