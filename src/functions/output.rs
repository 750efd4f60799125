//! What an instance writes to its standard output and error: the last of it is kept, the rest is thrown away.
//!
//! Must never keep more than a tail, however much is written, and never stop reading: who writes would stand
//! still.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;

use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;

use super::shown::{MARGIN, TAIL};

/// Bytes that are kept: those that are shown, and enough before them to know a secret through which the cut
/// goes.
const KEPT: usize = TAIL + MARGIN;
const CHUNK: usize = 64 << 10;
/// Bytes that are read at the end of a run, at most: as much as a pipe holds, and no more.
const REST: usize = 1 << 20;

/// The reading end of an instance's output.
pub(super) struct Output {
    pipe: pipe::Receiver,
    /// The same pipe, asked without waiting.
    now: File,
    tail: Vec<u8>,
    chunk: Vec<u8>,
    ended: bool,
}

impl Output {
    /// A pipe; the instance gets its other end.
    pub(super) fn new(reader: OwnedFd) -> io::Result<Self> {
        let now = File::from(reader.try_clone()?);
        let pipe = pipe::Receiver::from_owned_fd(reader)?;
        Ok(Self { pipe, now, tail: Vec::new(), chunk: vec![0; CHUNK], ended: false })
    }

    /// Waits for more and takes it. Pends for ever once everybody has closed the other end. Cancel safe.
    pub(super) async fn more(&mut self) {
        if self.ended {
            return std::future::pending().await;
        }
        match self.pipe.read(&mut self.chunk).await {
            Ok(0) | Err(_) => self.ended = true,
            Ok(read) => keep(&mut self.tail, &self.chunk[..read]),
        }
    }

    /// What was kept since the last time, after everything was read that is there now.
    pub(super) fn take(&mut self) -> Vec<u8> {
        let mut rest = REST;
        while rest > 0
            && let Ok(read @ 1..) = self.now.read(&mut self.chunk)
        {
            keep(&mut self.tail, &self.chunk[..read]);
            rest = rest.saturating_sub(read);
        }
        std::mem::take(&mut self.tail)
    }

    /// Forgets what was written: it belongs to no run.
    pub(super) fn forget(&mut self) {
        self.tail.clear();
    }
}

fn keep(tail: &mut Vec<u8>, more: &[u8]) {
    let more = &more[more.len().saturating_sub(KEPT)..];
    let room = KEPT - more.len();
    if tail.len() > room {
        tail.drain(..tail.len() - room);
    }
    tail.extend_from_slice(more);
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn the_last_bytes_are_kept() {
        let mut tail = Vec::new();
        for n in 0..10_000_u32 {
            keep(&mut tail, format!("{n}\n").as_bytes());
        }
        assert_eq!(tail.len(), KEPT);
        assert!(tail.ends_with(b"9998\n9999\n"));
        keep(&mut tail, &[b'x'; 3 * KEPT]);
        assert_eq!(tail, [b'x'; KEPT]);
    }

    #[tokio::test]
    async fn what_was_written_before_the_end_of_a_run_belongs_to_it() {
        let (reader, mut writer) = std::io::pipe().expect("a pipe");
        let mut output = Output::new(reader.into()).expect("a pipe");
        writer.write_all(b"first").expect("written");
        assert_eq!(output.take(), b"first");
        assert_eq!(output.take(), b"");
        writer.write_all(&[b'a'; 20_000]).expect("written");
        output.more().await;
        writer.write_all(b"end").expect("written");
        let said = output.take();
        assert!(said.len() <= KEPT && said.ends_with(b"aend"), "{}", said.len());
    }
}
