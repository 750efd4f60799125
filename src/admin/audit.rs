//! The audit log: who changed what, as JSON lines in `<data>/audit.log`; older ones in `audit.log.1` (the
//! latest of them) to `audit.log.4`, so that all take a bounded space.
//!
//! Must never hold a secret, a body or an object's key, and must never be written by a request that was not
//! authenticated: only operators may make it grow. A change is announced here before it is made, synced, and
//! closed with its result, synced too; what cannot be announced is not made. A line `begun` without a second
//! line means that tidings stopped in between, and only the target's state can tell.

use std::fs::{self, File, OpenOptions};
use std::future::Future;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

/// A file that is longer, in bytes, gets no further line.
const MAX_BYTES: u64 = 16 << 20;
/// Older files that are kept.
const KEPT: u32 = 4;
const NAME: &str = "audit.log";

/// The audit log of one data directory.
#[derive(Debug, Clone)]
pub struct AuditLog {
    writer: Arc<Mutex<Writer>>,
}

/// One line.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Line<'a> {
    /// When it was written, RFC 3339 in UTC.
    pub(super) time: String,
    /// Who asked: the name of the token, or an access key.
    pub(super) who: &'a str,
    /// From where.
    pub(super) peer: SocketAddr,
    /// What was asked for: `target:pause`.
    pub(super) action: &'static str,
    /// Which target; empty where it is about all of them.
    pub(super) target: &'a str,
    /// The parameters, without object keys; at most 512 bytes.
    pub(super) asked: &'a str,
    /// `begun`, then `done` or an error code.
    pub(super) result: &'static str,
}

#[derive(Debug)]
struct Writer {
    /// None only where a test gave a file without a directory.
    data: Option<PathBuf>,
    file: File,
    /// Its length, in bytes.
    length: u64,
    max: u64,
    /// The last write failed: it may have left half a line.
    torn: bool,
}

impl AuditLog {
    /// Opens the log for appending, for the owner only. A line that a crash cut short is closed first.
    ///
    /// # Errors
    /// What the system says; tidings does not start without its audit log.
    pub fn open(data: &Path) -> io::Result<Self> {
        Self::bounded(data, MAX_BYTES)
    }

    /// The same with files of another length.
    pub(super) fn bounded(data: &Path, max: u64) -> io::Result<Self> {
        let mut file = opened(data)?;
        let length = file.seek(SeekFrom::End(0))?;
        let mut last = *b"\n";
        if length > 0 {
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
        }
        let writer = Writer { data: Some(data.to_owned()), file, length, max, torn: last != *b"\n" };
        Ok(Self { writer: Arc::new(Mutex::new(writer)) })
    }

    /// Appends one line; it is durable when this returns `Ok`. Waits for the disk on a thread of its own.
    pub(super) async fn append(&self, line: Line<'_>) -> io::Result<()> {
        let mut text = serde_json::to_vec(&line)?;
        text.push(b'\n');
        let writer = Arc::clone(&self.writer);
        let write = move || writer.lock().unwrap_or_else(PoisonError::into_inner).append(&text);
        tokio::task::spawn_blocking(write).await.map_err(io::Error::other)?
    }

    /// Announces a change, makes it, and closes it with its result: `done`, or the name of its error. What
    /// cannot be announced is not made.
    pub(super) async fn around<'a, T, E>(
        &self,
        line: impl Fn(&'static str) -> Line<'a>,
        change: impl Future<Output = Result<T, E>>,
        name: impl Fn(&E) -> &'static str,
    ) -> io::Result<Result<T, E>> {
        self.append(line("begun")).await?;
        let made = change.await;
        let result = made.as_ref().err().map_or("done", name);
        if let Err(error) = self.append(line(result)).await {
            // The change is announced in the log already; its result is in the answer and in the state.
            tracing::error!(%error, action = line(result).action, result, "the audit log misses a result");
        }
        Ok(made)
    }

    /// A log on this file, for tests of failing disks.
    #[cfg(test)]
    pub(super) fn on(file: File) -> Self {
        let writer = Writer { data: None, file, length: 0, max: MAX_BYTES, torn: false };
        Self { writer: Arc::new(Mutex::new(writer)) }
    }
}

impl Writer {
    fn append(&mut self, text: &[u8]) -> io::Result<()> {
        if self.length >= self.max {
            self.rotate()?;
        }
        let close: &[u8] = if self.torn { b"\n" } else { b"" };
        self.torn = true;
        self.file.write_all(&[close, text].concat())?;
        self.file.sync_data()?;
        self.torn = false;
        self.length += (close.len() + text.len()) as u64;
        Ok(())
    }

    /// Begins a new file. Where a step fails, the next line tries again and loses none of the kept files.
    fn rotate(&mut self) -> io::Result<()> {
        let Some(data) = &self.data else { return Ok(()) };
        let name = |number: u32| data.join(format!("{NAME}.{number}"));
        // A name that is free means that an earlier try came as far as that.
        if fs::exists(data.join(NAME))? {
            let free = (1..=KEPT).find(|number| !name(*number).exists()).unwrap_or(KEPT);
            for number in (1..free).rev() {
                fs::rename(name(number), name(number + 1))?;
            }
            fs::rename(data.join(NAME), name(1))?;
        }
        self.file = opened(data)?;
        (self.length, self.torn) = (0, false);
        Ok(())
    }
}

/// The file for lines, made if it is missing; its name survives a crash.
fn opened(data: &Path) -> io::Result<File> {
    let file = OpenOptions::new().create(true).read(true).append(true).mode(0o600).open(data.join(NAME))?;
    File::open(data)?.sync_all()?;
    Ok(file)
}
