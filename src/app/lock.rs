//! The lock of a data directory: one process at a time.
//!
//! Must never be released before everything on the directory is closed: the value is dropped last.

use std::fs::{File, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

/// Held while a process works on a data directory.
#[derive(Debug)]
pub struct DirectoryLock {
    _file: File,
}

/// Why a data directory cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process works on it.
    #[error(
        "{path} is in use by process {pid}: stop that one first, or choose another `server.data`",
        path = .path.display()
    )]
    InUse {
        /// The data directory.
        path: PathBuf,
        /// The other process.
        pid: String,
    },
    /// The disk failed.
    #[error("{path}: {error}", path = .path.display())]
    Io {
        /// The lock file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
}

impl DirectoryLock {
    /// Takes the lock of `data`, which must exist.
    pub fn take(data: &Path) -> Result<Self, LockError> {
        let path = data.join("lock");
        let io = |error| LockError::Io { path: path.clone(), error };
        let mut file =
            File::options().read(true).write(true).create(true).truncate(false).open(&path).map_err(io)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                let _ = file.read_to_string(&mut pid);
                let pid = pid.trim().to_owned();
                let pid = if pid.is_empty() { "unknown".to_owned() } else { pid };
                return Err(LockError::InUse { path: data.to_owned(), pid });
            }
            Err(TryLockError::Error(error)) => return Err(io(error)),
        }
        file.set_len(0).and_then(|()| file.rewind()).map_err(io)?;
        writeln!(file, "{}", std::process::id()).map_err(io)?;
        Ok(Self { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_one_is_refused_with_the_first_ones_pid() {
        let dir = tempfile::tempdir().expect("a directory");
        let first = DirectoryLock::take(dir.path()).expect("free");
        let error = DirectoryLock::take(dir.path()).expect_err("taken").to_string();
        assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
        drop(first);
        DirectoryLock::take(dir.path()).expect("free again");
    }
}
