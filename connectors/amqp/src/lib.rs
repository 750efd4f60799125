//! The AMQP 0-9-1 connector: delivered when the broker confirmed a persistent message and did not return it.
//!
//! Must never know the queue, the store or the configuration loader.

mod config;
mod connector;
mod error;
mod line;
mod message;
mod outstanding;
mod publisher;
mod returns;

pub use config::{AmqpConfig, AmqpOptions};
