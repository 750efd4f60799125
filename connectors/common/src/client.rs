//! A client for HTTP that goes only where it may: no proxy, no redirect, every address judged when it is
//! dialled.
//!
//! Must never give the library an address that may not be called, nor let a name stand for one.

use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Client, redirect};
use rustls::ClientConfig;

use crate::Reach;

/// Looks names up for the client: a name is judged by the address that is dialled.
struct Guard(Reach);

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let reach = self.0.clone();
        Box::pin(async move {
            let found = reach.of(name.as_str(), 0).await?;
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// A client that speaks HTTP/1.1, calls what `reach` allows, and keeps at most so many idle connections for
/// each receiver.
///
/// # Errors
/// The library's own, should it not be able to be set up.
pub fn client(
    reach: Reach,
    mut tls: ClientConfig,
    connect_timeout: Duration,
    idle_connections: usize,
) -> reqwest::Result<Client> {
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    Client::builder()
        .connect_timeout(connect_timeout)
        .redirect(redirect::Policy::none())
        .referer(false)
        // Who is called is decided by those who configure it, not by the environment.
        .no_proxy()
        .dns_resolver(Guard(reach))
        .pool_max_idle_per_host(idle_connections)
        .user_agent(concat!("tidings/", env!("CARGO_PKG_VERSION")))
        .tls_backend_preconfigured(tls)
        .build()
}
