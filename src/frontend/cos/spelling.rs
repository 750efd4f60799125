//! How COS spells the names of headers: `Content-Length` and `ETag` beside `x-cos-request-id`. Some of its
//! clients look them up letter by letter.
//!
//! Names in memory have no case. The HTTP library writes them as a request spelled them whose extensions an
//! answer has; so one request is read, in memory, that spells them all. Must never carry anything else from
//! one request to another.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{Extensions, Request, Response};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use s3s::HttpResponse;
use tokio::io::AsyncWriteExt;
use tokio::sync::OnceCell;

/// A request with every name that is not in lower case.
const SPELLED: &[u8] = b"GET / HTTP/1.1\r\nHost: cos\r\nConnection: close\r\nAccept-Ranges: -\r\n\
    Access-Control-Allow-Credentials: -\r\nAccess-Control-Allow-Headers: -\r\n\
    Access-Control-Allow-Methods: -\r\nAccess-Control-Allow-Origin: -\r\n\
    Access-Control-Expose-Headers: -\r\nAccess-Control-Max-Age: -\r\nAllow: -\r\nCache-Control: -\r\n\
    Content-Disposition: -\r\nContent-Encoding: -\r\nContent-Language: -\r\nContent-Length: 0\r\n\
    Content-Range: -\r\nContent-Type: -\r\nDate: -\r\nETag: -\r\nExpires: -\r\nLast-Modified: -\r\n\
    Location: -\r\nRetry-After: -\r\nServer: -\r\nVary: -\r\n\r\n";

/// The spelling, learned at its first use.
#[derive(Default)]
pub(in crate::frontend) struct Spelling(OnceCell<Extensions>);

impl Spelling {
    /// From here on the answer's headers are spelled as COS does.
    pub(in crate::frontend) async fn apply(&self, response: &mut HttpResponse) {
        let learned = self.0.get_or_init(learn).await;
        response.extensions_mut().extend(learned.clone());
    }
}

async fn learn() -> Extensions {
    let learned = Arc::new(Mutex::new(Extensions::new()));
    let (mut near, far) = tokio::io::duplex(16 << 10);
    let service = service_fn(|request: Request<Incoming>| {
        *learned.lock().unwrap_or_else(PoisonError::into_inner) = request.extensions().clone();
        std::future::ready(Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new())))
    });
    let mut http = http1::Builder::new();
    let connection = http.preserve_header_case(true).serve_connection(TokioIo::new(far), service);
    // The pipe holds all of it, and the answer. Without it names would be in lower case, and no worse.
    if near.write_all(SPELLED).await.is_ok() {
        let _ = connection.await;
    }
    let mut learned = std::mem::take(&mut *learned.lock().unwrap_or_else(PoisonError::into_inner));
    learned.remove::<OnUpgrade>();
    learned
}
