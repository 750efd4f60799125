//! What the document says about the routes of functions beside their rows, and about who may use which route.
//!
//! Must never name a code that the routes do not answer with.

use serde_json::{Value, json};

use super::answer::Code;
use super::routes::{Access, Action};

/// How requests say who sends them.
pub(super) fn schemes() -> Value {
    json!({
        "token": {
            "type": "http",
            "scheme": "bearer",
            "description": "The text of admin.token in the data directory.",
        },
        "tc3": {
            "type": "apiKey",
            "in": "header",
            "name": "Authorization",
            "description": "TC3-HMAC-SHA256, by a key of credentials.toml that may do everything.",
        },
    })
}

/// What a route needs, where it is not the token.
pub(super) fn security(access: Access) -> Option<Value> {
    match access {
        // On a loopback address nothing is needed; elsewhere the token is.
        Access::OpenOnLoopback => Some(json!([{}, { "token": [] }])),
        Access::Signed => Some(json!([{ "tc3": [] }])),
        Access::Token => None,
    }
}

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
        Action::Scf => (
            "scf",
            "The API of Tencent Cloud SCF, version 2018-04-16: the header X-TC-Action names the action",
            "Scf",
            &[],
        ),
        _ => (
            "listTemplates",
            "Events to try functions with, and functions to begin with",
            "Templates",
            &[BadRequest],
        ),
    }
}
