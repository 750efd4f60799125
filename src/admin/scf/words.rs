//! The parameters of one request: taken one after the other, so that what nobody took is known.
//!
//! Must never pass over a wish: what asks for something that we cannot do is refused by its name. Must never
//! quote a value: code and secrets travel in them.

use serde_json::{Map, Value};

use super::answer::Refusal;
use crate::functions::is_name;

/// The one namespace.
const NAMESPACE: &str = "default";
/// What may stand where the vendor names a version: there is one at work at a time.
const QUALIFIERS: &[&str] = &["", "$LATEST", "$DEFAULT"];
/// Parameters that the vendor's actions take and ours do not.
const VENDORS: &[&str] = &[
    "AsyncRunEnable",
    "AutoCreateClsTopic",
    "AutoDeployClsTopicIndex",
    "CfsConfig",
    "ClsLogsetId",
    "ClsTopicId",
    "CustomArgument",
    "DeadLetterConfig",
    "DemoId",
    "Description",
    "DnsCache",
    "EipConfig",
    "EnvId",
    "Filters",
    "GitBranch",
    "GitCommitId",
    "GitDirectory",
    "GitPassword",
    "GitPasswordSecret",
    "GitUrl",
    "GitUserName",
    "GitUserNameSecret",
    "IgnoreSysLog",
    "ImageConfig",
    "InstallDependency",
    "InstanceConcurrencyConfig",
    "IntranetConfig",
    "L5Enable",
    "Layers",
    "ProtocolParams",
    "ProtocolType",
    "Publish",
    "Role",
    "RoutingKey",
    "SearchContext",
    "ShowCode",
    "Tags",
    "TempCosObjectName",
    "TraceEnable",
    "VpcConfig",
];

/// Parameters that were not taken yet.
#[derive(Debug, Default)]
pub(super) struct Words(Map<String, Value>);

impl Words {
    /// Those of a body.
    pub(super) fn of(body: &[u8]) -> Result<Self, Refusal> {
        match serde_json::from_slice(body) {
            Ok(Value::Object(words)) => Ok(Self(words)),
            _ => Err(Refusal::new("InvalidParameter", "the body must be a JSON object of parameters")),
        }
    }

    /// The function that it is about, for the audit log: a name, or nothing.
    pub(super) fn about(&self) -> String {
        let name = self.0.get("FunctionName").and_then(Value::as_str).filter(|name| is_name(name));
        name.unwrap_or_default().to_owned()
    }

    fn take(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name).filter(|value| !value.is_null())
    }

    /// A text, as it is.
    pub(super) fn text(&mut self, name: &str) -> Result<Option<String>, Refusal> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(mistyped(name, "text")),
        }
    }

    /// A text that says something.
    pub(super) fn said(&mut self, name: &str) -> Result<Option<String>, Refusal> {
        Ok(self.text(name)?.filter(|text| !text.is_empty()))
    }

    /// A text that must be there.
    pub(super) fn need(&mut self, name: &str) -> Result<String, Refusal> {
        self.said(name)?.ok_or_else(|| Refusal::new("MissingParameter", format!("`{name}` is missing")))
    }

    /// A whole number.
    pub(super) fn number(&mut self, name: &str) -> Result<Option<i64>, Refusal> {
        self.take(name)
            .map(|value| value.as_i64().ok_or_else(|| mistyped(name, "a whole number")))
            .transpose()
    }

    /// A whole number of at most 32 bits, not below 0.
    pub(super) fn count(&mut self, name: &str) -> Result<Option<u32>, Refusal> {
        let wrong = |_| Refusal::value(format!("`{name}` is out of its bounds"));
        self.number(name)?.map(|number| u32::try_from(number).map_err(wrong)).transpose()
    }

    /// Parameters in a parameter.
    pub(super) fn object(&mut self, name: &str) -> Result<Option<Self>, Refusal> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Object(words)) => Ok(Some(Self(words))),
            Some(_) => Err(mistyped(name, "an object")),
        }
    }

    /// Several of those.
    pub(super) fn objects(&mut self, name: &str) -> Result<Option<Vec<Self>>, Refusal> {
        let wrong = || mistyped(name, "a list of objects");
        let Some(list) = self.take(name) else { return Ok(None) };
        let Value::Array(list) = list else { return Err(wrong()) };
        let object = |value| match value {
            Value::Object(words) => Ok(Self(words)),
            _ => Err(wrong()),
        };
        list.into_iter().map(object).collect::<Result<_, _>>().map(Some)
    }

    /// The function that an action is about. Its namespace is the one that there is.
    pub(super) fn function(&mut self) -> Result<String, Refusal> {
        self.namespace()?;
        let name = self.need("FunctionName")?;
        match is_name(&name) {
            true => Ok(name),
            false => Err(Refusal::new(
                "InvalidParameterValue.FunctionName",
                "a function's name is 2 to 60 of A-Z, a-z, 0-9, - and _, begins with a letter and ends with \
                 neither - nor _",
            )),
        }
    }

    /// Refuses every namespace but the one that there is.
    pub(super) fn namespace(&mut self) -> Result<(), Refusal> {
        match self.said("Namespace")?.is_none_or(|name| name == NAMESPACE) {
            true => Ok(()),
            false => Err(Refusal::new("ResourceNotFound.Namespace", "the only namespace is `default`")),
        }
    }

    /// Refuses every version but the one at work.
    pub(super) fn qualifier(&mut self) -> Result<(), Refusal> {
        let qualifier = self.text("Qualifier")?.unwrap_or_default();
        match QUALIFIERS.contains(&qualifier.as_str()) {
            true => Ok(()),
            false => Err(Refusal::new(
                "InvalidParameterValue.Qualifier",
                "one version of a function is at work at a time: `$LATEST` and `$DEFAULT` name it",
            )),
        }
    }

    /// The end: what is left must ask for nothing.
    pub(super) fn end(self) -> Result<(), Refusal> {
        let Some((name, _)) = self.0.iter().find(|(_, value)| !is_off(value)) else { return Ok(()) };
        match VENDORS.binary_search(&name.as_str()) {
            Ok(_) => Err(Refusal::unsupported(format!("`{name}` is not possible here: leave it out"))),
            // The word itself may be a value that was typed into the wrong place.
            Err(_) => {
                Err(Refusal::new("UnknownParameter", "there is a parameter that this action does not know"))
            }
        }
    }
}

/// True if a value asks for nothing: clients write out what they do not want.
fn is_off(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Bool(true) | Value::Number(_) => false,
        Value::String(text) => {
            text.is_empty()
                || ["false", "disable", "disabled", "close"].iter().any(|off| text.eq_ignore_ascii_case(off))
        }
        Value::Array(list) => list.iter().all(is_off),
        Value::Object(words) => words.values().all(is_off),
    }
}

fn mistyped(name: &str, what: &str) -> Refusal {
    Refusal::new("InvalidParameter", format!("`{name}` must be {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Words {
        Words::of(text.as_bytes()).expect("an object")
    }

    #[test]
    fn what_nobody_took_is_refused_unless_it_asks_for_nothing() {
        assert!(VENDORS.is_sorted());
        for nothing in [
            "{}",
            r#"{"Layers": [], "VpcConfig": {"VpcId": "", "SubnetId": null}, "L5Enable": "FALSE"}"#,
            r#"{"PublicNetConfig": {"EipConfig": {"EipStatus": "DISABLE"}}, "IgnoreSysLog": false}"#,
        ] {
            assert_eq!(words(nothing).end(), Ok(()), "{nothing}");
        }
        for (wish, code) in [
            (r#"{"Layers": [{"LayerName": "hunter2", "LayerVersion": 1}]}"#, "UnsupportedOperation"),
            (r#"{"Publish": "TRUE"}"#, "UnsupportedOperation"),
            (r#"{"Role": "hunter2"}"#, "UnsupportedOperation"),
            (r#"{"hunter2": "x"}"#, "UnknownParameter"),
            (r#"{"functionName": 0}"#, "UnknownParameter"),
        ] {
            let refused = words(wish).end().expect_err(wish);
            assert_eq!(refused.code, code, "{wish}");
            assert!(!refused.message.contains("hunter2"), "{refused:?}");
        }
    }

    #[test]
    fn types_are_held_and_values_are_not_quoted() {
        let mut taken = words(r#"{"A": "hunter2", "B": 7, "C": null, "D": "", "E": [{}], "F": 4294967296}"#);
        assert_eq!(taken.number("A").expect_err("text").code, "InvalidParameter");
        assert_eq!(taken.count("B"), Ok(Some(7)));
        assert_eq!((taken.text("C"), taken.said("D")), (Ok(None), Ok(None)));
        assert_eq!(taken.need("D").expect_err("taken").code, "MissingParameter");
        assert_eq!(taken.objects("E").expect("a list").map(|list| list.len()), Some(1));
        assert_eq!(taken.count("F").expect_err("too large").code, "InvalidParameterValue");
        for body in ["", "[]", "7", "{", "\"hunter2\""] {
            let refused = Words::of(body.as_bytes()).expect_err(body);
            assert_eq!(refused.code, "InvalidParameter");
            assert!(!refused.message.contains("hunter2"));
        }
    }
}
