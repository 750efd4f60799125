//! `tidings journal …`: the log of a running server, and what can be done about damage in one.
//!
//! `verify` only reads and may run beside a server. `accept-loss` and `restored` take the directory's lock:
//! they must never run beside one.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use clap::Subcommand;

use super::paint::{Progress, Table};
use super::{ConfigFile, Failure, remote};
use crate::app::{self, lock::DirectoryLock};
use crate::journal::{self, OsDisk, RepairError};
use crate::queue::repair::{self, AcceptError};
use crate::store::{self, EmbeddedStore};

/// Show the journal of a running server, look for damage, accept a loss.
#[derive(clap::Args)]
pub(super) struct Journal {
    #[command(flatten)]
    server: remote::Server,
    #[command(subcommand)]
    command: JournalCommand,
}

#[derive(Subcommand)]
enum JournalCommand {
    /// Offsets, segments and bytes of a running server.
    Stat,
    /// Read every record in a data directory and say what is damaged. Changes nothing; exit code 3 if
    /// anything is.
    Verify(Offline),
    /// Give up records that are damaged, so that readers go on behind them. The server must be stopped.
    AcceptLoss {
        /// The offsets, both included, as `verify` says them: `FROM..TO`.
        #[arg(value_name = "FROM..TO")]
        range: String,
        #[command(flatten)]
        offline: Offline,
    },
    /// Say that the data directory is a copy that was put back: what comes now gets sequencers and version
    /// ids above all that were given behind the copy. The server must be stopped.
    Restored(Offline),
}

/// Where the data directory is.
#[derive(clap::Args)]
pub(super) struct Offline {
    #[command(flatten)]
    config: ConfigFile,
    /// The data directory, if it is not the configured one.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    pub(super) json: bool,
}

impl Journal {
    pub(super) async fn run(self) -> Result<(), Failure> {
        match self.command {
            JournalCommand::Stat => self.server.show("/v1/journal").await,
            JournalCommand::Verify(offline) => offline.blocking(Offline::verify).await,
            JournalCommand::AcceptLoss { range, offline } => {
                let range = parse(&range)?;
                offline.blocking(move |offline| offline.accept_loss(range)).await
            }
            JournalCommand::Restored(offline) => offline.blocking(Offline::restored).await,
        }
    }
}

impl Offline {
    /// Runs work that blocks.
    pub(super) async fn blocking(
        self,
        work: impl FnOnce(&Self) -> Result<(), Failure> + Send + 'static,
    ) -> Result<(), Failure> {
        tokio::task::spawn_blocking(move || work(&self)).await.context("ended by a bug")?
    }

    fn verify(&self) -> Result<(), Failure> {
        let data = self.directory()?;
        let applied = Self::applied(&data);
        let expected = repair::expected(&OsDisk, &data.join("progress"), applied).context("progress rows")?;
        let mut progress = Progress::new();
        let mut seen = |at, of| progress.show(&format!("reading the journal: file {at} of {of}"));
        let found =
            journal::verify_seen(&OsDisk, &data.join("journal"), &expected, &mut seen).context("verify")?;
        drop(progress);
        if self.json {
            say!("{}", serde_json::to_string(&found).context("JSON")?);
        } else {
            let mut table = Table::new(&["FILE", "STATE", ">FIRST", ">END", ">RECORDS", ">BYTES"]);
            for f in &found.files {
                let [first, end, records, bytes] =
                    [f.first, f.end, f.records, f.bytes].map(|n| n.to_string());
                table.row([f.file.clone(), f.state.to_owned(), first, end, records, bytes]);
                table.paint(1);
            }
            table.print();
            for damage in &found.damage {
                say!("damaged: {damage}");
            }
            for loss in &found.accepted {
                loss.damage.iter().for_each(|damage| say!("accepted as lost: {damage}"));
            }
        }
        if found.damage.is_empty() {
            return Ok(());
        }
        let lost = found.damage.iter().filter(|d| d.offsets() > 0);
        let from = lost.clone().map(|d| d.from).min().unwrap_or(0);
        let to = lost.map(|d| d.to).max().unwrap_or(0);
        let next =
            format!("restore it, or stop the server and run `tidings journal accept-loss {from}..{to}`");
        Err(Failure::Found(format!("the journal is damaged in {} place(s): {next}", found.damage.len())))
    }

    /// What the index has, if that can be asked: a server that runs has told what its own lacks, and of an
    /// index that cannot be opened `store verify` speaks.
    fn applied(data: &Path) -> Option<u64> {
        let _lock = DirectoryLock::take(data).ok()?;
        store::checkpoint_end(Arc::new(OsDisk), data).ok()
    }

    fn accept_loss(&self, range: (u64, u64)) -> Result<(), Failure> {
        let config = self.config.load()?;
        let data = self.directory()?;
        let _lock = DirectoryLock::take(&data).map_err(anyhow::Error::from)?;
        let disk = Arc::new(OsDisk);
        let store = EmbeddedStore::open(disk.clone(), &data, &config.store).context("the index")?;
        let applied = store.checkpoint_next();
        drop(store);
        let (journal, progress) = (data.join("journal"), data.join("progress"));
        let loss =
            repair::accept_loss(&*disk, &journal, &progress, range, applied, app::now_us(), app::random);
        let loss = loss.map_err(|e| match e {
            AcceptError::Journal(e @ (RepairError::Nothing | RepairError::NotAll(_))) => {
                Failure::Usage(e.to_string())
            }
            other => Failure::Failed(other.into()),
        })?;
        if self.json {
            say!("{}", serde_json::to_string(&loss).context("JSON")?);
            return Ok(());
        }
        for damage in &loss.damage {
            say!("accepted as lost: {damage}");
        }
        for (target, records) in &loss.quarantined {
            say!("target {target}: {records} event(s) counted as quarantined");
        }
        say!("the epoch is {} now; start the server", loss.epoch);
        Ok(())
    }

    fn restored(&self) -> Result<(), Failure> {
        let data = self.directory()?;
        let _lock = DirectoryLock::take(&data).map_err(anyhow::Error::from)?;
        let epoch = journal::restored(&OsDisk, &data.join("journal"), app::now_us()).context("restored")?;
        match self.json {
            true => say!("{}", serde_json::json!({ "epoch": epoch })),
            false => say!("the epoch is {epoch} now; start the server"),
        }
        Ok(())
    }

    /// The data directory.
    pub(super) fn directory(&self) -> Result<PathBuf, Failure> {
        let data = match &self.data {
            Some(data) => data.clone(),
            None => self.config.load()?.server.data,
        };
        if !data.join("journal").is_dir() {
            return Err(Failure::Usage(format!(
                "{} is not a data directory: name it with --data",
                data.display()
            )));
        }
        Ok(data)
    }
}

/// `FROM..TO`, or one offset.
fn parse(range: &str) -> Result<(u64, u64), Failure> {
    let (from, to) = range.split_once("..").unwrap_or((range, range));
    match (from.trim().parse(), to.trim().parse()) {
        (Ok(from), Ok(to)) if from <= to => Ok((from, to)),
        _ => {
            Err(Failure::Usage(format!("`{range}` is not a range of offsets: write FROM..TO, both included")))
        }
    }
}
