//! The rows of delivery: a restart with a large backlog and its draining, and an idle system.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use bytes::Bytes;

use crate::kafka::{self, Topic};
use crate::report::{Figure, Run, Table};
use crate::server::{BUCKET, Home, kafka_target};
use crate::{backlog, bare, machine};

/// Everything must have arrived after so long.
const ARRIVE: Duration = Duration::from_secs(600);
/// How often a backlog that drains for seconds is looked at.
const DRAIN_LOOK: Duration = Duration::from_millis(100);
/// Changes of an idle system that are timed.
const IDLE_CHANGES: usize = 300;

/// Kept for the loop that reads the same segments afterwards.
pub(crate) const KEEP_ALL: &str = "[queue]\nretain_bytes = \"20GiB\"\nmax_bytes = \"40GiB\"\n";

/// A server is started over a large backlog; its lane drains it; a loop without a lane sends the same again.
pub(crate) async fn backlog(run: &Run, table: &mut Table) -> Result<()> {
    let broker = &run.broker()?;
    let topic = Topic::create(broker).await?;
    let home = Home::new(&format!("{KEEP_ALL}{}", kafka_target("events", broker, &topic.name)))?;
    let entries = run.backlog();
    backlog::make(&home, entries, backlog::BODY)?;
    let begin = Instant::now();
    let server = home.start()?;
    let ready = server.ready_after;
    let first = topic.wait(1, begin, ARRIVE)?;
    let (at_first, from) = (topic.records()?, Instant::now());
    topic.wait_at(entries, begin, ARRIVE, DRAIN_LOOK)?;
    let rate = (entries - at_first) as f64 / from.elapsed().as_secs_f64();
    let peak = machine::memory_kib(server.pid(), "VmHWM")? as f64 / 1024.0;
    ensure!(topic.records()? == entries, "more records than entries");
    server.stop()?;
    // Ten million events twice would fill a small disk.
    kafka::remove(broker, topic).await?;
    let other = Topic::create(broker).await?;
    let reference = tokio::task::block_in_place(|| bare::without_a_lane(&home, broker, &other.name))?;
    kafka::remove(broker, other).await?;
    table.note(format!("restart over {entries} undelivered entries after a crash: ready after {ready:.2?}"));
    table.add(Figure {
        what: "Kafka lane draining a backlog",
        unit: "/s",
        value: rate,
        reference: Some(reference),
        target: ">= 150,000/s and 0.8 x a loop without a lane",
        met: |value, reference| value >= 150_000.0 && value >= 0.8 * reference,
    });
    table.add(Figure {
        what: "restart over a large backlog: process start to first event in Kafka",
        unit: "s",
        value: first.as_secs_f64(),
        reference: None,
        target: "< 2 s",
        met: |value, _| value < 2.0,
    });
    table.add(Figure {
        what: "the same: largest resident memory while it drains",
        unit: "MiB",
        value: peak,
        reference: None,
        target: "< 256 MiB",
        met: |value, _| value < 256.0,
    });
    Ok(())
}

/// One change at a time: from its answer until a consumer has its event, which is later than the broker's
/// answer.
pub(crate) async fn idle(run: &Run, table: &mut Table) -> Result<()> {
    let broker = &run.broker()?;
    let topic = Topic::create(broker).await?;
    let home = Home::new(&kafka_target("events", broker, &topic.name))?;
    let server = home.start()?;
    server.create_bucket().await?;
    let client = server.client()?;
    let mut took = Vec::new();
    topic.follow()?;
    for n in 0..IDLE_CHANGES + 20 {
        let answer = client.put(BUCKET, &format!("o/{n}"), Bytes::from(vec![7; 1024])).await?;
        let answered = Instant::now();
        ensure!(answer.status.is_success(), "{}", answer.status);
        tokio::task::block_in_place(|| topic.next())?;
        // The first ones also wait for connections and metadata.
        if n >= 20 {
            took.push(answered.elapsed().as_secs_f64() * 1e3);
        }
        tokio::time::sleep(Duration::from_millis(fastrand::u64(1..20))).await;
    }
    server.stop()?;
    kafka::remove(broker, topic).await?;
    took.sort_by(f64::total_cmp);
    let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize];
    table.note(format!(
        "idle system, answer to consumer: p50 {:.2} ms, p99 {:.2} ms, max {:.2} ms",
        at(0.5),
        at(0.99),
        at(1.0)
    ));
    table.add(Figure {
        what: "idle system: answer to event at a consumer, p99",
        unit: "ms",
        value: at(0.99),
        reference: None,
        target: "< 20 ms",
        met: |value, _| value < 20.0,
    });
    Ok(())
}
