//! A broker that follows a script: the protocol's server side, as far as one publishing client needs it.
//!
//! Must never be cleverer than its script.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use amq_protocol::frame::{AMQPContentHeader, AMQPFrame, gen_frame, parse_frame};
use amq_protocol::protocol::connection::{self, AMQPMethod as Connection};
use amq_protocol::protocol::{AMQPClass, basic, channel, confirm, exchange};
use amq_protocol::types::FieldTable;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

pub(crate) use amq_protocol::frame::AMQPFrame as Frame;

/// The channel that clients open first.
const CHANNEL: u16 = 1;

/// One published message.
#[derive(Debug, Clone)]
pub(crate) struct Publish {
    channel: u16,
    pub(crate) tag: u64,
    pub(crate) id: String,
    pub(crate) key: String,
    pub(crate) size: u64,
}

/// How the broker behaves before anything is published, and after.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Manner {
    pub(crate) silent: bool,
    pub(crate) refuses_login: bool,
    pub(crate) deaf_to_goodbyes: bool,
}

type Script = Arc<Mutex<dyn FnMut(&Publish) -> Vec<Frame> + Send>>;

/// See the file's header.
pub(crate) struct Broker {
    address: SocketAddr,
    push: mpsc::Sender<Vec<Frame>>,
    /// How many connections ended.
    ended: watch::Receiver<usize>,
    /// Everything that clients sent before they were let in.
    login: watch::Receiver<Vec<u8>>,
    files: tempfile::TempDir,
    accepting: JoinHandle<()>,
}

impl Broker {
    pub(crate) async fn start(
        manner: Manner,
        script: impl FnMut(&Publish) -> Vec<Frame> + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (push, mut pushed) = mpsc::channel(8);
        let ((ended_tx, ended), (login_tx, login)) = (watch::channel(0), watch::channel(Vec::new()));
        let script: Script = Arc::new(Mutex::new(script));
        let accepting = tokio::spawn(async move {
            // One client at a time: that is how connectors come.
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let mut talk =
                    Talk { stream, bytes: Vec::new(), manner, script: Arc::clone(&script), tag: 0, open: 0 };
                if talk.login(&login_tx).await.is_some() {
                    talk.serve(&mut pushed).await;
                }
                ended_tx.send_modify(|ended| *ended += 1);
            }
        });
        Self { address, push, ended, login, files: tempfile::tempdir().unwrap(), accepting }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// A file that ends with the broker.
    pub(crate) fn file(&self, name: &str, content: &str) -> String {
        let path = self.files.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// Sends frames that no publish asked for.
    pub(crate) async fn push(&self, frames: Vec<Frame>) {
        self.push.send(frames).await.unwrap();
    }

    /// Waits until a client is gone.
    pub(crate) async fn cut(&self) {
        let mut ended = self.ended.clone();
        let gone = tokio::time::timeout(Duration::from_secs(20), ended.wait_for(|ended| *ended > 0)).await;
        assert!(gone.is_ok(), "the client is still connected");
    }

    /// True once a client sent this text before it was let in.
    pub(crate) async fn saw(&self, text: &str) -> bool {
        let mut login = self.login.clone();
        let seen = login.wait_for(|sent| sent.windows(text.len()).any(|part| part == text.as_bytes()));
        tokio::time::timeout(Duration::from_secs(5), seen).await.is_ok_and(|seen| seen.is_ok())
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// One connection.
struct Talk {
    stream: TcpStream,
    bytes: Vec<u8>,
    manner: Manner,
    script: Script,
    tag: u64,
    /// The channel that is open, 0 for none: frames on another one are ignored.
    open: u16,
}

impl Talk {
    /// The next frame; `None` when the client is gone. Cancel safe.
    async fn frame(&mut self) -> Option<Frame> {
        loop {
            if let Ok((rest, frame)) = parse_frame(&self.bytes[..]) {
                let used = self.bytes.len() - rest.len();
                self.bytes.drain(..used);
                return Some(frame);
            }
            if self.stream.read_buf(&mut self.bytes).await.unwrap_or(0) == 0 {
                return None;
            }
        }
    }

    async fn send(&mut self, frames: &[Frame]) {
        let mut bytes = Vec::new();
        for frame in frames {
            bytes = gen_frame(frame)(bytes.into()).unwrap().into_inner().0;
        }
        // An error means that the client is gone, which the next read tells.
        let _ = self.stream.write_all(&bytes).await;
    }

    async fn login(&mut self, seen: &watch::Sender<Vec<u8>>) -> Option<()> {
        self.frame().await?;
        if self.manner.silent {
            while self.frame().await.is_some() {}
            return None;
        }
        let start = connection::Start {
            version_major: 0,
            version_minor: 9,
            server_properties: FieldTable::default(),
            mechanisms: "PLAIN".into(),
            locales: "en_US".into(),
        };
        self.send(&[connection(Connection::Start(start))]).await;
        let Frame::Method(0, AMQPClass::Connection(Connection::StartOk(answer))) = self.frame().await? else {
            panic!("no start-ok");
        };
        seen.send_modify(|seen| seen.extend_from_slice(answer.response.as_bytes()));
        if self.manner.refuses_login {
            let reply_text = "ACCESS_REFUSED - Login was refused".into();
            let close = connection::Close { reply_code: 403, reply_text, class_id: 0, method_id: 0 };
            self.send(&[connection(Connection::Close(close))]).await;
            while self.frame().await.is_some() {}
            return None;
        }
        let tune = connection::Tune { channel_max: 100, frame_max: 131_072, heartbeat: 0 };
        self.send(&[connection(Connection::Tune(tune))]).await;
        self.frame().await?;
        self.frame().await?;
        self.send(&[connection(Connection::OpenOk(connection::OpenOk {}))]).await;
        Some(())
    }

    async fn serve(&mut self, pushed: &mut mpsc::Receiver<Vec<Frame>>) {
        let mut publish: Option<Publish> = None;
        loop {
            let frame = tokio::select! {
                frame = self.frame() => frame,
                Some(frames) = pushed.recv() => {
                    self.send(&frames).await;
                    continue;
                }
            };
            let answer = match frame {
                None => return,
                Some(Frame::Method(_, AMQPClass::Connection(Connection::Close(_)))) => {
                    if self.manner.deaf_to_goodbyes {
                        continue;
                    }
                    self.send(&[connection(Connection::CloseOk(connection::CloseOk {}))]).await;
                    return;
                }
                Some(Frame::Method(id, method)) => self.method(id, method, &mut publish),
                Some(Frame::Header(_, header)) => self.header(&header, &mut publish),
                Some(Frame::Body(_, body)) => self.body(body.len() as u64, &mut publish),
                Some(_) => Vec::new(),
            };
            self.send(&answer).await;
        }
    }

    fn method(&mut self, id: u16, method: AMQPClass, publish: &mut Option<Publish>) -> Vec<Frame> {
        let answer = match method {
            AMQPClass::Channel(channel::AMQPMethod::Open(_)) => {
                (self.open, self.tag) = (id, 0);
                AMQPClass::Channel(channel::AMQPMethod::OpenOk(channel::OpenOk {}))
            }
            AMQPClass::Channel(channel::AMQPMethod::Close(_)) => {
                AMQPClass::Channel(channel::AMQPMethod::CloseOk(channel::CloseOk {}))
            }
            AMQPClass::Confirm(_) => AMQPClass::Confirm(confirm::AMQPMethod::SelectOk(confirm::SelectOk {})),
            AMQPClass::Exchange(_) => {
                AMQPClass::Exchange(exchange::AMQPMethod::DeclareOk(exchange::DeclareOk {}))
            }
            AMQPClass::Basic(basic::AMQPMethod::Publish(method)) if id == self.open => {
                assert!(method.mandatory);
                self.tag += 1;
                let (key, tag) = (method.routing_key.to_string(), self.tag);
                *publish = Some(Publish { channel: id, tag, id: String::new(), key, size: 0 });
                return Vec::new();
            }
            _ => return Vec::new(),
        };
        vec![Frame::Method(id, answer)]
    }

    fn header(&mut self, header: &AMQPContentHeader, publish: &mut Option<Publish>) -> Vec<Frame> {
        if let Some(publish) = publish {
            publish.id = header.properties.message_id().as_ref().unwrap().to_string();
            publish.size = header.body_size;
        }
        if header.body_size == 0 { self.done(publish) } else { Vec::new() }
    }

    fn body(&mut self, len: u64, publish: &mut Option<Publish>) -> Vec<Frame> {
        // The tests' messages fit into one frame.
        assert!(publish.as_ref().is_none_or(|publish| publish.size == len));
        self.done(publish)
    }

    /// A message is whole: what the script says to it.
    fn done(&mut self, publish: &mut Option<Publish>) -> Vec<Frame> {
        let Some(publish) = publish.take().filter(|publish| publish.channel == self.open) else {
            return Vec::new();
        };
        let mut answer = (self.script.lock().unwrap())(&publish);
        for frame in &mut answer {
            match frame {
                AMQPFrame::Method(id, AMQPClass::Channel(_)) => {
                    *id = publish.channel;
                    self.open = 0;
                }
                AMQPFrame::Method(id, AMQPClass::Basic(_)) | AMQPFrame::Header(id, _) => {
                    *id = publish.channel
                }
                _ => {}
            }
        }
        answer
    }
}

fn connection(method: Connection) -> Frame {
    Frame::Method(0, AMQPClass::Connection(method))
}

pub(crate) fn ack(delivery_tag: u64, multiple: bool) -> Vec<Frame> {
    let ack = basic::Ack { delivery_tag, multiple };
    vec![Frame::Method(CHANNEL, AMQPClass::Basic(basic::AMQPMethod::Ack(ack)))]
}

pub(crate) fn nack(delivery_tag: u64) -> Vec<Frame> {
    let nack = basic::Nack { delivery_tag, multiple: false, requeue: false };
    vec![Frame::Method(CHANNEL, AMQPClass::Basic(basic::AMQPMethod::Nack(nack)))]
}

pub(crate) fn returned(publish: &Publish) -> Vec<Frame> {
    let method = basic::Return {
        reply_code: 312,
        reply_text: "NO_ROUTE".into(),
        exchange: "objects".into(),
        routing_key: publish.key.as_str().into(),
    };
    let properties = basic::AMQPProperties::default().with_message_id(publish.id.as_str().into());
    let header = AMQPContentHeader { class_id: 60, body_size: 0, properties };
    vec![
        Frame::Method(CHANNEL, AMQPClass::Basic(basic::AMQPMethod::Return(method))),
        Frame::Header(CHANNEL, header),
    ]
}

pub(crate) fn close_channel(reply_code: u16) -> Vec<Frame> {
    let close = channel::Close { reply_code, reply_text: "because".into(), class_id: 60, method_id: 40 };
    vec![Frame::Method(CHANNEL, AMQPClass::Channel(channel::AMQPMethod::Close(close)))]
}
