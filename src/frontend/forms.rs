//! POST Object: an HTML form of either family becomes an object.
//!
//! The fields come first and are kept; then the policy is verified and judged, space is taken, and the file
//! is streamed on in one pass. Nothing happens before the form's last boundary is there. Must never read a
//! file that nobody allowed, nor keep more of it in memory than a record takes.

mod fields;
mod policy;
mod read;
mod signature;
mod store;

use std::sync::Arc;

use bytes::Bytes;
use futures_util::Stream;
use http::header::{CONTENT_TYPE, ETAG, HOST, LOCATION};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode, Uri};
use jiff::Timestamp;
use s3s::{Body, HttpResponse, S3Result, s3_error};

use self::fields::{Form, pass_over};
use self::read::{Reader, boundary_of, malformed};
use self::store::Made;
use super::auth::Gate;
use super::context::{BodyFault, RequestContext};
use super::family::Family;
use super::guard::{Claim, Payload, Rules, decode};
use super::hosts::Hosts;
use super::list::url_encode;
use super::operations::Operations;
use super::{cos, errors, headers, names};

/// What forms need beside what they carry.
pub(super) struct Forms {
    pub(super) operations: Operations,
    pub(super) gate: Gate,
    pub(super) hosts: Arc<Hosts>,
}

/// A form whose fields are read: from here on it is known whose words it speaks.
pub(super) struct Begun<S> {
    reader: Reader<S>,
    form: Form,
    pub(super) family: Family,
    bucket: String,
    /// Bytes of the whole form.
    length: u64,
    location: String,
}

impl Forms {
    /// Reads a form up to its file. `length` is what the head declares of the whole form.
    pub(super) async fn begin<S>(&self, parts: &Parts, length: u64, body: S) -> S3Result<Begun<S>>
    where
        S: Stream<Item = Result<Bytes, BodyFault>> + Unpin,
    {
        let content_type = parts.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let boundary = content_type.and_then(boundary_of);
        let boundary = boundary.ok_or_else(|| malformed("its content type names no boundary"))?;
        let host = parts.headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        let (bucket, base) = self.bucket_of(&parts.uri, host)?;
        let mut reader = Reader::new(body, boundary);
        let form = Form::read(&mut reader).await?;
        let family = signature::family_of(&form.fields)?;
        Ok(Begun { reader, form, family, bucket, length, location: format!("http://{host}{base}") })
    }

    /// The bucket, and the path below which its objects are.
    fn bucket_of(&self, uri: &Uri, host: &str) -> S3Result<(String, String)> {
        if uri.query().is_some_and(|query| !query.is_empty()) {
            return Err(s3_error!(NotImplemented, "Not implemented: a form with query parameters"));
        }
        let of_object = || s3_error!(MethodNotAllowed, "A form is sent to a bucket.");
        if let Some(bucket) = self.hosts.bucket(host) {
            return if uri.path() == "/" { Ok((bucket, "/".to_owned())) } else { Err(of_object()) };
        }
        let path = decode(uri.path(), false).unwrap_or_default();
        let bucket = path.trim_start_matches('/').trim_end_matches('/');
        match bucket.is_empty() || bucket.contains('/') {
            true => Err(of_object()),
            false => Ok((bucket.to_owned(), format!("/{bucket}/"))),
        }
    }

    /// Judges a form, stores its file, and answers.
    pub(super) async fn finish<S>(
        &self,
        begun: Begun<S>,
        rules: &Rules,
        now: Timestamp,
        context_of: impl FnOnce(Claim) -> RequestContext,
    ) -> S3Result<HttpResponse>
    where
        S: Stream<Item = Result<Bytes, BodyFault>> + Unpin,
    {
        let Begun { mut reader, form, family, bucket, length, location } = begun;
        let signed = signature::verify(family, &form.fields, &*self.gate.0, rules, now)?;
        signed.policy.check(&form.fields, &bucket, family.ways(), now)?;
        let key = form.key()?;
        names::check_key(&key)?;
        let headers = form.fields.headers(family.prefix(), family.signs())?;
        let headers = match family {
            Family::S3 => headers,
            Family::Cos => cos::form_headers(&headers, &self.hosts).map_err(|refusal| refusal.to_error())?,
        };
        let access_key: Arc<str> = signed.access_key.as_str().into();
        let claim = Claim { access_key, payload: Payload::Unsigned, length: Some(length), qsign: None };
        let caller = self.gate.admit_form(context_of(claim), &bucket, &headers)?;
        headers::only_known(&headers, &headers::OF_NEW_OBJECT)?;
        let wanted = store::Wanted {
            bucket: &bucket,
            key: &key,
            headers: &headers,
            least: signed.policy.least,
            most: signed.policy.most,
            length,
        };
        let stored = store::read(&self.operations, &wanted, &mut reader).await?;
        pass_over(&mut reader).await?;
        let made = stored.commit(&self.operations, &caller).await?;
        let location = format!("{location}{}", url_encode(&key));
        let answer = answer(&form, &bucket, &key, &made, &location)?;
        Ok(if family == Family::Cos { cos::answer(answer, Some(made.crc64)) } else { answer })
    }
}

/// 204, or what the form wants: 200, 201 with a document, or a page that the browser goes to.
fn answer(form: &Form, bucket: &str, key: &str, made: &Made, location: &str) -> S3Result<HttpResponse> {
    let etag = format!("\"{}\"", made.etag);
    let mut headers = HeaderMap::new();
    let mut insert = |name, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    };
    insert(ETAG, &etag);
    insert(LOCATION, location);
    if let Some(version) = &made.version {
        insert(http::HeaderName::from_static("x-amz-version-id"), version);
    }
    let mut body = Body::empty();
    let page = form.fields.get("success_action_redirect").and_then(page_of);
    let status = match (page, form.fields.get("success_action_status")) {
        (Some(page), _) => {
            let joint = if page.contains('?') { '&' } else { '?' };
            let (bucket, key, etag) = (in_query(bucket), in_query(key), in_query(&etag));
            insert(LOCATION, &format!("{page}{joint}bucket={bucket}&key={key}&etag={etag}"));
            StatusCode::SEE_OTHER
        }
        (None, Some("200")) => StatusCode::OK,
        (None, Some("201")) => {
            insert(CONTENT_TYPE, "application/xml");
            body = Body::from(document(bucket, key, &etag, location));
            StatusCode::CREATED
        }
        (None, _) => StatusCode::NO_CONTENT,
    };
    let mut response = HttpResponse::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    Ok(response)
}

fn document(bucket: &str, key: &str, etag: &str, location: &str) -> String {
    let mut out = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<PostResponse>".to_owned();
    for (name, text) in [("Location", location), ("Bucket", bucket), ("Key", key), ("ETag", etag)] {
        errors::element(&mut out, name, text);
    }
    out + "</PostResponse>"
}

/// A page that a browser may be sent to; what is none is as if it were not there.
fn page_of(text: &str) -> Option<&str> {
    let uri: Uri = text.parse().ok()?;
    let web = matches!(uri.scheme_str(), Some("http" | "https")) && uri.authority().is_some();
    (web && !text.contains('#')).then_some(text)
}

/// A value in a query.
fn in_query(text: &str) -> String {
    url_encode(text).replace('/', "%2F")
}

/// The fields of a form, its file and what follows it, for fuzzers; none: it is refused.
#[cfg(any(test, feature = "fuzzing"))]
pub(super) async fn fuzzing<S>(body: S) -> Option<(Vec<(String, String)>, Vec<u8>)>
where
    S: Stream<Item = Result<Bytes, BodyFault>> + Unpin,
{
    let mut reader = Reader::new(body, "b");
    let form = Form::read(&mut reader).await.ok()?;
    let mut file = Vec::new();
    while let Some(data) = reader.data().await.ok()? {
        file.extend_from_slice(&data);
    }
    pass_over(&mut reader).await.ok()?;
    let fields = form.fields.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    Some((fields, file))
}
