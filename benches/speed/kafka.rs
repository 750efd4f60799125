//! The broker as the measurements see it: topics, how much they hold, when a record arrives.
//!
//! Must never use the product's code.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use crate::machine;

/// Partitions of each topic.
const PARTITIONS: i32 = 6;
const PATIENCE: Duration = Duration::from_secs(30);

/// A topic of one measurement; removed when dropped.
pub(crate) struct Topic {
    pub(crate) name: String,
    consumer: BaseConsumer,
}

fn config(broker: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", broker);
    config
}

fn options() -> AdminOptions {
    AdminOptions::new().operation_timeout(Some(PATIENCE)).request_timeout(Some(PATIENCE))
}

impl Topic {
    /// Makes a topic that nobody else has.
    pub(crate) async fn create(broker: &str) -> Result<Self> {
        let name = format!("tidings-speed-{}", uuid::Uuid::now_v7().simple());
        let admin: AdminClient<DefaultClientContext> = config(broker).create()?;
        let new = NewTopic::new(&name, PARTITIONS, TopicReplication::Fixed(1));
        let made = admin.create_topics([&new], &options()).await.context("the broker does not answer")?;
        ensure!(made.iter().all(Result::is_ok), "the topic was not made: {made:?}");
        let consumer = config(broker)
            .set("group.id", &name)
            .set("enable.auto.commit", "false")
            .set("fetch.wait.max.ms", "100")
            .set("fetch.min.bytes", "1")
            .create()?;
        Ok(Self { name, consumer })
    }

    /// Records that it holds now.
    pub(crate) fn records(&self) -> Result<u64> {
        let mut sum = 0;
        for partition in 0..PARTITIONS {
            let (low, high) = self.consumer.fetch_watermarks(&self.name, partition, PATIENCE)?;
            sum += u64::try_from(high - low)?;
        }
        Ok(sum)
    }

    /// Waits until it holds at least `records`, and says how long that took from `since`, to some
    /// milliseconds.
    pub(crate) fn wait(&self, records: u64, since: std::time::Instant, within: Duration) -> Result<Duration> {
        self.wait_at(records, since, within, Duration::from_millis(5))
    }

    /// The same, asking only every `pause`: asking costs the broker what the measured program then does not
    /// get.
    pub(crate) fn wait_at(
        &self,
        records: u64,
        since: std::time::Instant,
        within: Duration,
        pause: Duration,
    ) -> Result<Duration> {
        loop {
            let now = self.records()?;
            if now >= records {
                return Ok(since.elapsed());
            }
            ensure!(since.elapsed() < within, "{now} of {records} records after {within:?}");
            machine::pause(pause);
        }
    }

    /// Takes part from here on: [`Topic::next`] gives what arrives.
    pub(crate) fn follow(&self) -> Result<()> {
        let mut all = TopicPartitionList::new();
        for partition in 0..PARTITIONS {
            let high = self.consumer.fetch_watermarks(&self.name, partition, PATIENCE)?.1;
            all.add_partition_offset(&self.name, partition, Offset::Offset(high))?;
        }
        Ok(self.consumer.assign(&all)?)
    }

    /// Waits for the next record.
    pub(crate) fn next(&self) -> Result<()> {
        let record = self.consumer.poll(PATIENCE).context("no record came")?;
        record.map(|_| ()).map_err(Into::into)
    }
}

/// Removes a topic again: brokers of a benchmark should not fill up.
pub(crate) async fn remove(broker: &str, topic: Topic) -> Result<()> {
    let admin: AdminClient<DefaultClientContext> = config(broker).create()?;
    let gone = admin.delete_topics(&[&topic.name], &options()).await?;
    ensure!(gone.iter().all(Result::is_ok), "the topic was not removed: {gone:?}");
    Ok(())
}
