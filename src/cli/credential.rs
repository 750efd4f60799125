//! `tidings credential …`: who may sign requests, as the data directory's file says.
//!
//! Must never show a secret but to who has just made it, and never reach for a running server.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::{ConfigFile, Failure};
use crate::app;
use crate::config::credentials::edit::{self, EditError, Issued, New};
use crate::config::credentials::{self, Scope};

/// Add, list, rotate and remove the credentials that may sign requests. A running server goes by the file as
/// it was at its start or last `tidings reload`.
#[derive(Args)]
pub(super) struct Credential {
    #[command(flatten)]
    config: ConfigFile,
    /// The data directory, if it is not the configured one.
    #[arg(long, value_name = "DIR", global = true)]
    data: Option<PathBuf>,
    /// Print JSON.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: CredentialCommand,
}

#[derive(Subcommand)]
enum CredentialCommand {
    /// Add a credential; its secret is generated and shown once.
    Add {
        /// What it may do.
        #[arg(long, value_enum)]
        scope: ScopeName,
        /// A bucket's name, or a pattern in which * stands for any characters. May be repeated.
        #[arg(long = "bucket", value_name = "PATTERN", default_value = "*")]
        buckets: Vec<String>,
        /// What it is for.
        #[arg(long)]
        note: Option<String>,
        /// An access key of your own; without it one is generated.
        #[arg(long, value_name = "KEY")]
        access_key: Option<String>,
    },
    /// List the credentials, without secrets.
    Ls,
    /// Give a credential a new secret, which is shown once.
    Rotate {
        /// The access key.
        key: String,
    },
    /// Remove a credential.
    Rm {
        /// The access key.
        key: String,
    },
}

/// What a credential may do; each of the first three may also do what those before it may.
#[derive(Clone, Copy, ValueEnum)]
enum ScopeName {
    /// Read and list objects.
    Read,
    /// Change objects too.
    Write,
    /// Make, remove and configure buckets too.
    Admin,
    /// Nothing but send replicas: for a tidings of another region.
    Replication,
}

impl From<ScopeName> for Scope {
    fn from(name: ScopeName) -> Self {
        match name {
            ScopeName::Read => Scope::Read,
            ScopeName::Write => Scope::Write,
            ScopeName::Admin => Scope::Admin,
            ScopeName::Replication => Scope::Replication,
        }
    }
}

impl Credential {
    pub(super) fn run(self) -> Result<(), Failure> {
        let data = match &self.data {
            Some(data) => data.clone(),
            None => self.config.load()?.server.data,
        };
        let mut random =
            |bytes: &mut [u8]| app::random(bytes).expect("the operating system gives random bytes");
        match self.command {
            CredentialCommand::Ls => list(&credentials::load(&data).map_err(EditError::from)?, self.json),
            CredentialCommand::Add { scope, buckets, note, access_key } => {
                let new = New { access_key, scope: scope.into(), buckets, note };
                show(&edit::add(&data, new, &mut random)?, self.json);
            }
            CredentialCommand::Rotate { key } => show(&edit::rotate(&data, &key, &mut random)?, self.json),
            CredentialCommand::Rm { key } => {
                edit::remove(&data, &key)?;
                match self.json {
                    true => say!("{}", serde_json::json!({ "removed": key })),
                    false => say!("removed {key}: void once the server has run `tidings reload`"),
                }
            }
        }
        Ok(())
    }
}

impl From<EditError> for Failure {
    fn from(error: EditError) -> Self {
        match error {
            EditError::File(error) => Failure::Failed(error.into()),
            EditError::Refused(why) => Failure::Usage(format!("error: {why}")),
        }
    }
}

fn list(credentials: &credentials::Credentials, json: bool) {
    if json {
        let all: Vec<_> = credentials
            .all()
            .map(|(key, pair)| {
                let (scope, buckets) = (pair.scope.label(), &pair.buckets);
                let note = &pair.note;
                serde_json::json!({ "access_key": key, "scope": scope, "buckets": buckets, "note": note })
            })
            .collect();
        return say!("{}", serde_json::json!({ "credentials": all }));
    }
    let width = credentials.access_keys().map(str::len).max().unwrap_or(0).max("ACCESS KEY".len());
    say!("{:<width$}  {:<5}  BUCKETS", "ACCESS KEY", "SCOPE");
    for (key, pair) in credentials.all() {
        let note = pair.note.as_ref().map(|note| format!("  ({note})")).unwrap_or_default();
        say!("{key:<width$}  {:<5}  {}{note}", pair.scope.label(), pair.buckets.join(" "));
    }
}

/// The only time that a secret is printed.
fn show(issued: &Issued, json: bool) {
    let (key, secret) = (&issued.access_key, issued.expose());
    if json {
        return say!("{}", serde_json::json!({ "access_key": key, "secret_key": secret }));
    }
    say!("access_key  {key}");
    say!("secret_key  {secret}");
    say!("Keep the secret now. It counts once the server has run `tidings reload`.");
}
