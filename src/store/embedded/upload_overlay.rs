//! What is not in the index yet about one upload.
//!
//! Must never show parts of an upload that has ended.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::queue::{Change, NewPart, NewUpload, Stored, UploadChange, UploadId};
use crate::store::{Done, Upload};

/// The upload that a change is about.
pub(super) fn upload_of(change: &Change) -> Option<UploadId> {
    match change {
        Change::Upload(change) => Some(change.id()),
        Change::CompleteUpload { upload, .. } => Some(*upload),
        _ => None,
    }
}

/// What an entry says about the object that its upload has become; none if it says something else.
pub(super) fn done_of(stored: &Stored) -> Option<Done> {
    let (Change::CompleteUpload { meta, .. }, Some(event)) = (&stored.entry.change, &stored.entry.event)
    else {
        return None;
    };
    Some(Done {
        time_us: event.time_us,
        etag: event.etag.clone(),
        sum: meta.headers.iter().find(|(name, _)| name.starts_with("x-amz-checksum-")).cloned(),
        version: stored.version().map(|version| version.to_string().into()),
    })
}

/// What changed about one upload.
#[derive(Debug, Clone, Default)]
pub(super) struct UploadDelta {
    begun: Option<Arc<Stored>>,
    parts: BTreeMap<u16, Arc<Stored>>,
    ended: Option<Arc<Stored>>,
}

impl UploadDelta {
    /// Adds a later change of the same upload.
    pub(super) fn add(&mut self, stored: &Arc<Stored>) {
        match &stored.entry.change {
            Change::Upload(UploadChange::Begin(_)) => self.begun = Some(stored.clone()),
            Change::Upload(UploadChange::Part(part)) => drop(self.parts.insert(part.number, stored.clone())),
            _ => {
                self.ended = Some(stored.clone());
                self.parts.clear();
            }
        }
    }

    /// The index shows this change now. True if nothing is left.
    pub(super) fn forget(&mut self, applied: &Stored) -> bool {
        let old = |stored: &Arc<Stored>| stored.position.offset <= applied.position.offset;
        match &applied.entry.change {
            Change::Upload(UploadChange::Begin(_)) => drop(self.begun.take_if(|stored| old(stored))),
            Change::Upload(UploadChange::Part(part)) => {
                if self.parts.get(&part.number).is_some_and(old) {
                    self.parts.remove(&part.number);
                }
            }
            _ => drop(self.ended.take_if(|stored| old(stored))),
        }
        self.begun.is_none() && self.parts.is_empty() && self.ended.is_none()
    }

    /// Beginning and end only.
    pub(super) fn without_parts(&self) -> Self {
        Self { begun: self.begun.clone(), parts: BTreeMap::new(), ended: self.ended.clone() }
    }

    /// The upload's beginning, if the index does not show it.
    pub(super) fn begun(&self) -> Option<&Arc<NewUpload>> {
        match &self.begun.as_ref()?.entry.change {
            Change::Upload(UploadChange::Begin(upload)) => Some(upload),
            _ => None,
        }
    }

    /// True once the upload is done or gone.
    pub(super) fn has_ended(&self) -> bool {
        self.ended.is_some()
    }

    /// Parts from above `after`, by number.
    pub(super) fn parts(&self, after: u16) -> impl Iterator<Item = &Arc<NewPart>> {
        self.parts.range(after.saturating_add(1)..).filter_map(|(_, stored)| match &stored.entry.change {
            Change::Upload(UploadChange::Part(part)) => Some(part),
            _ => None,
        })
    }

    /// The upload after these changes, given what the index has.
    pub(super) fn over(&self, base: Option<Upload>) -> Option<Upload> {
        let begun = self.begun().cloned();
        let base = base.or_else(|| begun.map(|begun| Upload { begun, done: None }))?;
        match &self.ended {
            None => Some(base),
            // Done, or gone.
            Some(ended) => done_of(ended).map(|done| Upload { done: Some(done), ..base }),
        }
    }
}
