//! Making a topic, for demonstrations and tests.
//!
//! Must never run for a configured target: topics, their partitions and their copies are the operator's
//! business.

use rdkafka::admin::{AdminOptions, NewTopic, TopicReplication};
use rdkafka::types::RDKafkaErrorCode as Code;

use crate::KafkaConfig;

/// The broker's own default number of copies.
const DEFAULT_COPIES: TopicReplication<'static> = TopicReplication::Fixed(-1);

impl KafkaConfig {
    /// Makes the configured topic with so many partitions and the cluster's default number of copies; a topic
    /// that exists is left as it is. Takes at most twice `connect_timeout`.
    ///
    /// # Errors
    /// One sentence: the topic has placeholders, no broker answers, or the cluster refuses.
    pub async fn create_topic(&self, partitions: i32) -> Result<(), String> {
        let topic = self.topic.source();
        if !self.topic.is_fixed() {
            return Err(format!("topic `{topic}` has placeholders: there is no one topic to make"));
        }
        let failed = |why: String| format!("topic `{topic}` cannot be made at {}: {why}", self.brokers());
        let admin = self.admin()?;
        let bound = Some(self.connect_timeout());
        let options = AdminOptions::new().request_timeout(bound).operation_timeout(bound);
        let wanted = [NewTopic::new(topic, partitions, DEFAULT_COPIES)];
        let made = admin.create_topics(&wanted, &options).await.map_err(|e| failed(e.to_string()))?;
        match made.into_iter().next() {
            Some(Ok(_)) | Some(Err((_, Code::TopicAlreadyExists))) => Ok(()),
            Some(Err((_, code))) => Err(failed(code.to_string())),
            None => Err(failed("the cluster said nothing".to_owned())),
        }
    }
}
