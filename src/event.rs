//! The event: one immutable fact about one object, and its names in both families.
//!
//! Must never know rules, targets or encodings: it is what everything else agrees on.

mod set;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

pub use set::EventSet;
use uuid::Uuid;

/// One immutable fact: what happened to which object, when, and by which request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// A random v7 UUID made at commit and stored: the same at every attempt, target and replay.
    pub id: Uuid,
    /// What happened.
    pub kind: EventKind,
    /// When it was committed, in microseconds since the Unix epoch. Never used for order.
    pub time_us: i64,
    /// The bucket's name.
    pub bucket: Arc<str>,
    /// The object's key, 1 to 1,024 bytes.
    pub key: Arc<str>,
    /// The version made or removed; none in a bucket that never had versioning.
    pub version: Option<Version>,
    /// The object's size in bytes; 0 for removals.
    pub size: u64,
    /// The ETag without quotes; empty for removals.
    pub etag: Arc<str>,
    /// Who asked, and how to find the request again.
    pub request: RequestInfo,
}

/// Who asked for a change, and how to find the request again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestInfo {
    /// The `x-amz-request-id` of the answer.
    pub id: Arc<str>,
    /// The socket peer.
    pub source_ip: Option<IpAddr>,
    /// The access key that signed the request, never a secret; of a function's role, `function:` and its
    /// name.
    pub principal: Arc<str>,
    /// How many runs of functions led to the request, one after the other: 0 for a client's own.
    pub hops: u8,
}

/// No function runs for an event that so many runs led to: one that triggers itself would never end.
pub const MAX_HOPS: u8 = 8;

macro_rules! event_kinds {
    (
        objects { $($(#[$doc:meta])* $variant:ident = $code:literal, $cos:literal, $s3:literal;)+ }
        beside { $($(#[$beside_doc:meta])* $beside:ident = $beside_code:literal, $name:literal;)+ }
    ) => {
        /// What happened, to an object in all cases but one.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum EventKind {
            $($(#[$doc])* $variant = $code,)+
            $($(#[$beside_doc])* $beside = $beside_code,)+
        }

        impl EventKind {
            /// Every kind that happens to an object, in code order: what a rule can name.
            pub const ALL: &'static [EventKind] = &[$(EventKind::$variant),+];

            /// The name in COS's family, e.g. `cos:ObjectCreated:Put`.
            pub fn cos_name(self) -> &'static str {
                match self {
                    $(EventKind::$variant => concat!("cos:", $cos),)+
                    $(EventKind::$beside => concat!("cos:", $name),)+
                }
            }

            /// The name in S3's family, e.g. `s3:ObjectRemoved:Delete`.
            pub fn s3_name(self) -> &'static str {
                match self {
                    $(EventKind::$variant => concat!("s3:", $s3),)+
                    $(EventKind::$beside => concat!("s3:", $name),)+
                }
            }

            /// The kind with this stored code.
            pub fn from_code(code: u8) -> Option<Self> {
                match code {
                    $($code => Some(EventKind::$variant),)+
                    $($beside_code => Some(EventKind::$beside),)+
                    _ => None,
                }
            }
        }
    };
}

event_kinds! {
    objects {
        /// PUT Object made the object.
        CreatedPut = 1, "ObjectCreated:Put", "ObjectCreated:Put";
        /// POST Object (browser form) made it.
        CreatedPost = 2, "ObjectCreated:Post", "ObjectCreated:Post";
        /// PUT Object - Copy made it.
        CreatedCopy = 3, "ObjectCreated:Copy", "ObjectCreated:Copy";
        /// Complete Multipart Upload made it.
        CreatedMultipart = 4,
            "ObjectCreated:CompleteMultipartUpload", "ObjectCreated:CompleteMultipartUpload";
        /// A mirror origin-pull stored it.
        CreatedOrigin = 5, "ObjectCreated:Origin", "ObjectCreated:Origin";
        /// Replication from another region's bucket made it.
        CreatedReplication = 6, "ObjectCreated:Replication", "ObjectCreated:Replication";
        /// DELETE in a bucket that never had versioning, or of one named version.
        RemovedDelete = 7, "ObjectRemove:Delete", "ObjectRemoved:Delete";
        /// DELETE without a version in a bucket whose versioning is enabled or suspended.
        RemovedMarker = 8, "ObjectRemove:DeleteMarkerCreated", "ObjectRemoved:DeleteMarkerCreated";
        /// A restore job for an archived object was created.
        RestorePost = 9, "ObjectRestore:Post", "ObjectRestore:Post";
        /// That job finished.
        RestoreCompleted = 10, "ObjectRestore:Completed", "ObjectRestore:Completed";
    }
    beside {
        /// A bucket's notification configuration was set: what its targets get first. No object has
        /// changed, and no rule can name it.
        Test = 15, "TestEvent";
    }
}

impl EventKind {
    /// The stored code.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// The S3 name without its family, as S3 records carry it: `ObjectCreated:Put`.
    pub fn s3_short(self) -> &'static str {
        &self.s3_name()["s3:".len()..]
    }

    /// True for the kinds after which the object is gone or hidden.
    pub fn is_removal(self) -> bool {
        matches!(self, EventKind::RemovedDelete | EventKind::RemovedMarker)
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.cos_name())
    }
}

/// Where an entry stands: the epoch of the segment it was first written in, and its offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Raised whenever offsets might repeat: after a recovery that dropped bytes, after a restore from
    /// backup.
    pub epoch: u32,
    /// Strictly increasing within a partition.
    pub offset: u64,
}

impl Position {
    /// The event's sequencer: epoch and offset in fixed-width upper-case hex, so that it compares bytewise.
    pub fn sequencer(self) -> String {
        format!("{:08X}{:016X}", self.epoch, self.offset)
    }
}

/// Names one version of an object.
///
/// As text it is `null`, or 24 lower-case hex digits that sort the newest version first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum VersionId {
    /// The one that was made while the bucket's versioning was not enabled: at most one of a key.
    Null,
    /// The one that the entry at this position made.
    At(Position),
}

impl VersionId {
    /// The id of this text; none if it is not one of ours.
    pub fn parse(text: &str) -> Option<Self> {
        if text == "null" {
            return Some(Self::Null);
        }
        let lower = text.len() == 24 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let (epoch, offset) = text.split_at_checked(8).filter(|_| lower)?;
        let epoch = !u32::from_str_radix(epoch, 16).ok()?;
        Some(Self::At(Position { epoch, offset: !u64::from_str_radix(offset, 16).ok()? }))
    }
}

impl fmt::Display for VersionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::At(at) => write!(f, "{:08x}{:016x}", !at.epoch, !at.offset),
        }
    }
}

/// Which version of its object an event is about. An entry does not know where it will stand, so the version
/// that it makes itself has its name from where it came to stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// The one that the event's own entry makes.
    Own,
    /// This one.
    Named(VersionId),
}

impl Version {
    /// The null version.
    pub const NULL: Self = Self::Named(VersionId::Null);

    /// Its name; `own` is where the event's entry stands.
    pub fn id(self, own: Position) -> VersionId {
        match self {
            Self::Own => VersionId::At(own),
            Self::Named(id) => id,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_of_both_families_mean_the_same() {
        let set = |n| EventSet::parse(n).expect("known name");
        assert_eq!(set("cos:ObjectRemove:*"), set("s3:ObjectRemoved:*"));
        assert_eq!(set("cos:ObjectCreated:*"), set("s3:ObjectCreated:*"));
        assert!(set("cos:ObjectCreated:*").contains(EventKind::CreatedReplication));
        assert!(!set("cos:ObjectCreated:*").contains(EventKind::RemovedDelete));
        assert!(set("s3:ObjectRemoved:DeleteMarkerCreated").contains(EventKind::RemovedMarker));
        assert_eq!(EventSet::parse("cos:ObjectGone:*"), None);
        assert_eq!(EventSet::parse("*"), None);
        assert_eq!(EventSet::parse("s3:ObjectRemove:Delete"), None);
    }

    #[test]
    fn sequencers_compare_bytewise_in_order() {
        let p = |epoch, offset| Position { epoch, offset }.sequencer();
        assert!(p(1, 9) < p(1, 10) && p(1, u64::MAX) < p(2, 0));
        assert_eq!(p(1, 10), "00000001000000000000000A");
    }

    #[test]
    fn version_ids_come_back_and_sort_the_newest_first() {
        let at = |epoch, offset| VersionId::At(Position { epoch, offset });
        for id in [VersionId::Null, at(1, 1), at(1, 77), at(u32::MAX, u64::MAX), at(0, 0)] {
            assert_eq!(VersionId::parse(&id.to_string()), Some(id));
        }
        assert!(at(1, 10).to_string() < at(1, 9).to_string());
        assert!(at(2, 1).to_string() < at(1, u64::MAX).to_string());
        let text = at(1, 10).to_string();
        for not in [
            "",
            "nul",
            "NULL",
            &text[1..],
            &text.to_uppercase(),
            &format!("{text}0"),
            "é23456789012345678901234",
        ] {
            assert_eq!(VersionId::parse(not), None, "{not}");
        }
    }

    #[test]
    fn codes_round_trip() {
        for kind in EventKind::ALL.iter().chain(&[EventKind::Test]) {
            assert_eq!(EventKind::from_code(kind.code()), Some(*kind));
        }
        assert_eq!(EventSet::parse("s3:TestEvent"), None, "no rule can name it");
        assert_eq!(EventKind::from_code(0), None);
    }
}
