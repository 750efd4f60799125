//! `tidings bucket`: the buckets of a running server, and what each may hold.
//!
//! Must never touch a data directory: it asks the admin API.

use clap::Subcommand;
use reqwest::Method;
use serde_json::Value;
use tidings_connector::Size;

use super::Failure;
use super::paint::{Table, print_fields, text};
use super::remote::Server;

/// Show the buckets of a running server, and set what each may hold.
#[derive(clap::Args)]
pub(super) struct Bucket {
    #[command(flatten)]
    server: Server,
    #[command(subcommand)]
    command: BucketCommand,
}

#[derive(Subcommand)]
enum BucketCommand {
    /// List all buckets. Those with a quota are counted; what the others hold is not shown.
    Ls,
    /// Set what a bucket may hold, in place of any quota before. What is there stays there.
    Quota {
        /// Its name.
        name: String,
        /// Bytes of all its objects together, such as 500GiB.
        #[arg(long, value_name = "SIZE", required_unless_present_any = ["objects", "none"])]
        bytes: Option<String>,
        /// Objects.
        #[arg(long, value_name = "COUNT")]
        objects: Option<u64>,
        /// No quota any more.
        #[arg(long, conflicts_with_all = ["bytes", "objects"])]
        none: bool,
    },
}

impl Bucket {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let (method, path) = match &self.command {
            BucketCommand::Ls => (Method::GET, "/v1/buckets".to_owned()),
            BucketCommand::Quota { name, bytes, objects, none } => {
                let bytes = bytes.as_deref().map(Size::parse).transpose();
                let bytes = bytes.map_err(|why| Failure::Usage(format!("error: --bytes: {why}")))?;
                let wishes = [
                    bytes.map(|Size(bytes)| format!("max_bytes={bytes}")),
                    objects.map(|objects| format!("max_objects={objects}")),
                    none.then(|| "unlimited=true".to_owned()),
                ];
                let wishes: Vec<_> = wishes.into_iter().flatten().collect();
                (Method::POST, format!("/v1/buckets/{}/quota?{}", checked(name)?, wishes.join("&")))
            }
        };
        let value = self.server.call(method, &path).await?;
        if self.server.json() {
            say!("{value}");
        } else if matches!(self.command, BucketCommand::Ls) {
            print_table(value["buckets"].as_array().map_or(&[], Vec::as_slice));
        } else {
            print_fields(&value);
        }
        Ok(())
    }
}

/// A name that may stand in a path.
fn checked(name: &str) -> Result<&str, Failure> {
    let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.';
    match !name.is_empty() && name.bytes().all(legal) {
        true => Ok(name),
        false => Err(Failure::Usage(format!("error: `{name}` is not a bucket's name"))),
    }
}

fn print_table(buckets: &[Value]) {
    let mut table = Table::new(&["NAME", ">BYTES", ">OF", ">OBJECTS", ">OF"]);
    for b in buckets {
        table.row(["name", "bytes", "max_bytes", "objects", "max_objects"].map(|field| text(&b[field])));
    }
    table.print();
}
