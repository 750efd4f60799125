//! One connection to the broker: dialled within a bound, and cut when it is let go.
//!
//! Must never outlive its holder: nothing that was not written by then may reach the broker later, behind
//! events that a newer connection brought there.

use std::io;
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use lapin::options::{ConfirmSelectOptions, ExchangeDeclareOptions};
use lapin::tcp::{AsyncTcpStream, RustlsConnector};
use lapin::types::{FieldTable, ShortString};
use lapin::uri::{AMQPScheme, AMQPUri};
use lapin::{Channel, Connection, ConnectionProperties, Error, ExchangeKind};
use secrecy::ExposeSecret as _;
use tidings_common::{Reach, Verdict};
use tidings_connector::{ErrorClass, Fault};
use tokio::time::timeout;

use crate::AmqpConfig;
use crate::error::verdict;

/// How long a gentle goodbye may take.
const GOODBYE: Duration = Duration::from_secs(1);

/// An open connection.
pub(crate) struct Line {
    pub(crate) connection: Connection,
    _wire: Arc<Wire>,
}

impl Line {
    /// Reaches the broker and logs in. Secrets and certificates are read anew. The caller bounds the time.
    pub(crate) async fn open(config: &AmqpConfig) -> Result<Self, Fault> {
        let cannot = |class, why: &str| Verdict::Fault(class).fault(said(config, why));
        let mut uri = config.uri.clone();
        if let Some(secret) = &config.password {
            let password = secret.read().map_err(|why| cannot(ErrorClass::Auth, &why))?;
            password.expose_secret().clone_into(&mut uri.authority.userinfo.password);
        }
        let tls = (uri.scheme == AMQPScheme::AMQPS).then(|| config.tls.client()).transpose();
        let tls = tls.map_err(|why| cannot(ErrorClass::Tls, &why))?.map(RustlsConnector::from);
        let reach = Reach::Operator { allow_private: true };
        let found = reach.look_up(&uri.authority.host, uri.authority.port).await;
        let found = found.map_err(|(verdict, why)| verdict.fault(said(config, &why)))?;
        let runtime = lapin::runtime::default_runtime().map_err(|e| fault(config, &e))?;
        let (wire, bound) = (Arc::<Wire>::default(), config.options.connect_timeout.0);
        let (reactor, held) = (runtime.clone(), Arc::downgrade(&wire));
        // The library runs this on a thread of its own, which no dropped future ends.
        let connect = async move |uri: AMQPUri, _| {
            let connect = async {
                let stream = AsyncTcpStream::connect(&reactor, found.clone()).await?;
                if let AsyncTcpStream::Plain(tcp) = &stream {
                    held.upgrade().ok_or(io::ErrorKind::ConnectionAborted)?.up(tcp.get_ref())?;
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
        Ok(Self { connection: connection.map_err(|e| fault(config, &e))?, _wire: wire })
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
    verdict(error).fault(said(config, &error.to_string()))
}

pub(crate) fn said(config: &AmqpConfig, why: &str) -> String {
    format!("cannot connect to the AMQP broker at {}: {why}", config.broker())
}

/// The socket, which is shut down when the last holder lets go: the library's thread may wait for a silent
/// broker for ever. That thread holds it only while it puts the socket in, so nobody can come too late.
#[derive(Default)]
struct Wire(OnceLock<TcpStream>);

impl Wire {
    /// Takes the socket. An error if there is one already.
    fn up(&self, socket: &impl AsFd) -> io::Result<()> {
        let socket = TcpStream::from(socket.as_fd().try_clone_to_owned()?);
        self.0.set(socket).map_err(|_| io::ErrorKind::ConnectionAborted.into())
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        if let Some(socket) = self.0.get() {
            // An error means that it is down already.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}
