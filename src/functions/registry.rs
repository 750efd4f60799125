//! Every function as it is on the disk: `functions/registry/NAME.json`, and its code under
//! `functions/code/HASH/`.
//!
//! A change is one file that takes the place of another, synced with its folder before it counts: after a
//! crash a function is as it was before or after. Code is written, synced and named by its hash before a
//! record names it; code that no record names goes at the next start. Must never run anything.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::FunctionError;
use super::code::Tree;
use super::name::is_name;
use super::record::{FORMAT, Record};
use crate::fail;

/// Functions of one server.
const MAX_FUNCTIONS: usize = 10_000;

/// The folder of all functions.
#[derive(Debug, Clone)]
pub(super) struct Registry {
    dir: PathBuf,
    /// Every record could be read: code that none of them names is nobody's.
    whole: bool,
}

impl Registry {
    /// Opens or makes the folder, and reads every function. What a crash left over goes. A record that cannot
    /// be read is told, and keeps its code.
    pub(super) fn open(data: &Path) -> Result<(Self, BTreeMap<Arc<str>, Record>), FunctionError> {
        let mut registry = Self { dir: data.join("functions"), whole: true };
        let failed = |e| FunctionError::disk("the folder `functions` in the data directory", &e);
        let folders = ["registry", "code", "runs"].map(|name| registry.dir.join(name));
        for folder in &folders {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
        }
        sync_dir(&registry.dir).and_then(|()| sync_dir(data)).map_err(failed)?;
        let mut records = BTreeMap::new();
        for path in listed(&folders[0]).map_err(failed)? {
            if path.extension().is_none_or(|extension| extension != "json") {
                let _ = fs::remove_file(&path);
                continue;
            }
            match read(&path) {
                Ok(record) => drop(records.insert(Arc::from(record.name.as_str()), record)),
                Err(why) => {
                    registry.whole = false;
                    let file = path.display();
                    tracing::error!(%file, "a function cannot be read and is not there: {why}");
                }
            }
        }
        if registry.whole {
            registry.clear_code(&records);
        }
        Ok((registry, records))
    }

    /// Removes code that no record names.
    fn clear_code(&self, records: &BTreeMap<Arc<str>, Record>) {
        let needed: BTreeSet<_> =
            records.values().flat_map(|r| &r.versions).map(|version| version.hash.as_str()).collect();
        let Ok(found) = listed(&self.dir.join("code")) else { return };
        for path in found {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if !needed.contains(name) {
                let _ = fs::remove_dir_all(&path);
            }
        }
    }

    /// Removes code that no record names any more; what is left of it goes at the next start.
    pub(super) fn remove_code(&self, hash: &str) {
        if self.whole {
            let _ = fs::remove_dir_all(self.code_dir(hash));
        }
    }

    /// Where a version's files are.
    pub(super) fn code_dir(&self, hash: &str) -> PathBuf {
        self.dir.join("code").join(hash)
    }

    /// Where a function's runs are written down.
    pub(super) fn runs_dir(&self, name: &str) -> PathBuf {
        self.dir.join("runs").join(name)
    }

    /// Where instances have their sockets; emptied at every start.
    pub(super) fn sockets_dir(&self) -> PathBuf {
        self.dir.join("run")
    }

    /// Makes code durable. It counts once a record names it.
    pub(super) fn write_code(&self, tree: &Tree) -> Result<String, FunctionError> {
        let hash = tree.hash();
        let failed = |e| FunctionError::disk("the function's code cannot be written", &e);
        self.write_tree(tree, &hash).map_err(failed)?;
        Ok(hash)
    }

    fn write_tree(&self, tree: &Tree, hash: &str) -> io::Result<()> {
        let (code, place) = (self.dir.join("code"), self.code_dir(hash));
        if place.exists() {
            // It got its name after it was synced.
            return Ok(());
        }
        let new = code.join(format!(".new-{hash}"));
        let _ = fs::remove_dir_all(&new);
        let mut folders = BTreeSet::from([new.clone()]);
        fs::create_dir(&new)?;
        for (name, file) in &tree.0 {
            let path = new.join(name);
            for folder in path.ancestors().skip(1).take_while(|folder| *folder != new) {
                folders.insert(folder.to_owned());
            }
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent)?;
            }
            let mut written = OpenOptions::new().write(true).create_new(true).open(&path)?;
            written.write_all(&file.bytes)?;
            let mode = if file.executable { 0o755 } else { 0o644 };
            written.set_permissions(fs::Permissions::from_mode(mode))?;
            written.sync_all()?;
        }
        for folder in folders.iter().rev() {
            fs::set_permissions(folder, fs::Permissions::from_mode(0o755))?;
            sync_dir(folder)?;
        }
        fail::point("function.code.synced");
        fs::rename(&new, &place)?;
        fail::point("function.code.named");
        sync_dir(&code)
    }

    /// Makes a record durable, in the place of the one before.
    pub(super) fn write(&self, record: &Record) -> Result<(), FunctionError> {
        let failed = |e| FunctionError::disk("the function cannot be written", &e);
        let text = serde_json::to_vec_pretty(record).map_err(|e| failed(e.into()))?;
        let dir = self.dir.join("registry");
        let (place, new) =
            (dir.join(format!("{}.json", record.name)), dir.join(format!(".{}.new", record.name)));
        let written = || -> io::Result<()> {
            let _ = fs::remove_file(&new);
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
            file.write_all(&text)?;
            file.sync_all()?;
            fail::point("function.record.synced");
            fs::rename(&new, &place)?;
            fail::point("function.record.named");
            sync_dir(&dir)
        };
        written().map_err(failed)
    }

    /// Removes a record, durably. One that is not there any more was removed by an attempt whose sync failed.
    pub(super) fn remove(&self, name: &str) -> Result<(), FunctionError> {
        let dir = self.dir.join("registry");
        let removed = match fs::remove_file(dir.join(format!("{name}.json"))) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        };
        removed
            .and_then(|()| sync_dir(&dir))
            .map_err(|e| FunctionError::disk("the function cannot be removed", &e))
    }

    /// Removes what was written down of a function's runs.
    pub(super) fn remove_runs(&self, name: &str) {
        let _ = fs::remove_dir_all(self.runs_dir(name));
    }

    /// Refuses one function too many.
    pub(super) fn room(count: usize) -> Result<(), FunctionError> {
        match count < MAX_FUNCTIONS {
            true => Ok(()),
            false => Err(FunctionError::Conflict(format!("there are {MAX_FUNCTIONS} functions already"))),
        }
    }
}

fn read(path: &Path) -> Result<Record, String> {
    let text = fs::read(path).map_err(|e| e.to_string())?;
    let record: Record = serde_json::from_slice(&text).map_err(|e| e.to_string())?;
    if record.format != FORMAT {
        return Err(format!("its format {} was written by a newer tidings", record.format));
    }
    let named = path.file_stem().and_then(|stem| stem.to_str());
    if named != Some(record.name.as_str()) || !is_name(&record.name) {
        return Err("it holds another function than its name says".to_owned());
    }
    record.check()?;
    Ok(record)
}

fn listed(dir: &Path) -> io::Result<Vec<PathBuf>> {
    fs::read_dir(dir)?.map(|entry| entry.map(|entry| entry.path())).collect()
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::super::code::CodeInput;
    use super::super::record::{MAX_VERSIONS, Version};
    use super::super::spec::{Runtime, Settings};
    use super::*;

    fn tree(text: &str) -> Tree {
        let input = CodeInput { text: Some(text.into()), ..CodeInput::default() };
        Tree::of(input, Runtime::Python3, "lib/index.main", 1 << 20).expect("good")
    }

    fn record(registry: &Registry, text: &str) -> Record {
        let tree = tree(text);
        let hash = registry.write_code(&tree).expect("written");
        let code = Version { number: 1, hash, bytes: tree.bytes(), time: "t".into() };
        Record::new("hello", Settings::default(), code, "t")
    }

    #[test]
    fn what_was_written_is_there_after_a_restart_and_what_was_not_is_gone() {
        let dir = tempfile::tempdir().expect("a directory");
        let (registry, records) = Registry::open(dir.path()).expect("opens");
        assert!(records.is_empty());
        let hello = record(&registry, "one");
        registry.write(&hello).expect("written");
        let orphan = registry.write_code(&tree("two")).expect("written");
        // What a crash in the middle of either leaves.
        fs::create_dir(dir.path().join("functions/code/.new-ab")).expect("made");
        fs::write(dir.path().join("functions/registry/.hello.new"), "{").expect("written");
        let (registry, records) = Registry::open(dir.path()).expect("opens");
        assert_eq!(records.values().collect::<Vec<_>>(), [&hello]);
        let code = registry.code_dir(&hello.versions[0].hash).join("lib/index.py");
        assert_eq!(fs::read_to_string(&code).expect("there"), "one");
        assert!(!registry.code_dir(&orphan).exists());
        assert_eq!(listed(&dir.path().join("functions/code")).expect("listed").len(), 1);
        assert_eq!(listed(&dir.path().join("functions/registry")).expect("listed").len(), 1);
        let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
        assert_eq!(mode(&code), 0o644);
        assert_eq!(mode(&dir.path().join("functions/registry/hello.json")), 0o600);
        registry.remove("hello").expect("removed");
        assert!(Registry::open(dir.path()).expect("opens").1.is_empty());
        assert!(!code.exists());
    }

    #[test]
    fn a_damaged_record_costs_itself_and_no_code() {
        let dir = tempfile::tempdir().expect("a directory");
        let (registry, _) = Registry::open(dir.path()).expect("opens");
        let hello = record(&registry, "one");
        registry.write(&hello).expect("written");
        let other = Record { name: "other".into(), ..hello.clone() };
        registry.write(&other).expect("written");
        let file = dir.path().join("functions/registry/hello.json");
        let text = |record: &Record| serde_json::to_string(record).expect("JSON");
        // What is whole and cannot be put in force, too.
        let no_code = Record { current: 9, ..hello.clone() };
        let settings = Settings { handler: "nowhere".into(), ..Settings::default() };
        let no_handler = Record { settings, ..hello.clone() };
        for bad in ["", "{}", &text(&other), &text(&no_code), &text(&no_handler)] {
            fs::write(&file, bad).expect("written");
            let (registry, records) = Registry::open(dir.path()).expect("opens");
            assert_eq!(records.keys().map(|name| &**name).collect::<Vec<_>>(), ["other"], "{bad}");
            registry.remove_code(&hello.versions[0].hash);
            assert!(registry.code_dir(&hello.versions[0].hash).exists());
        }
    }

    #[test]
    fn the_same_code_is_the_same_version_and_ten_are_kept() {
        let dir = tempfile::tempdir().expect("a directory");
        let (registry, _) = Registry::open(dir.path()).expect("opens");
        let mut hello = record(&registry, "0");
        for n in 1..=12 {
            hello.take_code(format!("{n}"), 1, "t");
            assert_eq!(hello.current, n + 1);
        }
        assert_eq!(hello.versions.len(), MAX_VERSIONS);
        hello.take_code("5".into(), 1, "t");
        assert_eq!((hello.current, hello.versions.len()), (6, MAX_VERSIONS));
        assert_eq!(hello.version().expect("kept").hash, "5");
    }
}
