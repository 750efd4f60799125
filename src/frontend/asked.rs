//! What an answer needs to know of its request.
//!
//! Must never hold what the request carries in its body or its signature.

use std::sync::Arc;

use http::{Method, Uri};
use s3s::{HttpResponse, S3Error};

use super::context::BodyFault;
use super::errors::{self, About};
use super::family::Family;
use super::peer::Peer;

/// One request, from its answer's side.
pub(super) struct Asked {
    pub(super) id: Arc<str>,
    pub(super) family: Family,
    pub(super) method: Method,
    pub(super) uri: Uri,
    pub(super) peer: Arc<Peer>,
}

impl Asked {
    /// What an error says of it.
    pub(super) fn about(&self) -> About<'_> {
        let bare = self.method == Method::HEAD;
        About { resource: self.uri.path(), request_id: &self.id, family: self.family, bare }
    }

    pub(super) fn internal(&self) -> HttpResponse {
        errors::internal(self.about())
    }

    pub(super) fn complete(&self, answer: HttpResponse, fault: Option<BodyFault>) -> HttpResponse {
        errors::complete(answer, fault, self.about())
    }

    pub(super) fn error(&self, error: S3Error) -> HttpResponse {
        error.to_http_response().map_or_else(|_| self.internal(), |answer| self.complete(answer, None))
    }
}
