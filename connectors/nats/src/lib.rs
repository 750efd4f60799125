//! The NATS connector: one connection for each target, every publish acknowledged by a JetStream stream, or,
//! where the configuration says that events may be lost, by nobody.
//!
//! Must never know the queue, the store or the configuration loader, nor retry, order or drop on its own
//! account: those belong to the lane.

mod answer;
mod check;
mod config;
mod connect;
mod connector;
mod error;

pub use config::{NatsConfig, NatsOptions};
