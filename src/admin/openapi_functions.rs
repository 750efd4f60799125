//! What the document says about the routes of functions beside their rows.
//!
//! Must never name a code that the routes do not answer with.

use super::answer::Code;
use super::routes::Action;

/// Id, summary, schema of the answer, and errors.
pub(super) fn of_functions(action: Action) -> (&'static str, &'static str, &'static str, &'static [Code]) {
    use Code::{BadRequest, NoSuchFunction, Unavailable};
    match action {
        Action::FunctionList => ("listFunctions", "Every function", "Functions", &[BadRequest]),
        Action::FunctionShow => ("showFunction", "One function", "Function", &[BadRequest, NoSuchFunction]),
        Action::FunctionCreate => {
            ("createFunction", "Make a function of the JSON in the body", "Function", &[NoSuchFunction])
        }
        Action::FunctionUpdate => {
            ("updateFunction", "Change what the JSON in the body names", "Function", &[NoSuchFunction])
        }
        Action::FunctionRemove => {
            ("removeFunction", "Remove a function and its target", "RemovedFunction", &[NoSuchFunction])
        }
        Action::FunctionInvoke => {
            ("invokeFunction", "Run a function with the event in the body", "Invoked", &[NoSuchFunction])
        }
        Action::FunctionLogs => (
            "listRuns",
            "What became of a function's runs",
            "Runs",
            &[BadRequest, NoSuchFunction, Unavailable],
        ),
        _ => (
            "listTemplates",
            "Events to try functions with, and functions to begin with",
            "Templates",
            &[BadRequest],
        ),
    }
}
