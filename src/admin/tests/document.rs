//! The OpenAPI document against the router and against real answers: every answer of the tests here and
//! beside is held against it.
//!
//! Must never know a shape itself: the document is the only source.

use std::collections::BTreeSet;

use axum::body::to_bytes;
use http::header::CONTENT_TYPE;

use super::super::openapi;
use super::*;

/// The answer, once it was found to be what the document promises.
pub(super) async fn checked(method: &str, path: &str, answer: Response) -> Response {
    let (parts, body) = answer.into_parts();
    let bytes = to_bytes(body, 1 << 20).await.expect("a body");
    let document = openapi::document();
    let path = path.split('?').next().expect("a path");
    let fits = |pattern: &str| {
        let same = |(a, b): (&str, &str)| a == b || (a.starts_with('{') && !b.is_empty());
        pattern.split('/').count() == path.split('/').count()
            && pattern.split('/').zip(path.split('/')).all(same)
    };
    let paths = document["paths"].as_object().expect("paths");
    // A literal path goes before one with a placeholder, as in the router.
    let found = paths.get(path).or_else(|| paths.iter().find(|(pattern, _)| fits(pattern)).map(|p| p.1));
    let operation = found.and_then(|p| p.get(method.to_lowercase()));
    let what = format!("{method} {path}: {}", parts.status);
    let Some(operation) = operation else {
        assert!(parts.status.is_client_error(), "{what}");
        fit(&document, &json_of(&bytes), &document["components"]["schemas"]["Error"], &what);
        return Response::from_parts(parts, Body::from(bytes));
    };
    let promised = &operation["responses"][parts.status.as_str()];
    assert!(promised.is_object(), "{what} is not in the document");
    let kind = parts.headers[CONTENT_TYPE].to_str().expect("text").split(';').next().expect("a type");
    let schema = &promised["content"][kind]["schema"];
    assert!(schema.is_object(), "{what}: {kind} is not in the document");
    if kind == "application/json" {
        let body = json_of(&bytes);
        fit(&document, &body, schema, &what);
        if !parts.status.is_success() {
            let code = body["error"]["code"].as_str().expect("a code");
            let told = promised["description"].as_str().expect("a description");
            assert!(told.contains(&format!("`{code}`")), "{what}: {code} is not in the document");
        }
    }
    Response::from_parts(parts, Body::from(bytes))
}

fn json_of(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).expect("JSON")
}

/// Panics, with the place, where a value is not what its schema says. Knows the words that the document uses
/// and panics at others, so that none is passed over.
fn fit(document: &Value, value: &Value, schema: &Value, at: &str) {
    if let Err(why) = fits(document, value, schema, at) {
        panic!("{why}");
    }
}

fn fits(document: &Value, value: &Value, schema: &Value, at: &str) -> Result<(), String> {
    let must = |good: bool| if good { Ok(()) } else { Err(format!("{at}: {value} does not fit {schema}")) };
    for (word, said) in schema.as_object().expect("a schema") {
        match word.as_str() {
            "description" | "properties" => {}
            "$ref" => {
                let place = said.as_str().expect("text").strip_prefix('#').expect("in the document");
                let schema = document.pointer(place).unwrap_or_else(|| panic!("{place} is missing"));
                fits(document, value, schema, at)?;
            }
            "type" => must(match said.as_str().expect("text") {
                "object" => value.is_object(),
                "array" => value.is_array(),
                "string" => value.is_string(),
                "boolean" => value.is_boolean(),
                "integer" => value.is_u64() || value.is_i64(),
                "number" => value.is_number(),
                "null" => value.is_null(),
                other => panic!("{at}: type {other}"),
            })?,
            "enum" => must(said.as_array().expect("values").contains(value))?,
            "const" => must(said == value)?,
            "minimum" => must(value.as_f64() >= said.as_f64())?,
            "format" => must(value.as_str().is_some_and(|t| t.parse::<jiff::Timestamp>().is_ok()))?,
            "anyOf" => {
                let mut any = said.as_array().expect("schemas").iter();
                must(any.any(|schema| fits(document, value, schema, at).is_ok()))?;
            }
            "items" => {
                for item in value.as_array().into_iter().flatten() {
                    fits(document, item, said, at)?;
                }
            }
            "required" => {
                for name in said.as_array().expect("names") {
                    must(value.get(name.as_str().expect("text")).is_some())?;
                }
            }
            "additionalProperties" => {
                assert_eq!(said, false);
                for (name, value) in value.as_object().into_iter().flatten() {
                    let Some(schema) = schema["properties"].get(name) else {
                        return Err(format!("{at}.{name} is not in the document"));
                    };
                    fits(document, value, schema, &format!("{at}.{name}"))?;
                }
            }
            other => panic!("{at}: the checker does not know `{other}`"),
        }
    }
    Ok(())
}

#[tokio::test]
async fn the_document_and_the_router_hold_the_same_routes() {
    let world = world();
    let document = json(world.ask(Ask { path: "/v1/openapi.json", ..GOOD }).await).await;
    assert_eq!(document["openapi"], "3.1.0");
    let mut told = BTreeSet::new();
    let mut ids = BTreeSet::new();
    for (path, operations) in document["paths"].as_object().expect("paths") {
        for (method, operation) in operations.as_object().expect("operations") {
            told.insert((method.to_uppercase(), path.clone()));
            let id = operation["operationId"].as_str().expect("an id");
            assert!(ids.insert(id.to_owned()), "{id} stands twice");
            let in_path: Vec<_> = operation["parameters"].as_array().expect("parameters").iter().collect();
            let named = in_path.iter().filter(|p| p["in"] == "path").count();
            assert_eq!(named, path.matches('{').count(), "{path}");
        }
    }
    let routes: BTreeSet<_> = ROUTES
        .iter()
        .map(|route| {
            let (method, _) = concrete(route);
            (method.to_owned(), route.path.to_owned())
        })
        .collect();
    assert_eq!(told, routes);
    // Every name that the document points at is in it.
    let text = document.to_string();
    for name in text.split("\"#/components/schemas/").skip(1) {
        let name = name.split('"').next().expect("a name");
        assert!(document["components"]["schemas"][name].is_object(), "{name}");
    }
}

#[tokio::test]
async fn every_documented_parameter_is_taken_and_no_other() {
    let world = world();
    *world.fake.dead.lock().expect("held briefly") = Some(dead::letters(world.data.path(), 1).await);
    for route in ROUTES.iter().filter(|route| route.access != Access::Signed) {
        let method = concrete(route).0;
        let path = route.path.replace("{name}", "orders").replace("{bucket}", "photos");
        let path = path.replace("{offset}", "1").replace("{function}", "hello");
        for parameter in super::super::parameters::of(route.action) {
            let value = match parameter.name {
                "since" | "until" => "2026-01-31T08:00:00Z",
                "status" => "failed",
                "all" | "discard" | "rematch" | "unlimited" | "allow_overlap" => "true",
                _ => "1",
            };
            let about_rules = matches!(route.action, Action::RuleList | Action::TriggerList);
            let beside = match parameter.name {
                name if route.action == Action::TriggerAdd => {
                    let words = ["function", "bucket", "event"].into_iter().filter(|word| *word != name);
                    &words.map(|word| format!("&{word}=1")).collect::<String>()
                }
                "bucket" if route.path.starts_with("/v1/triggers/") => "&id=1",
                "bucket" if about_rules => "",
                "bucket" => "&key=1",
                "key" => "&bucket=1",
                "rematch" => "&from=1",
                _ => "",
            };
            let path = format!("{path}?{}={value}{beside}", parameter.name);
            let answer = world.ask(Ask { method, path: &path, ..GOOD }).await;
            // The fake has no lane to go back.
            let laneless = route.action == Action::TargetReplay;
            let fine = if laneless { StatusCode::NOT_FOUND } else { StatusCode::OK };
            assert_eq!(answer.status(), fine, "{method} {path}");
        }
        let open = route.access == Access::OpenOnLoopback;
        let path = format!("{path}?nobody-knows=1");
        let answer = world.ask(Ask { method, path: &path, ..GOOD }).await;
        let expected = if open { StatusCode::OK } else { StatusCode::BAD_REQUEST };
        assert_eq!(answer.status(), expected, "{method} {path}");
    }
}

#[tokio::test]
async fn changes_at_once_are_bounded_though_their_clients_hang_up() {
    let world = world();
    world.fake.slow.store(true, Ordering::SeqCst);
    let ask = Ask { method: "POST", path: "/v1/targets/orders/pause", ..GOOD };
    for _ in 0..16 {
        tokio::select! {
            _ = world.ask(ask) => panic!("answered before the change was made"),
            () = world.fake.entered.notified() => {} // the client is gone, the change is not
        }
    }
    let answer = world.ask(ask).await;
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(code(answer).await, "busy");
    world.fake.go_on.notify_waiters();
    soon("a change", world.fake.changed.notified()).await;
}

#[tokio::test]
async fn the_checker_notices_what_does_not_fit() {
    let document = openapi::document();
    let schema = &document["components"]["schemas"]["Journal"];
    let world = world();
    let good = json(world.ask(Ask { path: "/v1/journal", ..GOOD }).await).await;
    assert_eq!(fits(&document, &good, schema, ""), Ok(()));
    let spoil = |spoil: fn(&mut Value)| {
        let mut bad = good.clone();
        spoil(&mut bad);
        assert!(fits(&document, &bad, schema, "").is_err(), "{bad}");
    };
    spoil(|v| v["epoch"] = "1".into());
    spoil(|v| v["epoch"] = (-1).into());
    spoil(|v| v["epoch"] = Value::Null);
    spoil(|v| v["more"] = 1.into());
    spoil(|v| drop(v.as_object_mut().expect("an object").remove("epoch")));
    spoil(|v| *v = Value::Null);
}
