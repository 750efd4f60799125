//! `tidings dlq …`: the dead letters of a running server's targets.
//!
//! Must never purge or replay without being told which.

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::Value;

use super::paint::{Table, print_fields, text};
use super::remote::{Server, checked};
use super::{Failure, wait};

/// List, show, replay and purge dead letters: events that their target rejected.
#[derive(Args)]
pub(super) struct Dlq {
    #[command(flatten)]
    server: Server,
    #[command(subcommand)]
    command: DlqCommand,
}

#[derive(Subcommand)]
enum DlqCommand {
    /// List a target's dead letters.
    Ls {
        /// The target's name.
        target: String,
        #[command(flatten)]
        filter: Filter,
        /// Only those above this offset: the `next` of the page before.
        #[arg(long, value_name = "OFFSET")]
        after: Option<u64>,
        /// So many at most, 1 to 1000.
        #[arg(long, value_name = "COUNT", default_value_t = 100)]
        limit: u32,
    },
    /// Show one dead letter.
    Show {
        /// The target's name.
        target: String,
        /// Its offset, as `ls` shows it.
        offset: u64,
    },
    /// Send dead letters again, marked with the header tidings-replay. The wish is durable: a restart goes on
    /// with it.
    Replay {
        /// The target's name.
        target: String,
        #[command(flatten)]
        which: Which,
        /// End only when each is delivered or has failed again; exit code 3 if some are dead letters still.
        #[arg(long)]
        wait: bool,
    },
    /// Purge dead letters for good.
    Purge {
        /// The target's name.
        target: String,
        #[command(flatten)]
        which: Which,
    },
    /// Go on without dead letters that are damaged or missing; they count as quarantined.
    AcceptLoss {
        /// The target's name.
        target: String,
    },
}

/// Which of them, by what is known of them.
#[derive(Args)]
struct Filter {
    /// Dead letters since this time or later: 2026-01-31T08:00:00Z.
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Dead letters since before this time.
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// The class of the last error: `http_4xx`, `too_large` …
    #[arg(long)]
    class: Option<String>,
    /// The object's bucket.
    #[arg(long, requires = "key")]
    bucket: Option<String>,
    /// The object's key.
    #[arg(long, requires = "bucket")]
    key: Option<String>,
}

#[derive(Args)]
struct Which {
    /// These offsets, as `ls` shows them.
    offsets: Vec<u64>,
    /// All of them.
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    filter: Filter,
}

impl Filter {
    fn put(self, query: &mut Vec<String>) {
        let Self { since, until, class, bucket, key } = self;
        let named = [("since", since), ("until", until), ("class", class), ("bucket", bucket), ("key", key)];
        query.extend(
            named.into_iter().filter_map(|(name, value)| Some(format!("{name}={}", encoded(&value?)))),
        );
    }
}

impl Which {
    fn query(self) -> Result<String, Failure> {
        let mut query: Vec<String> = self.offsets.iter().map(|offset| format!("offset={offset}")).collect();
        if self.all {
            query.push("all=true".to_owned());
        }
        self.filter.put(&mut query);
        if query.is_empty() {
            return Err(Failure::Usage("say which: offsets, --since, --class …, or --all".to_owned()));
        }
        Ok(query.join("&"))
    }
}

/// Percent-encodes a value of a query.
pub(super) fn encoded(value: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~:".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

impl Dlq {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let path = |target: &str| -> Result<String, Failure> {
            Ok(format!("/v1/targets/{}/dead-letters", checked(target)?))
        };
        let (method, path) = match self.command {
            DlqCommand::Ls { target, filter, after, limit } => {
                let mut query = vec![format!("limit={limit}")];
                query.extend(after.map(|after| format!("after={after}")));
                filter.put(&mut query);
                let path = format!("{}?{}", path(&target)?, query.join("&"));
                let page = self.server.call(Method::GET, &path).await?;
                if self.server.json() {
                    say!("{page}");
                } else {
                    print_page(&page);
                }
                return Ok(());
            }
            DlqCommand::Show { target, offset } => (Method::GET, format!("{}/{offset}", path(&target)?)),
            DlqCommand::Replay { target, which, wait } => {
                let path = format!("{}/replay?{}", path(&target)?, which.query()?);
                return self.server.replay(&target, &path, wait).await;
            }
            DlqCommand::Purge { target, which } => {
                (Method::POST, format!("{}/purge?{}", path(&target)?, which.query()?))
            }
            DlqCommand::AcceptLoss { target } => (Method::POST, format!("{}/accept-loss", path(&target)?)),
        };
        let answer = self.server.call(method, &path).await?;
        if self.server.json() {
            say!("{answer}");
        } else {
            print_fields(&answer);
        }
        Ok(())
    }
}

impl Server {
    async fn replay(&self, target: &str, path: &str, wait: bool) -> Result<(), Failure> {
        let before = self.call(Method::GET, &format!("/v1/targets/{target}")).await?;
        let answer = self.call(Method::POST, path).await?;
        if self.json() {
            say!("{answer}");
        } else {
            print_fields(&answer);
        }
        if !wait {
            return Ok(());
        }
        let after = self.wait(target, wait::of_letters).await?;
        // What is delivered leaves the letters; what fails again stays.
        let letters = |view: &Value| view["dead_letters"].as_u64().unwrap_or(0);
        let asked = answer["replaying"].as_u64().unwrap_or(0);
        let left = (letters(&after) + asked).saturating_sub(letters(&before)).min(asked);
        if left == 0 {
            return Ok(());
        }
        let next = format!("`tidings dlq ls {target}` says why");
        Err(Failure::Found(format!(
            "{left} of {asked} could not be delivered and are dead letters still: {next}"
        )))
    }
}

fn print_page(page: &Value) {
    let mut table = Table::new(&[">OFFSET", "SINCE", "CLASS", ">ATTEMPTS", ">REPLAYS", "OBJECT"]);
    let letters = page["dead_letters"].as_array().map_or(&[][..], Vec::as_slice);
    for letter in letters {
        let [offset, since, class, attempts, replays, bucket, key] =
            ["offset", "since", "class", "attempts", "replays", "bucket", "key"]
                .map(|name| text(&letter[name]));
        table.row([offset, since, class, attempts, replays, format!("{bucket}/{key}")]);
    }
    table.print();
    say!("{} of {} dead letters", letters.len(), text(&page["total"]));
    if let Some(next) = page["next"].as_u64() {
        say!("more: --after {next}");
    }
}
