//! Settings of buckets: which there are, and how a change of one travels.
//!
//! Must never know what a value means, and must never panic on any input.

use bytes::Bytes;

use super::entry::Change;
use super::fields::{DecodeError, field, fields, fixed, tag, text};

/// The largest value of a setting, in bytes.
pub const MAX_SETTING_BYTES: usize = 256 << 10;
/// The code of [`Change::SetBucketSetting`].
pub(super) const CODE: u8 = 14;

macro_rules! settings {
    ($($(#[$doc:meta])* $variant:ident = $code:literal;)+) => {
        /// One setting of a bucket. Numbers are stored: never reuse one.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Setting { $($(#[$doc])* $variant = $code),+ }

        impl Setting {
            /// Every setting, by number.
            pub const ALL: &'static [Setting] = &[$(Setting::$variant),+];

            /// The setting with this stored number.
            pub fn from_code(code: u8) -> Option<Self> {
                match code { $($code => Some(Setting::$variant),)+ _ => None }
            }
        }
    };
}

settings! {
    /// Whether overwritten and deleted objects stay as versions.
    Versioning = 1;
    /// Which pages of other origins may call.
    Cors = 2;
    /// How much the bucket may hold.
    Quota = 3;
    /// Tags of the bucket itself.
    Tagging = 4;
    /// Where objects come from that are not in it.
    Origin = 9;
    /// The bucket's own rules: its notification configuration and its triggers.
    Notification = 10;
    /// Which of its objects go to which bucket of which peer.
    Replication = 11;
}

impl Setting {
    /// The stored number.
    pub fn code(self) -> u8 {
        self as u8
    }
}

pub(super) fn encode(bucket: &str, setting: Setting, value: Option<&[u8]>, out: &mut Vec<u8>) {
    field(out, tag::BUCKET, bucket.as_bytes());
    field(out, tag::SETTING, &[setting.code()]);
    if let Some(value) = value {
        field(out, tag::VALUE, value);
    }
}

pub(super) fn decode(bytes: &[u8]) -> Result<Change, DecodeError> {
    let (mut bucket, mut setting, mut value) = (None, None, None);
    fields(bytes, |tag, found| {
        match tag {
            tag::BUCKET => bucket = Some(text(found)?),
            tag::SETTING => {
                let [code] = fixed(found)?;
                setting = Some(Setting::from_code(code).ok_or(DecodeError::Newer(tag))?);
            }
            tag::VALUE => value = Some(Bytes::copy_from_slice(found)),
            unknown => DecodeError::unknown(unknown)?,
        }
        Ok(())
    })?;
    let missing = DecodeError::Malformed("a field is missing");
    Ok(Change::SetBucketSetting {
        bucket: bucket.ok_or(missing.clone())?,
        setting: setting.ok_or(missing)?,
        value,
    })
}
