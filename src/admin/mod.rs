//! The admin listener: health, metrics and `/v1`, for operators and their tools.
//!
//! Must never serve anything about single objects, decide anything about delivery, or answer before [`guard`]
//! let a request in. Every route is one row of [`ROUTES`].

mod answer;
mod audit;
mod backend;
mod buckets;
mod change;
mod change_error;
mod dead;
mod functions;
mod guard;
mod journal;
mod names;
mod openapi;
mod openapi_functions;
mod parameters;
mod permits;
mod reloaded;
mod routes;
mod rules;
mod scf;
mod schemas;
mod schemas_functions;
mod schemas_kept;
mod server;
mod service;
mod shapes;
mod store;
#[cfg(test)]
mod tests;
mod token;

pub use audit::AuditLog;
pub use backend::{
    AdminBackend, ChangeError, FailureView, Forgotten, TargetView, Tested, UndeliveredView, rfc3339,
};
pub use buckets::{BucketView, QuotaWish};
pub use functions::{FunctionBackend, Removed};
pub use journal::{DamageView, JournalStat};
pub use reloaded::Reloaded;
pub use routes::{Access, Action, ROUTES, Route, Verb};
pub use rules::{MAX_RULES_SHOWN, RulePage, RuleQuery, RuleView, TriggerState, TriggerWish};
pub use scf::{ScfBackend, scf_letter};
pub use server::{Bounds, serve};
pub use service::Admin;
pub use store::{BodyDamageView, StoreStat};
pub use token::Token;
