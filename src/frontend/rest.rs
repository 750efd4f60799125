//! The body of a request, and what becomes of the rest of it if the request is answered before it was read.
//!
//! A connection that is closed with bytes unread is reset, and a client that still sends never sees its
//! answer: a broken pipe instead of 503. So the rest is read and thrown away beside the answer, within two
//! bounds.
//! Must never ask a client for a body that it holds back, and never wait for one that stands still.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http::header::EXPECT;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;

use super::context::{BodyFault, RequestContext};

/// The most of a body that is thrown away, in bytes: two parts as clients cut large files.
const MOST: u64 = 16 << 20;
/// How long that may take.
const LONGEST: Duration = Duration::from_secs(5);

/// A body whose rest is thrown away when this is dropped.
pub(super) struct Rest {
    /// Absent once it has ended.
    body: Option<Incoming>,
    /// The client sends nothing before it is asked to, and nobody has asked.
    held_back: bool,
    context: Option<Arc<RequestContext>>,
}

impl Rest {
    /// The body of a request with these headers.
    pub(super) fn new(body: Incoming, headers: &HeaderMap) -> Self {
        Self { body: Some(body), held_back: headers.contains_key(EXPECT), context: None }
    }

    /// The same; what goes wrong with it is noted in `context`.
    pub(super) fn of(mut self, context: &Arc<RequestContext>) -> Self {
        self.context = Some(Arc::clone(context));
        self
    }

    /// True if throwing the rest away helps its client.
    fn is_to_be_read(&self, body: &Incoming) -> bool {
        let fault = self.context.as_ref().and_then(|context| context.fault.get());
        let stands = matches!(fault, Some(BodyFault::Stalled | BodyFault::Broken));
        !self.held_back && !stands && !body.is_end_stream() && body.size_hint().lower() <= MOST
    }
}

impl Body for Rest {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        self.held_back = false;
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let polled = Pin::new(body).poll_frame(cx);
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            self.body = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl Drop for Rest {
    fn drop(&mut self) {
        if let Some(body) = self.body.take()
            && self.is_to_be_read(&body)
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            drop(runtime.spawn(throw_away(body)));
        }
    }
}

/// Reads a body to its end or to its bounds. Dropped before its end, the connection is closed.
async fn throw_away(mut body: Incoming) {
    let reading = async {
        let mut read = 0;
        while let Some(Ok(frame)) = body.frame().await {
            read += frame.data_ref().map_or(0, Bytes::len) as u64;
            if read > MOST {
                return;
            }
        }
    };
    // Too late is as good as too much.
    let _ = tokio::time::timeout(LONGEST, reading).await;
}
