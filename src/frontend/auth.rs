//! Authentication: secrets for the signature verifier, and the gate, where a verified signature becomes a
//! [`Principal`] that may do what was asked.
//!
//! Must never hand out a principal anywhere else, and must never let a secret reach a message or a log.

use std::sync::Arc;

use async_trait::async_trait;
use http::Method;
use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::{S3Auth, SecretKey};
use s3s::config::{S3Config, StaticConfigProvider};
use s3s::host::{S3Host, VirtualHost};
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{S3Error, S3ErrorCode, S3Result, s3_error};
use secrecy::ExposeSecret;

use super::CredentialLookup;
use super::access::Principal;
use super::context::RequestContext;
use super::guard::unknown_to;
use super::operations::Operations;

/// The largest XML document that a request may carry: 1,000 keys of 1,024 bytes with room for their escapes.
const MAX_XML_BYTES: usize = 4 << 20;

/// The verifier and router over our operations.
pub(super) fn service(
    operations: Operations,
    credentials: Arc<dyn CredentialLookup>,
    domain: Option<&str>,
) -> S3Service {
    let mut config = S3Config::default();
    config.xml_max_body_size = MAX_XML_BYTES;
    // Forms never get past the guard; should one, it gets no memory either.
    config.post_object_max_file_size = 0;
    config.form_max_field_size = 0;
    config.form_max_fields_size = 0;
    config.form_max_parts = 0;
    let mut builder = S3ServiceBuilder::new(operations);
    builder.set_config(Arc::new(StaticConfigProvider::new(Arc::new(config))));
    builder.set_auth(Secrets(Arc::clone(&credentials)));
    builder.set_access(Gate(credentials));
    if let Some(domain) = domain {
        builder.set_host(Domain(domain.to_ascii_lowercase()));
    }
    builder.build()
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

/// Runs between the verifier and every operation: no verified signature that may do this, no principal, no
/// operation.
struct Gate(Arc<dyn CredentialLookup>);

#[async_trait]
impl S3Access for Gate {
    async fn check(&self, cx: &mut S3AccessContext<'_>) -> S3Result<()> {
        let denied = || S3Error::with_message(S3ErrorCode::AccessDenied, "Signature is required");
        let verified = cx.credentials().map(|c| c.access_key.clone()).ok_or_else(denied)?;
        // One that was removed since its signature was verified may nothing any more.
        let credential = self.0.credential(&verified).ok_or_else(denied)?;
        let key = Arc::from(verified.as_str());
        let principal = Principal::admit(key, credential, cx.s3_op().name(), cx.s3_path(), cx.headers())?;
        let is_read = matches!(*cx.method(), Method::GET | Method::HEAD);
        let query = cx.uri().query().filter(|query| !is_read && !query.is_empty());
        if let Some(unknown) = query.and_then(|query| unknown_to(query, parameters_of(cx.s3_op().name()))) {
            // What another operation would understand must not be ignored by this one.
            return Err(s3_error!(NotImplemented, "Not implemented: the query parameter '{unknown}' here"));
        }
        let is_upload = matches!(cx.s3_op().name(), "PutObject" | "UploadPart");
        let extensions = cx.extensions_mut();
        let context = extensions.get::<Arc<RequestContext>>().ok_or_else(denied)?;
        // The verifier and the guard must have read the same key, or one of them was deceived.
        if *context.claim.access_key != *verified {
            return Err(denied());
        }
        // Documents are read into memory as a whole, so they say how long they are before anything is read.
        if !is_upload {
            match context.claim.length {
                None => return Err(S3ErrorCode::MissingContentLength.into()),
                Some(length) if length > MAX_XML_BYTES as u64 => {
                    return Err(S3ErrorCode::MaxMessageLengthExceeded.into());
                }
                Some(_) => {}
            }
        }
        let _ = context.begun.set(context.peer.seat.begin(principal.access_key(), is_upload)?);
        extensions.insert(principal);
        Ok(())
    }
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
        _ => &[],
    }
}

/// `BUCKET.domain` names a bucket; every other host means path style.
struct Domain(String);

impl S3Host for Domain {
    fn parse_host_header<'a>(&'a self, host: &'a str) -> S3Result<VirtualHost<'a>> {
        let here = VirtualHost::new(self.0.as_str());
        Ok(match bucket_of_host(host, &self.0) {
            Some(bucket) => here.with_bucket(bucket),
            None => here,
        })
    }
}

/// The bucket that a host names below `domain`, which is in lower case.
pub(super) fn bucket_of_host(host: &str, domain: &str) -> Option<String> {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.to_ascii_lowercase();
    let bucket = name.strip_suffix(domain).and_then(|rest| rest.strip_suffix('.'));
    bucket.filter(|bucket| !bucket.is_empty()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_below_the_domain_are_buckets() {
        let domain = Domain("cos.ap-guangzhou.example.com".into());
        let bucket = |host: &str| {
            let parsed = domain.parse_host_header(host).expect("never refuses");
            parsed.bucket().map(str::to_owned)
        };
        assert_eq!(bucket("b-1250000000.cos.ap-guangzhou.example.com").as_deref(), Some("b-1250000000"));
        assert_eq!(bucket("a.b.COS.ap-guangzhou.example.com:9000").as_deref(), Some("a.b"));
        assert_eq!(bucket("cos.ap-guangzhou.example.com:9000"), None);
        assert_eq!(bucket(".cos.ap-guangzhou.example.com"), None);
        assert_eq!(bucket("xcos.ap-guangzhou.example.com"), None);
        assert_eq!(bucket("localhost:9000"), None);
        assert_eq!(bucket("[::1]:9000"), None);
    }
}
