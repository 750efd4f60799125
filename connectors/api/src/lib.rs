//! The seam between tidings and a far side.
//!
//! A connector speaks one protocol to one far side. It knows messages, outcomes and receipts, and nothing
//! else: this crate must never depend on the queue, the store or the configuration loader, so that a
//! connector *cannot* name them.

mod connector;
#[cfg(feature = "contract")]
pub mod contract;
mod message;
mod outcome;
mod receipt;
mod secret;
mod template;
mod units;

pub use connector::{Connector, ConnectorConfig, Delivery, Fault, Finding, Limits, Severity};
pub use message::{Header, Message};
pub use outcome::{Cause, ErrorClass, Outcome, Report, Scope};
pub use receipt::{Receipt, Settlement, SettlementInbox, Ticket};
pub use secret::SecretRef;
pub use template::{Place, Template, TemplateError};
pub use units::{Size, Span};
