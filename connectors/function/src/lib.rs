//! The function connector: hands events to an [`Invoker`], which runs code, and judges how each run ended.
//!
//! Must never know how code is hosted, nor retry, order or drop on its own account: that is the lane's.

mod config;
mod connector;
mod error;
mod invoker;
mod tally;

pub use config::FunctionConfig;
pub use error::{Blame, Policy};
pub use invoker::{Call, Ended, Invoker, Status};
pub use tally::{Fault, Tally};
