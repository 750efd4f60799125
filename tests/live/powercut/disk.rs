//! Images of a device as a power cut may leave it, and file systems in place of a data directory.
//!
//! Must never leave anything mounted: what is dropped is unmounted, by a failing test too.

use std::fs::File;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use tokio::time::sleep;

use super::nbd::Done;

/// What a disk writes whole or not at all.
const SECTOR: usize = 512;
/// Zeros of this size are left out of an image's file.
const CHUNK: usize = 64 << 10;
/// How often another process is asked.
const ASK_EVERY: Duration = Duration::from_millis(10);

/// What is certainly on the disk, moving forward through what was done.
pub(crate) struct Replay<'a> {
    done: &'a [Done],
    solid: Vec<u8>,
    /// So many of `done` are in `solid`.
    upto: usize,
}

impl<'a> Replay<'a> {
    /// Begins with an empty device of this many bytes.
    pub(crate) fn new(bytes: usize, done: &'a [Done]) -> Self {
        Self { done, solid: vec![0; bytes], upto: 0 }
    }

    /// Writes what a cut before `tick` may leave: everything up to the last flush, and of each later write
    /// each sector or not. Cuts come in order.
    pub(crate) fn cut(&mut self, tick: u64, rng: &mut fastrand::Rng, image: &Path) -> std::io::Result<()> {
        let end = self.done.partition_point(|done| done.tick() < tick);
        let flushed = self.done[..end].iter().rposition(|done| matches!(done, Done::Flush { .. }));
        let solid = flushed.map_or(self.upto, |at| self.upto.max(at + 1));
        for done in &self.done[self.upto..solid] {
            if let Done::Write { at, bytes, .. } = done {
                self.solid[*at..at + bytes.len()].copy_from_slice(bytes);
            }
        }
        self.upto = solid;
        let mut file = File::create(image)?;
        file.set_len(self.solid.len() as u64)?;
        for (number, chunk) in self.solid.chunks(CHUNK).enumerate() {
            if chunk.iter().any(|byte| *byte != 0) {
                file.seek(SeekFrom::Start((number * CHUNK) as u64))?;
                file.write_all(chunk)?;
            }
        }
        for done in &self.done[self.upto..end] {
            let Done::Write { at, bytes, .. } = done else { continue };
            for (number, sector) in bytes.chunks(SECTOR).enumerate() {
                if rng.bool() {
                    file.seek(SeekFrom::Start((at + number * SECTOR) as u64))?;
                    file.write_all(sector)?;
                }
            }
        }
        Ok(())
    }
}

/// A file system in place of a directory.
pub(crate) struct Mounted {
    device: String,
    at: PathBuf,
}

impl Mounted {
    /// Mounts a file as ext4; its journal is replayed, as at any start after a power cut.
    pub(crate) fn new(file: &Path, at: &Path) -> Self {
        std::fs::create_dir_all(at).expect("a directory");
        let device = run("losetup", &["--find", "--show", path(file)]);
        run("mount", &["-t", "ext4", &device, path(at)]);
        Self { device, at: at.to_owned() }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        for (program, arguments) in
            [("umount", ["--lazy", path(&self.at)]), ("losetup", ["--detach", &*self.device])]
        {
            let ended = Command::new(program).args(arguments).status();
            if !ended.is_ok_and(|status| status.success()) {
                eprintln!("{program} {arguments:?} failed: do it by hand");
            }
        }
    }
}

/// An NBD server as a file.
pub(crate) struct Fuse {
    file: PathBuf,
    process: Child,
}

impl Fuse {
    /// `file` must not be there; its directory must.
    pub(crate) async fn new(socket: &Path, file: &Path) -> Self {
        File::create(file).expect("a file");
        let process = Command::new("nbdfuse").args([path(file), "--unix", path(socket)]).spawn();
        let process = process.expect("nbdfuse; `cargo xtask powercut` installs it");
        let mounted = Self { file: file.to_owned(), process };
        // Until then it is the empty file beneath.
        while file.metadata().is_ok_and(|file| file.len() == 0) {
            sleep(ASK_EVERY).await;
        }
        mounted
    }
}

impl Drop for Fuse {
    fn drop(&mut self) {
        let _ = Command::new("fusermount3").args(["-u", path(&self.file)]).status();
        let _ = self.process.wait();
    }
}

/// Makes an ext4 of a file.
pub(crate) fn format(file: &Path) {
    run("mkfs.ext4", &["-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0,nodiscard", path(file)]);
}

fn path(path: &Path) -> &str {
    path.to_str().expect("a name in UTF-8")
}

fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let output = output.unwrap_or_else(|why| panic!("{program}: {why}; `cargo xtask powercut` installs it"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {said}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
