//! Judges `[target.NAME]`: its name, its limits, its rules, its one connector.
//!
//! Must never open a connection: what needs the far side is `tidings check --connect`'s business.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidings_connector::{ConnectorConfig, Span};

use super::check::{Checker, HOUR, MIB, MS, in_time};
use super::diagnostics::Place;
use super::load::choice_help;
use super::places::Part;
use super::tree::{self, KeyPath};
use super::{Budget, Rule, Target, TargetLimits, WhenFull, pattern, raw};
use crate::event::{EventKind, EventSet};

/// The longest prefix or suffix, in bytes: no key is longer.
const MAX_KEY_BYTES: usize = 1_024;
/// The wildcards that a rule may name beside the kinds themselves.
const WILDCARDS: &[&str] = &[
    "cos:ObjectCreated:*",
    "cos:ObjectRemove:*",
    "cos:ObjectRestore:*",
    "s3:ObjectCreated:*",
    "s3:ObjectRemoved:*",
    "s3:ObjectRestore:*",
];

impl Checker<'_> {
    /// Every target, in name order.
    pub(super) fn targets(
        &mut self,
        raw: BTreeMap<String, raw::Target>,
        region: &str,
    ) -> Option<Vec<Target>> {
        let targets: Vec<_> = raw.into_iter().map(|(name, raw)| self.target(&name, raw, region)).collect();
        targets.into_iter().collect()
    }

    fn target(&mut self, name: &str, raw: raw::Target, region: &str) -> Option<Target> {
        let at = KeyPath::of(&["target", name]);
        if !is_name(name) {
            let what = format!("`{}` cannot be a target's name", name.escape_debug());
            self.problem_at(&at, Part::Key, what, &["use 1 to 64 of a-z, 0-9, - and _"]);
        }
        if let Some(its) = &raw.region
            && its != region
        {
            let what = format!("`region` must be the server's own, `{region}`");
            self.problem(
                &at.key("region"),
                what,
                &["leave it out: events go only to targets of their own region"],
            );
        }
        let encoding = self.encoding(&at.key("encoding"), &raw);
        self.limits(&at, &raw);
        let budget = self.budget(&at, &raw);
        self.patience(&at, &raw);
        let on_reject = self.on_reject(&at, &raw);
        let replicates = raw.connector.replication.is_some();
        let rules = match replicates {
            true => self.no_rules(&at, &raw.rule),
            false => self.rules(&at, name, raw.rule),
        };
        let connector = self.connector(&at, name, raw.connector);
        Some(Target {
            name: name.into(),
            encoding,
            rules,
            budget,
            limits: TargetLimits {
                attempt_timeout: raw.attempt_timeout.0,
                backoff_min: raw.backoff_min.0,
                backoff_max: raw.backoff_max.0,
                max_in_flight: raw.max_in_flight,
                max_held: raw.max_held,
                rate_limit: raw.rate_limit,
                on_reject,
                dead_letters_max_bytes: raw.dead_letters_max_bytes.0,
            },
            connector: connector?,
        })
    }

    fn limits(&mut self, at: &KeyPath, raw: &raw::Target) {
        self.span(&at.key("attempt_timeout"), raw.attempt_timeout, 100 * MS..=HOUR);
        let min = self.span(&at.key("backoff_min"), raw.backoff_min, MS..=HOUR);
        let max = self.span(&at.key("backoff_max"), raw.backoff_max, MS..=24 * HOUR);
        if min && max && raw.backoff_min.0 > raw.backoff_max.0 && !self.is_broken(&at.key("backoff_max")) {
            let what = "`backoff_min` is longer than `backoff_max`".to_owned();
            self.problem(&at.key("backoff_min"), what, &["lower `backoff_min`, or raise `backoff_max`"]);
        }
        self.count(&at.key("max_in_flight"), raw.max_in_flight, 1..=65_536);
        self.count(&at.key("max_held"), raw.max_held, 1..=10_000_000);
        if raw.rate_limit == Some(0) {
            let help = ["leave it out for no limit; `tidings target pause` stops a target"];
            self.problem(
                &at.key("rate_limit"),
                "`rate_limit` is 0: nothing would be delivered".into(),
                &help,
            );
        }
    }

    fn budget(&mut self, at: &KeyPath, raw: &raw::Target) -> Budget {
        self.size(&at.key("max_backlog"), raw.max_backlog, MIB..=1 << 50);
        let when_full = match raw.when_full.as_str() {
            "refuse" => WhenFull::Refuse,
            "shed" => WhenFull::Shed,
            other => {
                let what = format!("`when_full` cannot be `{}`", other.escape_debug());
                let help = choice_help(other, &["refuse", "shed"]);
                let help: Vec<&str> = help.iter().map(String::as_str).collect();
                self.problem(&at.key("when_full"), what, &help);
                WhenFull::Refuse
            }
        };
        Budget { max_backlog: raw.max_backlog.0, when_full }
    }

    /// A connector's own timeouts must end first: past the attempt's, the lane drops the connector with all
    /// it has out.
    fn patience(&mut self, at: &KeyPath, raw: &raw::Target) {
        let kafka =
            raw.connector.kafka.iter().map(|kafka| ("kafka", "connect_timeout", kafka.connect_timeout));
        // Its servers are tried one after another.
        let nats = raw.connector.nats.iter().flat_map(|nats| {
            let all = nats.connect_timeout.0.saturating_mul(nats.servers.len() as u32);
            [("nats", "connect_timeout", Span(all)), ("nats", "ack_timeout", nats.ack_timeout)]
        });
        let http = raw.connector.http.iter().flat_map(|http| {
            [("http", "connect_timeout", http.connect_timeout), ("http", "timeout", http.timeout)]
        });
        let amqp = raw.connector.amqp.iter().flat_map(|amqp| {
            let (connect, confirm) = (amqp.connect_timeout, amqp.confirm_timeout);
            [("amqp", "connect_timeout", connect), ("amqp", "confirm_timeout", confirm)]
        });
        let replication = raw.connector.replication.iter().flat_map(|peer| {
            let (connect, pull) = (peer.connect_timeout, peer.timeout);
            [("replication", "connect_timeout", connect), ("replication", "timeout", pull)]
        });
        for (kind, key, span) in kafka.chain(nats).chain(amqp).chain(http).chain(replication) {
            if span.0 >= raw.attempt_timeout.0 && !self.is_broken(&at.key("attempt_timeout")) {
                let attempt = in_time(raw.attempt_timeout.0);
                let what = format!("`{key}` must be shorter than the target's `attempt_timeout`, {attempt}");
                let at = at.key("connector").key(kind).key(key);
                self.problem(&at, what, &["lower it, or raise `attempt_timeout`"]);
            }
        }
    }

    fn connector(
        &mut self,
        at: &KeyPath,
        name: &str,
        raw: raw::Connector,
    ) -> Option<Arc<dyn ConnectorConfig>> {
        let at = at.key("connector");
        let raw::Connector { kafka, nats, amqp, http, replication } = raw;
        let given = [
            ("kafka", kafka.map(|options| Self::boxed(options.checked(name)))),
            ("nats", nats.map(|options| Self::boxed(options.checked(name)))),
            ("amqp", amqp.map(|options| Self::boxed(options.checked(name)))),
            ("http", http.map(|options| Self::boxed(self.http(options, name)))),
            ("replication", replication.map(|peer| Self::boxed(peer.checked(name, &self.region)))),
        ];
        let mut given = given.into_iter().filter_map(|(kind, checked)| Some((kind, checked?)));
        let Some((kind, checked)) = given.next() else {
            let broken = self.broken.iter().any(|broken| broken.starts_with(&at));
            // An unknown kind is told as an unknown key already.
            if !broken && !self.holds_anything(&at) {
                let what = format!("target `{}` has no connector", name.escape_debug());
                let help = format!(
                    "add [target.{name}.connector.KIND]; KIND is kafka, nats, amqp, http or replication"
                );
                self.problem_at(&at, Part::Key, what, &[&help]);
            }
            return None;
        };
        if given.next().is_some() {
            let what = format!("target `{}` has two connectors", name.escape_debug());
            let help = ["give each connector a target of its own"];
            self.problem_at(&at.key(kind), Part::Key, what, &help);
            return None;
        }
        self.connected(&at.key(kind), checked)
    }

    fn boxed<C: ConnectorConfig + 'static>(
        checked: Result<C, String>,
    ) -> Result<Arc<dyn ConnectorConfig>, String> {
        checked.map(|config| Arc::new(config) as Arc<dyn ConnectorConfig>)
    }

    fn rules(&mut self, target_at: &KeyPath, target: &str, raw: Vec<raw::Rule>) -> Vec<Rule> {
        let at = target_at.key("rule");
        if raw.is_empty() && !self.is_broken(&at) {
            let what = format!(
                "target `{}` has no rule: it gets only what rules of buckets give it",
                target.escape_debug()
            );
            let place = match self.places.of(target_at, Part::Key) {
                Place::Line { file, line, column, .. } => format!("{file}:{line}:{column}: "),
                Place::Variable(name) => format!("{name}: "),
                Place::File(_) | Place::Key(_) => String::new(),
            };
            self.warnings
                .push(format!("{place}{what}; add [[target.{target}.rule]] with `bucket` and `events`"));
        }
        let mut rules: Vec<Rule> = Vec::with_capacity(raw.len());
        for (n, rule) in raw.into_iter().enumerate() {
            let rule = self.rule(&at.index(n), target, n, rule);
            if rules.iter().any(|other| other.name == rule.name) {
                let what =
                    format!("two rules of target `{}` are called `{}`", target.escape_debug(), rule.name);
                self.problem(&at.index(n).key("name"), what, &["give each rule a name of its own"]);
            }
            rules.push(rule);
        }
        rules
    }

    pub(super) fn rule(&mut self, at: &KeyPath, target: &str, n: usize, raw: raw::Rule) -> Rule {
        let name = raw.name.unwrap_or_else(|| format!("{target}-{}", n + 1));
        // A default name may be longer than a name may be: the target's name has its own problem then, or
        // none.
        if !is_name(&name) && name != format!("{target}-{}", n + 1) {
            let what = format!("`{}` cannot be a rule's name", name.escape_debug());
            self.problem(&at.key("name"), what, &["use 1 to 64 of a-z, 0-9, - and _"]);
        }
        if !pattern::is_legal(&raw.bucket) {
            let what = format!("`{}` cannot match any bucket's name", raw.bucket.escape_debug());
            let help = ["use 1 to 128 of a-z, 0-9, - and ., with * for any characters"];
            self.problem(&at.key("bucket"), what, &help);
        }
        for (key, text) in [("prefix", &raw.prefix), ("suffix", &raw.suffix)] {
            if text.len() > MAX_KEY_BYTES {
                let what =
                    format!("`{key}` is {} bytes long; no key is longer than {MAX_KEY_BYTES}", text.len());
                self.problem(&at.key(key), what, &[]);
            }
        }
        let events = self.events(at, raw.events);
        Rule { name: name.into(), bucket: raw.bucket, events, prefix: raw.prefix, suffix: raw.suffix }
    }

    fn events(&mut self, rule_at: &KeyPath, names: Option<Vec<String>>) -> EventSet {
        let at = rule_at.key("events");
        let help = "name at least one, such as \"cos:ObjectCreated:*\"";
        let Some(names) = names else {
            if !self.is_broken(&at) {
                self.problem_at(rule_at, Part::Key, "the rule names no `events`".into(), &[help]);
            }
            return EventSet::default();
        };
        if names.is_empty() {
            self.problem(&at, "`events` is empty: the rule would match nothing".into(), &[help]);
        }
        let mut set = EventSet::default();
        for (n, name) in names.iter().enumerate() {
            match EventSet::parse(name) {
                Some(one) => set = set.union(one),
                None => {
                    let help = event_help(name);
                    let help: Vec<&str> = help.iter().map(String::as_str).collect();
                    let what = format!("`{}` is not an event", name.escape_debug());
                    self.problem(&at.index(n), what, &help);
                }
            }
        }
        set
    }

    /// True if the table at `at` has any key at all.
    fn holds_anything(&self, at: &KeyPath) -> bool {
        let table = tree::get(self.tree, at).map(|value| &value.kind);
        matches!(table, Some(config::ValueKind::Table(table)) if !table.is_empty())
    }
}

/// What a wrong event name may have meant, or every name of the family it seems to be of.
fn event_help(name: &str) -> Vec<String> {
    let cos = EventKind::ALL.iter().map(|kind| kind.cos_name());
    let s3 = EventKind::ALL.iter().map(|kind| kind.s3_name());
    let all: Vec<&str> = WILDCARDS.iter().copied().chain(cos).chain(s3).collect();
    let near = choice_help(name, &all);
    if near.iter().any(|help| help.starts_with("did you mean")) {
        return near;
    }
    let family = if name.starts_with("s3:") { "s3:" } else { "cos:" };
    let names: Vec<&str> = all.into_iter().filter(|known| known.starts_with(family)).collect();
    vec![format!("events are {}", names.join(", "))]
}

/// 1 to 64 of `a-z 0-9 - _`.
pub(super) fn is_name(text: &str) -> bool {
    let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
    (1..=64).contains(&text.len()) && text.bytes().all(legal)
}
