//! What the credentials of functions' roles say that the file of credentials cannot: several scopes, each in
//! buckets of its own, and for whom their holder works.
//!
//! Must never give more than reading and changing objects: settings of buckets are for people.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use super::{Credential, MAX_PATTERNS, Scope, access_key, pattern, secret_key};

/// The most grants of one role.
const MAX_GRANTS: usize = 16;

/// One scope, and the buckets in which.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// `read` or `write`.
    pub scope: Scope,
    /// Names, or patterns in which `*` stands for any characters.
    pub buckets: Vec<String>,
}

impl Grant {
    pub(super) fn allows(&self, scope: Scope, bucket: &str) -> bool {
        self.scope.allows(scope) && self.buckets.iter().any(|pattern| pattern::matches(pattern, bucket))
    }

    fn check(&self) -> Result<(), String> {
        if !matches!(self.scope, Scope::Read | Scope::Write) {
            return Err("a role's scope is `read` or `write`".to_owned());
        }
        if !(1..=MAX_PATTERNS).contains(&self.buckets.len()) {
            return Err(format!("a scope must have 1 to {MAX_PATTERNS} names or patterns of buckets"));
        }
        match self.buckets.iter().find(|pattern| !pattern::is_legal(pattern)) {
            None => Ok(()),
            Some(wrong) => {
                let wrong: String = wrong.chars().take(64).flat_map(char::escape_debug).collect();
                Err(format!("`{wrong}` cannot match any bucket's name"))
            }
        }
    }
}

/// Checks a role: what is wrong with it, for people. No grant at all is no role.
///
/// # Errors
/// Too many grants, a scope that no role has, no bucket, or a pattern that cannot match any.
pub fn check_role(grants: &[Grant]) -> Result<(), String> {
    if grants.len() > MAX_GRANTS {
        return Err(format!("a role may have {MAX_GRANTS} scopes"));
    }
    grants.iter().try_for_each(Grant::check)
}

/// `SCOPE:BUCKET[,BUCKET…]`, as `write:thumbs-*,previews`.
impl FromStr for Grant {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (scope, buckets) = text.split_once(':').ok_or("a role is written SCOPE:BUCKET[,BUCKET...]")?;
        let scope = match scope {
            "read" => Scope::Read,
            "write" => Scope::Write,
            _ => return Err("a role's scope is `read` or `write`".to_owned()),
        };
        let grant = Self { scope, buckets: buckets.split(',').map(str::to_owned).collect() };
        grant.check().map(|()| grant)
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.scope.label(), self.buckets.join(","))
    }
}

/// Whom a key pair works for that no file holds: an instance of a function, and how far from a client's own
/// request what it works on is.
#[derive(Debug)]
pub struct Acting {
    name: Arc<str>,
    hops: AtomicU8,
}

impl Acting {
    /// For whom, and the hops of what it changes.
    pub fn new(name: Arc<str>, hops: u8) -> Self {
        Self { name, hops: hops.into() }
    }

    /// For whom: what events call the one who asked.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The hops of what is changed with the pair now.
    pub fn hops(&self) -> u8 {
        self.hops.load(Ordering::SeqCst)
    }

    /// From now on changes have these.
    pub fn changes_at(&self, hops: u8) {
        self.hops.store(hops, Ordering::SeqCst);
    }
}

impl Credential {
    /// A new pair for a role: its access key, and what it may. `random` fills its argument with unpredictable
    /// bytes.
    pub fn of_role(
        grants: &[Grant],
        acting: Arc<Acting>,
        random: &mut dyn FnMut(&mut [u8]),
    ) -> (String, Self) {
        let secret = SecretString::from(secret_key(random));
        let (scope, buckets, note) = (Scope::Read, Vec::new(), None);
        let credential = Self { secret, scope, buckets, note, grants: grants.to_vec(), acting: Some(acting) };
        (access_key(random), credential)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_is_read_as_it_is_written_and_gives_no_more() {
        let grant: Grant = "write:thumbs-*,previews".parse().expect("legal");
        assert_eq!(grant.to_string(), "write:thumbs-*,previews");
        let read: Grant = "read:photos".parse().expect("legal");
        let acting = Arc::new(Acting::new("function:thumbs".into(), 3));
        let (key, credential) =
            Credential::of_role(&[grant, read], Arc::clone(&acting), &mut |bytes| bytes.fill(7));
        assert!(key.len() > 10 && !format!("{credential:?}").contains("AAAA"), "{credential:?}");
        for (scope, bucket, may) in [
            (Scope::Write, "thumbs-1", true),
            (Scope::Read, "previews", true),
            (Scope::Read, "photos", true),
            (Scope::Write, "photos", false),
            (Scope::Read, "others", false),
            (Scope::Admin, "thumbs-1", false),
        ] {
            assert_eq!(credential.may(scope, bucket), may, "{scope:?} {bucket}");
        }
        acting.changes_at(8);
        assert_eq!(credential.acting.expect("it does").hops(), 8);
    }

    #[test]
    fn what_is_no_role_is_refused() {
        for bad in ["", "write", "write:", "admin:photos", "write:Photos", "write:a,,b", "Write:a", ":a"] {
            assert!(bad.parse::<Grant>().is_err(), "{bad}");
        }
        let many = vec![Grant { scope: Scope::Read, buckets: vec!["a".into()] }; MAX_GRANTS + 1];
        assert!(check_role(&many).is_err() && check_role(&many[1..]).is_ok());
        assert!(check_role(&[Grant { scope: Scope::Admin, buckets: vec!["a".into()] }]).is_err());
    }
}
