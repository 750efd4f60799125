//! The body of an object or a part: one pass over its bytes, into the record or into a blob.
//!
//! Must never take fewer or more bytes than were declared, and never leave anything behind when the request
//! ends at any await.

use futures_util::StreamExt;
use s3s::dto::StreamingBlob;
use s3s::{S3Error, S3Result, StdError};

use super::context::{BodyFault, RequestContext};
use super::digest::BodyHash;
use super::errors;
use super::intake::{Intake, Taken};
use super::operations::Operations;
use crate::store::BlobHandle;

/// A body being read.
pub(super) struct Body<'a> {
    pub(super) stream: Option<StreamingBlob>,
    pub(super) hash: BodyHash,
    /// Declared bytes; fewer or more are refused.
    pub(super) size: u64,
    pub(super) context: &'a RequestContext,
}

impl Body<'_> {
    /// Reads a body for the record that will carry it, or, if it has more than `inline` bytes, for a blob.
    pub(super) async fn read(self, operations: &Operations, inline: u64) -> S3Result<Taken> {
        self.through(operations, inline).await?.finish().await.map_err(errors::of_store)
    }

    /// Writes a body to a blob, frame by frame. Dropped on the way, the blob's file goes.
    pub(super) async fn read_blob(self, operations: &Operations) -> S3Result<(BlobHandle, BodyHash)> {
        self.through(operations, 0).await?.finish_blob().await.map_err(errors::of_store)
    }

    async fn through<'o>(self, operations: &'o Operations, inline: u64) -> S3Result<Intake<'o>> {
        let Self { stream, hash, size, context } = self;
        let store = &**operations.commit.store();
        let mut intake = Intake::of_size(store, inline, size, hash);
        if let Some(mut stream) = stream {
            while let Some(data) = stream.next().await {
                let data = data.map_err(|error| failed(context, &error))?;
                if intake.size() + data.len() as u64 > size {
                    return Err(BodyFault::Length.into());
                }
                intake.take(data).await.map_err(errors::of_store)?;
            }
        }
        match intake.size() == size {
            true => Ok(intake),
            false => Err(BodyFault::Length.into()),
        }
    }
}

/// Why the stream failed: what we noted on the way in or, if it was the verifier, what its pinned version
/// says.
fn failed(context: &RequestContext, error: &StdError) -> S3Error {
    let fault = context.fault.get().copied().unwrap_or_else(|| {
        let text = error.to_string();
        match text.as_str() {
            _ if text.contains("Sha256Mismatch") => BodyFault::Sha256,
            _ if text.contains("SignatureMismatch") => BodyFault::ChunkSignature,
            _ if text.contains("Length") || text.contains("Incomplete") => BodyFault::Length,
            _ => BodyFault::Framing("it could not be read"),
        }
    });
    fault.into()
}
