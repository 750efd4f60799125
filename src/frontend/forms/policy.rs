//! The policy of a form: what its signer allows whoever sends it.
//!
//! Must never pass over a condition that it does not understand, nor a field that no condition names.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;
use s3s::{S3Error, S3ErrorCode, S3Result};
use serde_json::Value;

use super::fields::Fields;

/// More conditions than this are nobody's honest policy.
const MAX_CONDITIONS: usize = 200;

/// A policy.
#[derive(Debug)]
pub(super) struct Policy {
    expiration: Timestamp,
    conditions: Vec<Condition>,
    /// What a file may have, in bytes.
    pub(super) least: u64,
    pub(super) most: u64,
}

#[derive(Debug, PartialEq, Eq)]
struct Condition {
    /// The field's name in lower case.
    field: String,
    value: String,
    is_prefix: bool,
}

/// What a family leaves to the sender, and what it writes otherwise.
pub(super) struct Ways {
    /// Fields that no condition need name.
    pub(super) free: &'static [&'static str],
    /// Fields that a condition must name.
    pub(super) needed: &'static [&'static str],
    /// What conditions call a field: their name for it, and its own.
    pub(super) aliases: &'static [(&'static str, &'static str)],
}

impl Policy {
    /// Reads the document, base64 of JSON. Gives its text too, which COS signs.
    pub(super) fn parse(encoded: &str) -> S3Result<(Self, String)> {
        let text = BASE64.decode(encoded.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let text = text.ok_or_else(|| invalid("it is not base64 of UTF-8"))?;
        let document: Value = serde_json::from_str(&text).map_err(|_| invalid("it is not JSON"))?;
        let members = document.as_object().ok_or_else(|| invalid("it is not an object"))?;
        if members.keys().any(|name| !matches!(name.as_str(), "expiration" | "conditions")) {
            return Err(invalid("it has more than expiration and conditions"));
        }
        let expiration = members.get("expiration").and_then(Value::as_str).and_then(|at| at.parse().ok());
        let expiration = expiration.ok_or_else(|| invalid("its expiration is not a time"))?;
        let conditions = members.get("conditions").and_then(Value::as_array);
        let list = conditions.ok_or_else(|| invalid("it has no list of conditions"))?;
        let mut policy = Self { expiration, conditions: Vec::new(), least: 0, most: u64::MAX };
        for condition in list {
            policy.add(condition).ok_or_else(|| invalid("a condition is not one that is known"))?;
            if policy.conditions.len() > MAX_CONDITIONS {
                return Err(invalid("it has too many conditions"));
            }
        }
        Ok((policy, text))
    }

    fn add(&mut self, condition: &Value) -> Option<()> {
        if let Some(members) = condition.as_object() {
            for (name, value) in members {
                let (field, value) = (name.to_ascii_lowercase(), value.as_str()?.to_owned());
                self.conditions.push(Condition { field, value, is_prefix: false });
            }
            return (!members.is_empty()).then_some(());
        }
        let [operator, first, second] = condition.as_array()?.as_slice() else { return None };
        match operator.as_str()?.to_ascii_lowercase().as_str() {
            "content-length-range" => {
                let bytes = |value: &Value| value.as_u64().or_else(|| value.as_str()?.parse().ok());
                self.least = self.least.max(bytes(first)?);
                self.most = self.most.min(bytes(second)?);
            }
            operator @ ("eq" | "starts-with") => {
                let field = first.as_str()?.strip_prefix('$')?.to_ascii_lowercase();
                let value = second.as_str()?.to_owned();
                self.conditions.push(Condition { field, value, is_prefix: operator == "starts-with" });
            }
            _ => return None,
        }
        Some(())
    }

    /// Refuses a form that is late, or that is not what the policy allows.
    pub(super) fn check(&self, fields: &Fields, bucket: &str, ways: &Ways, now: Timestamp) -> S3Result<()> {
        if now >= self.expiration {
            return Err(denied("Policy expired."));
        }
        let own_name = |field: &str| {
            let alias = ways.aliases.iter().find(|(name, _)| *name == field);
            alias.map_or_else(|| field.to_owned(), |(_, own)| (*own).to_owned())
        };
        for condition in &self.conditions {
            let name = own_name(&condition.field);
            let value = match &*name {
                "bucket" => Some(bucket),
                field => fields.get(field),
            };
            if !value.is_some_and(|value| condition.holds(&name, value)) {
                let name: String = condition.field.chars().take(64).filter(|c| !c.is_control()).collect();
                return Err(denied(&format!("Policy Condition failed: the one on '{name}'.")));
            }
        }
        let named = |field: &str| self.conditions.iter().any(|condition| own_name(&condition.field) == field);
        if ways.needed.iter().any(|field| !named(field)) {
            return Err(denied("The policy does not name what it is signed with."));
        }
        if fields.get("bucket").is_some_and(|field| field != bucket) {
            return Err(denied("The form is for another bucket."));
        }
        let is_free = |field: &str| ways.free.contains(&field) || field.starts_with("x-ignore-");
        match fields.iter().find(|(field, _)| *field != "bucket" && !is_free(field) && !named(field)) {
            None => Ok(()),
            Some((field, _)) => {
                let name: String = field.chars().take(64).filter(|c| !c.is_control()).collect();
                Err(denied(&format!("Extra input fields: {name}.")))
            }
        }
    }
}

impl Condition {
    fn holds(&self, field: &str, value: &str) -> bool {
        match (self.is_prefix, field) {
            (false, _) => value == self.value,
            // A list of types is as good as its worst.
            (true, "content-type") => value.split(',').all(|one| one.trim_start().starts_with(&self.value)),
            (true, _) => value.starts_with(&self.value),
        }
    }
}

fn invalid(why: &str) -> S3Error {
    let text = format!("Invalid Policy: {why}.");
    S3Error::with_message(S3ErrorCode::InvalidPolicyDocument, text)
}

fn denied(why: &str) -> S3Error {
    S3Error::with_message(S3ErrorCode::AccessDenied, format!("Invalid according to Policy: {why}"))
}

#[cfg(test)]
mod tests;
