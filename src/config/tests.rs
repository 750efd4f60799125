//! The loader's tests: defaults, the shipped files, overrides, and what every kind of mistake looks like.

mod presets;
mod shipped;
mod text;

use std::time::Duration;

use super::load::load_text;
use super::tree::{self, KeyPath, Variables};
use super::*;
use crate::event::EventKind;
use shipped::everything;

const SHIPPED: &str = include_str!("../../config/tidings.toml");

/// One target that is as small as it may be.
const TARGET: &str = r#"
[target.t.connector.kafka]
brokers = ["127.0.0.1:9092"]
topic = "object-events"
[[target.t.rule]]
events = ["cos:ObjectCreated:*"]
"#;

fn load_with(text: &str, env: &[(&str, &str)]) -> Result<Config, Diagnostics> {
    let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    load_text(Some("t.toml"), text, env)
}

fn good(text: &str) -> Config {
    load_with(text, &[]).unwrap_or_else(|e| panic!("{e}"))
}

/// What is said about a text that must be refused.
fn bad(text: &str) -> Diagnostics {
    match load_with(text, &[]) {
        Ok(_) => panic!("accepted: {text}"),
        Err(diagnostics) => diagnostics,
    }
}

/// Every problem as `LINE:COLUMN TOKEN: what | help`, the token being what the carets cover.
fn told(diagnostics: &Diagnostics) -> Vec<String> {
    let one = |p: &Problem| {
        let place = match &p.place {
            Place::Line { line, column, text, width, .. } => {
                let token: String = text.chars().skip(column - 1).take(*width).collect();
                format!("{line}:{column} {token}")
            }
            other => other.to_string(),
        };
        let help: String = p.help.iter().map(|help| format!(" | {help}")).collect();
        format!("{place}: {}{help}", p.what)
    };
    diagnostics.problems().iter().map(one).collect()
}

fn only(text: &str) -> String {
    let mut told = told(&bad(text));
    assert_eq!(told.len(), 1, "{told:#?}");
    told.remove(0)
}

/// Everything but the targets, so that it can be compared.
fn sections(c: &Config) -> (&Server, &Admin, &Account, &Queue, &Store) {
    (&c.server, &c.admin, &c.account, &c.queue, &c.store)
}

#[test]
fn the_defaults_alone_run() {
    let config = load(None, std::iter::empty()).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:9000");
    assert_eq!(config.queue.max_bytes, 20 << 30);
    assert!(config.targets.is_empty() && config.warnings.is_empty());
}

#[test]
fn every_example_loads() {
    let mut seen = Vec::new();
    for file in std::fs::read_dir("config/examples").expect("the examples") {
        let path = file.expect("an example").path();
        let path = if path.is_dir() { path.join("tidings.toml") } else { path };
        let config = load(Some(&path), std::iter::empty()).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(config.warnings, Vec::<String>::new());
        seen.extend(config.targets.iter().map(|t| t.connector.kind()));
    }
    seen.sort_unstable();
    assert_eq!(seen, ["amqp", "http", "http", "kafka", "nats"]);
}

#[test]
fn rules_are_read_in_their_order() {
    let text = TARGET.replace(
        "[[target.t.rule]]",
        "[[target.t.rule]]\nbucket = \"orders-*\"\nevents = [\"s3:ObjectRemoved:*\", \
         \"cos:ObjectRestore:Post\"]\nprefix = \"in/\"\nsuffix = \".json\"\n\
         [[target.t.rule]]\nname = \"second\"",
    );
    let config = good(&text);
    let [first, second] = &config.targets[0].rules[..] else { panic!("two rules") };
    assert_eq!(
        (&*first.name, &*first.bucket, &*first.prefix, &*first.suffix),
        ("t-1", "orders-*", "in/", ".json")
    );
    let removed: Vec<bool> = EventKind::ALL.iter().map(|kind| first.events.contains(*kind)).collect();
    assert_eq!(removed, [false, false, false, false, false, false, true, true, true, false]);
    assert_eq!((&*second.name, &*second.bucket), ("second", "*"));
}

#[test]
fn a_problem_is_shown_with_its_line_and_a_caret() {
    let text = bad("[server]\nlisten = \"127.0.0.1:9000\"\n  regoin = \"x\"\n").to_string();
    let expected = "error: unknown key `regoin`
 --> t.toml:3:3
  |
3 |   regoin = \"x\"
  |   ^^^^^^
  = did you mean `region`?

the configuration has 1 problem; nothing was started or changed";
    assert_eq!(text, expected);
}

#[test]
fn everything_wrong_is_told_at_once() {
    let text = r#"
serve = 1
[server]
listn = "x"
listen = 9000
region = "AP"
max_connections = 1.5
header_timeout = 30
[queue]
max_bytes = "20GX"
[target.t.connector.kafka]
brokers = ["127.0.0.1:9092", 5]
topic = "t"
[[target.t.rule]]
events = ["cos:ObjectCreated:Putt"]
prefx = "a"
"#;
    let expected = [
        "2:1 serve: unknown key `serve` | did you mean `server`?",
        "4:1 listn: unknown key `listn` | did you mean `listen`?",
        "5:10 9000: `listen`: expected a string, found the number `9000`",
        "6:10 \"AP\": `region` is not a region's name | use 1 to 64 of a-z, 0-9 and -, such as ",
        "7:19 1.5: `max_connections`: expected a whole number, found the number `1.5`",
        "8:18 30: `header_timeout`: expected a duration such as \"200ms\" or \"5s\", found the ",
        "10:13 \"20GX\": `max_bytes`: write a size as bytes or with a unit: 65536, \"64KiB\", ",
        "12:30 5: `brokers`: expected a string, found the number `5`",
        "15:11 \"cos:ObjectCreated:Putt\": `cos:ObjectCreated:Putt` is not an event | did you mean ",
        "16:1 prefx: unknown key `prefx` | did you mean `prefix`?",
    ];
    let told = told(&bad(text));
    assert_eq!(told.len(), expected.len(), "{told:#?}");
    for (told, expected) in told.iter().zip(expected) {
        assert!(told.starts_with(expected), "{told}\n{expected}");
    }
}

#[test]
fn every_value_has_its_bounds() {
    for (section, key, value, says) in [
        ("server", "listen", "\"localhost:9000\"", "not an address"),
        ("server", "listen", "\"127.0.0.1:9001\"", "both port 9001"),
        ("server", "region", "\"\"", "not a region's name"),
        ("server", "region", "\"Ap\"", "not a region's name"),
        ("server", "data", "\"\"", "is empty"),
        ("server", "domain", "\"http://x\"", "not a domain name"),
        ("server", "max_connections", "0", "allowed are 1 to 1000000"),
        ("server", "max_connections", "-1", "out of range"),
        ("server", "header_timeout", "\"1ms\"", "allowed are 100ms to 1h"),
        ("server", "shutdown_timeout", "\"2h\"", "allowed are 100ms to 1h"),
        ("admin", "listen", "\"9001\"", "not an address"),
        ("account", "appid", "\"12a\"", "1 to 20 digits"),
        ("account", "appid", "\"\"", "1 to 20 digits"),
        ("queue", "segment_bytes", "\"512KiB\"", "allowed are 1MiB to 1GiB"),
        ("queue", "segment_bytes", "\"2GiB\"", "allowed are 1MiB to 1GiB"),
        ("queue", "segment_bytes", "1048577", "no multiple of 4096"),
        ("queue", "max_bytes", "\"255MiB\"", "at least 4 segments: 256MiB"),
        ("queue", "max_bytes", "99999999999999999999", "does not fit 64 bits"),
        ("queue", "overlay_bytes", "0", "allowed are 1MiB"),
        ("store", "inline_bytes", "65537", "allowed are 0 to 64KiB"),
        ("store", "max_object_bytes", "0", "allowed are 1 to 5TiB"),
        ("store", "checkpoint_interval", "\"0s\"", "allowed are 100ms to 1h"),
        ("store", "min_part_bytes", "\"6GiB\"", "allowed are 0 to 5GiB"),
        ("store", "upload_expiry", "\"1m\"", "allowed are 1h to 365d"),
        ("store", "reclaim_rate", "\"2TiB\"", "allowed are 0 to 1TiB"),
    ] {
        let told = only(&format!("[{section}]\n{key} = {value}\n"));
        assert!(told.contains(says), "{key} = {value}: {told}");
        // The clash of two addresses is told at the second one.
        assert!(told.starts_with("2:") || says.starts_with("both"), "{told}");
    }
    good("[queue]\nsegment_bytes = \"64MiB\"\nmax_bytes = \"256MiB\"\n[store]\ninline_bytes = \"64KiB\"\n");
    good("[server]\nlisten = \"127.0.0.1:0\"\n[admin]\nlisten = \"127.0.0.1:0\"\n");
    good("[server]\ndomain = \"cos.ap-guangzhou.example.com\"\n");
}

#[test]
fn every_key_of_a_target_has_its_bounds() {
    let with = |line: &str| format!("[target.t]\n{line}\n{TARGET}");
    for (line, says) in [
        (
            "attempt_timeout = \"5s\"",
            "`connect_timeout` must be shorter than the target's `attempt_timeout`, 5s",
        ),
        ("attempt_timeout = \"2h\"", "2:19 \"2h\": `attempt_timeout` is 2h; allowed are 100ms to 1h"),
        ("backoff_min = \"0s\"", "allowed are 1ms to 1h"),
        ("backoff_min = \"10m\"", "`backoff_min` is longer than `backoff_max`"),
        ("max_in_flight = 65537", "allowed are 1 to 65536"),
        ("max_in_flight = 0", "allowed are 1 to 65536"),
        ("rate_limit = 0", "nothing would be delivered"),
        ("rate_limit = 4294967296", "out of range: allowed are 0 to 4294967295"),
        ("max_backlog = \"1023KiB\"", "allowed are 1MiB to 1024TiB"),
        ("when_full = \"drop\"", "`when_full` cannot be `drop` | allowed are refuse, shed"),
        ("when_full = \"shet\"", "did you mean `shed`?"),
        ("encoding = \"xml\"", "2:12 \"xml\": `encoding` cannot be `xml`"),
        ("region = \"eu\"", "`region` must be the server's own, `ap-guangzhou`"),
        ("rules = []", "unknown key `rules` | did you mean `rule`?"),
    ] {
        let told = only(&with(line));
        assert!(told.contains(says), "{line}: {told}");
    }
    good(&with("region = \"ap-guangzhou\""));
    good(&with("backoff_min = \"5m\""));
    let budget = good(&with("max_backlog = \"1MiB\"\nwhen_full = \"shed\"")).targets[0].budget;
    assert_eq!(budget, Budget { max_backlog: 1 << 20, when_full: WhenFull::Shed });
}

#[test]
fn every_key_of_a_rule_is_checked() {
    let with = |line: &str| TARGET.replace("events = [\"cos:ObjectCreated:*\"]", line);
    let events = "events = [\"cos:ObjectCreated:*\"]";
    for (line, says) in [
        (String::new(), "5:1 [[target.t.rule]]: the rule names no `events`"),
        ("events = []".into(), "6:10 []: `events` is empty"),
        ("events = [\"*\"]".into(), "6:11 \"*\": `*` is not an event | events are cos:ObjectCreated:*,"),
        ("events = [\"s3:ObjectRemove:Delete\"]".into(), "did you mean `s3:ObjectRemoved:Delete`?"),
        ("events = \"cos:ObjectCreated:*\"".into(), "expected a list, found a string"),
        (format!("{events}\nbucket = \"Orders\""), "cannot match any bucket's name"),
        (format!("{events}\nbucket = \"\""), "cannot match any bucket's name"),
        (format!("{events}\nname = \"A b\""), "cannot be a rule's name"),
        (format!("{events}\nprefix = \"{}\"", "x".repeat(1_025)), "1025 bytes long"),
        (
            format!("{events}\n[[target.t.rule]]\nname = \"t-1\"\n{events}"),
            "8:8 \"t-1\": two rules of target `t`",
        ),
    ] {
        let told = only(&with(&line));
        assert!(told.contains(says), "{line}: {told}");
    }
}

#[test]
fn a_target_has_one_connector_and_a_legal_name() {
    let http = "[target.t.connector.http]\nurl = \"http://127.0.0.1/\"\n";
    for (text, says) in [
        (
            "[target.t]\nencoding = \"s3\"".to_owned(),
            "1:9 t: target `t` has no connector | add [target.t.connector",
        ),
        ("[target.t.connector]".to_owned(), "1:11 connector: target `t` has no connector"),
        (format!("{http}{TARGET}"), "target `t` has two connectors"),
        (
            "[target.t.connector.kafak]\ntopic = \"t\"".to_owned(),
            "unknown key `kafak` | did you mean `kafka`?",
        ),
        (
            "[target.t.connector.carrier]".to_owned(),
            "unknown key `carrier` | [target.t.connector] knows kafka, nats, amqp, http",
        ),
        (
            "[target.t.connector.nats]\nservers = [\"h:1\"]\nsubject = \"s\"".to_owned(),
            "1:21 nats: `stream` is required",
        ),
        (
            "[target.t.connector.nats]\nservers = [\"h:1\"]\nstream = \"S\"\nsubject = \"a.*\"".to_owned(),
            "4:11 \"a.*\": `subject`: `*` is not allowed",
        ),
        (
            "[target.t.connector.nats]\nservers = [\"h:1\", \"g:1\"]\nstream = \"S\"\nsubject = \"s\"\n\
             connect_timeout = \"30s\""
                .to_owned(),
            "`connect_timeout` must be shorter than the target's `attempt_timeout`",
        ),
        (TARGET.replace("target.t", "target.Tea"), "2:9 Tea: `Tea` cannot be a target's name"),
        (TARGET.replace("topic =", "#"), "2:21 kafka: `topic` is required"),
        (TARGET.replace("object-events", "a b"), "4:9 \"a b\": `topic`: ` ` is not allowed"),
        (TARGET.replace("topic =", "linger = \"2s\"\ntopic ="), "4:10 \"2s\": `linger` must be 0ms to 1s"),
        (
            TARGET.replace("topic =", "compression = \"lz5\"\ntopic ="),
            "`lz5` is not allowed here | did you mean `lz4`?",
        ),
    ] {
        let told = only(&text);
        assert!(told.contains(says), "{text}: {told}");
    }
}

#[test]
fn a_target_without_a_rule_is_warned_of() {
    let config = good("[target.t.connector.http]\nurl = \"http://127.0.0.1/\"\n");
    let [warning] = &config.warnings[..] else { panic!("{:?}", config.warnings) };
    assert!(warning.starts_with("t.toml:1:9: target `t` has no rule: it gets only what"), "{warning}");
    assert!(good(TARGET).warnings.is_empty());
}

#[test]
fn variables_override_the_file_and_the_defaults() {
    let text = "[server]\nlisten = \"127.0.0.1:1\"\nregion = \"eu\"\n".to_owned() + TARGET;
    let env = [
        ("TIDINGS__SERVER__LISTEN", "127.0.0.1:2"),
        ("TIDINGS__SERVER__MAX_CONNECTIONS", "7"),
        ("TIDINGS__ACCOUNT__APPID", "1250000001"),
        ("TIDINGS__QUEUE__RETAIN_AGE", "2h"),
        ("TIDINGS__TARGET__T__CONNECTOR__KAFKA__BROKERS", "a:1, b:2"),
        ("TIDINGS__TARGET__T__RATE_LIMIT", "9"),
        ("TIDINGS_CONFIG", "/etc/tidings.toml"),
        ("TIDINGS_LOG", "debug"),
        ("XTIDINGS__SERVER__LISTEN", "no"),
    ];
    let config = load_with(&text, &env).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:2");
    assert_eq!((&*config.server.region, config.server.max_connections), ("eu", 7));
    assert_eq!(config.account.appid, "1250000001");
    assert_eq!(config.queue.retain_age, Duration::from_secs(7_200));
    assert_eq!(config.targets[0].limits.rate_limit, Some(9));
    let mine = config.targets[0].connector.fingerprint();
    let list =
        good(&TARGET.replace("\"127.0.0.1:9092\"", "\"a:1\", \"b:2\"")).targets[0].connector.fingerprint();
    assert_eq!(mine, list);
}

#[test]
fn a_problem_in_a_variable_names_the_variable() {
    for (name, value, says) in [
        ("TIDINGS__SERVER__LISTEN", "nowhere", "`nowhere` is not an address"),
        ("TIDINGS__SERVER__LISTN", "x", "unknown key `listn` | did you mean `listen`?"),
        ("TIDINGS__SERVR__LISTEN", "x", "unknown key `servr` | did you mean `server`?"),
        ("TIDINGS__SERVER__MAX_CONNECTIONS", "many", "expected a whole number, found `many`"),
        ("TIDINGS__SERVER", "x", "`server`: expected a table, found `x`"),
        ("TIDINGS__SERVER____LISTEN", "x", "names no key"),
        ("TIDINGS__", "x", "names no key"),
        ("TIDINGS__TARGET__T__RULE__0__PREFIX", "x", "rules can be set in the file only"),
        ("TIDINGS__TARGET__NEW__ENCODING", "s3", "target `new` has no connector"),
        ("TIDINGS__TARGET__T__CONNECTOR__KAFKA__LINGER", "2s", "`linger` must be 0ms to 1s"),
    ] {
        let text = "[server]\nlisten = \"127.0.0.1:1\"\n".to_owned() + TARGET;
        let diagnostics = load_with(&text, &[(name, value)]).map(|_| ()).expect_err(name);
        let told = told(&diagnostics);
        assert_eq!(told.len(), 1, "{told:#?}");
        assert!(told[0].starts_with(&format!("environment variable {name}: ")), "{told:?}");
        assert!(told[0].contains(says), "{told:?}");
    }
    let twice = [("TIDINGS__SERVER__DATA", "a"), ("TIDINGS__SERVER__data", "b")];
    let diagnostics = load_with("", &twice).map(|_| ()).expect_err("twice");
    assert!(told(&diagnostics)[0].contains("both set server.data"), "{diagnostics}");
}
