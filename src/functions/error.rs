//! Why something was not done with a function, as the caller must act on it.

/// Why something was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FunctionError {
    /// There is no such function.
    #[error("no function has this name")]
    Missing,
    /// What was asked for says something that cannot be; nothing changed.
    #[error("{0}")]
    Invalid(String),
    /// Not possible as things are; nothing changed, and repeating does not help.
    #[error("{0}")]
    Conflict(String),
    /// The disk or the system failed; nothing changed that counts.
    #[error("{0}")]
    Unavailable(String),
}

impl FunctionError {
    /// The disk failed.
    pub(super) fn disk(what: &str, error: &std::io::Error) -> Self {
        FunctionError::Unavailable(format!("{what}: {error}"))
    }
}

/// Does what waits for a disk on a thread that may wait.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, FunctionError> + Send + 'static,
) -> Result<T, FunctionError> {
    let broken = |_| FunctionError::Unavailable("the work broke off by a bug".into());
    tokio::task::spawn_blocking(work).await.map_err(broken)?
}
