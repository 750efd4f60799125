//! The pieces of a SigV4 signature: the authorization header, the credential scope, the date.
//!
//! Must never accept two readings of one text: every piece comes once, in the published order.

use super::head::is_sha256;
use super::{Refusal, Rules};

/// The one algorithm that we take.
pub(crate) const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// The longest access key.
const MAX_ACCESS_KEY: usize = 128;

/// A parsed `Authorization: AWS4-HMAC-SHA256 …`.
pub(crate) struct Authorization<'a> {
    pub(crate) credential: Credential<'a>,
    pub(crate) signed_headers: &'a str,
}

impl<'a> Authorization<'a> {
    pub(crate) fn parse(text: &'a str) -> Result<Self, Refusal> {
        let only_v4 = Refusal::Denied("Only AWS Signature Version 4 is supported.");
        let rest = text.strip_prefix(ALGORITHM).filter(|rest| rest.starts_with(' ')).ok_or(only_v4)?;
        let mut pieces = rest.trim_matches(' ').split(',').map(|piece| piece.trim_matches(' '));
        let mut piece = |name: &str| {
            let value = pieces.next().and_then(|piece| piece.strip_prefix(name)?.strip_prefix('='));
            value.ok_or(Refusal::Malformed("The authorization header is malformed."))
        };
        let credential = Credential::parse(piece("Credential")?)?;
        let signed_headers = piece("SignedHeaders")?;
        let signature = piece("Signature")?;
        if pieces.next().is_some() {
            return Err(Refusal::Malformed("The authorization header is malformed."));
        }
        if !is_sha256(signature) {
            return Err(Refusal::BadSignature);
        }
        Ok(Self { credential, signed_headers })
    }
}

/// `ACCESS_KEY/DATE/REGION/SERVICE/aws4_request`.
pub(crate) struct Credential<'a> {
    pub(crate) access_key: &'a str,
    date: &'a str,
    region: &'a str,
    service: &'a str,
}

impl<'a> Credential<'a> {
    pub(crate) fn parse(text: &'a str) -> Result<Self, Refusal> {
        let mut pieces = text.split('/');
        let mut piece = || pieces.next().unwrap_or_default();
        let credential = Self { access_key: piece(), date: piece(), region: piece(), service: piece() };
        if piece() != "aws4_request" || pieces.next().is_some() {
            return Err(Refusal::Malformed("The credential is malformed."));
        }
        check_access_key(credential.access_key)?;
        Ok(credential)
    }

    /// The scope is of the signed date's day, of our region, and for S3.
    pub(crate) fn check(&self, date: &str, rules: &Rules) -> Result<(), Refusal> {
        if date.get(..8) != Some(self.date) {
            return Err(Refusal::Malformed("The credential's date is not the date of the request."));
        }
        if self.service != "s3" {
            return Err(Refusal::Malformed("The credential's service must be s3."));
        }
        match self.region == rules.region {
            true => Ok(()),
            false => Err(Refusal::WrongRegion { expected: rules.region.clone() }),
        }
    }
}

/// An access key is of plain characters: it stands in logs.
pub(crate) fn check_access_key(key: &str) -> Result<(), Refusal> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    match !key.is_empty() && key.len() <= MAX_ACCESS_KEY && key.bytes().all(plain) {
        true => Ok(()),
        false => Err(Refusal::UnknownKey),
    }
}

/// Seconds since the Unix epoch of `YYYYMMDDTHHMMSSZ`.
pub(crate) fn parse_date(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    if bytes.len() != 16 || bytes[8] != b'T' || bytes[15] != b'Z' {
        return None;
    }
    let number = |from: usize, to: usize| {
        bytes[from..to].iter().try_fold(0i16, |sum, b| match b {
            b'0'..=b'9' => Some(sum * 10 + i16::from(b - b'0')),
            _ => None,
        })
    };
    let small = |from: usize| number(from, from + 2).and_then(|n| i8::try_from(n).ok());
    let time =
        jiff::civil::DateTime::new(number(0, 4)?, small(4)?, small(6)?, small(9)?, small(11)?, small(13)?, 0);
    let at = jiff::tz::Offset::UTC.to_timestamp(time.ok()?).ok()?;
    Some(at.as_second())
}
