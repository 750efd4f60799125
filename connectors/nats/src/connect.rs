//! Reaching a server, as the user that the configuration names.
//!
//! Must never keep a secret: each is read anew for every connection.

use std::sync::Arc;

use async_nats::{Client, ConnectOptions, Event, ServerError};
use secrecy::ExposeSecret as _;
use tidings_connector::{Cause, ErrorClass, Fault, Outcome, Scope};

use crate::NatsConfig;
use crate::config::Proof;
use crate::connector::Out;
use crate::error::{Met, connect_fault, outcome};

/// Tries the servers in their order; the first that takes us. Waits at most `connect_timeout` for each. If
/// none does, a fault that waiting may mend is told before one that needs a person.
pub(crate) async fn connect(config: &NatsConfig, out: &Arc<Out>) -> Result<Client, Fault> {
    let mut worst: Option<Fault> = None;
    for server in &config.options.servers {
        match options(config, out).await?.connect(server.as_str()).await {
            Ok(client) => return Ok(client),
            Err(error) => {
                let fault = connect_fault(server, &error);
                if worst.is_none() || matches!(fault.outcome, Outcome::Retry { .. }) {
                    worst = Some(fault);
                }
            }
        }
    }
    Err(worst.unwrap_or_else(|| Fault::retry(ErrorClass::Unknown, "no NATS server is configured")))
}

async fn options(config: &NatsConfig, out: &Arc<Out>) -> Result<ConnectOptions, Fault> {
    let (told, scope) = (Arc::clone(out), config.subject.scope());
    let secure = config.tls.ca.is_some()
        || config.tls.identity.is_some()
        || config.options.servers.iter().any(|server| server.starts_with("tls://"));
    // Everything outstanding fits into each queue of the library, so that `deliver` never waits for a server
    // and no acknowledgement is dropped.
    let queue = 2 * config.options.max_in_flight;
    let mut options = ConnectOptions::new()
        .name("tidings")
        .connection_timeout(config.options.connect_timeout.0)
        .client_capacity(queue)
        .subscription_capacity(queue)
        .ignore_discovered_servers()
        // A lost connection is given up with all that it has out, and the lane makes a new one: what waits in
        // the library must not be sent behind its back. The library takes 0 for "for ever".
        .max_reconnects(1)
        .require_tls(secure)
        .event_callback(move |event| {
            tell(&told, scope, &event);
            std::future::ready(())
        });
    if let Some(ca) = &config.tls.ca {
        options = options.add_root_certificates(ca.clone());
    }
    if let Some((certificate, key)) = &config.tls.identity {
        options = options.add_client_certificate(certificate.clone(), key.clone());
    }
    let Some((proof, secret)) = &config.identity else { return Ok(options) };
    let secret = secret.reveal(ErrorClass::Auth)?.expose_secret().to_owned();
    Ok(match proof {
        Proof::PasswordOf(name) => options.user_and_password(name.clone(), secret),
        Proof::Token => options.token(secret),
        Proof::Nkey => options.nkey(secret),
        // The library's pattern ends with a line break, which a secret that was read does not.
        Proof::Credentials => options.credentials(&(secret + "\n")).map_err(|_| {
            // What the library says could quote the text.
            Fault::faulted(ErrorClass::Auth, "the NATS credentials hold no JWT and seed as `nsc` writes them")
        })?,
    })
}

/// What the library tells beside the answers. `scope`: what a fault of a subject affects.
fn tell(out: &Out, scope: Scope, event: &Event) {
    let give_up = |text| out.end(&outcome(Met::Lost, Scope::Target, text));
    match event {
        Event::Disconnected | Event::Closed => give_up("the connection to NATS was lost"),
        Event::ServerError(ServerError::Other(text)) => {
            match text.split_once("Permissions Violation for ").map(|(_, what)| what) {
                Some(what) if what.starts_with("Publish") => {
                    let subject = what.split('"').nth(1).unwrap_or_default();
                    out.settle_where(|to| **to == *subject, &outcome(Met::Denied, scope, text));
                }
                Some(_) => out.end(&Outcome::Faulted {
                    scope: Scope::Target,
                    why: Cause::new(ErrorClass::Auth, &format!("acknowledgements cannot be read: {text}")),
                }),
                None => give_up(text),
            }
        }
        Event::ServerError(ServerError::AuthorizationViolation) => {
            give_up("NATS ended the connection: authorization violation");
        }
        Event::ServerError(ServerError::SlowConsumer(_))
        | Event::SlowConsumer(_)
        | Event::Connected
        | Event::LameDuckMode
        | Event::Draining
        | Event::ClientError(_) => {}
    }
}

#[cfg(test)]
#[path = "connect_tests.rs"]
mod tests;
