//! Reading the code that somebody names: a file, a folder or a zip file.
//!
//! Must never follow a link: what it points to may be nobody's code.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// The most files of a folder, and the most bytes of all of them, that are sent.
const MAX_FILES: usize = 10_000;
const MAX_BYTES: u64 = 68 << 20;

pub(super) fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    if path.as_os_str() == "-" {
        let mut bytes = Vec::new();
        std::io::stdin().take(MAX_BYTES).read_to_end(&mut bytes).context("standard input")?;
        return Ok(bytes);
    }
    std::fs::read(path).with_context(|| format!("{} cannot be read", path.display()))
}

/// The code in a file, a folder or a zip file.
pub(super) fn code(path: &Path) -> anyhow::Result<Value> {
    if path.is_dir() {
        let mut files = BTreeMap::new();
        let mut bytes = 0;
        collect(path, path, &mut files, &mut bytes)?;
        return Ok(json!({ "files": files }));
    }
    let bytes = read(path)?;
    if bytes.len() as u64 > MAX_BYTES {
        bail!("{} is larger than {} MiB", path.display(), MAX_BYTES >> 20);
    }
    if bytes.starts_with(b"PK") {
        return Ok(json!({ "zip": STANDARD.encode(bytes) }));
    }
    Ok(match String::from_utf8(bytes) {
        Ok(text) => json!({ "text": text }),
        Err(bytes) => json!({ "files": { "bootstrap": STANDARD.encode(bytes.into_bytes()) } }),
    })
}

fn collect(
    root: &Path,
    folder: &Path,
    files: &mut BTreeMap<String, String>,
    bytes: &mut u64,
) -> anyhow::Result<()> {
    let unreadable = || format!("{} cannot be read", folder.display());
    for entry in std::fs::read_dir(folder).with_context(unreadable)? {
        let entry = entry.with_context(unreadable)?;
        let (kind, path) = (entry.file_type().with_context(unreadable)?, entry.path());
        if kind.is_dir() {
            if entry.file_name() != "__pycache__" && entry.file_name() != ".git" {
                collect(root, &path, files, bytes)?;
            }
            continue;
        }
        if !kind.is_file() {
            bail!(
                "{} is neither a file nor a folder: leave it out, or copy what it points to",
                path.display()
            );
        }
        let content = read(&path)?;
        *bytes += content.len() as u64;
        if files.len() >= MAX_FILES || *bytes > MAX_BYTES {
            bail!("{} holds more than {MAX_FILES} files or {} MiB", root.display(), MAX_BYTES >> 20);
        }
        let name = path.strip_prefix(root).unwrap_or(&path).to_str();
        let name = name.with_context(|| format!("the name {} is not UTF-8", path.display()))?;
        files.insert(name.to_owned(), STANDARD.encode(content));
    }
    Ok(())
}
