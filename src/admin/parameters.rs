//! The parameters that each route takes in its query, as one table: what the document says, what is refused,
//! and what of a query the audit log may hold.
//!
//! Must never let a word through that no route knows: a mistyped wish must not become another one.

use super::backend::ChangeError;
use super::routes::Action;

/// One parameter of a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Parameter {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// What it means, for people.
    pub(super) help: &'static str,
    /// May stand more than once.
    pub(super) many: bool,
}

/// What a parameter's value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    /// RFC 3339.
    Time,
    Flag,
    Offset,
    /// From 1 to this.
    Count(usize),
}

/// Letters on one page, at most.
pub(super) const PAGE_MAX: usize = 1_000;
/// The longest excerpt of a query in the audit log, in bytes.
const EXCERPT: usize = 512;

const fn one(name: &'static str, kind: Kind, help: &'static str) -> Parameter {
    Parameter { name, kind, help, many: false }
}

const SINCE: Parameter = one("since", Kind::Time, "Dead letters since this time or later.");
const UNTIL: Parameter = one("until", Kind::Time, "Dead letters since before this time.");
const CLASS: Parameter = one("class", Kind::Text, "The class of the last error, as in metrics.");
const BUCKET: Parameter = one("bucket", Kind::Text, "The object's bucket; goes with `key`.");
const KEY: Parameter = one("key", Kind::Text, "The object's key; goes with `bucket`.");
const LIST: &[Parameter] = &[
    SINCE,
    UNTIL,
    CLASS,
    BUCKET,
    KEY,
    one("after", Kind::Offset, "Only those above this offset: the `next` of the page before."),
    one("limit", Kind::Count(PAGE_MAX), "So many at most; 100 unless said."),
];
const CHOICE: &[Parameter] = &[
    Parameter {
        name: "offset",
        kind: Kind::Offset,
        help: "This dead letter; may stand more than once, not beside a filter or `all`.",
        many: true,
    },
    SINCE,
    UNTIL,
    CLASS,
    BUCKET,
    KEY,
    one("all", Kind::Flag, "Every dead letter of the target; without it something else must be said."),
];
const DISCARD: &[Parameter] =
    &[one("discard", Kind::Flag, "Give up also what the target has not got; without it that is refused.")];
const FROM: &[Parameter] = &[
    one("from", Kind::Text, "The first offset, or a time such as 2026-01-31T12:00:00Z; must be said."),
    one("rematch", Kind::Flag, "Also what today's rules match and the target was not given."),
];
const ACCEPT: &[Parameter] = &[Parameter {
    name: "accept",
    kind: Kind::Text,
    help: "A target whose backlog may go to another kind of connector; may stand more than once.",
    many: true,
}];

const QUOTA: &[Parameter] = &[
    one("max_bytes", Kind::Offset, "Bytes that all objects may have together."),
    one("max_objects", Kind::Offset, "How many objects there may be."),
    one("unlimited", Kind::Flag, "No quota any more; stands alone."),
];

const TEMPLATE: &[Parameter] =
    &[one("template", Kind::Text, "The event of this template instead of the body.")];
const REMOVE: &[Parameter] =
    &[one("discard", Kind::Flag, "Give up also the events that it has not got; else that is refused.")];
const RUNS: &[Parameter] = &[
    one("after", Kind::Offset, "Only runs above this number, the earliest first: the `next` before."),
    one("limit", Kind::Count(PAGE_MAX), "So many at most; 100 unless said."),
    one("status", Kind::Text, "`failed`: only those that did not succeed."),
    one("request-id", Kind::Text, "Only runs of this request."),
];
const RULES: &[Parameter] = &[
    one("bucket", Kind::Text, "Of this bucket; of the configuration's those whose pattern it fits."),
    one("target", Kind::Text, "For this target."),
];
const TRIGGERS: &[Parameter] =
    &[one("bucket", Kind::Text, "Of this bucket."), one("function", Kind::Text, "Of this function.")];
const TRIGGER: &[Parameter] = &[
    one("function", Kind::Text, "The function, or a target that calls over HTTP; must be said."),
    one("bucket", Kind::Text, "The bucket; must be said."),
    one("event", Kind::Text, "The event's name, such as `cos:ObjectCreated:*`; must be said."),
    one("prefix", Kind::Text, "Only keys that begin so."),
    one("suffix", Kind::Text, "Only keys that end so; begins with a dot."),
    one("allow_overlap", Kind::Flag, "Also if another rule of the bucket is for the same changes."),
];
const ONE_TRIGGER: &[Parameter] = &[
    one("id", Kind::Text, "Its id; must be said."),
    one("bucket", Kind::Text, "Its bucket, if several have a trigger of this id."),
];

/// What a route takes.
pub(super) fn of(action: Action) -> &'static [Parameter] {
    match action {
        Action::DeadList => LIST,
        Action::DeadReplay | Action::DeadPurge => CHOICE,
        Action::TargetForget => DISCARD,
        Action::TargetReplay => FROM,
        Action::Reload => ACCEPT,
        Action::BucketQuota => QUOTA,
        Action::FunctionInvoke => TEMPLATE,
        Action::FunctionRemove => REMOVE,
        Action::FunctionLogs => RUNS,
        Action::RuleList => RULES,
        Action::TriggerList => TRIGGERS,
        Action::TriggerAdd => TRIGGER,
        Action::TriggerEnable | Action::TriggerDisable | Action::TriggerRemove => ONE_TRIGGER,
        Action::Live
        | Action::Ready
        | Action::Metrics
        | Action::TargetList
        | Action::TargetShow
        | Action::TargetPause
        | Action::TargetResume
        | Action::TargetTest
        | Action::DeadShow
        | Action::DeadAccept
        | Action::BucketList
        | Action::FunctionList
        | Action::FunctionShow
        | Action::FunctionCreate
        | Action::FunctionUpdate
        | Action::FunctionTemplates
        | Action::JournalStat
        | Action::StoreStat
        | Action::OpenApi
        | Action::Scf => &[],
    }
}

fn pairs(query: Option<&str>) -> impl Iterator<Item = (&str, &str)> {
    let parts = query.unwrap_or_default().split('&').filter(|part| !part.is_empty());
    parts.map(|part| part.split_once('=').unwrap_or((part, "")))
}

/// Refuses what the route does not take. Health and metrics ignore it: probes add what they like.
pub(super) fn check(action: Action, query: Option<&str>) -> Result<(), ChangeError> {
    if matches!(action, Action::Live | Action::Ready | Action::Metrics) {
        return Ok(());
    }
    for (name, value) in pairs(query) {
        let Some(known) = of(action).iter().find(|p| p.name == name) else {
            // The word itself may be a secret that was typed into the wrong place.
            let takes = of(action).iter().map(|p| format!("`{}`", p.name)).collect::<Vec<_>>().join(", ");
            let takes = if takes.is_empty() { "none".to_owned() } else { takes };
            return Err(ChangeError::BadRequest(format!(
                "there is a parameter unknown here; known: {takes}"
            )));
        };
        if known.kind == Kind::Flag && !matches!(value, "true" | "false") {
            return Err(ChangeError::BadRequest(format!("`{name}` may be `true` or `false`")));
        }
        if !known.many && pairs(query).filter(|(other, _)| *other == name).count() > 1 {
            return Err(ChangeError::BadRequest(format!("`{name}` may stand once")));
        }
    }
    Ok(())
}

/// A checked query for the audit log: names and values, but of object keys only that one was named.
pub(super) fn excerpt(action: Action, query: Option<&str>) -> String {
    let known = pairs(query).filter(|(name, _)| of(action).iter().any(|p| p.name == *name));
    let told = known.map(|(name, value)| format!("{name}={}", if name == "key" { "…" } else { value }));
    let mut told = told.collect::<Vec<_>>().join("&");
    if told.len() > EXCERPT {
        told.truncate(told.floor_char_boundary(EXCERPT));
        told.push('…');
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_the_route_does_not_know_is_refused() {
        for (action, good) in [
            (Action::TargetForget, "discard=true"),
            (Action::TargetForget, "discard=false"),
            (Action::Reload, "accept=a&accept=b"),
            (Action::Reload, ""),
            (Action::DeadPurge, "offset=1&offset=2"),
            (Action::Metrics, "name[]=x"),
        ] {
            assert_eq!(check(action, Some(good)), Ok(()), "{good}");
        }
        for (action, bad) in [
            (Action::TargetForget, "discrad=true"),
            (Action::TargetForget, "discard"),
            (Action::TargetForget, "discard=1"),
            (Action::TargetForget, "discard=true&discard=false"),
            (Action::TargetPause, "discard=true"),
            (Action::Reload, "Accept=a"),
            (Action::DeadList, "offset=1"),
            (Action::DeadPurge, "limit=1"),
            (Action::TargetReplay, "from=1&from=2"),
            (Action::TargetReplay, "from=1&rematch=true&rematch=true"),
            (Action::TargetReplay, "%66rom=1"),
            (Action::DeadReplay, "class=a&class=b"),
            (Action::DeadReplay, "all=true&all=true"),
        ] {
            assert!(matches!(check(action, Some(bad)), Err(ChangeError::BadRequest(_))), "{bad}");
        }
        let told = check(Action::TargetPause, Some("token=hunter2")).expect_err("refused").to_string();
        assert!(!told.contains("hunter2"), "{told}");
    }

    #[test]
    fn the_audit_log_gets_what_was_asked_for_and_no_key() {
        let told = excerpt(Action::DeadPurge, Some("bucket=b&key=private&token=x"));
        assert_eq!(told, "bucket=b&key=…");
        let long = excerpt(Action::DeadPurge, Some(&vec!["offset=1"; 1_000].join("&")));
        assert!(long.len() <= EXCERPT + "…".len() && long.ends_with('…'), "{}", long.len());
        assert_eq!(excerpt(Action::TargetPause, None), "");
    }
}
