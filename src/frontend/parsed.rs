//! What buckets' settings say, parsed once for as long as they do not change.
//!
//! Must never answer with what another value of the setting said.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;

use crate::queue::Setting;
use crate::store::Bucket;

/// Settings of so many buckets are kept in their parsed form; at the bound all are forgotten.
const MAX_KEPT: usize = 1_024;

/// One setting of all buckets, parsed.
pub(super) struct Parsed<T> {
    setting: Setting,
    parse: fn(&[u8]) -> T,
    /// By bucket.
    kept: RwLock<HashMap<Arc<str>, Kept<T>>>,
}

/// A value, and what came of it.
struct Kept<T> {
    value: Bytes,
    parsed: Arc<T>,
}

impl<T> Parsed<T> {
    pub(super) fn new(setting: Setting, parse: fn(&[u8]) -> T) -> Self {
        Self { setting, parse, kept: RwLock::default() }
    }

    /// What the bucket's setting says; none: it has none.
    pub(super) fn of(&self, bucket: &Bucket) -> Option<Arc<T>> {
        let value = bucket.setting(self.setting)?;
        let kept = self.kept.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = kept.get(&bucket.name).filter(|known| is(&known.value, value)) {
            return Some(Arc::clone(&known.parsed));
        }
        drop(kept);
        let parsed = Arc::new((self.parse)(value));
        let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= MAX_KEPT {
            kept.clear();
        }
        let known = Kept { value: value.clone(), parsed: Arc::clone(&parsed) };
        kept.insert(Arc::clone(&bucket.name), known);
        Some(parsed)
    }
}

/// Equal; most often they are the same bytes.
fn is(known: &Bytes, value: &Bytes) -> bool {
    (known.as_ptr() == value.as_ptr() && known.len() == value.len()) || known == value
}
