//! Tags of an object that were set after it was made: a change of their own, which is no event.
//!
//! Must never know what a tag may be: that is the frontend's business. Must never panic on any input.

use std::sync::Arc;

use super::entry::ObjectMeta;
use super::fields::{DecodeError, field, fields, fixed, tag, text};

/// The name under which tags stand among an object's headers.
pub const TAGS: &str = "x-amz-tagging";
/// The code of the change in its record.
pub(super) const CODE: u8 = 20;

/// An object has these tags from now on, in place of all it had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectTags {
    /// Its bucket.
    pub bucket: Arc<str>,
    /// Its key.
    pub key: Arc<str>,
    /// The offset of the change that made the object: what takes its place has tags of its own.
    pub of: u64,
    /// The tags in the frontend's own form; empty: none.
    pub tags: Arc<str>,
}

impl ObjectMeta {
    /// The object's tags in the frontend's own form; empty: none.
    pub fn tags(&self) -> &str {
        self.headers.iter().find(|(name, _)| **name == *TAGS).map_or("", |(_, tags)| tags)
    }

    /// Gives the object other tags; empty: none.
    pub fn set_tags(&mut self, tags: Arc<str>) {
        self.headers.retain(|(name, _)| **name != *TAGS);
        if !tags.is_empty() {
            self.headers.push((TAGS.into(), tags));
            self.headers.sort_unstable();
        }
    }
}

pub(super) fn encode(change: &ObjectTags, out: &mut Vec<u8>) {
    field(out, tag::BUCKET, change.bucket.as_bytes());
    field(out, tag::KEY, change.key.as_bytes());
    field(out, tag::COUNT, &change.of.to_le_bytes());
    field(out, tag::VALUE, change.tags.as_bytes());
}

pub(super) fn decode(bytes: &[u8]) -> Result<ObjectTags, DecodeError> {
    let (mut bucket, mut key, mut of, mut tags) = (None, None, None, None);
    fields(bytes, |tag, found| {
        match tag {
            tag::BUCKET => bucket = Some(text(found)?),
            tag::KEY => key = Some(text(found)?),
            tag::COUNT => of = Some(u64::from_le_bytes(fixed(found)?)),
            tag::VALUE => tags = Some(text(found)?),
            unknown => DecodeError::unknown(unknown)?,
        }
        Ok(())
    })?;
    let all = || Some(ObjectTags { bucket: bucket?, key: key?, of: of?, tags: tags? });
    all().ok_or(DecodeError::Malformed("a field is missing"))
}
