//! The brokers: where they are, and how they are broken and mended.
//!
//! Must never leave one broken: a fault ends when it is dropped, also by a failing test.

use std::process::Command;

/// Kafka's name for the control program.
pub(crate) const KAFKA: &str = "kafka";
/// RabbitMQ's.
pub(crate) const RABBITMQ: &str = "rabbitmq";

/// `host:port` of a broker that the tests may use and break.
pub(crate) fn address(broker: &str) -> String {
    let variable = match broker {
        KAFKA => "TIDINGS_TEST_KAFKA",
        RABBITMQ => "TIDINGS_TEST_AMQP",
        other => panic!("{other} is no broker of the tests"),
    };
    std::env::var(variable).unwrap_or_else(|_| {
        panic!("live tests need a broker: run `cargo xtask test`, or set {variable}=host:port")
    })
}

/// A fault under way.
pub(crate) struct Fault {
    broker: &'static str,
    mend: Option<&'static str>,
}

impl Fault {
    /// `kill -9`; mended by a restart on the same port and data.
    pub(crate) async fn kill(broker: &'static str) -> Self {
        let fault = Self { broker, mend: Some("restart") };
        control_async("kill", broker).await;
        fault
    }

    /// SIGSTOP; mended by SIGCONT.
    pub(crate) async fn stop(broker: &'static str) -> Self {
        let fault = Self { broker, mend: Some("cont") };
        control_async("stop", broker).await;
        fault
    }

    /// Ends the fault and waits until the broker answers again.
    pub(crate) async fn mend(mut self) {
        if let Some(verb) = self.mend.take() {
            control_async(verb, self.broker).await;
        }
    }
}

impl Drop for Fault {
    fn drop(&mut self) {
        if let Some(verb) = self.mend.take() {
            let status = command(verb, self.broker).status();
            eprintln!("{} {verb} after a failed test: {status:?}", self.broker);
        }
    }
}

async fn control_async(verb: &'static str, broker: &'static str) {
    let output =
        tokio::process::Command::from(command(verb, broker)).output().await.expect("the control program");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "brokers {verb} {broker}: {}: {text}", output.status);
}

fn command(verb: &str, broker: &str) -> Command {
    let control = std::env::var("TIDINGS_TEST_BROKERCTL")
        .expect("tests that break the broker need TIDINGS_TEST_BROKERCTL: run `cargo xtask test`");
    let mut command = Command::new(control);
    command.args(["brokers", verb, broker]);
    command
}
