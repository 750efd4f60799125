//! The NATS JetStream connector.
//!
//! Must never know the queue, the store or the configuration loader.

mod config;

pub use config::{NatsConfig, NatsOptions};
