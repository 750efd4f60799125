//! The rows of PUT requests: alone, with delivery, and beside a dead target.

use std::time::Duration;

use anyhow::Result;

use crate::kafka::{self, Topic};
use crate::report::{Figure, Run, Table};
use crate::server::{Home, Loaded, Server, kafka_target};

/// Connections of the load generator.
const CLIENTS: usize = 64;
/// Everything must have arrived after so long.
const ARRIVE: Duration = Duration::from_secs(300);
/// Warming up takes so many seconds: connections, files, caches.
const WARM: f64 = 2.0;

fn note(table: &mut Table, what: &str, loaded: &Loaded) {
    let (server, generator, machine) = loaded.micros();
    let a = &loaded.answered;
    table.note(format!(
        "{what}: {} answers, p50 {} us, p99 {} us, max {} us; processor time of one: server {server:.1} us, \
         load generator {generator:.1} us, whole machine {machine:.1} us",
        a.answered, a.p50_us, a.p99_us, a.max_us
    ));
}

/// Signed PUTs, and the same server over a store that does nothing.
pub(crate) async fn beside_nothing(run: &Run, table: &mut Table) -> Result<()> {
    let reference = {
        let server = Server::reference()?;
        server.load(CLIENTS, WARM, u64::MAX)?;
        let loaded = server.load(CLIENTS, run.window(), u64::MAX)?;
        note(table, "PUT over a store that does nothing", &loaded);
        loaded.answered.rate()
    };
    let home = Home::new("")?;
    let server = home.start()?;
    server.create_bucket().await?;
    if run.full {
        server.load(CLIENTS, 600.0, 1_000_000)?;
    }
    server.load(CLIENTS, WARM, u64::MAX)?;
    let loaded = server.load(CLIENTS, run.window(), u64::MAX)?;
    note(table, "PUT", &loaded);
    server.stop()?;
    table.add(Figure {
        what: "signed PUT of 1 KiB, 64 clients",
        unit: "/s",
        value: loaded.answered.rate(),
        reference: Some(reference),
        target: "0.5 x the same server over a store that does nothing",
        met: |value, reference| value >= 0.5 * reference,
    });
    Ok(())
}

/// Signed PUTs with every event delivered to Kafka.
pub(crate) async fn delivered(run: &Run, table: &mut Table) -> Result<()> {
    let broker = &run.broker()?;
    let topic = Topic::create(broker).await?;
    let home = Home::new(&kafka_target("events", broker, &topic.name))?;
    let server = home.start()?;
    server.create_bucket().await?;
    let before = if run.full { server.load(CLIENTS, 600.0, 1_000_000)?.answered.answered } else { 0 };
    let warm = server.load(CLIENTS, WARM, u64::MAX)?.answered.answered;
    topic.wait(before + warm, std::time::Instant::now(), ARRIVE)?;
    let loaded = server.load(CLIENTS, run.window(), u64::MAX)?;
    let lag = topic.wait(before + warm + loaded.answered.answered, loaded.ended, ARRIVE)?;
    note(table, "PUT with delivery to Kafka", &loaded);
    server.stop()?;
    kafka::remove(broker, topic).await?;
    table.add(Figure {
        what: "signed PUT of 1 KiB, 64 clients, every event delivered to Kafka",
        unit: "/s",
        value: loaded.answered.rate(),
        reference: None,
        target: "20,000/s",
        met: |value, _| value >= 20_000.0,
    });
    table.add(Figure {
        what: "the same: last answer to last event in Kafka",
        unit: "s",
        value: lag.as_secs_f64(),
        reference: None,
        target: "< 1 s",
        met: |value, _| value < 1.0,
    });
    Ok(())
}

/// A live target beside a dead one.
pub(crate) async fn neighbour(run: &Run, table: &mut Table) -> Result<()> {
    let alone = with_neighbours(run, "").await?;
    // A port that was free a moment ago: nobody answers there.
    let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let beside = with_neighbours(run, &kafka_target("dead", &port.to_string(), "nowhere")).await?;
    table.add(Figure {
        what: "events delivered to a live target beside a dead one",
        unit: "/s",
        value: beside,
        reference: Some(alone),
        target: "0.95 x the live target alone",
        met: |value, reference| value >= 0.95 * reference,
    });
    Ok(())
}

/// Answers a second until the last event of a live target is in Kafka; `others` is TOML of more targets.
pub(crate) async fn with_neighbours(run: &Run, others: &str) -> Result<f64> {
    let broker = &run.broker()?;
    let topic = Topic::create(broker).await?;
    let home = Home::new(&format!("{}{others}", kafka_target("live", broker, &topic.name)))?;
    let server = home.start()?;
    server.create_bucket().await?;
    let warm = server.load(CLIENTS, WARM, u64::MAX)?.answered.answered;
    topic.wait(warm, std::time::Instant::now(), ARRIVE)?;
    let begin = std::time::Instant::now();
    let loaded = server.load(CLIENTS, run.window(), u64::MAX)?;
    topic.wait(warm + loaded.answered.answered, loaded.ended, ARRIVE)?;
    let rate = loaded.answered.answered as f64 / begin.elapsed().as_secs_f64();
    server.stop()?;
    kafka::remove(broker, topic).await?;
    Ok(rate)
}
