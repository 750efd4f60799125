//! What one connector shares with the library's threads: what is out, who is under suspicion, and what the
//! library said of its connections.
//!
//! Must never settle anything as delivered without the library's own report.

use std::error::Error;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rdkafka::ClientContext;
use rdkafka::client::OAuthToken;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use rdkafka::message::Message as _;
use rdkafka::producer::{DeliveryResult, ProducerContext};
use rdkafka::types::RDKafkaErrorCode as Code;
use tidings_common::{Outstanding, Suspects, Token, Verdict};
use tidings_connector::{ErrorClass, Outcome, Scope};

use crate::error::{is_fatal, of_connection, verdict};
use crate::security::Tokens;

// The library gives back what fits into a pointer.
const _: () = assert!(size_of::<usize>() >= size_of::<Token>());

/// See the file's header.
pub(crate) struct Shared {
    /// A token travels through the library as the delivery opaque.
    pub(crate) out: Outstanding<()>,
    /// By key: a message may be in a batch that a broker refused.
    pub(crate) suspects: Suspects,
    trouble: Mutex<Option<(Code, String)>>,
    topic_scope: Scope,
}

impl Shared {
    /// Room for `bound` receipts. `topic_scope`: what a missing topic affects.
    pub(crate) fn new(bound: usize, topic_scope: Scope) -> Arc<Self> {
        let (out, suspects) = (Outstanding::new(bound), Suspects::default());
        Arc::new(Self { out, suspects, trouble: Mutex::default(), topic_scope })
    }

    /// What the library said last about the connection, for people.
    pub(crate) fn trouble(&self) -> MutexGuard<'_, Option<(Code, String)>> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Settles one attempt as the table says. `single`: the verdict is about this message alone; one about
    /// its batch is only in what it says of the records.
    pub(crate) fn settle(&self, token: Token, key: &[u8], code: Code, single: bool) {
        let verdict = verdict(code);
        let poison = matches!(verdict, Verdict::Poison(_));
        if poison && !single {
            self.suspects.note(key);
        }
        self.out.settle(token, verdict.outcome(single || !poison, self.topic_scope, &code.to_string()));
        if is_fatal(code) {
            self.broken(&code.to_string());
        }
    }

    fn broken(&self, reason: &str) {
        let text = format!("the Kafka producer must be replaced: {reason}");
        self.out.end(&Outcome::retry(ErrorClass::Connect, &text));
    }
}

/// What the library calls on its report thread: settle, note, nothing else.
pub(crate) struct Reports {
    pub(crate) shared: Arc<Shared>,
    pub(crate) tokens: Tokens,
    /// True for the producer whose batches hold one message.
    pub(crate) alone: bool,
}

impl ClientContext for Reports {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn generate_oauth_token(&self, _: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        self.tokens.next()
    }

    /// The library's log lines repeat what reports and errors say, and may quote a broker's words: not kept.
    fn log(&self, _level: RDKafkaLogLevel, _facility: &str, _message: &str) {}

    fn error(&self, error: KafkaError, reason: &str) {
        let code = of_connection(error.rdkafka_error_code().unwrap_or(Code::Fail), reason);
        if is_fatal(code) {
            self.shared.broken(reason);
        }
        let mut trouble = self.shared.trouble();
        // "All brokers are down" says less than the reason for the last of them, which came just before.
        if code != Code::AllBrokersDown || trouble.is_none() {
            *trouble = Some((code, reason.to_owned()));
        }
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, token: usize) {
        match result {
            Ok(_) => self.shared.out.settle(token as Token, Outcome::Delivered),
            Err((error, message)) => {
                let code = error.rdkafka_error_code().unwrap_or(Code::Unknown);
                self.shared.settle(token as Token, message.key().unwrap_or_default(), code, self.alone);
            }
        }
    }
}
