//! Rules as operators see them, and what they wish of triggers.
//!
//! Must never know how a rule is matched or kept.

use serde::Serialize;
use serde_json::{Value, json};

use super::backend::ChangeError;
use super::dead::decoded;
use super::shapes::{flag, list, object, or_null, text};

/// Rules in one answer, at most.
pub const MAX_RULES_SHOWN: usize = 10_000;

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RuleView {
    /// Its name: unique in its bucket, or for its target.
    pub id: String,
    /// Where it is kept: `configuration` or `bucket`.
    pub source: &'static str,
    /// Where it stands in a bucket's notification configuration: `function`, `queue` or `topic`.
    pub form: Option<&'static str>,
    /// The bucket's name, or a pattern of names.
    pub bucket: String,
    /// The target's name.
    pub target: String,
    /// The destination as it was written in a notification configuration.
    pub arn: Option<String>,
    /// The names of its events.
    pub events: Vec<String>,
    /// Only keys that begin so.
    pub prefix: String,
    /// Only keys that end so.
    pub suffix: String,
    /// It was not switched off.
    pub enabled: bool,
    /// It may match what other rules of the bucket match.
    pub allow_overlap: bool,
    /// It matches now: it is enabled, and its target is configured.
    pub active: bool,
}

/// Some rules.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RulePage {
    /// By bucket, in their order; those of the configuration first.
    pub rules: Vec<RuleView>,
    /// There are more than one answer may hold.
    pub more: bool,
}

/// Which rules somebody wants to see.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RuleQuery {
    /// Of this bucket; of the configuration's those whose pattern it fits.
    pub bucket: Option<String>,
    /// For this target.
    pub target: Option<String>,
    /// Only triggers of functions.
    pub triggers: bool,
}

/// What somebody wishes of a trigger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TriggerWish {
    /// One more.
    Add {
        /// The function.
        function: String,
        /// The bucket.
        bucket: String,
        /// The event's name.
        event: String,
        /// Only keys that begin so; empty: all.
        prefix: String,
        /// Only keys that end so; empty: all.
        suffix: String,
        /// Events that another rule matches too are meant.
        allow_overlap: bool,
        /// It matches from the beginning.
        enabled: bool,
    },
    /// Another state of one that is there.
    Change {
        /// Its id.
        id: String,
        /// Its bucket; none: wherever it is.
        bucket: Option<String>,
        /// What becomes of it.
        to: TriggerState,
    },
}

/// What becomes of a trigger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TriggerState {
    /// It matches.
    Enabled,
    /// It matches nothing; what it matched is delivered.
    Disabled,
    /// It is gone; what it matched is delivered.
    Removed,
}

/// The values of a checked query, decoded.
struct Words(Vec<(String, String)>);

impl Words {
    fn of(query: Option<&str>) -> Result<Self, ChangeError> {
        let pairs = query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        let pair = |pair: &str| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let bad = || ChangeError::BadRequest(format!("`{name}` is not percent-encoded UTF-8"));
            Ok((name.to_owned(), decoded(value).ok_or_else(bad)?))
        };
        pairs.map(pair).collect::<Result<_, _>>().map(Self)
    }

    fn get(&self, name: &str) -> Option<String> {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.clone()).filter(|value| !value.is_empty())
    }

    fn need(&self, name: &str) -> Result<String, ChangeError> {
        self.get(name).ok_or_else(|| ChangeError::BadRequest(format!("`{name}` is missing")))
    }
}

impl RuleQuery {
    /// What a checked query asks for.
    pub(super) fn of(query: Option<&str>, triggers: bool) -> Result<Self, ChangeError> {
        let words = Words::of(query)?;
        let target = words.get(if triggers { "function" } else { "target" });
        Ok(Self { bucket: words.get("bucket"), target, triggers })
    }
}

impl TriggerWish {
    /// One more trigger, as a checked query says it.
    pub(super) fn to_add(query: Option<&str>) -> Result<Self, ChangeError> {
        let words = Words::of(query)?;
        Ok(Self::Add {
            function: words.need("function")?,
            bucket: words.need("bucket")?,
            event: words.need("event")?,
            prefix: words.get("prefix").unwrap_or_default(),
            suffix: words.get("suffix").unwrap_or_default(),
            allow_overlap: words.get("allow_overlap").as_deref() == Some("true"),
            enabled: true,
        })
    }

    /// Another state of a trigger, as a checked query names it.
    pub(super) fn to_change(query: Option<&str>, to: TriggerState) -> Result<Self, ChangeError> {
        let words = Words::of(query)?;
        Ok(Self::Change { id: words.need("id")?, bucket: words.get("bucket"), to })
    }
}

/// The schema of [`RuleView`].
pub(super) fn schema() -> Value {
    let sources = json!({ "type": "string", "enum": ["configuration", "bucket"] });
    let forms = json!({ "type": "string", "enum": ["function", "queue", "topic"] });
    object(vec![
        ("id", text(), "Its name: unique in its bucket, or for its target."),
        ("source", sources, "Where it is kept."),
        ("form", or_null(forms), "Where it stands in a bucket's notification configuration."),
        ("bucket", text(), "The bucket's name, or a pattern of names."),
        ("target", text(), "The target's name, or the function's."),
        ("arn", or_null(text()), "The destination as it was written in a notification configuration."),
        ("events", list(text()), "The names of its events."),
        ("prefix", text(), "Only keys that begin so."),
        ("suffix", text(), "Only keys that end so."),
        ("enabled", flag(), "It was not switched off."),
        ("allow_overlap", flag(), "It may match what other rules of the bucket match."),
        ("active", flag(), "It matches now: it is enabled, and its target is configured."),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_is_decoded_and_whole() {
        let query = "function=f&bucket=b&event=cos%3AObjectCreated%3A*&prefix=in%2Fa%20b&allow_overlap=true";
        let wish = TriggerWish::to_add(Some(query)).expect("whole");
        let wanted = TriggerWish::Add {
            function: "f".into(),
            bucket: "b".into(),
            event: "cos:ObjectCreated:*".into(),
            prefix: "in/a b".into(),
            suffix: String::new(),
            allow_overlap: true,
            enabled: true,
        };
        assert_eq!(wish, wanted);
        for query in ["", "function=f&bucket=b", "function=f&bucket=&event=x", "function=%f&bucket=b&event=x"]
        {
            let refused = TriggerWish::to_add(Some(query));
            assert!(matches!(refused, Err(ChangeError::BadRequest(_))), "{query}: {refused:?}");
        }
        assert!(TriggerWish::to_change(Some("bucket=b"), TriggerState::Removed).is_err());
    }
}
