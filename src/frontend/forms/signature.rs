//! Who signed a form: by AWS's rules or by COS's, over its policy.
//!
//! Must never take a form that both signed, or nobody, and never compare a signature byte by byte.

use hmac::{Hmac, Mac};
use jiff::Timestamp;
use s3s::{S3Result, s3_error};
use secrecy::ExposeSecret;
use sha1::{Digest, Sha1};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use super::fields::Fields;
use super::policy::{Policy, Ways};
use crate::frontend::CredentialLookup;
use crate::frontend::family::Family;
use crate::frontend::guard::{
    COS_TOKEN, Credential, MAX_EXPIRES, MAX_SKEW, Refusal, Rules, check_access_key, check_times, hmac_sha1,
    parse_date, signing_key,
};

/// The fields that sign by AWS's rules.
const OF_S3: [&str; 4] = ["x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-signature"];
/// The fields that sign by COS's rules.
const OF_COS: [&str; 4] = ["q-sign-algorithm", "q-ak", "q-key-time", "q-signature"];

/// A policy, and who signed it.
pub(super) struct Signed {
    pub(super) access_key: String,
    pub(super) policy: Policy,
}

impl Family {
    /// The fields that authenticate.
    pub(super) fn signs(self) -> &'static [&'static str] {
        match self {
            Family::S3 => &OF_S3,
            Family::Cos => &OF_COS,
        }
    }

    /// The beginning of the family's own names.
    pub(super) fn prefix(self) -> &'static str {
        match self {
            Family::S3 => "x-amz-",
            Family::Cos => "x-cos-",
        }
    }

    /// COS's clients name in their policies only what they restrict; what an object is and where it goes must
    /// be named all the same.
    pub(super) fn ways(self) -> &'static Ways {
        match self {
            Family::S3 => &Ways {
                free: &["policy", "x-amz-signature"],
                needed: &["x-amz-algorithm", "x-amz-credential", "x-amz-date"],
                aliases: &[],
            },
            Family::Cos => &Ways {
                free: &["policy", "q-signature", "content-type", "success_action_status", "name"],
                needed: &["q-sign-algorithm", "q-ak", "q-key-time"],
                aliases: &[("q-sign-time", "q-key-time")],
            },
        }
    }
}

/// Whose words a form speaks: those that it is signed with.
pub(super) fn family_of(fields: &Fields) -> S3Result<Family> {
    let has = |names: &[&str]| names.iter().any(|name| fields.get(name).is_some());
    match (has(&OF_S3), has(&OF_COS)) {
        (true, true) => Err(s3_error!(InvalidArgument, "A form is signed by AWS's rules or by COS's.")),
        (true, false) => Ok(Family::S3),
        (false, true) => Ok(Family::Cos),
        (false, false) if fields.get("awsaccesskeyid").is_some() => {
            Err(s3_error!(AccessDenied, "Only AWS Signature Version 4 and COS's q-sign are supported."))
        }
        (false, false) => Err(s3_error!(AccessDenied, "Anonymous requests are not allowed.")),
    }
}

/// Verifies the signature of a form's policy.
pub(super) fn verify(
    family: Family,
    fields: &Fields,
    credentials: &dyn CredentialLookup,
    rules: &Rules,
    now: Timestamp,
) -> S3Result<Signed> {
    if fields.get("x-amz-security-token").is_some() || fields.get(COS_TOKEN).is_some() {
        return Err(Refusal::Token.to_error());
    }
    let encoded = fields.need("policy")?;
    let (policy, text) = Policy::parse(encoded)?;
    let (access_key, is_right) = match family {
        Family::S3 => by_aws(fields, encoded, credentials, rules, now.as_second())?,
        Family::Cos => by_cos(fields, &text, credentials, now.as_second())?,
    };
    match is_right {
        true => Ok(Signed { access_key: access_key.to_owned(), policy }),
        false => Err(Refusal::BadSignature.to_error()),
    }
}

fn by_aws<'a>(
    fields: &'a Fields,
    policy: &str,
    credentials: &dyn CredentialLookup,
    rules: &Rules,
    now: i64,
) -> S3Result<(&'a str, bool)> {
    let [algorithm, credential, date, signature] = needed(fields, OF_S3)?;
    if algorithm != "AWS4-HMAC-SHA256" {
        return Err(Refusal::Denied("Only AWS Signature Version 4 is supported.").to_error());
    }
    let scope = Credential::parse(credential).map_err(|refusal| refusal.to_error())?;
    scope.check(date, rules).map_err(|refusal| refusal.to_error())?;
    let at = parse_date(date).ok_or_else(|| Refusal::Malformed("x-amz-date is not a date.").to_error())?;
    if at - now > MAX_SKEW {
        return Err(Refusal::Skewed.to_error());
    }
    // The key that signs is of a day, and good for a week.
    if now - at > i64::from(MAX_EXPIRES) {
        return Err(Refusal::Denied("Request has expired").to_error());
    }
    let credential =
        credentials.credential(scope.access_key).ok_or_else(|| Refusal::UnknownKey.to_error())?;
    let step = |key: &[u8], text: &str| {
        let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of every length");
        mac.update(text.as_bytes());
        mac.finalize().into_bytes()
    };
    let first = format!("AWS4{}", credential.secret.expose_secret());
    let key = step(&step(&step(first.as_bytes(), &date[..8]), &rules.region), "s3");
    let right = step(&step(&key, "aws4_request"), policy);
    Ok((scope.access_key, is_hex_of(signature, &right)))
}

fn by_cos<'a>(
    fields: &'a Fields,
    policy: &str,
    credentials: &dyn CredentialLookup,
    now: i64,
) -> S3Result<(&'a str, bool)> {
    let [algorithm, access_key, key_time, signature] = needed(fields, OF_COS)?;
    if algorithm != "sha1" {
        return Err(Refusal::Denied("q-sign-algorithm must be sha1.").to_error());
    }
    check_access_key(access_key).map_err(|refusal| refusal.to_error())?;
    check_times(key_time, key_time, now).map_err(|refusal| refusal.to_error())?;
    let credential = credentials.credential(access_key).ok_or_else(|| Refusal::UnknownKey.to_error())?;
    let key = signing_key(credential.secret.expose_secret(), key_time);
    let right = hmac_sha1(&key, &hex::encode(Sha1::digest(policy)));
    Ok((access_key, is_hex_of(signature, &right)))
}

fn needed<'a>(fields: &'a Fields, names: [&'static str; 4]) -> S3Result<[&'a str; 4]> {
    let mut values = [""; 4];
    for (value, name) in values.iter_mut().zip(names) {
        *value = fields.need(name)?;
    }
    Ok(values)
}

/// Takes as long whatever differs.
fn is_hex_of(text: &str, bytes: &[u8]) -> bool {
    hex::encode(bytes).as_bytes().ct_eq(text.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The documentation's own example; it hides the last digits of its signature, which were computed.
    #[test]
    fn the_published_example_of_cos_verifies() {
        let key = signing_key("BQYIM75p8x0iWVFSIgqEKwFprpRSVHlz", "1567150692;1567157892");
        assert_eq!(key, "39acc8c9f34ba5b19bce4e965b370cd3f62d2fba");
        let right = hmac_sha1(&key, "d5d903b8360468bc81c1311f134989bc8c8b5b89");
        assert!(is_hex_of("7758dc9a832e9d301dca704cacbf9d9f8172fdef", &right));
        assert!(!is_hex_of("7758dc9a832e9d301dca704cacbf9d9f8172fdee", &right));
        assert!(!is_hex_of("", &right));
    }
}
