//! What the configuration of an HTTP target takes, refuses and shows.

use std::path::PathBuf;

use tidings_connector::ConnectorConfig as _;

use super::*;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn options(url: &str) -> HttpOptions {
    HttpOptions { url: url.to_owned(), ..HttpOptions::default() }
}

fn checked(url: &str) -> Result<HttpConfig, String> {
    options(url).checked("t")
}

/// A file that is gone at the end of its test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("tidings-http-{}-{name}", std::process::id()));
        std::fs::write(&path, text).expect("a writable directory");
        Self(path)
    }

    fn path(&self) -> String {
        self.0.to_str().expect("UTF-8").to_owned()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn urls() {
    for good in
        ["http://127.0.0.1:8080/event-invoke", "https://example.com", "http://[::1]:9/x?code=1&to=a@b"]
    {
        assert!(checked(good).is_ok(), "{good}");
    }
    for bad in ["", "example.com/x", "ftp://a/b", "file:///etc/passwd", "gopher://a/", "unix:/run/x"] {
        let said = checked(bad).expect_err(bad);
        assert!(said.starts_with("`url`"), "{bad}: {said}");
    }
    for bad in ["http://user@a/", "http://u:p@a/", "http://a/#f", "http://"] {
        let said = checked(bad).expect_err(bad);
        assert!(said.starts_with("`url`"), "{bad}: {said}");
    }
}

#[test]
fn an_address_that_may_not_be_called_is_refused_however_it_is_written() {
    for url in [
        "http://169.254.169.254/latest/meta-data",
        "http://0.0.0.0/",
        "http://[fd00:ec2::254]/",
        "http://[::ffff:a9fe:a9fe]/",
        "http://2852039166/",
        "http://0xa9.0376.43518/",
        "http://169.254.169.254./",
        "http://１６９.254.169.254/",
    ] {
        let said = checked(url).expect_err(url);
        assert!(said.contains("may not be called"), "{url}: {said}");
    }
    for url in
        ["http://127.0.0.1/", "http://127.1/", "http://2130706433/", "http://0177.0.0.1/", "http://[::1]/"]
    {
        assert!(checked(url).is_ok(), "{url}");
        let said = HttpOptions { allow_private: false, ..options(url) }.checked("t").expect_err(url);
        assert!(said.contains("loopback"), "{url}: {said}");
    }
}

#[test]
fn bad_values_are_refused_by_name() {
    let told = |change: &dyn Fn(&mut HttpOptions)| {
        let mut options = options("http://127.0.0.1/");
        change(&mut options);
        options.checked("t").expect_err("refused")
    };
    assert!(told(&|o| o.timeout = Span(Duration::ZERO)).starts_with("`timeout`"));
    assert!(told(&|o| o.connect_timeout = Span(Duration::from_secs(61))).starts_with("`connect_timeout`"));
    assert!(told(&|o| o.max_in_flight = 0).starts_with("`max_in_flight`"));
    assert!(told(&|o| o.max_in_flight = 4_097).starts_with("`max_in_flight`"));
    assert!(
        told(&|o| o.authorization_file = "/nowhere".into()).starts_with("`authorization_file`: /nowhere")
    );
    assert!(told(&|o| o.signing_secret_env = "TIDINGS_UNSET".into()).starts_with("`signing_secret_env`"));
    assert!(told(&|o| o.ca_file = "/nowhere".into()).starts_with("`ca_file` needs an https `url`"));
    let https = |o: &mut HttpOptions| o.url = "https://a/".into();
    assert!(told(&|o| (https(o), o.ca_file = "/nowhere".into()).1).starts_with("`ca_file`: /nowhere"));
    assert!(told(&|o| (https(o), o.cert_file = "/nowhere".into()).1).starts_with("`cert_file` needs"));
    for (name, value) in [
        ("a b", "x"),
        ("X-Ok", "line\nbreak"),
        ("Authorization", "planted"),
        ("cookie", "planted"),
        ("Content-Type", "text/plain"),
        ("host", "evil"),
        ("ce-id", "1"),
        ("Webhook-Signature", "v1,x"),
        ("tidings-event-id", "1"),
    ] {
        let said = told(&|o| drop(o.headers.insert(name.into(), value.into())));
        assert!(said.starts_with("`headers`: ") && !said.contains("planted"), "{name}: {said}");
    }
}

#[test]
fn secrets_are_read_and_never_shown() {
    let authorization = Scratch::new("authorization", "Bearer planted-token\n");
    let signing = Scratch::new("signing", &format!("{SECRET}\n"));
    let good = HttpOptions {
        authorization_file: authorization.path(),
        signing_secret_file: signing.path(),
        headers: [("x-team".to_owned(), "planted-value".to_owned())].into(),
        ..options("http://127.0.0.1/planted-path?code=planted-query")
    };
    let config = good.clone().checked("t").expect("valid");
    let shown = format!("{config:?} {}", config.fingerprint());
    assert!(!shown.contains("planted") && !shown.contains("MfKQ9r8"), "{shown}");

    let bad = Scratch::new("bad", "planted\u{1}token");
    for options in [
        HttpOptions { authorization_file: bad.path(), ..good.clone() },
        HttpOptions { signing_secret_file: bad.path(), ..good },
    ] {
        let said = options.checked("t").expect_err("refused");
        assert!(!said.contains("planted"), "{said}");
    }
}

#[test]
fn a_functions_url_is_completed() {
    let scf = |url| HttpOptions { preset: Preset::Scf, ..options(url) }.checked("t").expect("valid").url;
    assert_eq!(scf("http://127.0.0.1:9000").as_str(), "http://127.0.0.1:9000/event-invoke");
    assert_eq!(scf("http://127.0.0.1:9000/mine").as_str(), "http://127.0.0.1:9000/mine");
    assert_eq!(checked("http://127.0.0.1:9000").expect("valid").url.path(), "/");
}

#[test]
fn the_fingerprint_tells_apart_what_is_sent_without_showing_it() {
    let of = |url| checked(url).expect("valid").fingerprint();
    assert_ne!(of("http://a/x?code=planted-1"), of("http://a/x?code=planted-2"));
    assert_eq!(of("http://a/x?code=planted-1"), of("http://a/x?code=planted-1"));
    assert!(!of("http://a/x?code=planted-1").contains("planted"));
    let with = |value: &str| {
        let headers = [("x-team".to_owned(), value.to_owned())].into();
        HttpOptions { headers, ..options("http://a/") }.checked("t").expect("valid").fingerprint()
    };
    assert_ne!(with("planted-1"), with("planted-2"));
    let private = HttpOptions { allow_private: false, ..options("http://a/") }.checked("t").expect("valid");
    assert_ne!(private.fingerprint(), of("http://a/"));
    assert_ne!(private.clone().of_account("r", "1").fingerprint(), private.fingerprint());
}
