//! The OpenAPI 3.1 document of the admin listener, made from the table that the router is made from.
//!
//! Must never describe what the router does not do: paths, methods and access come from [`ROUTES`],
//! parameters from `parameters.rs`, which also refuses the others, and codes from `answer.rs`. What is
//! written by hand here and in `schemas.rs`, every answer of the tests is held against.

use serde_json::{Map, Value, json};

use super::answer::Code;
use super::openapi_functions::{self, of_functions};
use super::parameters::{self, Kind};
use super::routes::{Action, ROUTES, Route, Verb};
use super::schemas;

/// Errors of every route.
const ALWAYS: &[Code] = &[Code::Unauthorized, Code::WrongHost, Code::BodyTooLarge, Code::Timeout];
/// Errors of every route that changes something.
const CHANGE: &[Code] =
    &[Code::BadRequest, Code::Conflict, Code::Busy, Code::Unavailable, Code::AuditUnavailable, Code::Unknown];

/// What the document says about one route beside its row.
struct Words {
    /// Unique and stable: generated clients name their functions so.
    id: &'static str,
    summary: &'static str,
    /// The schema of the answer; none for plain text.
    answer: Option<&'static str>,
    errors: &'static [Code],
}

fn words(action: Action) -> Words {
    use Code::{BadRequest, Invalid, NoSuchBucket, NoSuchTarget, NotReady, Unavailable};
    let (id, summary, answer, errors): (_, _, _, &[Code]) = match action {
        Action::Live => ("live", "Whether the process answers", "Live", &[]),
        Action::Ready => {
            ("ready", "Whether a change can be accepted durably; no target matters", "Ready", &[NotReady])
        }
        Action::Metrics => ("metrics", "A scrape, in the text format of Prometheus", "", &[]),
        Action::TargetList => ("listTargets", "Every target", "Targets", &[BadRequest]),
        Action::TargetShow => ("showTarget", "One target", "Target", &[BadRequest, NoSuchTarget]),
        Action::TargetPause => {
            ("pauseTarget", "Deliver nothing to a target, and keep everything", "Target", &[NoSuchTarget])
        }
        Action::TargetResume => ("resumeTarget", "Deliver again", "Target", &[NoSuchTarget]),
        Action::DeadList | Action::DeadShow | Action::DeadReplay | Action::DeadPurge | Action::DeadAccept => {
            of_letters(action)
        }
        Action::TargetReplay => (
            "replayTarget",
            "Deliver everything from an offset or a time on once more",
            "Rewound",
            &[NoSuchTarget],
        ),
        Action::TargetTest => {
            ("testTarget", "Send one marked sample event, beside queue and books", "Tested", &[NoSuchTarget])
        }
        Action::TargetForget => {
            ("forgetTarget", "Give up a target that is not configured any more", "Forgotten", &[NoSuchTarget])
        }
        Action::Reload => ("reload", "Read the configuration anew, as SIGHUP does", "Reloaded", &[Invalid]),
        Action::BucketList => ("listBuckets", "Every bucket", "Buckets", &[BadRequest, Unavailable]),
        Action::BucketQuota => {
            ("setBucketQuota", "Set what a bucket may hold; what is there stays", "Bucket", &[NoSuchBucket])
        }
        Action::FunctionList
        | Action::FunctionShow
        | Action::FunctionCreate
        | Action::FunctionUpdate
        | Action::FunctionRemove
        | Action::FunctionInvoke
        | Action::FunctionLogs
        | Action::FunctionTemplates
        | Action::Scf => of_functions(action),
        Action::RuleList
        | Action::TriggerList
        | Action::TriggerAdd
        | Action::TriggerEnable
        | Action::TriggerDisable
        | Action::TriggerRemove => of_rules(action),
        Action::JournalStat => ("showJournal", "The journal in numbers", "Journal", &[BadRequest]),
        Action::StoreStat => {
            ("showStore", "What bodies take, and damage that was found", "Store", &[BadRequest])
        }
        Action::OpenApi => ("openapi", "This document", "OpenApi", &[BadRequest]),
    };
    Words { id, summary, answer: (!answer.is_empty()).then_some(answer), errors }
}

/// The words about dead letters.
fn of_letters(action: Action) -> (&'static str, &'static str, &'static str, &'static [Code]) {
    use Code::{BadRequest, NoSuchLetter, NoSuchTarget, Unavailable};
    match action {
        Action::DeadList => (
            "listDeadLetters",
            "A page of a target's dead letters, by offset",
            "DeadLetterPage",
            &[BadRequest, NoSuchTarget, Unavailable],
        ),
        Action::DeadShow => (
            "showDeadLetter",
            "One dead letter",
            "DeadLetterShown",
            &[BadRequest, NoSuchTarget, NoSuchLetter, Unavailable],
        ),
        Action::DeadReplay => {
            ("replayDeadLetters", "Send dead letters again, marked", "Replaying", &[NoSuchTarget])
        }
        Action::DeadPurge => ("purgeDeadLetters", "Purge dead letters for good", "Purged", &[NoSuchTarget]),
        Action::DeadAccept => (
            "acceptDeadLetterLoss",
            "Go on without dead letters that are damaged or missing",
            "Quarantined",
            &[NoSuchTarget],
        ),
        // Not about letters: named nowhere, and a test finds a route without a name.
        _ => ("", "", "", &[]),
    }
}

/// The words about rules and triggers.
fn of_rules(action: Action) -> (&'static str, &'static str, &'static str, &'static [Code]) {
    use Code::{BadRequest, NoSuchBucket, NoSuchTrigger, Unavailable};
    match action {
        Action::RuleList => {
            ("listRules", "Rules of the configuration and of buckets", "Rules", &[BadRequest, Unavailable])
        }
        Action::TriggerList => {
            ("listTriggers", "Triggers of functions", "Triggers", &[BadRequest, Unavailable])
        }
        Action::TriggerAdd => (
            "addTrigger",
            "Invoke a function from the next such change on; one that is there stays as it is",
            "Rule",
            &[NoSuchBucket, NoSuchTrigger],
        ),
        Action::TriggerEnable => {
            ("enableTrigger", "Let a trigger match again", "Rule", &[NoSuchBucket, NoSuchTrigger])
        }
        Action::TriggerDisable => (
            "disableTrigger",
            "Let a trigger match nothing; what it matched is delivered",
            "Rule",
            &[NoSuchBucket, NoSuchTrigger],
        ),
        _ => (
            "removeTrigger",
            "Remove a trigger; what it matched is delivered",
            "Rule",
            &[NoSuchBucket, NoSuchTrigger],
        ),
    }
}

/// The codes that a route may answer with, in the order of the table of codes.
pub(super) fn errors(action: Action) -> Vec<Code> {
    let change: &[Code] = if action.audited().is_some() { CHANGE } else { &[] };
    let always = if action == Action::Scf { &[Code::WrongHost] } else { ALWAYS };
    let possible = [always, change, words(action).errors].concat();
    Code::ALL.iter().copied().filter(|code| possible.contains(code)).collect()
}

/// The whole document.
pub(super) fn document() -> Value {
    let mut paths = Map::new();
    for route in ROUTES {
        let method = match route.method {
            Verb::Get => "get",
            Verb::Post => "post",
        };
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        path[method] = operation(route);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "tidings admin API",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Errors have one shape: `error.code` is stable and for programs, `error.message` \
                says what happened, `error.hint` what to do next. Every change is in the audit log before it \
                is made. A change whose outcome is unknown may be repeated after looking: all but replays \
                change nothing the second time.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "security": [{ "token": [] }],
        "paths": paths,
        "components": {
            "securitySchemes": openapi_functions::schemes(),
            "schemas": schemas::all(),
        },
    })
}

fn operation(route: &Route) -> Value {
    let said = words(route.action);
    let good = match said.answer {
        Some(schema) => json!({ "application/json": { "schema": schemas::reference(schema) } }),
        None => json!({ "text/plain": { "schema": { "type": "string" } } }),
    };
    let mut responses = Map::new();
    responses.insert("200".into(), json!({ "description": said.summary, "content": good }));
    for code in errors(route.action) {
        let told = format!("`{}`: {}.", code.name(), code.hint());
        let status = code.status().as_str().to_owned();
        let response = responses.entry(status).or_insert_with(|| {
            let error = json!({ "application/json": { "schema": schemas::reference("Error") } });
            json!({ "description": "", "content": error })
        });
        let before = response["description"].as_str().unwrap_or_default();
        let told = if before.is_empty() { told } else { format!("{before} {told}") };
        response["description"] = told.into();
    }
    let mut operation = json!({
        "operationId": said.id,
        "summary": said.summary,
        "parameters": in_path(route).chain(in_query(route)).collect::<Vec<_>>(),
        "responses": responses,
    });
    if let Some(security) = openapi_functions::security(route.access) {
        operation["security"] = security;
    }
    operation
}

fn in_path(route: &Route) -> impl Iterator<Item = Value> {
    let parts = route.path.split('/').filter_map(|p| p.strip_prefix('{')?.strip_suffix('}'));
    parts.map(|name| {
        let schema = match name {
            "name" => {
                json!({ "type": "string", "pattern": "^(function:[A-Za-z0-9_-]{1,64}|[a-z0-9_-]{1,64})$" })
            }
            "function" => json!({ "type": "string", "pattern": "^[A-Za-z][A-Za-z0-9_-]{0,58}[A-Za-z0-9]$" }),
            "bucket" => json!({ "type": "string", "pattern": "^[a-z0-9.-]{3,63}$" }),
            _ => json!({ "type": "integer", "minimum": 0 }),
        };
        json!({ "name": name, "in": "path", "required": true, "schema": schema })
    })
}

fn in_query(route: &Route) -> impl Iterator<Item = Value> {
    parameters::of(route.action).iter().map(|parameter| {
        let one = match parameter.kind {
            Kind::Text => json!({ "type": "string" }),
            Kind::Time => json!({ "type": "string", "format": "date-time" }),
            Kind::Flag => json!({ "type": "boolean", "default": false }),
            Kind::Offset => json!({ "type": "integer", "minimum": 0 }),
            Kind::Count(most) => json!({ "type": "integer", "minimum": 1, "maximum": most }),
        };
        let schema = if parameter.many { json!({ "type": "array", "items": one }) } else { one };
        json!({ "name": parameter.name, "in": "query", "description": parameter.help, "schema": schema })
    })
}
