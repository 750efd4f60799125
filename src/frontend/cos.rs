//! The COS protocol over the S3 operations: a verified request becomes S3's, and its answer COS's again.
//!
//! Must never look at a request whose signature was not verified, and never drop what changes a request's
//! meaning: what has no translation is refused.

mod answer;
mod request;
mod spelling;

pub(super) use answer::{answer, header_names};
pub(super) use request::{form_headers, translate};
pub(super) use spelling::Spelling;
