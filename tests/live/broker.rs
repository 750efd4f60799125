//! The brokers: where they are, and how they are broken and mended.
//!
//! Must never leave one broken: see `far.rs`.

use std::process::Command;

use crate::far::Fault;

/// `host:port` of the Kafka broker that the tests may use and break.
pub(crate) fn address() -> String {
    std::env::var("TIDINGS_TEST_KAFKA")
        .expect("live tests need a broker: run `cargo xtask test`, or set TIDINGS_TEST_KAFKA=host:port")
}

/// `kill -9`; mended by a restart on the same port and data.
pub(crate) async fn kill(broker: &'static str) -> Fault {
    harm(broker, "kill", "restart").await
}

/// SIGSTOP; mended by SIGCONT.
pub(crate) async fn stop(broker: &'static str) -> Fault {
    harm(broker, "stop", "cont").await
}

/// RabbitMQ has no memory left, and lets publishers wait; mended by itself once it has.
pub(crate) async fn alarm() -> Fault {
    harm("rabbitmq", "alarm", "calm").await
}

async fn harm(broker: &'static str, verb: &'static str, mend: &'static str) -> Fault {
    let fault = Fault::new(
        move || Box::pin(control(broker, mend)),
        move || {
            let status = command(broker, mend).status();
            eprintln!("broker {broker}: {mend} after a failed test: {status:?}");
        },
    );
    control(broker, verb).await;
    fault
}

async fn control(broker: &'static str, verb: &'static str) {
    let command = command(broker, verb);
    let output = tokio::process::Command::from(command).output().await.expect("the control program");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "brokers {verb} {broker}: {}: {text}", output.status);
}

fn command(broker: &str, verb: &str) -> Command {
    let control = std::env::var("TIDINGS_TEST_BROKERCTL")
        .expect("tests that break the broker need TIDINGS_TEST_BROKERCTL: run `cargo xtask test`");
    let mut command = Command::new(control);
    command.args(["brokers", verb, broker]);
    command
}
