//! The rows of many targets: four that drain a large backlog at once, and a thousand that have nothing to do.
//! Must never take a target for idle that has something to send.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::far::Far as _;
use crate::kafka::{self, Topic};
use crate::lane::KEEP_ALL;
use crate::report::{Figure, Run, Table};
use crate::server::{Home, kafka_target};
use crate::{amqp, backlog, http, machine, nats, puts};

/// Targets without events.
const IDLE: usize = 1_000;
/// Seconds without a request before idleness is measured: past the first checkpoint of the index.
const SETTLE: f64 = 15.0;
/// Seconds for which it is measured.
const QUIET: f64 = 10.0;
/// Looks at what the four have.
const LOOK: Duration = Duration::from_secs(1);

/// A server is started over a large backlog that four targets want; its memory is looked at while they drain
/// it, until all have everything or the window ends: the slowest would take an hour.
pub(crate) async fn four(run: &Run, table: &mut Table) -> Result<()> {
    let broker = &run.broker()?;
    let topic = Topic::create(broker).await?;
    let stream = nats::Stream::create(&run.nats()?).await?;
    let queue = amqp::Queue::create(&run.amqp()?).await?;
    let receiver = http::Receiver::start()?;
    let targets =
        [kafka_target("k", broker, &topic.name), stream.target("n"), queue.target("a"), receiver.target("h")];
    let home = Home::new(&format!("{KEEP_ALL}{}", targets.concat()))?;
    let entries = if run.full { 10_000_000 } else { run.lane(500_000) };
    // Bodies leave memory before events do, and ten million of them would only fill the disk.
    backlog::make(&home, entries, 0)?;
    let window = Duration::from_secs(if run.full { 300 } else { 20 });
    let server = home.start()?;
    let begin = Instant::now();
    let mut arrived = [0; 4];
    while begin.elapsed() < window && arrived.iter().any(|a| *a < entries) {
        tokio::task::block_in_place(|| machine::pause(LOOK));
        arrived =
            [topic.records()?, stream.arrived().await?, queue.arrived().await?, receiver.arrived().await?];
    }
    let (ready, took) = (server.ready_after, begin.elapsed());
    let peak = machine::memory_kib(server.pid(), "VmHWM")? as f64 / 1024.0;
    ensure!(arrived.iter().all(|a| *a > 0), "a target got nothing: {arrived:?}");
    // Killed: it would want to end what is on its way.
    drop(server);
    kafka::remove(broker, topic).await?;
    stream.remove().await?;
    queue.remove().await?;
    table.note(format!(
        "four targets over {entries} entries: ready after {ready:.2?}; after {took:.0?} Kafka had {}, \
         JetStream {}, AMQP {}, HTTP {}",
        arrived[0], arrived[1], arrived[2], arrived[3]
    ));
    table.add(Figure {
        what: "largest resident memory while four targets drain a large backlog at once",
        unit: "MiB",
        value: peak,
        reference: None,
        target: "< 256 MiB",
        met: |value, _| value < 256.0,
    });
    Ok(())
}

/// A thousand targets to which nothing ever goes.
pub(crate) async fn idle(run: &Run, table: &mut Table) -> Result<()> {
    let receiver = http::Receiver::start()?;
    let mut targets = String::new();
    for n in 0..IDLE {
        let _ = write!(targets, "{}", receiver.idle_target(&format!("idle-{n}")));
    }
    memory(run, table, &targets).await?;
    let alone = puts::with_neighbours(run, "").await?;
    let beside = puts::with_neighbours(run, &targets).await?;
    table.add(Figure {
        what: "events delivered to a live target beside 1,000 idle ones",
        unit: "/s",
        value: beside,
        reference: Some(alone),
        target: "0.95 x the live target alone",
        met: |value, reference| value >= 0.95 * reference,
    });
    Ok(())
}

/// What a thousand idle targets cost while nobody asks for anything.
async fn memory(run: &Run, table: &mut Table, targets: &str) -> Result<()> {
    let quiet = Duration::from_secs_f64(QUIET.min(run.window()));
    let mut sizes = Vec::new();
    for text in ["", targets] {
        let home = Home::new(text)?;
        let server = home.start()?;
        server.create_bucket().await?;
        let pid = server.pid();
        tokio::task::block_in_place(|| machine::pause(Duration::from_secs_f64(SETTLE)));
        let (writes, bytes) = (machine::io(pid, "syscw")?, machine::io(pid, "write_bytes")?);
        let cpu = machine::cpu_seconds(pid)?;
        tokio::task::block_in_place(|| machine::pause(quiet));
        let each = |before: u64, now: u64| (now - before) as f64 / quiet.as_secs_f64();
        let writes = each(writes, machine::io(pid, "syscw")?);
        let bytes = each(bytes, machine::io(pid, "write_bytes")?);
        let cpu = (machine::cpu_seconds(pid)? - cpu) / quiet.as_secs_f64() * 100.0;
        let resident = machine::memory_kib(pid, "VmRSS")? as f64 / 1024.0;
        sizes.push((resident, writes, bytes, cpu));
        server.stop()?;
    }
    let ((without, ..), (resident, writes, bytes, cpu)) = (sizes[0], sizes[1]);
    table.note(format!(
        "1,000 idle targets: {resident:.1} MiB resident, {without:.1} MiB without them; idle: {cpu:.1} % of \
         a core, {bytes:.0} bytes a second to the disk"
    ));
    table.add(Figure {
        what: "memory of 1,000 idle targets",
        unit: "MiB",
        value: resident - without,
        reference: None,
        target: "< 64 MiB",
        met: |value, _| value < 64.0,
    });
    table.add(Figure {
        what: "1,000 idle targets: calls that write, of any kind; there is no sync without one",
        unit: "/s",
        value: writes,
        reference: None,
        target: "< 5/s",
        met: |value, _| value < 5.0,
    });
    Ok(())
}
