//! What the model is compared with: lists, rows, bytes, uploads, counts, files.
//!
//! Must never change anything but wait for what goes by itself.

use super::*;
use crate::store::embedded::index::Reads as _;
use crate::store::{ObjectVersion, VersionsAfter};

impl World {
    pub(super) fn check_list(&self, prefix: &str, after: Option<u8>, max: usize) {
        let after = after.map(key);
        let found = self.store().list("b", prefix, after.as_deref(), max).unwrap();
        let current = self.model.iter().filter(|(_, versions)| !versions[0].marker);
        let wanted =
            current.filter(|(k, _)| k.starts_with(prefix) && after.as_ref().is_none_or(|after| *k > after));
        let wanted: Vec<_> = wanted
            .take(max)
            .map(|(k, v)| (k.clone(), v[0].id, v[0].offset, v[0].body.len() as u64))
            .collect();
        let found: Vec<_> = found.iter().map(|o| (o.key.to_string(), o.version, o.offset, o.size)).collect();
        assert_eq!(found, wanted);
    }

    /// What a page says of a version.
    fn said(found: &ObjectVersion) -> (String, u64, VersionId, bool, bool) {
        let object = &found.object;
        (object.key.to_string(), object.offset, object.version, found.marker, found.latest)
    }

    pub(super) fn check_versions(&self, prefix: &str, max: usize) {
        let of_prefix = self.model.iter().filter(|(k, _)| k.starts_with(prefix));
        let wanted: Vec<_> = of_prefix
            .flat_map(|(k, versions)| {
                let said = |(at, v): (usize, &Made)| (k.clone(), v.offset, v.id, v.marker, at == 0);
                versions.iter().enumerate().map(said).collect::<Vec<_>>()
            })
            .collect();
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let page = self.store().versions("b", prefix, after.as_ref(), max).unwrap();
            assert!(page.len() <= max);
            all.extend(page.iter().map(Self::said));
            let Some(last) = page.last().filter(|_| page.len() == max) else { break };
            let (key, offset) = (last.object.key.clone(), Some(last.object.offset));
            after = Some(VersionsAfter { key, offset });
        }
        assert_eq!(all, wanted);
        for key in self.model.keys().filter(|k| k.starts_with(prefix)) {
            let behind = VersionsAfter { key: key.as_str().into(), offset: None };
            let found = self.store().versions("b", prefix, Some(&behind), 1).unwrap();
            assert_eq!(found.first().map(Self::said), wanted.iter().find(|w| w.0 > *key).cloned());
        }
    }

    fn check_uploads(&self) {
        for upload in self.uploads.values() {
            let found = self.store().upload(upload.id).unwrap().expect("open");
            assert_eq!((&*found.begun.key, found.done), (&*upload.key, None));
            let parts = self.store().parts(upload.id, 0, 100).unwrap();
            let wanted: Vec<_> = upload.parts.values().map(|(_, part)| part.clone()).collect();
            assert_eq!(parts, wanted);
        }
        let mut wanted: Vec<_> = self.uploads.values().map(|u| (u.key.clone(), u.id)).collect();
        wanted.sort();
        let found = self.store().uploads("b", "", None, 100).unwrap();
        let found: Vec<_> = found.iter().map(|u| (u.begun.key.to_string(), u.begun.id)).collect();
        assert_eq!(found, wanted);
    }

    pub(super) fn check_all(&self) {
        self.check_list("", None, 100);
        for max in [1, 3, 100] {
            self.check_versions("", max);
        }
        self.check_uploads();
        for k in 0..KEYS {
            let versions = self.model.get(&key(k)).cloned().unwrap_or_default();
            let newest = self.store().version("b", &key(k), None).unwrap();
            assert_eq!(newest.map(|v| (v.object.offset, v.marker, v.latest)), {
                versions.first().map(|v| (v.offset, v.marker, true))
            });
            let current = self.store().object("b", &key(k)).unwrap();
            let tags = |made: &Made| made.tags.clone().unwrap_or_default();
            let wanted = versions.first().filter(|v| !v.marker).map(|v| (v.offset, tags(v)));
            assert_eq!(current.map(|o| (o.offset, o.meta.tags().to_owned())), wanted, "{}", key(k));
            let null = self.store().version("b", &key(k), Some(VersionId::Null)).unwrap();
            let wanted = versions.iter().find(|v| v.id == VersionId::Null);
            assert_eq!(null.map(|v| v.object.offset), wanted.map(|v| v.offset));
            for (at, made) in versions.iter().enumerate() {
                let found = self.store().version("b", &key(k), Some(made.id)).unwrap().expect("there");
                assert_eq!(Self::said(&found), (key(k), made.offset, made.id, made.marker, at == 0));
                assert_eq!(found.object.meta.tags(), tags(made), "{}", key(k));
                if !made.marker {
                    let bytes = self.runtime.block_on(body(self.store(), &found.object)).unwrap();
                    assert_eq!(bytes, made.body);
                }
            }
            let nobody = VersionId::At(Position { epoch: 1, offset: 1 << 40 });
            assert!(self.store().version("b", &key(k), Some(nobody)).unwrap().is_none());
        }
    }

    fn versions(&self) -> impl Iterator<Item = &Made> {
        self.model.values().flatten()
    }

    /// What is counted as needed is what the model needs.
    pub(super) fn check_usage(&self) {
        let mut wanted = 0;
        for (key, versions) in &self.model {
            for made in versions {
                let found = self.store().version("b", key, Some(made.id)).unwrap().unwrap();
                let manifest = matches!(found.object.meta.body, BodyRef::Manifest { .. });
                wanted += made.body.len() as u64 + if manifest { 1 + 30 * made.blobs as u64 } else { 0 };
            }
        }
        let parts = self.uploads.values().flat_map(|upload| upload.parts.values());
        wanted += parts.map(|(body, _)| body.len() as u64).sum::<u64>();
        assert_eq!(self.store().body_bytes().live, wanted);
    }

    /// Tags go with the version that they were set for.
    pub(super) fn check_tags(&self) {
        let rows = self.store().shared.index.len(Space::Tags).unwrap();
        assert_eq!(rows, self.versions().filter(|made| made.tags.is_some()).count() as u64);
    }

    /// A stopped store is sound, whatever was done to it.
    pub(super) fn check_verify(&mut self) {
        self.store = None;
        let found = crate::store::verify(self.disk.clone(), self.dir.path(), &mut |_, _| {}).unwrap();
        assert_eq!((found.damaged, found.damage), (0, Vec::new()));
        assert_eq!(found.objects, self.versions().count() as u64);
        self.reopen();
    }

    /// Every file that nobody needs goes, and no other.
    pub(super) fn check_files(&self) {
        let parts: usize = self.uploads.values().map(|upload| upload.parts.len()).sum();
        let wanted = self.versions().map(|made| made.blobs).sum::<usize>() + parts;
        let files = || -> usize {
            let folders = std::fs::read_dir(self.dir.path().join("blobs")).unwrap();
            folders.map(|f| std::fs::read_dir(f.unwrap().path()).unwrap().count()).sum()
        };
        super::super::crash::tick_until(&self.log, || files() <= wanted);
        assert_eq!(files(), wanted);
    }
}
