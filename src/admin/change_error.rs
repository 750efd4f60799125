//! Why what an operator asked for was not done.
//!
//! Must never hold a secret or a body.

/// Why a change was not made, as the caller must act on it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// There is no such target.
    #[error("no target has this name")]
    NoSuchTarget,
    /// There is no such bucket.
    #[error("no bucket has this name")]
    NoSuchBucket,
    /// There is no such trigger.
    #[error("no trigger has this id")]
    NoSuchTrigger,
    /// There is no such dead letter.
    #[error("no dead letter has this offset")]
    NoSuchLetter,
    /// The request says something that nobody understands; nothing changed.
    #[error("{0}")]
    BadRequest(String),
    /// The configuration that was read is not valid; nothing changed. Its diagnostics.
    #[error("{0}")]
    Invalid(String),
    /// Not possible in the target's state; nothing changed, and repeating does not help.
    #[error("{0}")]
    Conflict(String),
    /// Not possible now; nothing changed, and repeating later may help.
    #[error("{0}")]
    Unavailable(String),
    /// May or may not have happened: look before repeating.
    #[error("outcome unknown: {0}")]
    Unknown(String),
}
