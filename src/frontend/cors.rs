//! CORS: which pages of other origins may call a bucket. The rules, checked when they are set and matched for
//! each request; and the operations that set and show them.
//!
//! Must never match what a rule does not say, and must never hold a text that is no header's value.

use http::{HeaderName, HeaderValue};
use s3s::dto::{
    CORSRule, DeleteBucketCorsInput, DeleteBucketCorsOutput, GetBucketCorsInput, GetBucketCorsOutput,
    PutBucketCorsInput, PutBucketCorsOutput,
};
use s3s::{S3ErrorCode, S3Request, S3Response, S3Result, s3_error};
use serde::{Deserialize, Serialize};

use super::buckets::{existing, set};
use super::context::Caller;
use super::operations::Operations;
use crate::queue::Setting;

/// The most rules of a bucket.
const MAX_RULES: usize = 100;
/// The largest document with rules, in bytes.
const MAX_BYTES: u64 = 64 << 10;
/// The longest name of a rule, in characters.
const MAX_ID: usize = 255;
/// What a rule may allow.
const METHODS: [&str; 5] = ["GET", "PUT", "HEAD", "POST", "DELETE"];

/// The rules of a bucket, in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Rules(Vec<Rule>);

/// One rule: all of it is text that a header may carry.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Rule {
    id: Option<String>,
    /// With at most one `*`.
    origins: Vec<String>,
    pub(super) methods: Vec<String>,
    /// With at most one `*`, in lower case.
    headers: Vec<String>,
    pub(super) exposed: Vec<String>,
    /// Seconds.
    pub(super) max_age: Option<u32>,
}

impl Rules {
    /// The rules in a bucket's setting; none can be read: none.
    pub(super) fn of_setting(value: &[u8]) -> Self {
        serde_json::from_slice(value).unwrap_or_default()
    }

    fn checked(rules: Vec<CORSRule>) -> S3Result<Self> {
        if rules.is_empty() {
            return Err(S3ErrorCode::MalformedXML.into());
        }
        if rules.len() > MAX_RULES {
            return Err(s3_error!(
                InvalidRequest,
                "The number of CORS rules should not exceed allowed limit of {MAX_RULES} rules."
            ));
        }
        rules.into_iter().map(Rule::checked).collect::<S3Result<_>>().map(Self)
    }

    /// The first rule that lets a page of `origin` make a request of this method with these headers (in lower
    /// case), and the origin that the answer names: `*` if the rule takes any.
    pub(super) fn find<'a>(
        &'a self,
        origin: &'a str,
        method: &str,
        headers: &[String],
    ) -> Option<(&'a Rule, &'a str)> {
        self.0.iter().find_map(|rule| {
            let allowed = rule.origins.iter().find(|allowed| matches(allowed, origin))?;
            let method = rule.methods.iter().any(|allowed| allowed == method);
            let all =
                headers.iter().all(|header| rule.headers.iter().any(|allowed| matches(allowed, header)));
            let named = if allowed == "*" { "*" } else { origin };
            (method && all).then_some((rule, named))
        })
    }
}

/// `pattern` has at most one `*`, which stands for any text.
fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((start, end)) => {
            text.len() >= start.len() + end.len() && text.starts_with(start) && text.ends_with(end)
        }
    }
}

impl Rule {
    fn checked(rule: CORSRule) -> S3Result<Self> {
        let CORSRule {
            allowed_headers,
            allowed_methods,
            allowed_origins,
            expose_headers,
            id,
            max_age_seconds,
        } = rule;
        if allowed_methods.is_empty() || allowed_origins.is_empty() {
            return Err(S3ErrorCode::MalformedXML.into());
        }
        if id.as_ref().is_some_and(|id| id.chars().count() > MAX_ID) {
            return Err(s3_error!(
                InvalidRequest,
                "The ID of a CORS rule has more than {MAX_ID} characters."
            ));
        }
        for method in &allowed_methods {
            if !METHODS.contains(&method.as_str()) {
                return Err(s3_error!(
                    InvalidRequest,
                    "Found unsupported HTTP method in CORS config. Unsupported method is {method}"
                ));
            }
        }
        let headers: Vec<_> =
            allowed_headers.unwrap_or_default().iter().map(|header| header.to_ascii_lowercase()).collect();
        for (what, patterns) in [("AllowedOrigin", &allowed_origins), ("AllowedHeader", &headers)] {
            for pattern in patterns {
                if pattern.matches('*').count() > 1 {
                    return Err(s3_error!(
                        InvalidRequest,
                        "{what} \"{pattern}\" can not have more than one wildcard."
                    ));
                }
                if pattern.is_empty() || !pattern.bytes().all(|b| b.is_ascii_graphic()) {
                    return Err(s3_error!(InvalidRequest, "{what} is not what a header may say."));
                }
            }
        }
        let exposed = expose_headers.unwrap_or_default();
        if let Some(header) = exposed.iter().find(|h| HeaderName::from_bytes(h.as_bytes()).is_err()) {
            return Err(s3_error!(InvalidRequest, "ExposeHeader \"{header}\" is not the name of a header."));
        }
        let max_age = max_age_seconds.map(u32::try_from).transpose();
        let max_age =
            max_age.map_err(|_| s3_error!(InvalidRequest, "MaxAgeSeconds must not be negative."))?;
        Ok(Self { id, origins: allowed_origins, methods: allowed_methods, headers, exposed, max_age })
    }

    fn shown(&self) -> CORSRule {
        let list = |list: &Vec<String>| Some(list.clone()).filter(|list| !list.is_empty());
        CORSRule {
            allowed_headers: list(&self.headers),
            allowed_methods: self.methods.clone(),
            allowed_origins: self.origins.clone(),
            expose_headers: list(&self.exposed),
            id: self.id.clone(),
            max_age_seconds: self.max_age.and_then(|age| i32::try_from(age).ok()),
        }
    }
}

/// A list as a header says it.
pub(super) fn joined(list: &[String]) -> Option<HeaderValue> {
    if list.is_empty() { None } else { HeaderValue::from_str(&list.join(", ")).ok() }
}

/// Sets a bucket's rules.
pub(super) async fn put(
    operations: &Operations,
    req: S3Request<PutBucketCorsInput>,
) -> S3Result<S3Response<PutBucketCorsOutput>> {
    existing(operations, &req, &req.input.bucket)?;
    if Caller::of(&req.extensions)?.context.claim.length.is_none_or(|length| length > MAX_BYTES) {
        return Err(s3_error!(InvalidRequest, "The CORS configuration is limited to 64 KiB."));
    }
    let rules = Rules::checked(req.input.cors_configuration.cors_rules)?;
    let value = serde_json::to_vec(&rules).map_err(|_| S3ErrorCode::InternalError)?;
    set(operations, &req.input.bucket, Setting::Cors, Some(value.into())).await?;
    Ok(S3Response::new(PutBucketCorsOutput::default()))
}

/// Shows a bucket's rules.
pub(super) fn get(
    operations: &Operations,
    req: S3Request<GetBucketCorsInput>,
) -> S3Result<S3Response<GetBucketCorsOutput>> {
    let bucket = existing(operations, &req, &req.input.bucket)?;
    let value = bucket.setting(Setting::Cors).ok_or(S3ErrorCode::NoSuchCORSConfiguration)?;
    let rules = Rules::of_setting(value).0.iter().map(Rule::shown).collect();
    Ok(S3Response::new(GetBucketCorsOutput { cors_rules: Some(rules) }))
}

/// Takes a bucket's rules away.
pub(super) async fn delete(
    operations: &Operations,
    req: S3Request<DeleteBucketCorsInput>,
) -> S3Result<S3Response<DeleteBucketCorsOutput>> {
    existing(operations, &req, &req.input.bucket)?;
    set(operations, &req.input.bucket, Setting::Cors, None).await?;
    Ok(S3Response::new(DeleteBucketCorsOutput::default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_star_stands_for_any_text() {
        for (pattern, text, fits) in [
            ("*", "", true),
            ("*", "https://a", true),
            ("https://a", "https://a", true),
            ("https://a", "https://ab", false),
            ("https://*.a", "https://x.y.a", true),
            ("https://*.a", "https://.a", true),
            ("https://*.a", "https://a", false),
            ("https://*.a", "http://x.a", false),
            // The text between must not be counted twice.
            ("aba*aba", "aba", false),
            ("x-*", "x-", true),
        ] {
            assert_eq!(matches(pattern, text), fits, "{pattern} {text}");
        }
    }

    fn rule(origin: &str, method: &str) -> CORSRule {
        CORSRule {
            allowed_headers: Some(vec!["X-Amz-*".into()]),
            allowed_methods: vec![method.into()],
            allowed_origins: vec![origin.into()],
            expose_headers: None,
            id: None,
            max_age_seconds: None,
        }
    }

    #[test]
    fn the_first_rule_that_fits_answers() {
        let rules = vec![rule("https://a", "PUT"), rule("*", "GET"), rule("https://a", "GET")];
        let rules = Rules::checked(rules).expect("valid");
        let rules = Rules::of_setting(&serde_json::to_vec(&rules).expect("JSON"));
        let find = |origin, method, headers: &[&str]| {
            let headers: Vec<_> = headers.iter().map(|h| (*h).to_owned()).collect();
            rules.find(origin, method, &headers).map(|(_, origin)| origin.to_owned())
        };
        assert_eq!(find("https://a", "PUT", &["x-amz-date", "x-amz-"]).as_deref(), Some("https://a"));
        assert_eq!(find("https://a", "GET", &[]).as_deref(), Some("*"));
        assert_eq!(find("https://a", "PUT", &["x-amz-date", "content-type"]), None);
        assert_eq!(find("https://b", "PUT", &[]), None);
        assert_eq!(find("https://a", "DELETE", &[]), None);
    }

    #[test]
    fn rules_that_mean_nothing_are_refused() {
        let refused =
            |rule: CORSRule| Rules::checked(vec![rule]).expect_err("wrong").code().as_str().to_owned();
        for origin in ["https://*.*", "", "https://a\r\nx: y", "https://a b"] {
            assert_eq!(refused(rule(origin, "GET")), "InvalidRequest", "{origin:?}");
        }
        for method in ["OPTIONS", "get", "*", ""] {
            assert_eq!(refused(rule("*", method)), "InvalidRequest", "{method:?}");
        }
        let exposed = CORSRule { expose_headers: Some(vec!["x: y".into()]), ..rule("*", "GET") };
        assert_eq!(refused(exposed), "InvalidRequest");
        assert_eq!(refused(CORSRule { max_age_seconds: Some(-1), ..rule("*", "GET") }), "InvalidRequest");
        assert_eq!(refused(CORSRule { id: Some("i".repeat(256)), ..rule("*", "GET") }), "InvalidRequest");
        assert_eq!(refused(CORSRule { allowed_origins: vec![], ..rule("*", "GET") }), "MalformedXML");
        assert!(Rules::checked(vec![]).is_err());
        assert!(Rules::checked(vec![rule("*", "GET"); 100]).is_ok());
        assert!(Rules::checked(vec![rule("*", "GET"); 101]).is_err());
    }
}
