//! Roles: the key pair with which one instance of a function reads and changes objects, and the way there.
//!
//! A pair is made when an instance starts, lives in memory and ends with the instance, so nothing on the disk
//! can leak and nothing outlives what it was for; and since an instance works on one event at a time, what it
//! changes meanwhile is known to come of that event. Must never show a secret to anybody but its instance.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use secrecy::{ExposeSecret as _, SecretString};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::host::Deployed;
use super::name::target_name;
use super::wire::Sockets;
use crate::config::credentials::{Acting, Credential, Grant};

/// What a role's variables are called: as SCF and as AWS call them. The last three say where S3 is; the
/// instance's first process knows.
pub(super) const VARIABLES: [&str; 9] = [
    "TENCENTCLOUD_SECRETID",
    "TENCENTCLOUD_SECRETKEY",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "TIDINGS_ENDPOINT",
];
/// The socket behind which S3 is, in the folder of an instance's sockets.
pub(super) const S3: &str = "s3";

/// The pairs of all instances that run now.
#[derive(Default)]
pub struct RoleKeys(RwLock<HashMap<Arc<str>, Issued>>);

struct Issued {
    credential: Arc<Credential>,
    revoked: Arc<AtomicBool>,
}

impl RoleKeys {
    /// The credential of an access key, if an instance runs with it and its function still has the role.
    pub fn credential(&self, access_key: &str) -> Option<Arc<Credential>> {
        let issued = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let found = issued.get(access_key).filter(|issued| !issued.revoked.load(Ordering::SeqCst));
        found.map(|issued| Arc::clone(&issued.credential))
    }
}

/// Where roles come from, shared by all instances.
#[derive(Clone)]
pub(super) struct Roles {
    pub(super) keys: Arc<RoleKeys>,
    /// Takes connections to S3.
    pub(super) door: mpsc::Sender<UnixStream>,
    /// Fills its argument with unpredictable bytes.
    pub(super) random: fn(&mut [u8]) -> io::Result<()>,
}

impl Roles {
    /// A pair for an instance that begins with an event of so many hops, and its door; none for a function
    /// without a role.
    pub(super) fn begin(&self, deployed: &Deployed, sockets: &Sockets, hops: u8) -> io::Result<Option<Role>> {
        let grants: &[Grant] = &deployed.settings.role;
        if grants.is_empty() {
            return Ok(None);
        }
        let acting = Arc::new(Acting::new(target_name(&deployed.name).into(), hops.saturating_add(1)));
        let mut failed = None;
        let mut random = |bytes: &mut [u8]| {
            if let Err(error) = (self.random)(bytes) {
                failed = Some(error);
            }
        };
        let (access_key, credential) = Credential::of_role(grants, Arc::clone(&acting), &mut random);
        if let Some(error) = failed {
            return Err(error);
        }
        let listener = sockets.listen_at(S3)?;
        let closed = CancellationToken::new();
        tokio::spawn(carry(listener, self.door.clone(), closed.clone()));
        let (access_key, secret): (Arc<str>, _) = (access_key.into(), credential.secret.clone());
        let issued = Issued { credential: Arc::new(credential), revoked: Arc::clone(&deployed.revoked) };
        let mut keys = self.keys.0.write().unwrap_or_else(PoisonError::into_inner);
        keys.insert(Arc::clone(&access_key), issued);
        drop(keys);
        let keys = Arc::clone(&self.keys);
        Ok(Some(Role { keys, access_key, secret, acting, _door: closed.drop_guard() }))
    }
}

/// Gives S3 every connection that the instance opens, until the instance ends.
async fn carry(listener: UnixListener, door: mpsc::Sender<UnixStream>, closed: CancellationToken) {
    let all = async {
        while let Ok((stream, _)) = listener.accept().await {
            if door.send(stream).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = all => {}
        () = closed.cancelled() => {}
    }
}

/// One instance's pair and its door: both end with this.
pub(super) struct Role {
    keys: Arc<RoleKeys>,
    access_key: Arc<str>,
    secret: SecretString,
    acting: Arc<Acting>,
    _door: DropGuard,
}

impl Role {
    /// From now on what the instance changes comes of an event of so many hops.
    pub(super) fn works_on(&self, hops: u8) {
        self.acting.changes_at(hops.saturating_add(1));
    }

    /// The variables that can be known from outside, with their values.
    pub(super) fn variables<'a>(&'a self, region: &'a str) -> impl Iterator<Item = (&'static str, &'a str)> {
        let (key, secret) = (&*self.access_key, self.secret.expose_secret());
        VARIABLES.into_iter().zip([key, secret, key, secret, region, region])
    }

    /// What is not to be seen of what the instance says.
    pub(super) fn secret(&self) -> &str {
        self.secret.expose_secret()
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        self.keys.0.write().unwrap_or_else(PoisonError::into_inner).remove(&self.access_key);
    }
}

impl fmt::Debug for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Role").field("access_key", &self.access_key).finish_non_exhaustive()
    }
}
