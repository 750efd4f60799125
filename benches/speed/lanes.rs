//! The rows of the lanes beside Kafka's: each drains a backlog, then a bare publisher sends the same
//! messages. Must never let the two use settings of a client that differ.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::far::Far;
use crate::lane::KEEP_ALL;
use crate::report::{Figure, Run, Table};
use crate::server::Home;
use crate::{amqp, backlog, bare, http, machine, nats};

/// Everything must have arrived after so long.
const ARRIVE: Duration = Duration::from_secs(600);
/// How often the far side is asked how much it has.
const LOOK: Duration = Duration::from_millis(50);

/// Drains to JetStream.
pub(crate) async fn jetstream(run: &Run, table: &mut Table) -> Result<()> {
    let address = &run.nats()?;
    let (far, other) = (nats::Stream::create(address).await?, nats::Stream::create(address).await?);
    let (value, reference) = drain(run.lane(200_000), far, other, table, "JetStream").await?;
    table.add(Figure {
        what: "JetStream lane draining a backlog",
        unit: "/s",
        value,
        reference: Some(reference),
        target: "0.8 x a bare pipelined publisher",
        met: |value, reference| value >= 0.8 * reference,
    });
    Ok(())
}

/// Drains to a quorum queue.
pub(crate) async fn quorum(run: &Run, table: &mut Table) -> Result<()> {
    let address = &run.amqp()?;
    let (far, other) = (amqp::Queue::create(address).await?, amqp::Queue::create(address).await?);
    let (value, reference) = drain(run.lane(60_000), far, other, table, "AMQP").await?;
    table.add(Figure {
        what: "AMQP lane (quorum queue) draining a backlog",
        unit: "/s",
        value,
        reference: Some(reference),
        target: "0.8 x a bare pipelined publisher",
        met: |value, reference| value >= 0.8 * reference,
    });
    Ok(())
}

/// Drains to a receiver that answers at once.
pub(crate) async fn functions(run: &Run, table: &mut Table) -> Result<()> {
    let (far, other) = (http::Receiver::start()?, http::Receiver::start()?);
    let (value, reference) = drain(run.lane(60_000), far, other, table, "HTTP").await?;
    table.add(Figure {
        what: "HTTP lane draining a backlog, 64 requests at once",
        unit: "/s",
        value,
        reference: Some(reference),
        target: "0.7 x a bare loop of requests, 64 at once",
        met: |value, reference| value >= 0.7 * reference,
    });
    Ok(())
}

/// Events a second of the lane, which sends to `far`, and of the bare publisher, which sends to `other`.
async fn drain<F: Far>(entries: u64, far: F, other: F, table: &mut Table, name: &str) -> Result<(f64, f64)> {
    let home = Home::new(&format!("{KEEP_ALL}{}", far.target("events")))?;
    backlog::make(&home, entries, backlog::BODY)?;
    let server = home.start()?;
    let begin = Instant::now();
    let at_first = wait(&far, 1, begin).await?;
    let from = Instant::now();
    let all = wait(&far, entries, begin).await?;
    let value = (entries - at_first.min(entries)) as f64 / from.elapsed().as_secs_f64();
    let cpu = machine::cpu_seconds(server.pid())? * 1e6 / entries as f64;
    server.stop()?;
    far.remove().await?;
    let messages = tokio::task::block_in_place(|| bare::messages(&home, F::BINDING))?;
    ensure!(messages.len() as u64 == entries, "{} of {entries} are in the log", messages.len());
    let begin = Instant::now();
    other.publish(messages).await?;
    let reference = entries as f64 / begin.elapsed().as_secs_f64();
    // What it acknowledged is there; a queue may take a moment to count it.
    wait(&other, entries, Instant::now()).await?;
    other.remove().await?;
    table.note(format!(
        "{name} lane: {entries} entries, {} sent twice; processor time of the server for one, start \
         included: {cpu:.1} us",
        all - entries
    ));
    Ok((value, reference))
}

/// Waits until at least so many arrived; how many did.
async fn wait<F: Far>(far: &F, messages: u64, since: Instant) -> Result<u64> {
    loop {
        let now = far.arrived().await?;
        if now >= messages {
            return Ok(now);
        }
        ensure!(since.elapsed() < ARRIVE, "{now} of {messages} messages after {ARRIVE:?}");
        tokio::task::block_in_place(|| machine::pause(LOOK));
    }
}
