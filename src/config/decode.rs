//! Reads the merged tree into the raw shapes, strictly: nothing is rounded, quoted or unquoted on the way.
//!
//! Only environment variables, which are text, are read as what the key wants. Keeps the path of whatever is
//! wrong and the keys that each table knows, so that unknown ones can be told. Must never decide what a value
//! should be.

use std::cell::RefCell;
use std::fmt;

use config::{Value, ValueKind};
use serde::de::value::StrDeserializer;
use serde::de::{self, Deserialize, DeserializeSeed, Expected, IntoDeserializer, Unexpected, Visitor};

use super::tree::KeyPath;

/// The keys that one table knows.
pub(super) type Known = (KeyPath, &'static [&'static str]);

/// What did not fit its shape.
#[derive(Debug)]
pub(super) struct Misfit {
    /// Where.
    pub(super) path: KeyPath,
    /// What is wrong.
    pub(super) what: String,
    /// A wrong word and the words that would have been right.
    pub(super) choices: Option<(String, &'static [&'static str])>,
}

/// Reads a tree into `T`, and gives the keys known by every table it read.
pub(super) fn decode<'de, T: Deserialize<'de>>(tree: &Value) -> Result<(T, Vec<Known>), Misfit> {
    let known = RefCell::new(Vec::new());
    let decoder = Decoder { value: tree, path: KeyPath::default(), known: &known };
    match T::deserialize(decoder) {
        Ok(shape) => Ok((shape, known.into_inner())),
        Err(error) => {
            let path = error.path.unwrap_or_default();
            Err(Misfit { path, what: error.what, choices: error.choices })
        }
    }
}

/// What a value is, as people call it.
pub(super) fn describe(kind: &ValueKind) -> String {
    match kind {
        ValueKind::Nil => "nothing".to_owned(),
        ValueKind::Boolean(flag) => format!("`{flag}`"),
        ValueKind::I64(n) => format!("the number `{n}`"),
        ValueKind::I128(n) => format!("the number `{n}`"),
        ValueKind::U64(n) => format!("the number `{n}`"),
        ValueKind::U128(n) => format!("the number `{n}`"),
        ValueKind::Float(n) => format!("the number `{n}`"),
        ValueKind::String(_) => "a string".to_owned(),
        ValueKind::Table(_) => "a table".to_owned(),
        ValueKind::Array(_) => "a list".to_owned(),
    }
}

#[derive(Debug)]
struct DecodeError {
    path: Option<KeyPath>,
    what: String,
    choices: Option<(String, &'static [&'static str])>,
}

impl DecodeError {
    fn at(mut self, path: &KeyPath) -> Self {
        self.path.get_or_insert_with(|| path.clone());
        self
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for DecodeError {}

impl de::Error for DecodeError {
    fn custom<T: fmt::Display>(what: T) -> Self {
        Self { path: None, what: what.to_string(), choices: None }
    }

    fn invalid_value(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let limits = match expected.to_string().as_str() {
            "u8" => "0 to 255".to_owned(),
            "u16" => "0 to 65535".to_owned(),
            "u32" => format!("0 to {}", u32::MAX),
            "u64" | "usize" => format!("0 to {}", i64::MAX),
            "i32" => format!("{} to {}", i32::MIN, i32::MAX),
            other => return Self::custom(format!("expected {other}, found {unexpected}")),
        };
        match unexpected {
            Unexpected::Signed(n) => Self::custom(format!("{n} is out of range: allowed are {limits}")),
            Unexpected::Unsigned(n) => Self::custom(format!("{n} is out of range: allowed are {limits}")),
            other => Self::custom(format!("{other} is out of range: allowed are {limits}")),
        }
    }

    fn invalid_type(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let found = match unexpected {
            Unexpected::Bool(flag) => format!("`{flag}`"),
            Unexpected::Unsigned(n) => format!("the number `{n}`"),
            Unexpected::Signed(n) => format!("the number `{n}`"),
            Unexpected::Float(n) => format!("the number `{n}`"),
            Unexpected::Str(_) => "a string".to_owned(),
            Unexpected::Seq => "a list".to_owned(),
            Unexpected::Map => "a table".to_owned(),
            other => other.to_string(),
        };
        Self::custom(format!("expected {expected}, found {found}"))
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        let choices = Some((variant.to_owned(), expected));
        Self { path: None, what: format!("`{variant}` is not allowed here"), choices }
    }

    fn missing_field(field: &'static str) -> Self {
        Self::custom(format!("the key `{field}` is missing"))
    }
}

/// One value on its way into a shape.
#[derive(Clone)]
struct Decoder<'a> {
    value: &'a Value,
    path: KeyPath,
    known: &'a RefCell<Vec<Known>>,
}

impl<'a> Decoder<'a> {
    fn child(&self, value: &'a Value, path: KeyPath) -> Self {
        Self { value, path, known: self.known }
    }

    /// The text, if a variable set this value: the only text that is read as something else.
    fn variable_text(&self) -> Option<&'a str> {
        match &self.value.kind {
            ValueKind::String(text) if self.value.origin().is_some() => Some(text),
            _ => None,
        }
    }

    fn expected(&self, what: &str) -> DecodeError {
        let found = match self.variable_text() {
            Some(text) => format!("`{text}`"),
            None => describe(&self.value.kind),
        };
        de::Error::custom(format!("expected {what}, found {found}"))
    }

    fn any<'de, V: Visitor<'de>>(&self, visitor: V) -> Result<V::Value, DecodeError> {
        match &self.value.kind {
            ValueKind::Nil => visitor.visit_unit(),
            ValueKind::Boolean(flag) => visitor.visit_bool(*flag),
            ValueKind::I64(n) => visit_number(*n, visitor),
            ValueKind::U64(n) => visitor.visit_u64(*n),
            ValueKind::Float(n) => visitor.visit_f64(*n),
            ValueKind::String(text) => visitor.visit_str(text),
            ValueKind::Array(_) => self.seq(visitor),
            ValueKind::Table(_) => self.table(None, visitor),
            ValueKind::I128(_) | ValueKind::U128(_) => Err(self.expected("a number of at most 64 bits")),
        }
    }

    fn integer<'de, V: Visitor<'de>>(&self, visitor: V) -> Result<V::Value, DecodeError> {
        match (&self.value.kind, self.variable_text().map(str::parse::<i64>)) {
            (ValueKind::I64(_) | ValueKind::U64(_), _) => self.any(visitor),
            (_, Some(Ok(n))) => visit_number(n, visitor),
            _ => Err(self.expected("a whole number")),
        }
    }

    fn float<'de, V: Visitor<'de>>(&self, visitor: V) -> Result<V::Value, DecodeError> {
        match (&self.value.kind, self.variable_text().map(str::parse::<f64>)) {
            (ValueKind::Float(_) | ValueKind::I64(_) | ValueKind::U64(_), _) => self.any(visitor),
            (_, Some(Ok(n))) => visitor.visit_f64(n),
            _ => Err(self.expected("a number")),
        }
    }

    fn seq<'de, V: Visitor<'de>>(&self, visitor: V) -> Result<V::Value, DecodeError> {
        match (&self.value.kind, self.variable_text()) {
            (ValueKind::Array(list), _) => {
                visitor.visit_seq(Elements { of: self, rest: list.iter().enumerate() })
            }
            (_, Some(text)) => {
                let parts: Vec<&str> = text.split(',').map(str::trim).filter(|p| !p.is_empty()).collect();
                visitor.visit_seq(de::value::SeqDeserializer::new(parts.into_iter()))
            }
            _ => Err(self.expected("a list")),
        }
    }

    /// A table. With `fields`, only these keys are shown to the shape; the others are told as unknown
    /// afterwards.
    fn table<'de, V: Visitor<'de>>(
        &self,
        fields: Option<&'static [&'static str]>,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        let ValueKind::Table(table) = &self.value.kind else {
            return Err(self.expected("a table"));
        };
        if let Some(fields) = fields {
            self.known.borrow_mut().push((self.path.clone(), fields));
        }
        let shown = |key: &String| fields.is_none_or(|known| known.contains(&key.as_str()));
        let mut rest: Vec<(&String, &Value)> = table.iter().filter(|(key, _)| shown(key)).collect();
        rest.sort_by_key(|(key, _)| *key);
        visitor.visit_map(Entries { of: self, rest: rest.into_iter(), value: None })
    }
}

fn visit_number<'de, V: Visitor<'de>>(n: i64, visitor: V) -> Result<V::Value, DecodeError> {
    match u64::try_from(n) {
        Ok(n) => visitor.visit_u64(n),
        Err(_) => visitor.visit_i64(n),
    }
}

struct Elements<'a, 'd> {
    of: &'d Decoder<'a>,
    rest: std::iter::Enumerate<std::slice::Iter<'a, Value>>,
}

impl<'de> de::SeqAccess<'de> for Elements<'_, '_> {
    type Error = DecodeError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, DecodeError> {
        let Some((n, value)) = self.rest.next() else { return Ok(None) };
        let path = self.of.path.index(n);
        let element = seed.deserialize(self.of.child(value, path.clone()));
        element.map(Some).map_err(|e| e.at(&path))
    }
}

struct Entries<'a, 'd> {
    of: &'d Decoder<'a>,
    rest: std::vec::IntoIter<(&'a String, &'a Value)>,
    value: Option<(&'a String, &'a Value)>,
}

impl<'de> de::MapAccess<'de> for Entries<'_, '_> {
    type Error = DecodeError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, DecodeError> {
        self.value = self.rest.next();
        let Some((key, _)) = self.value else { return Ok(None) };
        let decoder: StrDeserializer<'_, DecodeError> = key.as_str().into_deserializer();
        seed.deserialize(decoder).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, DecodeError> {
        let (key, value) = self.value.take().expect("serde asks for a value only after its key");
        let path = self.of.path.key(key);
        seed.deserialize(self.of.child(value, path.clone())).map_err(|e| e.at(&path))
    }
}

macro_rules! forward {
    ($to:ident: $($method:ident)+) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
            self.$to(visitor).map_err(|e| e.at(&self.path))
        })+
    };
}

impl<'de> de::Deserializer<'de> for Decoder<'_> {
    type Error = DecodeError;

    forward!(any: deserialize_any deserialize_unit deserialize_identifier);
    forward!(any: deserialize_bytes deserialize_byte_buf);
    forward!(integer: deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128);
    forward!(integer: deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128);
    forward!(float: deserialize_f32 deserialize_f64);
    forward!(seq: deserialize_seq);

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match (&self.value.kind, self.variable_text()) {
            (ValueKind::Boolean(flag), _) => visitor.visit_bool(*flag),
            (_, Some("true")) => visitor.visit_bool(true),
            (_, Some("false")) => visitor.visit_bool(false),
            _ => Err(self.expected("`true` or `false`")),
        }
        .map_err(|e: DecodeError| e.at(&self.path))
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match &self.value.kind {
            ValueKind::String(text) => visitor.visit_str(text),
            _ => Err(self.expected("a string")),
        }
        .map_err(|e: DecodeError| e.at(&self.path))
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match &self.value.kind {
            ValueKind::Nil => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.table(None, visitor).map_err(|e| e.at(&self.path))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        self.table(Some(fields), visitor).map_err(|e| e.at(&self.path))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        match &self.value.kind {
            ValueKind::String(text) => {
                let name: StrDeserializer<'_, DecodeError> = text.as_str().into_deserializer();
                visitor.visit_enum(name)
            }
            _ => Err(self.expected("a string")),
        }
        .map_err(|e| e.at(&self.path))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, DecodeError> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_unit()
    }
}
