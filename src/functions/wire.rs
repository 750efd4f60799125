//! One `POST /event-invoke` over an instance's socket, as SCF's functions in containers get it.
//!
//! Must never believe an answer: its size is bounded, and what is no HTTP is the code's failure.

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustix::fs::{FileType, Mode, OFlags};
use tidings_function::{Call, Status};
use tokio::net::{UnixListener, UnixStream};

use super::shown::{MARGIN, MESSAGE};

/// The largest result, in bytes, as in SCF.
const MAX_RESULT: usize = 6 << 20;
/// The header with which our own runners say what failed.
const VERDICT: &str = "x-tidings-status";

/// Who calls: what every call of one instance says beside the event.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    pub(super) name: Arc<str>,
    pub(super) version: u32,
    pub(super) memory_mb: u32,
    pub(super) timeout_s: u32,
    pub(super) namespace: &'static str,
    pub(super) region: Arc<str>,
    pub(super) appid: Arc<str>,
}

/// A folder of sockets. Its path may be longer than a socket's address may: it is reached by its descriptor.
#[derive(Debug)]
pub(super) struct Sockets {
    pub(super) path: PathBuf,
    dir: OwnedFd,
}

impl Sockets {
    /// Opens the folder.
    pub(super) fn open(path: PathBuf) -> io::Result<Self> {
        let dir = std::fs::File::open(&path)?.into();
        Ok(Self { path, dir })
    }

    fn at(&self, name: &str) -> PathBuf {
        Path::new("/proc/self/fd").join(self.dir.as_raw_fd().to_string()).join(name)
    }

    /// Where an instance says that it listens.
    pub(super) fn listen(&self) -> io::Result<UnixListener> {
        self.listen_at("ready")
    }

    /// A socket of ours that the instance can reach.
    pub(super) fn listen_at(&self, name: &str) -> io::Result<UnixListener> {
        use std::os::unix::fs::PermissionsExt as _;
        let listener = UnixListener::bind(self.at(name))?;
        std::fs::set_permissions(self.path.join(name), std::fs::Permissions::from_mode(0o777))?;
        Ok(listener)
    }

    /// Connects to the socket that the code made, and to nothing that it made point elsewhere: this process
    /// reaches sockets that the code does not.
    async fn connect(&self) -> io::Result<UnixStream> {
        let held = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let socket = rustix::fs::open(self.at("s"), held, Mode::empty())?;
        if FileType::from_raw_mode(rustix::fs::fstat(&socket)?.st_mode) != FileType::Socket {
            return Err(io::Error::other("what it listens at is no socket"));
        }
        UnixStream::connect(format!("/proc/self/fd/{}", socket.as_raw_fd())).await
    }
}

/// The status and the result, or why there is none.
pub(super) struct Answer {
    pub(super) status: Status,
    pub(super) result: Bytes,
    pub(super) message: String,
    /// The code cannot be believed any more: it hung up, or talked nonsense.
    pub(super) broken: bool,
}

impl Answer {
    /// No result.
    pub(super) fn failed(status: Status, why: impl Into<String>) -> Self {
        Self { status, result: Bytes::new(), message: why.into(), broken: false }
    }

    fn broken(why: impl Into<String>) -> Self {
        Self { broken: true, ..Self::failed(Status::Code, why) }
    }
}

/// Hands over one event and takes what the code answers.
pub(super) async fn post(sockets: &Sockets, caller: &Caller, call: &Call) -> Answer {
    let stream = match sockets.connect().await {
        Ok(stream) => stream,
        Err(_) => return Answer::broken("it does not listen any more"),
    };
    let (mut sender, connection) = match http1::handshake(TokioIo::new(stream)).await {
        Ok(both) => both,
        Err(e) => return Answer::failed(Status::Internal, e.to_string()),
    };
    let Ok(request) = request(caller, call) else {
        return Answer::failed(Status::BadEvent, "the event's id is nothing that a header can hold");
    };
    let connection = async {
        let _ = connection.await;
        std::future::pending::<()>().await
    };
    tokio::select! {
        answer = async {
            match sender.send_request(request).await {
                Ok(answer) => answered(answer).await,
                Err(e) if e.is_parse() => Answer::broken("its answer is no HTTP"),
                Err(_) => Answer::broken("it closed the connection without an answer"),
            }
        } => answer,
        () = connection => Answer::failed(Status::Internal, "the connection is gone"),
    }
}

async fn answered(answer: http::Response<hyper::body::Incoming>) -> Answer {
    let status = answer.status();
    let said = answer.headers().get(VERDICT).and_then(|value| value.to_str().ok()?.parse().ok());
    let said = said.and_then(Status::from_code).filter(|said| {
        matches!(said, Status::Code | Status::Memory | Status::BadEvent | Status::ResultTooLarge)
    });
    let body = match Limited::new(answer.into_body(), MAX_RESULT).collect().await {
        Ok(body) => body.to_bytes(),
        Err(e) if e.is::<http_body_util::LengthLimitError>() => {
            let why = format!("its result has more than {MAX_RESULT} bytes");
            return Answer { broken: true, ..Answer::failed(Status::ResultTooLarge, why) };
        }
        Err(_) => return Answer::broken("its answer broke off"),
    };
    if status.is_success() {
        return Answer { status: Status::Success, result: body, message: String::new(), broken: false };
    }
    Answer::failed(said.unwrap_or(Status::Code), message(status, &body))
}

/// What a failed answer says for people, a little longer than it is shown.
fn message(status: http::StatusCode, body: &[u8]) -> String {
    let value: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    match value["errorMessage"].as_str() {
        Some(text) => text[..text.floor_char_boundary(MESSAGE + MARGIN)].to_owned(),
        None => format!("it answered {status}"),
    }
}

fn request(caller: &Caller, call: &Call) -> http::Result<http::Request<Full<Bytes>>> {
    http::Request::post("/event-invoke")
        .header("host", "function")
        .header("content-type", "application/json")
        .header("x-scf-request-id", &*call.request_id)
        .header("x-scf-name", &*caller.name)
        .header("x-scf-version", caller.version)
        .header("x-scf-memory", caller.memory_mb)
        .header("x-scf-timeout", caller.timeout_s)
        .header("x-scf-namespace", caller.namespace)
        .header("x-scf-region", &*caller.region)
        .header("x-scf-appid", &*caller.appid)
        .header("x-scf-trigger-src", if call.event_id.is_some() { "cos" } else { "invoke" })
        .body(Full::new(call.event.clone()))
}
