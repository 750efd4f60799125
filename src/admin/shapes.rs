//! What schemas are made of: objects whose fields are all there and all known, and the types of fields.
//!
//! Must never allow a field that is not named.

use serde_json::{Map, Value, json};

pub(super) type Field = (&'static str, Value, &'static str);

pub(super) fn object(fields: Vec<Field>) -> Value {
    let required: Vec<_> = fields.iter().map(|(name, ..)| *name).collect();
    let properties: Map<_, _> = fields
        .into_iter()
        .map(|(name, mut schema, help)| {
            schema["description"] = help.into();
            (name.to_owned(), schema)
        })
        .collect();
    json!({
        "type": "object", "properties": properties, "required": required, "additionalProperties": false,
    })
}

pub(super) fn text() -> Value {
    json!({ "type": "string" })
}

pub(super) fn time() -> Value {
    json!({ "type": "string", "format": "date-time" })
}

pub(super) fn count() -> Value {
    json!({ "type": "integer", "minimum": 0 })
}

pub(super) fn seconds() -> Value {
    json!({ "type": "number", "minimum": 0 })
}

pub(super) fn flag() -> Value {
    json!({ "type": "boolean" })
}

pub(super) fn list(of: Value) -> Value {
    json!({ "type": "array", "items": of })
}

pub(super) fn or_null(schema: Value) -> Value {
    json!({ "anyOf": [schema, { "type": "null" }] })
}
