//! The bytes of one request, watched on their way to the verifier: stalls, chunk framing, checksums of
//! documents.
//!
//! Must never buffer more than one frame. What goes wrong is noted in the request's context, since the
//! verifier wraps errors beyond recognition.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::Sleep;

use super::chunks::Chunks;
use super::context::{BodyFault, RequestContext};
use super::digest::DocumentHash;
use super::guard::Payload;
use super::rest::Rest;

/// A body that moves by less than this within the idle timeout stands still: else a byte now and then would
/// hold the reserved space for weeks.
const PROGRESS: usize = 16 << 10;

/// A watched body.
pub(super) struct Inbound<B = Rest> {
    inner: B,
    context: Arc<RequestContext>,
    idle: Duration,
    /// Runs from the first wait until the body has moved on. A body that is there already never makes one.
    timer: Option<Pin<Box<Sleep>>>,
    /// Bytes that came since the timer was set.
    moved: usize,
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
        Self {
            inner,
            context,
            idle,
            timer: None,
            moved: 0,
            chunks,
            document,
            ready: VecDeque::new(),
            ended: false,
        }
    }

    fn fail(&mut self, fault: BodyFault) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        // The first reason is the reason.
        let fault = *self.context.fault.get_or_init(|| fault);
        self.ended = true;
        self.ready.clear();
        Poll::Ready(Some(Err(fault)))
    }

    fn take(&mut self, data: Bytes) -> Result<(), BodyFault> {
        self.moved += data.len();
        if self.moved >= PROGRESS {
            self.moved = 0;
            self.timer = None;
        }
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
                if let Some(document) = &this.context.document {
                    document.add(&data);
                }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Limits;
    use crate::frontend::going::GoingOn;
    use crate::frontend::guard::Claim;
    use crate::frontend::peer::Peer;
    use http_body_util::{BodyExt, StreamBody};

    /// A body of one frame of `size` bytes every `every`, watched with an idle timeout of ten seconds.
    async fn read(size: usize, every: Duration) -> Result<usize, BodyFault> {
        let claim = Claim { access_key: "A".into(), payload: Payload::Unsigned, length: None, qsign: None };
        let going = Arc::new(GoingOn::new(&Limits::default(), Box::new(|_| {})));
        let address = std::net::Ipv4Addr::LOCALHOST.into();
        let seat = going.seat(address).expect("free");
        let peer = Arc::new(Peer { address, encrypted: false, seat });
        let context = Arc::new(RequestContext::new("1".into(), peer, claim));
        let (sender, receiver) = tokio::sync::mpsc::channel(1);
        tokio::spawn(async move {
            tokio::task::yield_now().await;
            for _ in 0..20 {
                tokio::time::advance(every).await;
                let frame = Frame::data(Bytes::from(vec![0; size]));
                if sender.send(Ok::<_, std::io::Error>(frame)).await.is_err() {
                    return;
                }
            }
        });
        let frames = futures_util::stream::unfold(receiver, |mut receiver| async move {
            receiver.recv().await.map(|frame| (frame, receiver))
        });
        let body = Inbound::new(StreamBody::new(Box::pin(frames)), context, Duration::from_secs(10), None);
        body.collect().await.map(|all| all.to_bytes().len())
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_body_is_read_and_a_trickle_is_not() {
        let second = Duration::from_secs(1);
        assert_eq!(read(PROGRESS, second * 9).await, Ok(20 * PROGRESS));
        assert_eq!(read(1, second / 4).await, Ok(20), "small and quick enough as a whole");
        assert_eq!(read(1, second * 9).await, Err(BodyFault::Stalled), "a byte now and then");
        assert_eq!(read(PROGRESS, second * 11).await, Err(BodyFault::Stalled));
    }
}
