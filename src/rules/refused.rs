//! Why rules of a bucket are not taken.
//!
//! Must never hold more of a request than the word that is wrong.

/// The longest part of a client's text in a message, in characters.
const MAX_SHOWN: usize = 256;

/// Why a notification configuration is not taken: nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// A configuration names no event.
    #[error("A configuration names no event.")]
    NoEvent,
    /// Nobody makes such an event.
    #[error("The event '{}' is not supported for notifications", shown(.0))]
    UnknownEvent(String),
    /// A destination is not written as it must be.
    #[error(
        "The ARN is not well formed: '{}'; arn:tidings:sqs|sns|lambda:REGION:ACCOUNT:NAME is, with the \
         service of its configuration",
        shown(.0)
    )]
    MalformedArn(String),
    /// A destination is elsewhere.
    #[error(
        "The notification destination service region is not valid for the bucket location constraint: '{}' \
         is not '{here}'",
        shown(asked)
    )]
    WrongRegion {
        /// The region that was named.
        asked: String,
        /// Ours.
        here: String,
    },
    /// No target that runs has this name.
    #[error(
        "Unable to validate the following destination configurations: '{}' names no target of this server",
        shown(.0)
    )]
    UnknownDestination(String),
    /// A far side's address is not one of those that the target has.
    #[error(
        "The endpoint '{}' is not kafka://HOST:PORT of a broker of the one target that writes to the topic",
        shown(.0)
    )]
    Endpoint(String),
    /// Somebody's words about a far side that only its operator may say.
    #[error(
        "A configuration with User or Password is not taken: they stand in the target's own configuration"
    )]
    Secret,
    /// Words of COS's about a broker are too long.
    #[error("KafkaID and Endpoint can have 255 characters each, and no control characters")]
    BadBroker,
    /// The target is there and invokes nothing.
    #[error(
        "Unable to validate the following destination configurations: the target '{}' is no function",
        shown(.0)
    )]
    NoFunction(String),
    /// A filter has another name than prefix and suffix.
    #[error("filter rule name must be either prefix or suffix, not '{}'", shown(.0))]
    FilterName(String),
    /// A filter stands twice.
    #[error("Cannot specify more than one {0} rule in a filter.")]
    FilterTwice(&'static str),
    /// A filter's value is longer than a key.
    #[error("Size of filter rule value cannot exceed 1024 bytes in UTF-8 representation")]
    FilterTooLong,
    /// A filter's value is not percent-encoded text.
    #[error("The filter rule value '{}' is not URL-encoded UTF-8", shown(.0))]
    FilterEncoding(String),
    /// An id is not one.
    #[error("The ID of a configuration must have 1 to 255 characters")]
    BadId,
    /// Two configurations have one id.
    #[error("Same ID used for multiple configurations. IDs must be unique: '{}'", shown(.0))]
    SameId(String),
    /// Two configurations would match one event.
    #[error(
        "Configuration is ambiguously defined. Cannot have overlapping suffixes in two rules if the prefixes \
         are overlapping for the same event type: '{}' and '{}'",
        shown(.0),
        shown(.1)
    )]
    Overlap(String, String),
    /// There are too many.
    #[error("A bucket can have {0} notification configurations and triggers")]
    TooMany(usize),
}

/// What of a client's text may stand in a message.
fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MAX_SHOWN).collect()
}
