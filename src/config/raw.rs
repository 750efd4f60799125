//! The configuration as people type it: every key, its type and its default.
//!
//! Must never check anything: a value that has the right type is kept as it was typed. `check.rs` judges it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use tidings_amqp::AmqpOptions;
use tidings_connector::{Size, Span};
use tidings_http::HttpOptions;
use tidings_kafka::KafkaOptions;
use tidings_nats::NatsOptions;
use tidings_replication::ReplicationOptions;

use super::functions::RawFunctions;

/// The whole file.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Raw {
    pub(super) server: Server,
    pub(super) admin: Admin,
    pub(super) limits: super::limits::Raw,
    pub(super) account: Account,
    pub(super) queue: Queue,
    pub(super) store: Store,
    pub(super) restore: super::restore::Raw,
    pub(super) origin: super::origin::Raw,
    pub(super) replication: super::replication::Raw,
    pub(super) functions: RawFunctions,
    pub(super) target: BTreeMap<String, Target>,
}

/// `[server]`
#[derive(Debug, Deserialize)]
#[serde(default)]
pub(super) struct Server {
    pub(super) listen: String,
    pub(super) region: String,
    pub(super) data: String,
    pub(super) domain: Option<String>,
    pub(super) allow_unsigned_payload: bool,
    pub(super) max_connections: usize,
    pub(super) header_timeout: Span,
    pub(super) idle_timeout: Span,
    pub(super) reserve_timeout: Span,
    pub(super) shutdown_timeout: Span,
    pub(super) tls_cert: Option<String>,
    pub(super) tls_key: Option<String>,
    pub(super) tls_handshake_timeout: Span,
    pub(super) max_tls_handshakes: usize,
}

/// `[admin]`
#[derive(Debug, Deserialize)]
#[serde(default)]
pub(super) struct Admin {
    pub(super) listen: String,
    pub(super) tls_cert: Option<String>,
    pub(super) tls_key: Option<String>,
}

/// `[account]`
#[derive(Debug, Deserialize)]
#[serde(default)]
pub(super) struct Account {
    pub(super) appid: String,
}

/// `[queue]`
#[derive(Debug, Deserialize)]
#[serde(default)]
pub(super) struct Queue {
    pub(super) max_bytes: Size,
    pub(super) retain_bytes: Size,
    pub(super) retain_age: Span,
    pub(super) segment_bytes: Size,
    pub(super) overlay_bytes: Size,
    pub(super) tail_bytes: Size,
}

/// `[store]`
#[derive(Debug, Deserialize)]
#[serde(default)]
pub(super) struct Store {
    pub(super) inline_bytes: Size,
    pub(super) max_object_bytes: Size,
    pub(super) index_cache_bytes: Size,
    pub(super) checkpoint_interval: Span,
    pub(super) min_part_bytes: Size,
    pub(super) upload_expiry: Span,
    pub(super) reclaim_rate: Size,
    pub(super) scrub_rate: Size,
    pub(super) max_bytes: Option<Size>,
}

/// `[target.NAME]`
#[derive(Debug, Deserialize)]
#[serde(default)]
pub(super) struct Target {
    pub(super) encoding: Option<String>,
    pub(super) region: Option<String>,
    pub(super) attempt_timeout: Span,
    pub(super) backoff_min: Span,
    pub(super) backoff_max: Span,
    pub(super) max_in_flight: usize,
    pub(super) max_held: usize,
    pub(super) rate_limit: Option<u32>,
    pub(super) on_reject: String,
    pub(super) dead_letters_max_bytes: Size,
    pub(super) max_backlog: Size,
    pub(super) when_full: String,
    pub(super) connector: Connector,
    pub(super) rule: Vec<Rule>,
}

/// `[target.NAME.connector.KIND]`: exactly one kind. The keys of each are its connector's own.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Connector {
    pub(super) kafka: Option<KafkaOptions>,
    pub(super) nats: Option<NatsOptions>,
    pub(super) amqp: Option<AmqpOptions>,
    pub(super) http: Option<HttpOptions>,
    pub(super) replication: Option<ReplicationOptions>,
}

/// `[[target.NAME.rule]]`
#[derive(Debug, Deserialize)]
#[serde(default)]
pub(super) struct Rule {
    pub(super) name: Option<String>,
    pub(super) bucket: String,
    pub(super) events: Option<Vec<String>>,
    pub(super) prefix: String,
    pub(super) suffix: String,
}

const fn ms(ms: u64) -> Span {
    Span(Duration::from_millis(ms))
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:9000".to_owned(),
            region: "ap-guangzhou".to_owned(),
            data: "tidings-data".to_owned(),
            domain: None,
            allow_unsigned_payload: false,
            max_connections: 4_096,
            header_timeout: ms(30_000),
            idle_timeout: ms(60_000),
            reserve_timeout: ms(5_000),
            shutdown_timeout: ms(30_000),
            tls_cert: None,
            tls_key: None,
            tls_handshake_timeout: ms(10_000),
            max_tls_handshakes: 256,
        }
    }
}

impl Default for Admin {
    fn default() -> Self {
        Self { listen: "127.0.0.1:9001".to_owned(), tls_cert: None, tls_key: None }
    }
}

impl Default for Account {
    fn default() -> Self {
        Self { appid: "1250000000".to_owned() }
    }
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            max_bytes: Size(20 << 30),
            retain_bytes: Size(1 << 30),
            retain_age: ms(3_600_000),
            segment_bytes: Size(64 << 20),
            overlay_bytes: Size(64 << 20),
            tail_bytes: Size(32 << 20),
        }
    }
}

impl Default for Store {
    fn default() -> Self {
        Self {
            max_bytes: None,
            inline_bytes: Size(64 << 10),
            max_object_bytes: Size(5 << 30),
            index_cache_bytes: Size(64 << 20),
            checkpoint_interval: ms(10_000),
            min_part_bytes: Size(5 << 20),
            upload_expiry: ms(7 * 24 * 3_600_000),
            reclaim_rate: Size(64 << 20),
            scrub_rate: Size(4 << 20),
        }
    }
}

impl Default for Target {
    fn default() -> Self {
        Self {
            encoding: None,
            region: None,
            attempt_timeout: ms(60_000),
            backoff_min: ms(1_000),
            backoff_max: ms(300_000),
            max_in_flight: 8_192,
            max_held: 1_000_000,
            rate_limit: None,
            on_reject: "dead-letter".to_owned(),
            dead_letters_max_bytes: Size(256 << 20),
            max_backlog: Size(5 << 30),
            when_full: "refuse".to_owned(),
            connector: Connector::default(),
            rule: Vec::new(),
        }
    }
}

impl Default for Rule {
    fn default() -> Self {
        Self {
            name: None,
            bucket: "*".to_owned(),
            events: None,
            prefix: String::new(),
            suffix: String::new(),
        }
    }
}
