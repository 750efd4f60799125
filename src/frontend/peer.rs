//! The connection that a request came over, and the answer that still goes out over it.
//!
//! Must never hold anything that a header said.

use std::fmt;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use s3s::{Body, HttpResponse};

use super::context::RequestContext;
use super::going::Seat;

/// One connection.
pub(super) struct Peer {
    /// The socket's other end.
    pub(super) address: IpAddr,
    /// It is encrypted by us: nobody on the way reads or changes it.
    pub(super) encrypted: bool,
    /// Its place among all that are going on.
    pub(super) seat: Seat,
}

impl Peer {
    /// True if what it sends crosses no wire that others can reach.
    pub(super) fn is_private(&self) -> bool {
        self.encrypted || is_local(self.address)
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer").field("address", &self.address).field("encrypted", &self.encrypted).finish()
    }
}

/// True for a peer on this machine.
fn is_local(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

/// An answer that keeps its request going on until its last byte is out.
pub(super) fn until_sent(response: HttpResponse, context: Arc<RequestContext>) -> HttpResponse {
    if response.body().is_end_stream() {
        return response;
    }
    response.map(|body| Body::http_body(Answer { body, _context: context }))
}

struct Answer {
    body: Body,
    _context: Arc<RequestContext>,
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = <Body as http_body::Body>::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_is_local() {
        let local = |ip: &str| is_local(ip.parse().expect("an address"));
        assert!(local("127.0.0.1") && local("127.8.8.8") && local("::1") && local("::ffff:127.0.0.1"));
        assert!(!local("10.0.0.1") && !local("::ffff:10.0.0.1") && !local("fe80::1") && !local("0.0.0.0"));
    }
}
