//! The bytes of one request, watched on their way to the verifier: stalls, chunk framing, checksums of documents.
//!
//! Must never buffer more than one frame. What goes wrong is noted in the request's context, since the verifier wraps
//! errors beyond recognition.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Sleep;

use super::chunks::Chunks;
use super::context::{BodyFault, RequestContext};
use super::digest::DocumentHash;
use super::guard::Payload;

/// A watched body.
pub(super) struct Inbound<B = Incoming> {
    inner: B,
    context: Arc<RequestContext>,
    idle: Duration,
    /// Runs while a frame is waited for. A body that is there already never makes one.
    timer: Option<Pin<Box<Sleep>>>,
    chunks: Option<Chunks>,
    document: Option<DocumentHash>,
    ready: VecDeque<Bytes>,
    ended: bool,
}

impl<B> Inbound<B> {
    /// Watches `inner`, which may stand still for `idle`. `document` checks what no handler will see.
    pub(super) fn new(
        inner: B,
        context: Arc<RequestContext>,
        idle: Duration,
        document: Option<DocumentHash>,
    ) -> Self {
        let chunks = match (context.claim.payload, context.claim.length) {
            (Payload::Chunked { signed, .. }, Some(length)) => Some(Chunks::new(signed, length)),
            _ => None,
        };
        Self { inner, context, idle, timer: None, chunks, document, ready: VecDeque::new(), ended: false }
    }

    fn fail(&mut self, fault: BodyFault) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        // The first reason is the reason.
        let fault = *self.context.fault.get_or_init(|| fault);
        self.ended = true;
        self.ready.clear();
        Poll::Ready(Some(Err(fault)))
    }

    fn take(&mut self, data: Bytes) -> Result<(), BodyFault> {
        if let Some(document) = &mut self.document {
            document.update(&data);
        }
        match &mut self.chunks {
            Some(chunks) => chunks.feed(data, &mut self.ready),
            None => {
                self.ready.push_back(data);
                Ok(())
            }
        }
    }

    fn end(&mut self) -> Result<(), BodyFault> {
        self.ended = true;
        if let Some(chunks) = &self.chunks {
            chunks.end()?;
        }
        self.document.take().map_or(Ok(()), DocumentHash::finish)
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Inbound<B> {
    type Data = Bytes;
    type Error = BodyFault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        let this = &mut *self;
        loop {
            if let Some(data) = this.ready.pop_front() {
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
            if this.ended {
                return Poll::Ready(None);
            }
            let Poll::Ready(frame) = Pin::new(&mut this.inner).poll_frame(cx) else {
                let idle = this.idle;
                let timer = this.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(idle)));
                ready!(timer.as_mut().poll(cx));
                return this.fail(BodyFault::Stalled);
            };
            if let Some(timer) = &mut this.timer {
                timer.set(tokio::time::sleep(this.idle));
            }
            let result = match frame {
                None => this.end(),
                Some(Err(_)) => Err(BodyFault::Broken),
                // HTTP trailers mean nothing here; the trailers of aws-chunked are data.
                Some(Ok(frame)) => frame.into_data().map_or(Ok(()), |data| this.take(data)),
            };
            if let Err(fault) = result {
                return this.fail(fault);
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self.chunks {
            // The framing may be rewritten.
            Some(_) => SizeHint::default(),
            None => self.inner.size_hint(),
        }
    }
}
