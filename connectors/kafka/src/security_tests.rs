//! What is refused before any broker is asked, and what the library is told.

use super::*;

/// A variable that every test process has.
const SET: &str = "CARGO_MANIFEST_DIR";

fn options() -> KafkaOptions {
    KafkaOptions {
        brokers: vec!["127.0.0.1:9092".to_owned()],
        topic: "object-events".to_owned(),
        ..KafkaOptions::default()
    }
}

/// A file of the certificates that tests share.
fn pem(name: &str) -> String {
    format!("{}/../http/tests/tls/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn settings(options: &KafkaOptions) -> ClientConfig {
    let mut client = ClientConfig::new();
    Security::checked(options).expect("valid").apply(&mut client).expect("readable");
    client.create_native_config().expect("the library knows every key");
    client
}

#[test]
fn what_does_not_fit_together_is_refused_by_name() {
    type Change = fn(&mut KafkaOptions);
    let cases: [(&str, Change); 17] = [
        ("`ca_file` is used only with TLS", |o| o.ca_file = pem("ca.pem")),
        ("`ca_file`: /nowhere", |o| (o.tls, o.ca_file) = (true, "/nowhere".into())),
        ("`cert_file` needs", |o| (o.tls, o.cert_file) = (true, pem("client.pem"))),
        ("`key_file` needs", |o| (o.tls, o.key_file) = (true, pem("client.key"))),
        ("`key_password_env` needs", |o| (o.tls, o.key_password_env) = (true, SET.into())),
        ("`username` is used only", |o| o.username = "u".into()),
        ("`password_env` is used only", |o| o.password_env = SET.into()),
        ("`token_file` is used only", |o| o.token_file = pem("ca.pem")),
        ("`sasl` needs `username`", |o| o.sasl = Sasl::Plain),
        ("`sasl` needs `username`", |o| (o.sasl, o.username) = (Sasl::ScramSha256, "u".into())),
        ("`sasl` needs `username`", |o| (o.sasl, o.password_env) = (Sasl::ScramSha512, SET.into())),
        ("`sasl` = \"oauthbearer\" needs", |o| o.sasl = Sasl::OauthBearer),
        ("`sasl` = \"oauthbearer\" needs", |o| {
            (o.sasl, o.token_file, o.username) = (Sasl::OauthBearer, pem("ca.pem"), "u".into());
        }),
        ("`password_env`: the environment", |o| {
            (o.sasl, o.username, o.password_env) = (Sasl::Plain, "u".into(), "TIDINGS_TEST_UNSET".into());
        }),
        ("`password_file`: /nowhere", |o| o.password_file = "/nowhere".into()),
        ("`password_env` and", |o| (o.password_env, o.password_file) = (SET.into(), "x".into())),
        ("`token_file`: /nowhere", |o| o.token_file = "/nowhere".into()),
    ];
    for (begins, change) in cases {
        let mut options = options();
        change(&mut options);
        let said = Security::checked(&options).expect_err(begins);
        assert!(said.starts_with(begins), "{begins}: {said}");
    }
}

#[test]
fn every_kind_of_proof_becomes_the_library_s_own() {
    assert_eq!(settings(&options()).get("security.protocol"), Some("plaintext"));
    let (cert_file, key_file) = (pem("client.pem"), pem("client.key"));
    let tls = KafkaOptions { tls: true, ca_file: pem("ca.pem"), cert_file, key_file, ..options() };
    let client = settings(&tls);
    assert_eq!(client.get("security.protocol"), Some("ssl"));
    assert_eq!(client.get("ssl.endpoint.identification.algorithm"), Some("https"));
    assert_eq!(client.get("enable.ssl.certificate.verification"), Some("true"));
    assert_eq!(Security::checked(&tls).expect("valid").paths().len(), 3);
    for (sasl, mechanism) in
        [(Sasl::Plain, "PLAIN"), (Sasl::ScramSha256, "SCRAM-SHA-256"), (Sasl::ScramSha512, "SCRAM-SHA-512")]
    {
        let options =
            KafkaOptions { sasl, username: "u".into(), password_env: SET.into(), tls: true, ..options() };
        let client = settings(&options);
        assert_eq!(client.get("security.protocol"), Some("sasl_ssl"));
        assert_eq!(client.get("sasl.mechanism"), Some(mechanism));
        assert_eq!(client.get("sasl.password"), Some(env!("CARGO_MANIFEST_DIR")));
    }
}

#[test]
fn a_token_is_read_again_each_time_and_stands_in_no_setting() {
    let file = std::env::temp_dir().join(format!("tidings-kafka-token-{}", std::process::id()));
    std::fs::write(&file, "first\n").expect("writable");
    let token_file = file.to_str().expect("UTF-8").to_owned();
    let options = KafkaOptions { sasl: Sasl::OauthBearer, token_file, ..options() };
    let security = Security::checked(&options).expect("valid");
    assert!(security.is_readable(), "without TLS");
    assert_eq!(security.paths(), [&*file]);
    let tokens = security.tokens();
    assert_eq!(tokens.next().expect("readable").token, "first");
    std::fs::write(&file, "second").expect("writable");
    assert_eq!(tokens.next().expect("readable").token, "second");
    assert!(!format!("{:?} {security:?}", settings(&options)).contains("second"));
    std::fs::remove_file(&file).expect("there");
    assert!(tokens.next().err().expect("gone").to_string().contains("cannot be read"));
    let mut client = ClientConfig::new();
    let fault = security.apply(&mut client).expect_err("gone");
    assert!(fault.message.contains("cannot be read"), "{fault}");
}

#[test]
fn a_refused_setting_is_named_without_its_value() {
    let security = Security::checked(&options()).expect("valid");
    let mut client = ClientConfig::new();
    client.set("sasl.password", "planted\0secret");
    let error = client.create_native_config().err().expect("refused");
    assert!(!security.refused(&error).message.contains("planted"));
    client.set("sasl.password", "").set("acks", "planted");
    let error = client.create_native_config().err().expect("refused");
    let fault = security.refused(&error);
    assert!(fault.message.contains("acks") && !fault.message.contains("planted"), "{fault}");
}
