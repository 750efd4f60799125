//! tidings: object storage whose every change is an event that reaches Kafka, NATS, RabbitMQ and HTTP
//! functions.
//!
//! Data moves left to right: `frontend` → `commit` → `queue` (over `journal`) → `delivery` → a connector. The
//! `store`'s index is one more reader of the same queue. `app.rs` is the only file that knows every part.

pub mod admin;
pub mod app;
pub mod cli;
pub mod client;
pub mod commit;
pub mod config;
pub mod delivery;
pub mod encode;
pub mod event;
pub mod fail;
pub mod frontend;
pub mod functions;
pub mod journal;
pub mod limits;
pub mod metrics;
pub mod queue;
pub mod rules;
pub mod store;
pub mod tls;
