//! `tidings event sample`: what a consumer will get, without a server.

use clap::Subcommand;

use super::Failure;
use crate::config::Encoding;
use crate::encode::{Encoder, sample};
use crate::event::EventKind;

/// Print a sample event.
#[derive(clap::Args)]
pub(super) struct Event {
    #[command(subcommand)]
    command: Sample,
}

#[derive(Subcommand)]
enum Sample {
    /// Print one event as a target gets it.
    Sample {
        /// The kind, by its COS or S3 name: `cos:ObjectCreated:Put`.
        kind: String,
        /// The bucket in the event.
        #[arg(long, default_value = "photos")]
        bucket: String,
        /// The key in the event.
        #[arg(long, default_value = "in/cat.jpg")]
        key: String,
        /// The region in the event.
        #[arg(long, default_value = "ap-guangzhou")]
        region: String,
        /// Print key, headers and payload as JSON.
        #[arg(long)]
        json: bool,
    },
}

impl Event {
    pub(super) fn run(self) -> Result<(), Failure> {
        let Sample::Sample { kind, bucket, key, region, json } = self.command;
        let known = EventKind::ALL.iter().find(|k| k.cos_name() == kind || k.s3_name() == kind);
        let Some(found) = known else {
            let names: Vec<_> = EventKind::ALL.iter().map(|k| format!("  {}", k.cos_name())).collect();
            return Err(Failure::Usage(format!(
                "error: no event is named `{kind}`; there are:\n{}",
                names.join("\n")
            )));
        };
        let encoder = Encoder::new(Encoding::S3, &region, "1250000000", None);
        let message = encoder
            .message(&sample(*found, &bucket, &key), "sample-1")
            .map_err(|cause| Failure::Usage(format!("error: {}", cause.text)))?;
        let payload = String::from_utf8_lossy(&message.payload);
        if json {
            let headers: serde_json::Map<_, _> =
                message.headers.iter().map(|h| (h.name.to_owned(), (*h.value).into())).collect();
            let all = serde_json::json!({
                "key": String::from_utf8_lossy(&message.key),
                "headers": headers,
                "payload": payload,
            });
            say!("{all}");
        } else {
            say!("{payload}");
        }
        Ok(())
    }
}
