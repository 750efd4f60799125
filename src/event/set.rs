//! Sets of kinds, as rules name them.
//!
//! Must never hold a kind that no rule can name.

use super::EventKind;

/// A set of event kinds, as a rule names them: single kinds and the wildcards of both families.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EventSet(u16);

impl EventSet {
    /// The set that a rule's list of names means. Names may be of either family; wildcards are
    /// `…ObjectCreated:*`, `…ObjectRemove:*` / `s3:ObjectRemoved:*` and `…ObjectRestore:*`.
    pub fn parse(name: &str) -> Option<Self> {
        let one = |s: &'static str| s == name;
        let mut set = 0;
        for kind in EventKind::ALL {
            let (cos, s3) = (kind.cos_name(), kind.s3_name());
            let wildcard = |full: &str| {
                full.rsplit_once(':').is_some_and(|(family, _)| name.strip_suffix(":*") == Some(family))
            };
            if one(cos) || one(s3) || wildcard(cos) || wildcard(s3) {
                set |= 1 << kind.code();
            }
        }
        (set != 0).then_some(Self(set))
    }

    /// Both sets together.
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// True if some kind is in both sets.
    pub fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// True if `kind` is in the set.
    pub fn contains(self, kind: EventKind) -> bool {
        self.0 & (1 << kind.code()) != 0
    }
}
