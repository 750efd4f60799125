//! What one request carries from layer to handler beside its input: its id, its peer, its claim, and what
//! went wrong with its body.
//!
//! Must never hold a secret. It is made by the layer only; nothing in it comes from a header unchecked.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use http::Extensions;
use s3s::{S3Error, S3ErrorCode};

use super::access::Principal;
use super::auth::Verified;
use super::family::Family;
use super::going::Begun;
use super::guard::Claim;
use super::peer::Peer;
use crate::event::RequestInfo;

/// One request.
pub(crate) struct RequestContext {
    /// The `x-amz-request-id` or `x-cos-request-id` of the answer.
    pub(crate) id: Arc<str>,
    /// The connection that it came over; no header can change it.
    pub(super) peer: Arc<Peer>,
    /// What the guard let through.
    pub(crate) claim: Claim,
    /// Why the body could not be read, once it could not. The verifier wraps errors beyond recognition, so
    /// the reason travels here.
    pub(crate) fault: OnceLock<BodyFault>,
    /// The document that came with it, where a handler needs more of it than the parser knows.
    pub(super) document: Option<Document>,
    /// It counts as going on until its answer is out.
    pub(super) begun: OnceLock<Begun>,
    /// The CRC-64/XZ of the object or part that its answer is about: COS's clients are told.
    pub(super) crc64: OnceLock<u64>,
    /// Who signed it by COS's rules; none: the library behind verifies AWS's.
    pub(super) verified: Option<Verified>,
    /// Whose words its answer speaks.
    pub(super) family: Family,
}

impl RequestContext {
    pub(super) fn new(id: Arc<str>, peer: Arc<Peer>, claim: Claim) -> Self {
        let (fault, begun, crc64) = (OnceLock::new(), OnceLock::new(), OnceLock::new());
        let (document, verified, family) = (None, None, Family::S3);
        Self { id, peer, claim, fault, document, begun, crc64, verified, family }
    }

    /// The same with a signature by COS's rules.
    pub(super) fn verified(self, verified: Option<Verified>, family: Family) -> Self {
        Self { verified, family, ..self }
    }
}

/// The status of an answer where the library writes another one. Travels in the answer's extensions.
#[derive(Debug, Clone, Copy)]
pub(super) struct Status(pub(super) http::StatusCode);

/// A document as it came. What the parser does not know it passes over, and COS has words of its own.
#[derive(Default)]
pub(super) struct Document(Mutex<Vec<u8>>);

/// A document of which more is wanted than the parser knows has no more bytes than these.
pub(super) const MAX_DOCUMENT: usize = 64 << 10;

impl Document {
    /// More of it came. What is beyond the bound is left out.
    pub(super) fn add(&self, data: &[u8]) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let room = MAX_DOCUMENT - seen.len();
        seen.extend_from_slice(&data[..data.len().min(room)]);
    }

    /// All of it that came; none if it is not text.
    pub(super) fn text(&self) -> Option<String> {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::str::from_utf8(&seen).ok().map(str::to_owned)
    }
}

/// Why a request's body was not taken. The client's fault in all cases; nothing is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BodyFault {
    /// The connection broke in the middle.
    #[error("the connection broke within the body")]
    Broken,
    /// No byte came for the idle timeout.
    #[error("the body stood still for too long")]
    Stalled,
    /// Fewer or more bytes than declared.
    #[error("the body does not have the declared length")]
    Length,
    /// The chunk framing is not what it must be.
    #[error("the chunk framing is malformed: {0}")]
    Framing(&'static str),
    /// A declared checksum is not that of the bytes.
    #[error("a declared checksum does not match the body")]
    Digest,
    /// The signed SHA-256 is not that of the bytes.
    #[error("x-amz-content-sha256 does not match the body")]
    Sha256,
    /// A chunk's signature does not match.
    #[error("a chunk's signature does not match")]
    ChunkSignature,
}

impl BodyFault {
    /// The S3 error code that says it.
    pub(crate) fn code(self) -> S3ErrorCode {
        match self {
            BodyFault::Broken | BodyFault::Length => S3ErrorCode::IncompleteBody,
            BodyFault::Stalled => S3ErrorCode::RequestTimeout,
            BodyFault::Framing(_) => S3ErrorCode::InvalidRequest,
            BodyFault::Digest => S3ErrorCode::BadDigest,
            BodyFault::Sha256 => S3ErrorCode::Custom("XAmzContentSHA256Mismatch".into()),
            BodyFault::ChunkSignature => S3ErrorCode::SignatureDoesNotMatch,
        }
    }
}

impl From<BodyFault> for S3Error {
    fn from(fault: BodyFault) -> Self {
        let mut error = S3Error::with_message(fault.code(), fault.to_string());
        if fault == BodyFault::Sha256 {
            error.set_status_code(http::StatusCode::BAD_REQUEST);
        }
        error
    }
}

/// A verified caller: the only way into a handler.
pub(crate) struct Caller {
    /// Who.
    pub(crate) principal: Principal,
    /// With which request.
    pub(crate) context: Arc<RequestContext>,
}

impl Caller {
    /// The caller that the layer and the verifier left in the request. Without both there is no caller.
    pub(crate) fn of(extensions: &Extensions) -> Result<Self, S3Error> {
        let principal = extensions.get::<Principal>().cloned();
        let context = extensions.get::<Arc<RequestContext>>().cloned();
        match (principal, context) {
            (Some(principal), Some(context)) => Ok(Self { principal, context }),
            _ => Err(S3Error::with_message(S3ErrorCode::AccessDenied, "Signature is required")),
        }
    }

    /// Notes the CRC-64/XZ of what the answer is about.
    pub(super) fn note_crc64(&self, crc64: u64) {
        // The first is the only one: an operation is about one object.
        let _ = self.context.crc64.set(crc64);
    }

    /// What the event says about the request.
    pub(crate) fn request_info(&self) -> RequestInfo {
        RequestInfo {
            id: Arc::clone(&self.context.id),
            source_ip: Some(self.context.peer.address),
            principal: Arc::clone(self.principal.name()),
            hops: self.principal.hops(),
        }
    }
}
