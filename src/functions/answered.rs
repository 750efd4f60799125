//! What an answer from elsewhere is called in the run log.
//!
//! Must never write down more of an answer than its status, unless somebody typed the event.

use bytes::Bytes;
use tidings_connector::{ErrorClass, Outcome};
use tidings_function::{Ended, Status};
use tidings_http::Attempted;

/// The end of a run, by SCF's codes.
pub(super) fn ended(outcome: &Outcome, attempted: Attempted) -> Ended {
    let (status, message) = match outcome {
        Outcome::Delivered => (Status::Success, String::new()),
        Outcome::Rejected { why } => match why.class {
            ErrorClass::TooLarge => (Status::EventTooLarge, why.text.to_string()),
            ErrorClass::Http4xx | ErrorClass::Encode => (Status::BadEvent, why.text.to_string()),
            class => (of_class(class), why.text.to_string()),
        },
        Outcome::Throttled { why, .. } => (Status::Concurrency, why.text.to_string()),
        Outcome::Retry { why, .. } => (of_class(why.class), why.text.to_string()),
        Outcome::Faulted { why, .. } if why.class == ErrorClass::Unroutable => {
            (Status::Missing, why.text.to_string())
        }
        Outcome::Faulted { why, .. } => (Status::State, why.text.to_string()),
    };
    let result = match status {
        Status::Success => attempted.body.unwrap_or_default(),
        _ => Bytes::new(),
    };
    Ended { status, result, message, log: String::new(), duration: attempted.duration, memory: 0 }
}

fn of_class(class: ErrorClass) -> Status {
    match class {
        ErrorClass::Timeout => Status::Timeout,
        ErrorClass::Throttle => Status::Concurrency,
        ErrorClass::Http5xx | ErrorClass::Http4xx => Status::Code,
        _ => Status::Internal,
    }
}
