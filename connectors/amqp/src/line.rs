//! One connection to the broker: dialled within a bound, and cut when it is let go.
//!
//! Must never outlive its holder: nothing that was not written by then may reach the broker later, behind
//! events that a newer connection brought there.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lapin::options::{ConfirmSelectOptions, ExchangeDeclareOptions};
use lapin::tcp::{AsyncTcpStream, RustlsConnector, RustlsConnectorConfig};
use lapin::types::{FieldTable, ShortString};
use lapin::uri::{AMQPAuthority, AMQPQueryString, AMQPScheme, AMQPUri, AMQPUserInfo};
use lapin::{Channel, Connection, ConnectionProperties, Error, ExchangeKind};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use secrecy::ExposeSecret as _;
use tidings_connector::{ErrorClass, Fault};
use tokio::time::timeout;

use crate::AmqpConfig;
use crate::error::{Verdict, verdict};

/// Seconds between heartbeats; a broker that says nothing for twice as long is gone.
const HEARTBEAT: u16 = 10;

/// How long a gentle goodbye may take.
const GOODBYE: Duration = Duration::from_secs(1);

/// An open connection.
pub(crate) struct Line {
    pub(crate) connection: Connection,
    _cut: Cut,
}

impl Line {
    /// Reaches the broker and logs in. Secrets and certificates are read anew. The caller bounds the time.
    pub(crate) async fn open(config: &AmqpConfig) -> Result<Self, Fault> {
        let address = &config.address;
        let password = match &config.password {
            Some(secret) => secret.read().map_err(|why| {
                Fault::faulted(ErrorClass::Auth, said(config, &format!("no password: {why}")))
            })?,
            None => "guest".into(),
        };
        let tls = address.tls.then(|| tls(config)).transpose();
        let tls = tls.map_err(|why| Fault::faulted(ErrorClass::Tls, said(config, &why)))?;
        let found = tokio::net::lookup_host((address.host.as_str(), address.port)).await;
        let found = found.map_err(|e| Fault::retry(ErrorClass::Dns, said(config, &e.to_string())))?;
        let found: Vec<SocketAddr> = found.collect();
        let password = password.expose_secret().to_owned();
        let userinfo = AMQPUserInfo { username: config.username.clone(), password };
        let uri = AMQPUri {
            scheme: if address.tls { AMQPScheme::AMQPS } else { AMQPScheme::AMQP },
            authority: AMQPAuthority { userinfo, host: address.host.clone(), port: address.port },
            vhost: address.vhost.clone(),
            query: AMQPQueryString { heartbeat: Some(HEARTBEAT), ..AMQPQueryString::default() },
        };
        let runtime = lapin::runtime::default_runtime().map_err(|e| fault(config, &e))?;
        let (cut, bound) = (Cut::default(), config.connect_timeout);
        let (wire, reactor) = (Arc::clone(&cut.0), runtime.clone());
        // The library runs this on a thread of its own, which no dropped future ends.
        let connect = async move |uri: AMQPUri, _| {
            let connect = async {
                let stream = AsyncTcpStream::connect(&reactor, found.clone()).await?;
                if let AsyncTcpStream::Plain(tcp) = &stream {
                    Wire::up(&wire, tcp.get_ref())?;
                }
                match &tls {
                    Some(tls) => stream.into_rustls(tls, &uri.authority.host).await,
                    None => Ok(stream),
                }
            };
            let late = || Err(io::ErrorKind::TimedOut.into());
            timeout(bound, connect).await.unwrap_or_else(|_| late()).map_err(Error::from)
        };
        let properties = ConnectionProperties::default().with_connection_name("tidings".into());
        let connection = Connection::connector(uri, runtime, connect, properties).await;
        Ok(Self { connection: connection.map_err(|e| fault(config, &e))?, _cut: cut })
    }

    /// A channel with confirmations.
    pub(crate) async fn channel(&self) -> Result<Channel, Error> {
        let channel = self.connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        Ok(channel)
    }

    /// Verifies that the exchange exists; the default one always does. The channel ends if it does not.
    pub(crate) async fn find_exchange(&self, channel: &Channel, exchange: &str) -> Result<(), Error> {
        if exchange.is_empty() {
            return Ok(());
        }
        let passive = ExchangeDeclareOptions { passive: true, ..ExchangeDeclareOptions::default() };
        let name = ShortString::from(exchange);
        channel.exchange_declare(name, ExchangeKind::Direct, passive, FieldTable::default()).await
    }

    /// Says goodbye; the broker may not hear it.
    pub(crate) async fn close(self) {
        let _ = timeout(GOODBYE, self.connection.close(200, "OK".into())).await;
    }
}

/// What an error while connecting means.
pub(crate) fn fault(config: &AmqpConfig, error: &Error) -> Fault {
    let message = said(config, &error.to_string());
    match verdict(error) {
        Verdict::Fault(class) | Verdict::NoWay(class) => Fault::faulted(class, message),
        Verdict::Retry(class) | Verdict::Poison(class) => Fault::retry(class, message),
        Verdict::Delivered => Fault::retry(ErrorClass::Unknown, message),
    }
}

pub(crate) fn said(config: &AmqpConfig, why: &str) -> String {
    format!("cannot connect to the AMQP broker at {}: {why}", config.broker())
}

/// What our side trusts and shows. `Err` is for people.
fn tls(config: &AmqpConfig) -> Result<RustlsConnector, String> {
    let read =
        |path: &Path| std::fs::read(path).map_err(|e| format!("{} cannot be read: {e}", path.display()));
    let certificates = |path: &Path| {
        let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(path)?).collect();
        let all = all.ok().filter(|all| !all.is_empty());
        all.ok_or_else(|| format!("{} holds no PEM certificates", path.display()))
    };
    let trusted = match &config.ca_file {
        Some(path) => RustlsConnectorConfig::default().with_parsable_certificates(certificates(path)?),
        None => RustlsConnectorConfig::new_with_native_certs()
            .map_err(|e| format!("the system trusts no certificate ({e}): set `ca_file`"))?,
    };
    let Some((cert, key)) = &config.identity else {
        return trusted.connector_with_no_client_auth().map_err(|e| e.to_string());
    };
    // The reason is left out: it may quote the file.
    let secret = PrivateKeyDer::from_pem_slice(&read(key)?)
        .map_err(|_| format!("{} holds no PEM private key", key.display()))?;
    let both = trusted.connector_with_single_cert(certificates(cert)?, secret);
    both.map_err(|e| format!("{} and {} do not fit: {e}", cert.display(), key.display()))
}

/// Cuts the wire when it is dropped: the library's thread may wait for a silent broker for ever.
#[derive(Default)]
struct Cut(Arc<Mutex<Wire>>);

#[derive(Default)]
enum Wire {
    #[default]
    None,
    Up(TcpStream),
    Cut,
}

impl Wire {
    /// Notes the socket, so that it can be cut. An error if nobody waits for it any more.
    fn up(wire: &Mutex<Self>, socket: &impl AsFd) -> io::Result<()> {
        let mut wire = wire.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*wire, Self::Cut) {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        *wire = Self::Up(TcpStream::from(socket.as_fd().try_clone_to_owned()?));
        Ok(())
    }
}

impl Drop for Cut {
    fn drop(&mut self) {
        let mut wire = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Wire::Up(socket) = std::mem::replace(&mut *wire, Wire::Cut) {
            // An error means that it is down already.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}
