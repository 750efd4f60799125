//! The one way in: what a head must be, the body, whose signature it is, and what that key may.
//!
//! Must never read a large body for a key that nobody has, or change anything without an audit line.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http_body_util::BodyExt as _;
use secrecy::ExposeSecret as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::super::audit::{AuditLog, Line};
use super::super::backend::AdminBackend;
use super::super::permits::INVOKE_WAIT;
use super::actions::{self, Act, Row, Size};
use super::answer::{Answer, Refusal, response};
use super::sign::{Claim, only};
use super::words::Words;
use super::{code, functions, retries, runs, show, triggers};
use crate::config::credentials::{Credential, Scope};

/// The one version of the API.
const VERSION: &str = "2018-04-16";
/// What `buckets` of a credential holds that may do everything.
const EVERY_BUCKET: &str = "*";

/// Bytes beyond its bound that are read of a body.
const MAX_REST: usize = 16 << 20;

/// How many requests of each size are received and answered at once: those of others have rooms of their own.
#[derive(Clone)]
pub(in super::super) struct Rooms {
    small: Arc<Semaphore>,
    events: Arc<Semaphore>,
    code: Arc<Semaphore>,
}

impl Rooms {
    pub(in super::super) fn new() -> Self {
        let bound = |many| Arc::new(Semaphore::new(many));
        Self { small: bound(16), events: bound(8), code: bound(2) }
    }

    fn take(&self, size: Size) -> Result<OwnedSemaphorePermit, Refusal> {
        let room = match size {
            Size::Small => &self.small,
            Size::Event => &self.events,
            Size::Code => &self.code,
        };
        Arc::clone(room).try_acquire_owned().map_err(|_| {
            Refusal::new("RequestLimitExceeded", "too many requests of this kind at once: repeat it later")
        })
    }
}

/// One request on its way in.
pub(in super::super) struct Visit {
    pub(in super::super) backend: Arc<dyn AdminBackend>,
    pub(in super::super) audit: AuditLog,
    pub(in super::super) rooms: Rooms,
    pub(in super::super) peer: SocketAddr,
    /// How long its body and a read may take.
    pub(in super::super) deadline: Duration,
}

/// One request that was let in.
struct Asked {
    row: &'static Row,
    access_key: String,
    credential: Arc<Credential>,
    words: Words,
}

/// Answers one request.
pub(in super::super) async fn enter(visit: Visit, parts: Parts, body: Body) -> Response {
    let request_id = visit.backend.scf().request_id();
    response(&request_id, visit.serve(&parts, body).await)
}

impl Visit {
    async fn serve(self, parts: &Parts, body: Body) -> Answer {
        let (row, claim) = self.head(parts)?;
        // Before the body: it may be large.
        let permit = self.rooms.take(row.size)?;
        let most = row.size.bytes();
        let body = self.bounded(read(body, most)).await?.ok_or_else(|| {
            let why = format!("a request may have {most} bytes, and must arrive whole");
            Refusal::new("RequestSizeLimitExceeded", why)
        })?;
        let asked = self.admit(row, claim, parts, body)?;
        match row.audited {
            None => self.bounded(perform(&*self.backend, asked)).await?,
            Some(audited) => {
                let wait = if row.size == Size::Event { INVOKE_WAIT } else { self.deadline };
                // In a task of its own: a client that hangs up cannot stand between a change and its line.
                let change = tokio::spawn(self.change(permit, audited, asked));
                match timeout(wait, change).await {
                    Ok(Ok(answer)) => answer,
                    Ok(Err(_)) => {
                        Err(Refusal::new("InternalError", "the change was interrupted: look first"))
                    }
                    Err(_) => {
                        Err(Refusal::new("InternalError", "the change is still being made: look first"))
                    }
                }
            }
        }
    }

    /// What can be said before the body is there.
    fn head(&self, parts: &Parts) -> Result<(&'static Row, Claim), Refusal> {
        if parts.uri.query().is_some() {
            return Err(Refusal::new("InvalidRequest", "parameters stand in the body, as JSON"));
        }
        let need = |name| {
            let missing =
                || Refusal::new("MissingParameter", format!("the header {name} must be there once"));
            only(&parts.headers, name).ok_or_else(missing)
        };
        let row = actions::named(need("x-tc-action")?);
        let row = row.ok_or_else(|| Refusal::new("InvalidAction", "there is no such action here"))?;
        if need("x-tc-version")? != VERSION {
            return Err(Refusal::new("NoSuchVersion", format!("the one version here is {VERSION}")));
        }
        let claim = Claim::of(&parts.headers)?;
        self.credential(&claim)?;
        claim.fresh(self.backend.scf().now_s())?;
        let json = only(&parts.headers, CONTENT_TYPE.as_str()).is_some_and(|kind| {
            kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
        });
        match json {
            true => Ok((row, claim)),
            false => Err(Refusal::new("InvalidRequest", "the body must be application/json")),
        }
    }

    fn credential(&self, claim: &Claim) -> Result<Arc<Credential>, Refusal> {
        self.backend.scf().credential(&claim.access_key).ok_or_else(|| {
            let why = "no such access key: `tidings credential ls` lists them";
            Refusal::new("AuthFailure.SecretIdNotFound", why)
        })
    }

    /// Decides whether the key that signed this may do it.
    fn admit(&self, row: &'static Row, claim: Claim, parts: &Parts, body: Vec<u8>) -> Result<Asked, Refusal> {
        // As it is now: it may have gone while the body came.
        let credential = self.credential(&claim)?;
        if !claim.is_by(credential.secret.expose_secret(), &parts.headers, &body) {
            let why = "the signature is not that of this request by this key";
            return Err(Refusal::new("AuthFailure.SignatureFailure", why));
        }
        let everywhere = credential.buckets.iter().any(|pattern| pattern == EVERY_BUCKET);
        if credential.scope < Scope::Admin || !everywhere {
            let why = "functions need a credential with scope `admin` in every bucket (`*`)";
            return Err(Refusal::new("AuthFailure.UnauthorizedOperation", why));
        }
        let region = self.backend.scf().region();
        if only(&parts.headers, "x-tc-region").is_some_and(|wanted| wanted != region) {
            return Err(Refusal::new("UnsupportedRegion", format!("this server's region is {region}")));
        }
        Ok(Asked { row, access_key: claim.access_key, credential, words: Words::of(&body)? })
    }

    async fn change(self, _permit: OwnedSemaphorePermit, audited: &'static str, asked: Asked) -> Answer {
        let about = asked.words.about();
        let (who, name) = (asked.access_key.clone(), asked.row.name);
        let line = |result| Line {
            time: jiff::Timestamp::from_second(self.backend.scf().now_s()).unwrap_or_default().to_string(),
            who: &who,
            peer: self.peer,
            action: audited,
            target: &about,
            asked: name,
            result,
        };
        let work = perform(&*self.backend, asked);
        let done = self.audit.around(line, work, |refused: &Refusal| refused.code).await;
        done.unwrap_or_else(|e| {
            let why = format!("the audit log cannot be written, so nothing was changed: {e}");
            Err(Refusal::new("ResourceUnavailable", why))
        })
    }

    async fn bounded<T>(&self, work: impl Future<Output = T>) -> Result<T, Refusal> {
        let late = |_| Refusal::new("InternalError", "no answer in time; nothing was changed");
        timeout(self.deadline, work).await.map_err(late)
    }
}

/// The whole body; none: it broke off, or has more than `most` bytes. The rest of one that is too large is
/// read and thrown away, so that its sender gets the answer.
async fn read(mut body: Body, most: usize) -> Option<Vec<u8>> {
    let (mut bytes, mut seen) = (Vec::new(), 0);
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.ok()?.into_data() else { continue };
        seen += data.len();
        match seen {
            seen if seen <= most => bytes.extend_from_slice(&data),
            seen if seen <= most + MAX_REST => bytes = Vec::new(),
            _ => return None,
        }
    }
    (seen <= most).then_some(bytes)
}

async fn perform(backend: &dyn AdminBackend, asked: Asked) -> Answer {
    let Asked { row, credential, words, .. } = asked;
    match row.act {
        Act::CreateFunction => functions::create(backend, &credential, words).await,
        Act::UpdateFunctionCode => code::update(backend, &credential, words).await,
        Act::UpdateFunctionConfiguration => functions::configure(backend, words).await,
        Act::GetFunction => show::get(backend, words).await,
        Act::ListFunctions => show::list(backend, words),
        Act::DeleteFunction => functions::delete(backend, words).await,
        Act::CreateTrigger => triggers::create(backend, words).await,
        Act::DeleteTrigger => triggers::delete(backend, words).await,
        Act::ListTriggers => triggers::list(backend, words).await,
        Act::UpdateTriggerStatus => triggers::switch(backend, words).await,
        Act::Invoke => runs::invoke(backend, words).await,
        Act::InvokeFunction => runs::invoke_event(backend, words).await,
        Act::GetFunctionLogs => runs::logs(backend, words).await,
        Act::GetRequestStatus => runs::status(backend, words).await,
        Act::GetFunctionEventInvokeConfig => retries::get(backend, words),
        Act::UpdateFunctionEventInvokeConfig => retries::update(backend, words).await,
    }
}
