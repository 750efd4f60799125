//! `tidings event sample`: what a consumer will get, without a server.

use clap::Subcommand;

use super::Failure;
use crate::config::Encoding;
use crate::encode::{Binding, Encoder, Origin, sample};
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
        /// How it is written: s3, cos, cloudevents or cloudevents-structured.
        #[arg(long, default_value = "s3")]
        encoding: String,
        /// Whose header names it has: http, kafka, nats or amqp.
        #[arg(long, default_value = "http")]
        protocol: String,
        /// Print key, headers and payload as JSON.
        #[arg(long)]
        json: bool,
    },
}

impl Event {
    pub(super) fn run(self) -> Result<(), Failure> {
        let Sample::Sample { kind, bucket, key, region, encoding, protocol, json } = self.command;
        let known = EventKind::ALL.iter().find(|k| k.cos_name() == kind || k.s3_name() == kind);
        let Some(found) = known else {
            let names: Vec<_> = EventKind::ALL.iter().map(|k| format!("  {}", k.cos_name())).collect();
            return Err(Failure::Usage(format!(
                "error: no event is named `{kind}`; there are:\n{}",
                names.join("\n")
            )));
        };
        let encoding = Encoding::parse(&encoding).ok_or_else(|| {
            let names: Vec<_> = Encoding::ALL.iter().map(|encoding| encoding.name()).collect();
            Failure::Usage(format!(
                "error: no encoding is named `{encoding}`; there are: {}",
                names.join(", ")
            ))
        })?;
        let binding = match &*protocol {
            "http" => Binding::Http,
            "kafka" => Binding::Kafka,
            "nats" => Binding::Nats,
            "amqp" => Binding::Amqp,
            other => {
                let what =
                    format!("error: no protocol is named `{other}`; there are: http, kafka, nats, amqp");
                return Err(Failure::Usage(what));
            }
        };
        let origin = Origin { region: &region, appid: "1250000000", domain: None, target: "sample" };
        let encoder = Encoder::new(encoding, binding, origin, None);
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
