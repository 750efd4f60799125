//! The one way in: guard, then body, then the route's action, and what the actions do.
//!
//! Must never answer a request that the guard did not admit, and must never change anything without an audit
//! line.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodFilter, on};
use axum::{Json, Router};
use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::request::Parts;
use http::{HeaderValue, Method, Uri};
use serde_json::json;
use tokio::sync::OwnedSemaphorePermit;

use super::answer::{Code, Failure};
use super::audit::{AuditLog, Line};
use super::backend::{AdminBackend, ChangeError};
use super::guard::{self, Denied};
use super::names::named;
use super::permits::{self, Permits};
use super::routes::{Access, Action, ROUTES, Route, Verb};
use super::rules::{RulePage, RuleQuery};
use super::token::Token;
use super::{change, dead, functions, openapi, parameters, scf};

/// Who changes something: there is one token, and without it nobody does, on this machine neither.
const TOKEN_NAME: &str = "admin.token";

/// The admin interface, independent of any listener.
#[derive(Clone)]
pub struct Admin {
    backend: Arc<dyn AdminBackend>,
    token: Token,
    audit: AuditLog,
    permits: Permits,
    rooms: scf::Rooms,
}

/// The socket peer of a request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer(pub(super) SocketAddr);

/// What the listener knows about itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entrance {
    /// It listens on a loopback address.
    pub(super) loopback: bool,
    /// How long a body and a read may take.
    pub(super) deadline: Duration,
}

/// One change that somebody asked for.
struct Asked {
    action: Action,
    target: Arc<str>,
    uri: Uri,
    body: Bytes,
    peer: SocketAddr,
}

/// Where a request's method and path lead.
#[derive(Debug, Clone, Copy)]
enum Place {
    Route(&'static Route),
    WrongMethod,
    Nowhere,
}

impl Admin {
    /// The interface over a backend. `token` admits, `audit` records every change.
    pub fn new(backend: Arc<dyn AdminBackend>, token: Token, audit: AuditLog) -> Self {
        Self { backend, token, audit, permits: Permits::new(), rooms: scf::Rooms::new() }
    }

    /// Everything as one service. Requests must carry a [`Peer`]; one without it is turned away.
    pub(super) fn router(&self, entrance: Entrance) -> Router {
        let serve = |place: Place| {
            let admin = self.clone();
            move |request: Request| async move { admin.enter(entrance, place, request).await }
        };
        let mut router = Router::new();
        for route in ROUTES {
            let filter = match route.method {
                Verb::Get => MethodFilter::GET,
                Verb::Post => MethodFilter::POST,
            };
            router = router.route(route.path, on(filter, serve(Place::Route(route))));
        }
        router.fallback(serve(Place::Nowhere)).method_not_allowed_fallback(serve(Place::WrongMethod))
    }

    /// The one way in: guard, body, action.
    async fn enter(self, entrance: Entrance, place: Place, request: Request) -> Response {
        let mut answer =
            self.try_enter(entrance, place, request).await.unwrap_or_else(Failure::into_response);
        let headers = answer.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        answer
    }

    async fn try_enter(
        self,
        entrance: Entrance,
        place: Place,
        request: Request,
    ) -> Result<Response, Failure> {
        let Some(Peer(peer)) = request.extensions().get::<Peer>().copied() else {
            return Err(Denied::Token.into());
        };
        let access = match place {
            Place::Route(route) => route.access,
            Place::WrongMethod | Place::Nowhere => Access::Token,
        };
        let (parts, body) = request.into_parts();
        guard::admit(access, entrance.loopback, peer, &parts.uri, &parts.headers, &self.token)?;
        let path = parts.uri.path();
        let route = match place {
            Place::Route(route) => route,
            Place::WrongMethod => return Ok(wrong_method(&parts.method, path)),
            Place::Nowhere => return Err(Failure::new(Code::NotFound, "there is no such path")),
        };
        if route.access == Access::Signed {
            return Ok(self.signed(entrance, peer, parts, body).await);
        }
        let name = named(route.path, path)?.to_owned();
        parameters::check(route.action, parts.uri.query())?;
        // Before the body: it may be large.
        let permit = route.action.audited().map(|_| self.permits.take(route.action)).transpose()?;
        let body = bounded(entrance, permits::read_body(body, functions::max_body(route.action))).await??;
        let Some(permit) = permit else {
            return bounded(entrance, self.read(route.action, name, &parts.uri)).await?;
        };
        // A change runs in a task of its own: a client that hangs up cannot stand between it and its audit
        // line.
        let deadline = permits::deadline(route.action, entrance.deadline);
        let asked = Asked { action: route.action, target: name.into(), uri: parts.uri.clone(), body, peer };
        let change = tokio::spawn(self.change(permit, asked));
        match tokio::time::timeout(deadline, change).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(ChangeError::Unknown("the change was interrupted".into()).into()),
            Err(_) => Err(ChangeError::Unknown("the change is still being made".into()).into()),
        }
    }

    async fn read(self, action: Action, name: String, uri: &Uri) -> Result<Response, Failure> {
        match action {
            Action::Live => Ok(Json(json!({ "live": true })).into_response()),
            Action::Ready => match self.backend.ready().await {
                Ok(notes) => Ok(Json(json!({ "ready": true, "notes": notes })).into_response()),
                Err(message) => Err(Failure::new(Code::NotReady, message)),
            },
            Action::Metrics => {
                let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
                Ok(([(CONTENT_TYPE, kind)], self.backend.metrics_text().await).into_response())
            }
            Action::TargetList => {
                Ok(Json(json!({ "targets": self.backend.targets().await })).into_response())
            }
            Action::TargetShow => match self.backend.target(&name).await {
                Some(view) => Ok(Json(view).into_response()),
                None => Err(ChangeError::NoSuchTarget.into()),
            },
            Action::BucketList => {
                Ok(Json(json!({ "buckets": self.backend.buckets().await? })).into_response())
            }
            Action::RuleList | Action::TriggerList => {
                let triggers = action == Action::TriggerList;
                let RulePage { rules, more } =
                    self.backend.rules(RuleQuery::of(uri.query(), triggers)?).await?;
                let name = if triggers { "triggers" } else { "rules" };
                Ok(Json(json!({ name: rules, "more": more })).into_response())
            }
            Action::OpenApi => Ok(Json(openapi::document()).into_response()),
            Action::StoreStat => Ok(Json(self.backend.store_stat().await).into_response()),
            Action::JournalStat => Ok(Json(self.backend.journal_stat().await).into_response()),
            Action::FunctionList
            | Action::FunctionShow
            | Action::FunctionLogs
            | Action::FunctionTemplates => {
                Ok(functions::read(self.backend.functions(), action, &name, uri.query()).await?)
            }
            Action::DeadList | Action::DeadShow => {
                let place = uri.path().rsplit('/').next().unwrap_or_default();
                Ok(dead::read(&*self.backend, action, &name, place, uri.query()).await?)
            }
            _ => Err(Failure::new(Code::NotFound, "a change cannot be read")),
        }
    }

    async fn change(self, _permit: OwnedSemaphorePermit, asked: Asked) -> Result<Response, Failure> {
        let Asked { action, target, uri, body, peer } = asked;
        let asked = parameters::excerpt(action, uri.query());
        let line = |result| Line {
            time: jiff::Timestamp::now().to_string(),
            who: TOKEN_NAME,
            peer,
            action: action.audited().unwrap_or("unnamed"),
            target: &target,
            asked: &asked,
            result,
        };
        let change = change::perform(&*self.backend, action, &target, uri.query(), body);
        let made = self.audit.around(line, change, |e: &ChangeError| e.code().name()).await;
        let made = made.map_err(|e| {
            let why = format!("the audit log cannot be written, so nothing was changed: {e}");
            Failure::new(Code::AuditUnavailable, why)
        })?;
        made.map_err(Into::into)
    }

    /// What comes signed by a key of the S3 side.
    async fn signed(self, entrance: Entrance, peer: SocketAddr, parts: Parts, body: Body) -> Response {
        let Self { backend, audit, rooms, .. } = self;
        scf::enter(scf::Visit { backend, audit, rooms, peer, deadline: entrance.deadline }, parts, body).await
    }
}

async fn bounded<T>(entrance: Entrance, work: impl Future<Output = T>) -> Result<T, Failure> {
    tokio::time::timeout(entrance.deadline, work)
        .await
        .map_err(|_| Failure::new(Code::Timeout, "no answer in time; nothing was changed"))
}

/// 405, with the methods that the path takes.
fn wrong_method(method: &Method, path: &str) -> Response {
    let fits = |r: &&Route| {
        let same = |(a, b): (&str, &str)| a == b || a.starts_with('{');
        r.path.split('/').count() == path.split('/').count()
            && r.path.split('/').zip(path.split('/')).all(same)
    };
    let allowed = ROUTES.iter().filter(fits).map(|r| match r.method {
        Verb::Get => "GET, HEAD",
        Verb::Post => "POST",
    });
    let why = format!("{method} is not possible here");
    let mut answer = Failure::new(Code::MethodNotAllowed, why).into_response();
    if let Ok(allow) = HeaderValue::from_str(&allowed.collect::<Vec<_>>().join(", ")) {
        answer.headers_mut().insert(ALLOW, allow);
    }
    answer
}
