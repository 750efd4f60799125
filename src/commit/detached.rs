//! Work that no closing connection can cancel.
//!
//! Must never start a task for work whose caller stays: almost every caller does, and a task costs two
//! wake-ups more.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::runtime::Handle;

/// Runs `work` in its caller; if the caller goes away before the end, in a task of its own.
pub(super) struct Detached<F: Future<Output: Send + 'static> + Send + 'static> {
    /// Absent once it has ended, and while it runs: what panicked is not run again.
    work: Option<Pin<Box<F>>>,
    runtime: Handle,
}

impl<F: Future<Output: Send + 'static> + Send + 'static> Detached<F> {
    /// Must be called inside a runtime, which the work belongs to from then on.
    pub(super) fn new(work: F) -> Self {
        Self { work: Some(Box::pin(work)), runtime: Handle::current() }
    }
}

impl<F: Future<Output: Send + 'static> + Send + 'static> Future for Detached<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let mut work = self.work.take().expect("nobody polls after the end");
        let polled = work.as_mut().poll(cx);
        if polled.is_pending() {
            self.work = Some(work);
        }
        polled
    }
}

impl<F: Future<Output: Send + 'static> + Send + 'static> Drop for Detached<F> {
    fn drop(&mut self) {
        if let Some(work) = self.work.take() {
            drop(self.runtime.spawn(work));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::oneshot;

    #[tokio::test]
    async fn work_goes_on_when_its_caller_goes_away() {
        let (go, wait) = oneshot::channel::<()>();
        let (done, end) = oneshot::channel();
        let caller = tokio::spawn(Detached::new(async move {
            let _ = wait.await;
            let _ = done.send(7);
        }));
        tokio::task::yield_now().await;
        caller.abort();
        assert!(caller.await.is_err_and(|e| e.is_cancelled()));
        go.send(()).expect("the work waits");
        assert_eq!(end.await, Ok(7));
    }

    #[tokio::test]
    async fn the_caller_gets_the_result() {
        assert_eq!(Detached::new(async { 7 }).await, 7);
    }
}
