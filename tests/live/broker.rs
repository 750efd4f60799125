//! The broker: where it is, and how it is broken and mended.
//!
//! Must never leave it broken: a fault ends when it is dropped, also by a failing test.

use std::process::Command;

/// `host:port` of the broker that the tests may use and break.
pub(crate) fn address() -> String {
    std::env::var("TIDINGS_TEST_KAFKA")
        .expect("live tests need a broker: run `cargo xtask test`, or set TIDINGS_TEST_KAFKA=host:port")
}

/// A fault under way.
pub(crate) struct Fault {
    mend: Option<&'static str>,
}

impl Fault {
    /// `kill -9`; mended by a restart on the same port and data.
    pub(crate) async fn kill() -> Self {
        let fault = Self { mend: Some("restart") };
        control_async("kill").await;
        fault
    }

    /// SIGSTOP; mended by SIGCONT.
    pub(crate) async fn stop() -> Self {
        let fault = Self { mend: Some("cont") };
        control_async("stop").await;
        fault
    }

    /// Ends the fault and waits until the broker answers again.
    pub(crate) async fn mend(mut self) {
        if let Some(verb) = self.mend.take() {
            control_async(verb).await;
        }
    }
}

impl Drop for Fault {
    fn drop(&mut self) {
        if let Some(verb) = self.mend.take() {
            let status = command(verb).status();
            eprintln!("broker {verb} after a failed test: {status:?}");
        }
    }
}

async fn control_async(verb: &'static str) {
    let output = tokio::process::Command::from(command(verb)).output().await.expect("the control program");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "brokers {verb} kafka: {}: {text}", output.status);
}

fn command(verb: &str) -> Command {
    let control = std::env::var("TIDINGS_TEST_BROKERCTL")
        .expect("tests that break the broker need TIDINGS_TEST_BROKERCTL: run `cargo xtask test`");
    let mut command = Command::new(control);
    command.args(["brokers", verb, "kafka"]);
    command
}
