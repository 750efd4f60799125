//! Good and bad options.

use std::path::PathBuf;

use tidings_connector::ConnectorConfig as _;

use super::*;

fn options() -> NatsOptions {
    NatsOptions {
        servers: vec!["nats://127.0.0.1:4222".to_owned()],
        stream: "OBJECTS".to_owned(),
        subject: "objects.{bucket}".to_owned(),
        ..NatsOptions::default()
    }
}

/// A variable, and a file, that every test process has.
const SET: &str = "CARGO_MANIFEST_DIR";
const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");

#[test]
fn the_smallest_useful_options_are_accepted() {
    let config = options().checked("t").expect("valid");
    assert_eq!((config.identity, config.tls), (None, TlsFiles::default()));
    assert!(!config.subject.is_fixed());
    for server in ["h:1", "[::1]:4222", "tls://nats.example.com:4443", "nats.example.com"] {
        let options = NatsOptions { servers: vec![server.to_owned()], ..options() };
        assert!(options.checked("t").is_ok(), "{server}");
    }
    let core = NatsOptions { stream: String::new(), allow_at_most_once: true, ..options() };
    assert_eq!(core.checked("t").expect("valid").stream, None);
}

#[test]
fn bad_values_are_refused_by_name() {
    type Change = fn(&mut NatsOptions);
    let cases: [(&str, Change); 27] = [
        ("`servers` is required", |o| o.servers.clear()),
        ("`servers` is required", |o| o.servers = vec!["h:1".to_owned(); MAX_SERVERS + 1]),
        ("`servers`:", |o| o.servers = vec!["http://h:1".to_owned()]),
        ("`servers`:", |o| o.servers = vec!["h:1,g:1".to_owned()]),
        ("`servers`:", |o| o.servers = vec!["h:1/x".to_owned()]),
        ("`servers` is required", |o| o.servers = vec![String::new()]),
        ("`servers` must not carry", |o| o.servers = vec!["nats://planted:secret@h:1".to_owned()]),
        ("`stream` is required", |o| o.stream.clear()),
        ("`stream`: `.`", |o| o.stream = "a.b".to_owned()),
        ("`stream`: `\\u{7f}`", |o| o.stream = "a\u{7f}".to_owned()),
        ("`allow_at_most_once` and `stream`", |o| o.allow_at_most_once = true),
        ("`subject` is required", |o| o.subject.clear()),
        ("`subject`:", |o| o.subject = "objects.*".to_owned()),
        ("`subject`:", |o| o.subject = "$JS.API.STREAM.DELETE.{bucket}".to_owned()),
        ("`username` needs", |o| o.username = "u".to_owned()),
        ("`username` is missing", |o| o.password_env = SET.to_owned()),
        ("`token_env`:", |o| o.token_env = "TIDINGS_TEST_UNSET".to_owned()),
        ("`credentials_file`:", |o| o.credentials_file = "/nowhere".to_owned()),
        ("`nkey_env` and `nkey_file` exclude", |o| {
            (o.nkey_env, o.nkey_file) = (SET.to_owned(), FILE.to_owned());
        }),
        ("only one of", |o| (o.token_env, o.nkey_env) = (SET.to_owned(), SET.to_owned())),
        ("`ca_file`:", |o| o.ca_file = "/nowhere".to_owned()),
        ("`cert_file` needs", |o| o.cert_file = FILE.to_owned()),
        ("`key_file` needs", |o| o.key_file = FILE.to_owned()),
        ("`max_in_flight`", |o| o.max_in_flight = 0),
        ("`max_bytes`", |o| o.max_bytes = Size(1)),
        ("`connect_timeout`", |o| o.connect_timeout = Span(Duration::ZERO)),
        ("`ack_timeout`", |o| o.ack_timeout = Span(Duration::from_secs(61))),
    ];
    for (begins, change) in cases {
        let mut options = options();
        change(&mut options);
        let said = options.checked("t").expect_err(begins);
        assert!(said.starts_with(begins), "{said}");
        assert!(!said.contains("planted") && !said.contains("secret"), "{said}");
    }
}

#[test]
fn where_a_secret_is_shows_and_the_secret_does_not() {
    let options = NatsOptions { username: "u".to_owned(), password_env: SET.to_owned(), ..options() };
    let shown = format!("{:?}", options.checked("t").expect("valid"));
    assert!(shown.contains(SET) && !shown.contains(env!("CARGO_MANIFEST_DIR")), "{shown}");
}

#[test]
fn every_file_that_a_connection_reads_is_named() {
    assert!(options().checked("t").expect("valid").files().is_empty());
    let file = |name: &str| format!("{}/src/{name}.rs", env!("CARGO_MANIFEST_DIR"));
    type Change = fn(&mut NatsOptions, String);
    let secrets: [Change; 4] = [
        |o, file| (o.username, o.password_file) = ("u".to_owned(), file),
        |o, file| o.token_file = file,
        |o, file| o.nkey_file = file,
        |o, file| o.credentials_file = file,
    ];
    for change in secrets {
        let mut options = NatsOptions {
            ca_file: file("lib"),
            cert_file: file("error"),
            key_file: file("check"),
            ..options()
        };
        change(&mut options, file("config"));
        let mut read = options.checked("t").expect("valid").files();
        read.sort();
        assert_eq!(read, ["check", "config", "error", "lib"].map(|name| PathBuf::from(file(name))));
    }
}
