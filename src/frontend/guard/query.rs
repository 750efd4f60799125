//! The query of a request: decoded once, nothing twice, and the parameters of a presigned URL.
//!
//! Must never guess: what is not well-formed is refused.

use std::borrow::Cow;

use super::Refusal;
use super::qsign::FIELDS;
use super::scope::{ALGORITHM, Credential};

/// More parameters than this are nobody's honest request.
const MAX_PARAMETERS: usize = 64;

/// The parameters that authenticate, of every scheme that we know of, in lower case.
const AUTHENTICATING: [&str; 15] = [
    "x-amz-algorithm",
    "x-amz-credential",
    "x-amz-date",
    "x-amz-expires",
    "x-amz-signedheaders",
    "x-amz-signature",
    "signature",
    "awsaccesskeyid",
    "q-sign-algorithm",
    "q-ak",
    "q-sign-time",
    "q-key-time",
    "q-header-list",
    "q-url-param-list",
    "q-signature",
];

/// What a presigned URL must carry, each once, in this spelling.
const PRESIGNED: [&str; 6] = [
    "X-Amz-Algorithm",
    "X-Amz-Credential",
    "X-Amz-Date",
    "X-Amz-Expires",
    "X-Amz-SignedHeaders",
    "X-Amz-Signature",
];

/// The parameters that some change may carry beside those of a presigned URL; [`unknown_to`] knows which one.
const OF_CHANGES: [&str; 15] = [
    "x-id",
    "delete",
    "versionId",
    "versioning",
    "uploads",
    "uploadId",
    "partNumber",
    "tagging",
    "acl",
    "cors",
    "notification",
    "origin",
    "replication",
    "restore",
    "X-Amz-Security-Token",
];

/// A decoded query without repeated names.
#[derive(Debug)]
pub(super) struct Query<'a> {
    pairs: Vec<(Cow<'a, str>, Cow<'a, str>)>,
}

/// The parameters of a presigned URL.
pub(super) struct Presigned<'a> {
    pub(super) credential: Credential<'a>,
    pub(super) date: &'a str,
    pub(super) expires: &'a str,
    pub(super) signed_headers: &'a str,
}

impl<'a> Query<'a> {
    pub(super) fn parse(query: &'a str) -> Result<Self, Refusal> {
        let mut pairs: Vec<(Cow<'a, str>, Cow<'a, str>)> = Vec::new();
        for part in query.split('&').filter(|part| !part.is_empty()) {
            if pairs.len() == MAX_PARAMETERS {
                return Err(Refusal::BadUri("There are too many query parameters."));
            }
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let malformed = Refusal::BadUri("The query is not valid.");
            let (Some(name), Some(value)) = (decode(name, true), decode(value, true)) else {
                return Err(malformed);
            };
            if pairs.iter().any(|(known, _)| *known == name) {
                return Err(Refusal::Invalid("A query parameter came twice."));
            }
            pairs.push((name, value));
        }
        Ok(Self { pairs })
    }

    /// Every name with its value, decoded.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs.iter().map(|(name, value)| (&**name, &**value))
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.pairs.iter().find(|(known, _)| known == name).map(|(_, value)| &**value)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// True if any parameter authenticates, in any spelling: its presence alone forces verification.
    pub(super) fn is_signed(&self) -> bool {
        self.pairs.iter().any(|(name, _)| is_authenticating(name))
    }

    /// True if any parameter is of COS's signature.
    pub(super) fn is_signed_by_cos(&self) -> bool {
        self.pairs.iter().any(|(name, _)| FIELDS.iter().any(|known| name.eq_ignore_ascii_case(known)))
    }

    /// Refuses parameters that authenticate in another way, or in another spelling.
    pub(super) fn only_these_authenticate(&self, fields: &[&str]) -> Result<(), Refusal> {
        for (name, _) in self.pairs.iter().filter(|(name, _)| is_authenticating(name)) {
            if fields.contains(&&**name) {
                continue;
            }
            return Err(match fields.iter().any(|field| field.eq_ignore_ascii_case(name)) {
                true => Refusal::Invalid("A parameter of the signature is not spelled as it should be."),
                false => Refusal::Denied("Only AWS Signature Version 4 and COS's q-sign are supported."),
            });
        }
        Ok(())
    }

    /// The parameters of a SigV4 presigned URL, all there and nothing else that authenticates.
    pub(super) fn presigned(&self) -> Result<Presigned<'_>, Refusal> {
        self.only_these_authenticate(&PRESIGNED)?;
        let need = |name| self.get(name).ok_or(Refusal::Malformed("The presigned URL is not complete."));
        if need("X-Amz-Algorithm")? != ALGORITHM {
            return Err(Refusal::Denied("Only AWS Signature Version 4 is supported."));
        }
        if !super::head::is_sha256(need("X-Amz-Signature")?) {
            return Err(Refusal::BadSignature);
        }
        Ok(Presigned {
            credential: Credential::parse(need("X-Amz-Credential")?)?,
            date: need("X-Amz-Date")?,
            expires: need("X-Amz-Expires")?,
            signed_headers: need("X-Amz-SignedHeaders")?,
        })
    }

    /// The first parameter that no change we implement knows.
    pub(super) fn first_unknown_of_a_change(&self) -> Option<&str> {
        let signs = |name: &str| PRESIGNED.contains(&name) || FIELDS.contains(&name);
        let known = |name: &str| OF_CHANGES.contains(&name) || signs(name);
        self.pairs.iter().map(|(name, _)| &**name).find(|name| !known(name))
    }
}

/// The first parameter of a well-formed query that is none of `known`, nor of a presigned URL.
pub(crate) fn unknown_to(query: &str, known: &[&str]) -> Option<String> {
    let Ok(query) = Query::parse(query) else { return Some("?".to_owned()) };
    let known = |name: &str| name == "x-id" || known.contains(&name) || PRESIGNED.contains(&name);
    query.pairs.iter().map(|(name, _)| &**name).find(|name| !known(name)).map(str::to_owned)
}

fn is_authenticating(name: &str) -> bool {
    AUTHENTICATING.iter().any(|known| name.eq_ignore_ascii_case(known))
}

/// Decodes percent-encoding, and `+` as a space where that is the custom. `None`: a broken escape, or not
/// UTF-8.
pub(crate) fn decode(text: &str, plus_is_space: bool) -> Option<Cow<'_, str>> {
    let special = |b: u8| b == b'%' || (plus_is_space && b == b'+');
    let Some(first) = text.bytes().position(special) else { return Some(Cow::Borrowed(text)) };
    let mut out = Vec::with_capacity(text.len());
    out.extend_from_slice(&text.as_bytes()[..first]);
    let mut rest = text.as_bytes()[first..].iter();
    while let Some(&byte) = rest.next() {
        match byte {
            b'%' => {
                let mut digit = || rest.next().and_then(|b| char::from(*b).to_digit(16));
                let value = digit()? * 16 + digit()?;
                out.push(u8::try_from(value).ok()?);
            }
            b'+' if plus_is_space => out.push(b' '),
            other => out.push(other),
        }
    }
    String::from_utf8(out).ok().map(Cow::Owned)
}
