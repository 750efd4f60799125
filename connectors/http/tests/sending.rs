//! What a request carries beside its event, and what its answers teach the connector.
//!
//! Must never check a signature with the code that made it.

#![allow(clippy::unwrap_used)]

mod receiver;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use receiver::{Receiver, attempt};
use tidings_connector::contract::{Arrived, Driver, Target, messages};
use tidings_connector::{ConnectorConfig as _, ErrorClass, Outcome, Scope, Severity, Span};
use tidings_http::{HttpConfig, HttpOptions, Preset};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const SECOND: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX";

/// A file that is gone at the end of its test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str, text: &str) -> Self {
        let scratch = Self(
            PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("http-{}-{name}", std::process::id())),
        );
        scratch.write(text);
        scratch
    }

    fn write(&self, text: &str) {
        std::fs::write(&self.0, text).unwrap();
    }

    fn path(&self) -> String {
        self.0.to_str().unwrap().to_owned()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn options(receiver: &Receiver, path: &str) -> HttpOptions {
    receiver.make(path);
    HttpOptions { url: format!("http://{}{path}", receiver.address()), ..HttpOptions::default() }
}

fn target(config: HttpConfig) -> Target {
    Target { config: Arc::new(config), destination: "".into() }
}

fn header<'a>(arrived: &'a Arrived, name: &str) -> Option<&'a str> {
    let value = arrived.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value)?;
    Some(std::str::from_utf8(value).unwrap())
}

/// Why the target is faulted, if it is.
fn fault_of(outcome: &Outcome) -> Option<ErrorClass> {
    match outcome {
        Outcome::Faulted { scope: Scope::Target, why } => Some(why.class),
        _ => None,
    }
}

#[tokio::test]
async fn requests_are_signed_with_every_secret_and_the_time_of_the_attempt() {
    use hmac::{Hmac, Mac as _};
    let receiver = Receiver::new();
    let secrets = Scratch::new("signing", &format!("{SECRET} {SECOND}\n"));
    let options = HttpOptions { signing_secret_file: secrets.path(), ..options(&receiver, "/signed") };
    let target = target(options.checked("t").unwrap());
    #[expect(clippy::disallowed_methods, reason = "the receiver's own wall clock")]
    let before = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    assert_eq!(attempt(&target, 1).await, [Outcome::Delivered]);
    let arrived = receiver.arrived("/signed", 1).await.remove(0);
    let (id, time) =
        (header(&arrived, "webhook-id").unwrap(), header(&arrived, "webhook-timestamp").unwrap());
    assert_eq!(Some(id), header(&arrived, "x-event-id"), "the id is the event's");
    assert!((before..before + 60).contains(&time.parse().unwrap()), "{time} is not now");
    let signatures: Vec<_> = header(&arrived, "webhook-signature").unwrap().split(' ').collect();
    assert_eq!(signatures.len(), 2);
    for (secret, signature) in [SECRET, SECOND].iter().zip(signatures) {
        let key = STANDARD.decode(&secret["whsec_".len()..]).unwrap();
        let signed = [id.as_bytes(), b".", time.as_bytes(), b".", &arrived.payload].concat();
        let mac = Hmac::<sha2::Sha256>::new_from_slice(&key).unwrap().chain_update(signed);
        mac.verify_slice(&STANDARD.decode(signature.strip_prefix("v1,").unwrap()).unwrap()).unwrap();
    }
}

#[tokio::test]
async fn headers_of_ones_own_and_the_authorization_are_sent() {
    let receiver = Receiver::new();
    receiver.require("Bearer one");
    let token = Scratch::new("own", "Bearer one\n");
    let options = HttpOptions {
        authorization_file: token.path(),
        headers: [("X-Team".to_owned(), "photos".to_owned())].into(),
        ..options(&receiver, "/own")
    };
    assert_eq!(attempt(&target(options.checked("t").unwrap()), 1).await, [Outcome::Delivered]);
    let arrived = receiver.arrived("/own", 1).await.remove(0);
    assert_eq!(header(&arrived, "x-team"), Some("photos"));
    assert_eq!(header(&arrived, "content-type"), Some("application/json"));
    assert!(header(&arrived, "webhook-id").is_none(), "not signed unless it is asked for");
}

#[tokio::test]
async fn a_changed_secret_needs_no_restart() {
    let receiver = Receiver::new();
    receiver.require("Bearer two");
    let token = Scratch::new("rotated", "Bearer one");
    let options = HttpOptions { authorization_file: token.path(), ..options(&receiver, "/rotated") };
    let target = target(options.checked("t").unwrap());
    let connector = target.config.connect().await.unwrap();
    let message = messages(&target, 1);
    let mut driver = Driver::new();
    let refused = |outcome: &Outcome| fault_of(outcome) == Some(ErrorClass::Auth);
    let outcomes = driver.attempt(&*connector, &message).await;
    assert!(refused(&outcomes[0]), "{outcomes:?}");
    std::fs::remove_file(&token.0).unwrap();
    let outcomes = driver.attempt(&*connector, &message).await;
    assert!(refused(&outcomes[0]), "a secret that is gone faults the target: {outcomes:?}");
    token.write("Bearer two");
    assert_eq!(driver.attempt(&*connector, &message).await, [Outcome::Delivered]);
    connector.close().await;
}

#[tokio::test]
async fn a_function_is_called_as_scf_calls_it() {
    let receiver = Receiver::new();
    receiver.make("/event-invoke");
    let url = format!("http://{}", receiver.address());
    let options = HttpOptions { url, preset: Preset::Scf, ..HttpOptions::default() };
    let config = options.checked("thumbnails").unwrap().of_account("ap-guangzhou", "1250000000");
    assert_eq!(attempt(&target(config), 1).await, [Outcome::Delivered]);
    let arrived = receiver.arrived("/event-invoke", 1).await.remove(0);
    for (name, value) in [
        ("x-scf-name", "thumbnails"),
        ("x-scf-namespace", "default"),
        ("x-scf-version", "$LATEST"),
        ("x-scf-region", "ap-guangzhou"),
        ("x-scf-appid", "1250000000"),
        ("x-scf-memory", "128"),
        ("x-scf-timeout", "30"),
        ("x-scf-trigger-src", "cos"),
    ] {
        assert_eq!(header(&arrived, name), Some(value), "{name}");
    }
    assert_eq!(header(&arrived, "x-scf-request-id"), header(&arrived, "x-event-id"));
}

#[tokio::test]
async fn a_name_that_leads_to_a_private_address_is_not_called() {
    let receiver = Receiver::new();
    receiver.make("/private");
    let url = format!("http://localhost:{}/private", receiver.address().port());
    let allowed = HttpOptions { url, ..HttpOptions::default() };
    assert_eq!(attempt(&target(allowed.clone().checked("t").unwrap()), 1).await, [Outcome::Delivered]);
    let refused = HttpOptions { allow_private: false, ..allowed }.checked("t").unwrap();
    let fault = refused.connect().await.err().expect("not dialled");
    assert_eq!(fault_of(&fault.outcome), Some(ErrorClass::Unroutable), "{fault:?}");
    assert!(fault.message.contains("may not be called"), "{fault}");
    // The request itself is judged too, not only the dial before it: `check` sends without one.
    let findings = refused.check().await;
    assert_eq!(findings[0].severity, Severity::Error);
    assert!(findings[0].message.contains("may not be called"), "{findings:?}");
    assert_eq!(receiver.arrived("/private", 1).await.len(), 1);
}

#[tokio::test]
async fn a_pressed_receiver_is_given_less_and_then_more_again() {
    let receiver = Receiver::new();
    let base = options(&receiver, "/pressed");
    let at = |path: &str| {
        let url = format!("http://{}{path}", receiver.address());
        let timeout = Span(Duration::from_millis(200));
        target(HttpOptions { url, timeout, max_in_flight: 16, ..base.clone() }.checked("t").unwrap())
    };
    let busy = at("/busy");
    let connector = busy.config.connect().await.unwrap();
    assert_eq!(connector.limits().in_flight, 16);
    let outcomes = Driver::new().attempt(&*connector, &messages(&busy, 16)).await;
    assert!(outcomes.iter().all(|o| matches!(o, Outcome::Throttled { .. })), "{outcomes:?}");
    assert_eq!(connector.limits().in_flight, 8, "one cut for all that was out");

    let held = at("/pressed");
    let connector = held.config.connect().await.unwrap();
    receiver.hold(true);
    let outcomes = Driver::new().attempt(&*connector, &messages(&held, 1)).await;
    assert!(matches!(&outcomes[0], Outcome::Retry { why, .. } if why.class == ErrorClass::Timeout));
    assert_eq!(connector.limits().in_flight, 8, "a timeout is pressure");
    receiver.hold(false);
    let outcomes = Driver::new().attempt(&*connector, &messages(&held, 8)).await;
    assert!(outcomes.iter().all(|o| *o == Outcome::Delivered), "{outcomes:?}");
    assert_eq!(connector.limits().in_flight, 9, "one more for a window of successes");
}

#[tokio::test]
async fn check_tells_what_an_operator_should_know() {
    let receiver = Receiver::new();
    let good = options(&receiver, "/check").checked("t").unwrap().check().await;
    assert_eq!(good.iter().map(|f| f.severity).collect::<Vec<_>>(), [Severity::Ok]);
    let token = Scratch::new("check", "Bearer planted");
    let url = "http://receiver.invalid/events".to_owned();
    let far = HttpOptions { url, authorization_file: token.path(), ..HttpOptions::default() };
    let findings = far.checked("t").unwrap().check().await;
    let found: Vec<_> = findings.iter().map(|f| f.severity).collect();
    assert_eq!(found, [Severity::Error, Severity::Warning], "{findings:?}");
    assert!(findings[1].message.contains("unencrypted"));
    assert!(findings.iter().all(|f| !f.message.contains("planted")));
}
