//! The alert rules, their tests and the dashboard against the table of metrics.
//!
//! Must never need Prometheus: `cargo xtask test` runs promtool.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use tidings::metrics::{Kind, TABLE, values};

const FILES: [&str; 3] =
    ["prometheus/tidings.rules.yml", "prometheus/tidings.rules.test.yml", "grafana/tidings.json"];

fn read(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(file);
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{file}: {e}"))
}

/// Every metric that a text names, with what follows it up to the end of its braces.
fn named(text: &str) -> Vec<(String, &str)> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let starts = text.match_indices("tidings_").filter(|(at, _)| !text[..*at].ends_with(word));
    starts
        .map(|(at, _)| {
            let rest = &text[at..];
            let end = rest.find(|c| !word(c)).unwrap_or(rest.len());
            let braces = rest[end..].strip_prefix('{').and_then(|r| r.split('}').next()).unwrap_or_default();
            (rest[..end].to_owned(), braces)
        })
        .collect()
}

#[test]
fn every_metric_and_label_that_is_asked_for_exists() {
    let mut seen = BTreeSet::new();
    for file in FILES {
        for (name, braces) in named(&read(file)) {
            let spec = TABLE.iter().find(|spec| {
                let rest = name.strip_prefix(spec.name);
                match spec.kind {
                    Kind::Histogram => rest.is_some_and(|r| matches!(r, "_bucket" | "_sum" | "_count")),
                    Kind::Counter | Kind::Gauge => rest == Some(""),
                }
            });
            let spec = spec.unwrap_or_else(|| panic!("{file}: there is no metric {name}"));
            seen.insert(spec.name);
            for part in braces.replace('\\', "").split(", ").filter(|part| !part.is_empty()) {
                let at = part.find(['=', '!']).unwrap_or_else(|| panic!("{file}: {name}{{{part}"));
                let label = &part[..at];
                let scraped = matches!(label, "instance" | "job" | "le");
                assert!(scraped || spec.labels.contains(&label), "{file}: {name} has no label {label}");
                let wanted = part[at..].trim_matches(['=', '~', '!', '"', '\'']);
                for value in wanted.split('|').filter(|v| !v.starts_with('$')) {
                    let known = values(spec.name, label);
                    let known = known.is_none_or(|known| known.contains(&value));
                    assert!(scraped || known, "{file}: {name}: {label} is never {value}");
                }
            }
        }
    }
    // A metric that no panel and no alert shows is one that nobody sees.
    let unseen: Vec<_> = TABLE.iter().map(|spec| spec.name).filter(|name| !seen.contains(name)).collect();
    assert_eq!(unseen, Vec::<&str>::new());
}

#[test]
fn every_alert_is_tested_and_says_what_to_do() {
    let (rules, tests) = (read(FILES[0]), read(FILES[1]));
    let alerts: Vec<_> = rules.split("- alert: ").skip(1).collect();
    assert!(alerts.len() > 20, "{}", alerts.len());
    for alert in alerts {
        let name = alert.lines().next().expect("a name");
        assert!(tests.contains(&format!("alertname=\"{name}\"")), "{name} has no test");
        for part in ["severity: ", "summary: ", "action: "] {
            assert!(alert.contains(part), "{name} has no {part}");
        }
    }
}
