//! The audit log: who changed what, as JSON lines in `<data>/audit.log`.
//!
//! Must never hold a secret, and must never be written by a request that was not authenticated: only
//! operators may make it grow. A change is announced here before it is made, and closed with its result: a
//! line `begun` without a second line means that tidings stopped in between, and only the target's state can
//! tell.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

/// The audit log of one data directory.
#[derive(Debug, Clone)]
pub struct AuditLog {
    file: Arc<Mutex<File>>,
}

/// One line.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Line<'a> {
    /// When it was written, RFC 3339 in UTC.
    pub(super) time: String,
    /// What was asked for: `target:pause`.
    pub(super) action: &'static str,
    /// Which target; empty where it is about all of them.
    pub(super) target: &'a str,
    /// Who asked.
    pub(super) peer: SocketAddr,
    /// `begun`, then `done` or an error code.
    pub(super) result: &'static str,
}

impl AuditLog {
    /// Opens the log for appending, for the owner only. A line that a crash cut short is closed first.
    ///
    /// # Errors
    /// What the system says; tidings does not start without its audit log.
    pub fn open(data: &Path) -> io::Result<Self> {
        let mut file = OpenOptions::new()
            .create(true)
            .read(true)
            .append(true)
            .mode(0o600)
            .open(data.join("audit.log"))?;
        if file.seek(SeekFrom::End(0))? > 0 {
            file.seek(SeekFrom::End(-1))?;
            let mut last = [0];
            file.read_exact(&mut last)?;
            if last != *b"\n" {
                file.write_all(b"\n")?;
            }
        }
        // The name must survive too, or the first lines would not.
        File::open(data)?.sync_all()?;
        Ok(Self { file: Arc::new(Mutex::new(file)) })
    }

    /// Appends one line; it is durable when this returns `Ok`. Waits for the disk on a thread of its own.
    pub(super) async fn append(&self, line: Line<'_>) -> io::Result<()> {
        let mut text = serde_json::to_vec(&line)?;
        text.push(b'\n');
        let file = Arc::clone(&self.file);
        let write = move || {
            let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
            file.write_all(&text)?;
            file.sync_data()
        };
        tokio::task::spawn_blocking(write).await.map_err(io::Error::other)?
    }

    /// A log on this file, for tests of failing disks.
    #[cfg(test)]
    pub(super) fn on(file: File) -> Self {
        Self { file: Arc::new(Mutex::new(file)) }
    }
}
