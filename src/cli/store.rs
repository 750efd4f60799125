//! `tidings store …`: what bodies take, and whether all of them are sound.
//!
//! `verify` takes the directory's lock, since packs move while a server runs, and must never change a file.

use std::io::{IsTerminal as _, Write as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Subcommand;

use super::journal::Offline;
use super::{Failure, remote};
use crate::app::lock::DirectoryLock;
use crate::journal::OsDisk;
use crate::store::{self, Inspection};

/// How often progress is told to a terminal.
const TELL: Duration = Duration::from_millis(500);

/// Show the store of a running server, look for damage in one that is stopped.
#[derive(clap::Args)]
pub(super) struct Store {
    #[command(flatten)]
    server: remote::Server,
    #[command(subcommand)]
    command: StoreCommand,
}

#[derive(Subcommand)]
enum StoreCommand {
    /// What bodies take on the disk, and the damage that the background scrub of a running server found.
    Show,
    /// Read every row of the index and every byte of every body, and name what is damaged. Changes nothing;
    /// exit code 3 if anything is. The server must be stopped.
    Verify(Offline),
}

impl Store {
    pub(super) async fn run(self) -> Result<(), Failure> {
        match self.command {
            StoreCommand::Show => self.server.show("/v1/store").await,
            StoreCommand::Verify(offline) => offline.blocking(verify).await,
        }
    }
}

fn verify(offline: &Offline) -> Result<(), Failure> {
    let data = offline.directory()?;
    let _lock = DirectoryLock::take(&data).map_err(anyhow::Error::from)?;
    let mut line = Line::new();
    let found = store::verify(Arc::new(OsDisk), &data, &mut |objects, bytes| line.tell(objects, bytes));
    line.end();
    let found = found.context("verify")?;
    if offline.json {
        say!("{}", serde_json::to_string(&found).context("JSON")?);
    } else {
        print(&found);
    }
    match found.damaged {
        0 => Ok(()),
        n => Err(Failure::Found(format!(
            "the store is damaged in {n} place(s): restore the objects named above, or put them again"
        ))),
    }
}

fn print(found: &Inspection) {
    say!(
        "{} objects and {} parts of open uploads, {} bytes read; the index holds all changes below {}",
        found.objects,
        found.parts,
        found.bytes,
        found.applied_end
    );
    found.damage.iter().for_each(|finding| say!("damaged: {finding}"));
    let more = found.damaged.saturating_sub(found.damage.len() as u64);
    if more > 0 {
        say!("damaged: {more} more");
    }
    for orphan in &found.orphans {
        say!("orphan: {} ({} bytes)", orphan.file, orphan.bytes);
    }
    if found.orphaned > 0 {
        say!("{} file(s) that no row names: the next start removes what nobody needs", found.orphaned);
    }
}

/// One line on standard error that says how far it is, if somebody looks.
struct Line {
    shown: bool,
    next: Instant,
}

impl Line {
    fn new() -> Self {
        Self { shown: std::io::stderr().is_terminal(), next: Instant::now() + TELL }
    }

    fn tell(&mut self, objects: u64, bytes: u64) {
        if self.shown && Instant::now() >= self.next {
            let _ = write!(std::io::stderr(), "\r{objects} objects, {} MiB …", bytes >> 20);
            self.next = Instant::now() + TELL;
        }
    }

    fn end(&self) {
        if self.shown {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}
