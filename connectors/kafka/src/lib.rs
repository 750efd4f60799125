//! The Kafka connector: one idempotent producer for each target, acknowledged by every in-sync replica.
//!
//! Must never retry, order or drop on its own account: those belong to the lane.

mod check;
mod config;
mod connector;
mod error;
mod reports;
mod security;
mod topic;

pub use config::{Compression, KafkaConfig, KafkaOptions};
pub use security::Sasl;
