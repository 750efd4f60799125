//! A file with secrets in the data directory: made on first start, for its owner only.
//!
//! Must never read one that others on the machine may read, never replace one that was not read just before,
//! and never quote what it holds.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, fchown};
use std::path::{Path, PathBuf};

use secrecy::SecretString;

/// A longer file is no file of ours, in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// Whether a file had to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Created {
    /// It did not exist: it was generated now, here. For the line that `serve` prints on first start.
    Now(PathBuf),
    /// It existed and was read.
    Before(PathBuf),
}

/// Why a file with secrets cannot be used. Each stops the start.
#[derive(Debug, thiserror::Error)]
pub enum SecretFileError {
    /// Others on the machine may read or change the file: a person has to decide whether it still is a
    /// secret.
    #[error("{0} may be read or changed by others (mode {mode:03o}): run `chmod 600 {0}`", .path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file's content is not what it should be. The reason never quotes the content.
    #[error("{path}: {why}", path = .path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        why: String,
    },
    /// The file cannot be read, made or synced.
    #[error("{path}: {error}", path = .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
}

/// The file's text, after its mode was looked at.
pub fn read(path: &Path) -> Result<SecretString, SecretFileError> {
    let io_error = |error| SecretFileError::Io { path: path.to_owned(), error };
    let file = File::open(path).map_err(io_error)?;
    // The open file is asked, not the path, so that nobody can put another one between.
    let mode = file.metadata().map_err(io_error)?.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(SecretFileError::Exposed { path: path.to_owned(), mode });
    }
    let mut text = String::new();
    file.take(MAX_BYTES).read_to_string(&mut text).map_err(io_error)?;
    Ok(text.into())
}

/// The same; the file is made, durably, if it is not there. Its directory must exist.
pub fn read_or_make(
    path: &Path,
    make: impl FnOnce() -> String,
) -> Result<(SecretString, Created), SecretFileError> {
    match read(path) {
        Err(SecretFileError::Io { error, .. }) if error.kind() == io::ErrorKind::NotFound => {
            write_durably(path, &make())
                .map_err(|error| SecretFileError::Io { path: path.to_owned(), error })?;
            Ok((read(path)?, Created::Now(path.to_owned())))
        }
        other => Ok((other?, Created::Before(path.to_owned()))),
    }
}

/// Replaces a file that is there, whole and durably; it stays its owner's.
pub fn replace(path: &Path, text: &str) -> io::Result<()> {
    let old = fs::metadata(path)?;
    write(path, text, Some((old.uid(), old.gid())))
}

/// Writes a new file of mode 0600: whole and durable under its name, or not there at all.
fn write_durably(path: &Path, text: &str) -> io::Result<()> {
    write(path, text, None)
}

fn write(path: &Path, text: &str, owner: Option<(u32, u32)>) -> io::Result<()> {
    let temporary = path.with_extension("new");
    // Left by a start that was interrupted, or by somebody else: only one that is made here has our mode.
    match fs::remove_file(&temporary) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    let ours = file.metadata()?;
    if let Some((uid, gid)) = owner.filter(|owner| *owner != (ours.uid(), ours.gid())) {
        // A file of root's is of no use to a server that is somebody else.
        fchown(&file, Some(uid), Some(gid))?;
    }
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    let directory = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(directory)?.sync_all()
}
