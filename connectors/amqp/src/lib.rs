//! The AMQP 0-9-1 connector.
//!
//! Must never know the queue, the store or the configuration loader.

mod config;

pub use config::{AmqpConfig, AmqpOptions};
