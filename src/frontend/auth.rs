//! Authentication: secrets for the signature verifier, and the gate, where a verified signature becomes a
//! [`Principal`] that may do what was asked.
//!
//! Must never hand out a principal anywhere else, and must never let a secret reach a message or a log.

use std::sync::Arc;

use async_trait::async_trait;
use http::{HeaderMap, Method, Uri};
use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::{S3Auth, SecretKey};
use s3s::config::{S3Config, StaticConfigProvider};
use s3s::host::{S3Host, VirtualHost};
use s3s::path::S3Path;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{Body, S3Error, S3ErrorCode, S3Request, S3Result, s3_error};
use secrecy::ExposeSecret;

use super::CredentialLookup;
use super::access::Principal;
use super::context::{Caller, RequestContext};
use super::guard::{Claim, Refusal, unknown_to};
use super::hosts::Hosts;
use super::operations::Operations;
use super::routes::Routes;

/// The largest XML document that a request may carry: 1,000 keys of 1,024 bytes with room for their escapes.
pub(super) const MAX_XML_BYTES: usize = 4 << 20;

/// The verifier and router over our operations.
pub(super) fn service(
    operations: Operations,
    credentials: Arc<dyn CredentialLookup>,
    hosts: Arc<Hosts>,
) -> S3Service {
    let mut config = S3Config::default();
    config.xml_max_body_size = MAX_XML_BYTES;
    // Forms never get past the guard; should one, it gets no memory either.
    config.post_object_max_file_size = 0;
    config.form_max_field_size = 0;
    config.form_max_fields_size = 0;
    config.form_max_parts = 0;
    let gate = Gate(Arc::clone(&credentials));
    let routes = Routes { operations: operations.clone(), gate, hosts: Arc::clone(&hosts) };
    let mut builder = S3ServiceBuilder::new(operations);
    builder.set_route(routes);
    builder.set_config(Arc::new(StaticConfigProvider::new(Arc::new(config))));
    builder.set_auth(Secrets(Arc::clone(&credentials)));
    builder.set_access(Gate(credentials));
    builder.set_host(OurHosts(hosts));
    builder.build()
}

struct OurHosts(Arc<Hosts>);

impl S3Host for OurHosts {
    fn parse_host_header<'a>(&'a self, host: &'a str) -> S3Result<VirtualHost<'a>> {
        self.0.parse_host_header(host)
    }
}

struct Secrets(Arc<dyn CredentialLookup>);

#[async_trait]
impl S3Auth for Secrets {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        match self.0.credential(access_key) {
            Some(credential) => Ok(SecretKey::from(credential.secret.expose_secret())),
            None => Err(S3Error::with_message(S3ErrorCode::InvalidAccessKeyId, "No such access key.")),
        }
    }
}

/// Who signed a request by COS's rules: made here only, of a signature that is right.
pub(super) struct Verified(Arc<str>);

/// Verifies a signature by COS's rules; none is there: the library verifies AWS's.
pub(super) fn verify(credentials: &dyn CredentialLookup, claim: &Claim) -> Result<Option<Verified>, Refusal> {
    let Some(qsign) = &claim.qsign else { return Ok(None) };
    let credential = credentials.credential(&claim.access_key).ok_or(Refusal::UnknownKey)?;
    match qsign.is_by(credential.secret.expose_secret()) {
        true => Ok(Some(Verified(Arc::clone(&claim.access_key)))),
        false => Err(Refusal::BadSignature),
    }
}

/// Runs between the verifier and every operation: no verified signature that may do this, no principal, no
/// operation.
pub(super) struct Gate(pub(super) Arc<dyn CredentialLookup>);

#[async_trait]
impl S3Access for Gate {
    async fn check(&self, cx: &mut S3AccessContext<'_>) -> S3Result<()> {
        let context = cx.extensions_mut().get::<Arc<RequestContext>>().cloned().ok_or_else(unsigned)?;
        let key = cx.credentials().map(|by_library| by_library.access_key.as_str().into());
        let (operation, document) = (cx.s3_op().name(), MAX_XML_BYTES);
        let asked = Asked { operation, document, method: cx.method(), uri: cx.uri() };
        let principal = self.admit_operation(&context, key, asked, cx.s3_path(), cx.headers())?;
        cx.extensions_mut().insert(principal);
        Ok(())
    }
}

/// What somebody asks for.
struct Asked<'a> {
    operation: &'a str,
    /// The largest document that it may bring, in bytes.
    document: usize,
    method: &'a Method,
    uri: &'a Uri,
}

impl Gate {
    /// The caller of an operation that the library's router does not know, with a document of at most so many
    /// bytes.
    pub(super) fn admit_route(
        &self,
        req: &S3Request<Body>,
        (operation, document): (&str, usize),
        path: &S3Path,
    ) -> S3Result<Principal> {
        let context = req.extensions.get::<Arc<RequestContext>>().ok_or_else(unsigned)?;
        let key = req.credentials.as_ref().map(|by_library| by_library.access_key.as_str().into());
        let asked = Asked { operation, document, method: &req.method, uri: &req.uri };
        self.admit_operation(context, key, asked, path, &req.headers)
    }

    /// `by_library`: whose signature the library verified.
    fn admit_operation(
        &self,
        context: &RequestContext,
        by_library: Option<Arc<str>>,
        asked: Asked<'_>,
        path: &S3Path,
        headers: &HeaderMap,
    ) -> S3Result<Principal> {
        let key = signer(by_library, context)?;
        let operation = asked.operation;
        let is_read = matches!(*asked.method, Method::GET | Method::HEAD);
        let query = asked.uri.query().filter(|query| !is_read && !query.is_empty());
        let unknown = query.and_then(|query| unknown_to(query, parameters_of(operation)));
        let principal = self.admit(context, key, operation, path, headers)?;
        if let Some(unknown) = unknown {
            // What another operation would understand must not be ignored by this one.
            return Err(s3_error!(NotImplemented, "Not implemented: the query parameter '{unknown}' here"));
        }
        let is_upload = matches!(operation, "PutObject" | "UploadPart");
        if !is_upload {
            is_document(context, asked.document)?;
        }
        begin(context, &principal, is_upload)?;
        Ok(principal)
    }

    /// The caller of a form whose policy's signature was verified.
    pub(super) fn admit_form(
        &self,
        context: RequestContext,
        bucket: &str,
        headers: &HeaderMap,
    ) -> S3Result<Caller> {
        let key = Arc::clone(&context.claim.access_key);
        if !s3s::path::check_bucket_name(bucket) {
            return Err(S3ErrorCode::InvalidBucketName.into());
        }
        let path = S3Path::bucket(bucket);
        let principal = self.admit(&context, key, "PostObject", &path, headers)?;
        begin(&context, &principal, true)?;
        Ok(Caller { principal, context: Arc::new(context) })
    }

    /// Decides whether `key`, whose signature was verified, may do this now.
    fn admit(
        &self,
        context: &RequestContext,
        key: Arc<str>,
        operation: &str,
        path: &S3Path,
        headers: &HeaderMap,
    ) -> S3Result<Principal> {
        // One that was removed since its signature was verified may nothing any more.
        let credential = self.0.credential(&key).ok_or_else(unsigned)?;
        // The verifier and the guard must have read the same key, or one of them was deceived.
        if context.claim.access_key != key {
            return Err(unsigned());
        }
        Principal::admit(key, credential, operation, path, headers)
    }
}

/// Who signed a request: one signature, verified by whoever knows its rules.
fn signer(by_library: Option<Arc<str>>, context: &RequestContext) -> S3Result<Arc<str>> {
    match (by_library, &context.verified) {
        (Some(by_library), None) => Ok(by_library),
        (None, Some(Verified(key))) => Ok(Arc::clone(key)),
        _ => Err(unsigned()),
    }
}

/// Documents are read into memory as a whole, so they say how long they are before anything is read.
fn is_document(context: &RequestContext, max: usize) -> S3Result<()> {
    match context.claim.length {
        None => Err(S3ErrorCode::MissingContentLength.into()),
        Some(length) if length > max as u64 => Err(S3ErrorCode::MaxMessageLengthExceeded.into()),
        Some(_) => Ok(()),
    }
}

fn unsigned() -> S3Error {
    S3Error::with_message(S3ErrorCode::AccessDenied, "Signature is required")
}

/// From now on the request counts as going on.
fn begin(context: &RequestContext, principal: &Principal, is_upload: bool) -> S3Result<()> {
    let _ = context.begun.set(context.peer.seat.begin(principal.name(), is_upload)?);
    Ok(())
}

/// The parameters that a change knows beside those of a presigned URL.
fn parameters_of(operation: &str) -> &'static [&'static str] {
    match operation {
        "DeleteObjects" => &["delete"],
        "DeleteObject" => &["versionId"],
        "PutBucketVersioning" => &["versioning"],
        "CreateMultipartUpload" => &["uploads"],
        "UploadPart" | "UploadPartCopy" => &["partNumber", "uploadId"],
        "CompleteMultipartUpload" | "AbortMultipartUpload" => &["uploadId"],
        "PutObjectTagging" | "DeleteObjectTagging" => &["tagging", "versionId"],
        "PutBucketTagging" | "DeleteBucketTagging" => &["tagging"],
        "PutObjectAcl" => &["acl", "versionId"],
        "RestoreObject" => &["restore", "versionId"],
        "PutBucketAcl" => &["acl"],
        "PutBucketCors" | "DeleteBucketCors" => &["cors"],
        "PutBucketNotificationConfiguration" => &["notification"],
        "PutBucketOrigin" | "DeleteBucketOrigin" => &["origin"],
        "PutBucketReplication" | "DeleteBucketReplication" => &["replication"],
        _ => &[],
    }
}
