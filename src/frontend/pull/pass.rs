//! An origin's object for which there is no room here: its bytes go to the client, and are not kept.
//!
//! Must never answer less than the whole of it for a success, and never keep more of it in memory than one
//! piece.

use std::sync::Arc;

use futures_util::stream;
use http::HeaderMap;
use http_body::Frame;
use http_body_util::StreamBody;
use s3s::dto::{GetObjectOutput, StreamingBlob};
use s3s::{Body, S3Response};
use tidings_origin::FetchError;

use super::failure::Failure;
use super::keep::metadata_of;
use super::{Pull, Pulls};
use crate::frontend::found::{Wanted, dress};
use crate::frontend::headers;

impl Pulls {
    /// Fetches it for one client. A range is not looked at: all of it is an answer to that, too.
    pub(super) async fn pass(
        self: &Arc<Self>,
        pull: Pull,
        wanted: &Wanted,
    ) -> Result<S3Response<GetObjectOutput>, Failure> {
        let conditions = &wanted.conditions;
        // What it would be compared with is not known of it.
        if conditions.if_match.is_some() || conditions.if_unmodified_since.is_some() || wanted.part.is_some()
        {
            return Err(Failure::NoRoom);
        }
        let place = self.place(&pull.bucket).ok_or(Failure::Busy)?;
        let (_, fetched) = self.open(&pull, 0, &mut None).await?;
        let kept = metadata_of(&fetched.headers)?;
        let mut headers = HeaderMap::new();
        headers::give_back(&kept, false, &mut headers);
        dress(&mut headers, wanted);
        let length = fetched.length.and_then(|length| i64::try_from(length).ok());
        let frames = stream::try_unfold((fetched, place), |(mut fetched, place)| async move {
            let data = fetched.chunk().await?;
            Ok::<_, FetchError>(data.map(|data| (Frame::data(data), (fetched, place))))
        });
        let body = Body::http_body_unsync(StreamBody::new(frames));
        let output = GetObjectOutput {
            body: Some(StreamingBlob::from(body)),
            content_length: length,
            ..Default::default()
        };
        Ok(S3Response::with_headers(output, headers))
    }
}
