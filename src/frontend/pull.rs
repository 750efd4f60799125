//! Objects that are not here, from where their bucket's owner says they are.
//!
//! ```text
//! going.rs    who is fetched, who waits for that, and the bounds of both (pure)
//! place.rs    a fetch in its place, which no client ends
//! keep.rs     what an origin sends becomes an object, by the commit path
//! pass.rs     where there is no room for it: answered, and not kept
//! peers.rs    replicas, which other servers of ours send here
//! failure.rs  why there is nothing, and what the client is told
//! ```
//!
//! Whoever may read a bucket may cause a fetch: what is fetched, from where, and that it is kept was decided
//! by whoever set the bucket's origin. Must never fetch a key twice at once to keep it, and never make an
//! object of a body that is not whole, nor in place of another one.

mod failure;
mod going;
mod keep;
mod pass;
mod peers;
mod place;

use std::sync::atomic::AtomicU8;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use http::{HeaderMap, StatusCode, Uri};
use s3s::dto::GetObjectOutput;
use s3s::{S3Response, S3Result};
use tidings_origin::{Fetcher, Kind, Options, Rules, Url};
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::failure::{Failure, redirect};
use self::going::Going;
use self::peers::Peers;
pub(super) use self::peers::Wish;
use super::context::Caller;
use super::errors;
use super::found::Wanted;
use super::parsed::Parsed;
use crate::commit::Commit;
use crate::config;
use crate::event::RequestInfo;
use crate::queue::Setting;

/// What came of a fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pulled {
    /// There is an object now, and its event.
    Kept,
    /// A client made the object meanwhile: the origin's was left alone.
    Superseded,
    /// The origin has none either.
    NotFound,
    /// The origin failed, or it could not be asked.
    Failed,
    /// There was no room for the object: no object, no event.
    NotKept,
    /// Too much is fetched already: nobody was asked.
    Refused,
}

/// Hears what came of every fetch.
pub type OnPulled = Box<dyn Fn(Pulled) + Send + Sync>;

/// What became of a miss.
pub(super) enum Missed {
    /// The object is here now.
    Kept,
    /// It is not, and this is it.
    Passed(Box<S3Response<GetObjectOutput>>),
}

/// A client's request, as far as an origin may learn of it.
pub(super) struct Asking<'a> {
    pub(super) caller: &'a Caller,
    pub(super) headers: &'a HeaderMap,
    pub(super) uri: &'a Uri,
}

/// What is to be fetched, and for whom.
#[derive(Debug, Clone)]
pub(super) struct Pull {
    bucket: Arc<str>,
    key: Arc<str>,
    /// Where it is: the first one first.
    urls: Vec<Url>,
    headers: HeaderMap,
    follow: bool,
    request: RequestInfo,
    /// The fewest hops of all who miss it: whoever joins a fetch is a cause of what it makes.
    hops: Arc<AtomicU8>,
    /// When the bucket was made, in microseconds since the Unix epoch.
    born: i64,
    /// Where its origin was when somebody missed it.
    hosts: Vec<String>,
}

/// All fetches.
pub(super) struct Pulls {
    commit: Arc<Commit>,
    options: Options,
    inline_bytes: u64,
    rules: Parsed<Rules>,
    fetcher: OnceCell<Fetcher>,
    going: Mutex<Going>,
    told: OnceLock<OnPulled>,
    tasks: TaskTracker,
    ended: CancellationToken,
    peers: OnceLock<Peers>,
}

impl Pulls {
    pub(super) fn new(commit: Arc<Commit>, store: &config::Store, origin: &config::Origin) -> Self {
        let options = Options {
            allow_private: origin.allow_private,
            connect_timeout: origin.connect_timeout,
            answer_timeout: origin.answer_timeout,
            idle_timeout: origin.idle_timeout,
            total_timeout: origin.total_timeout,
            max_bytes: origin.max_bytes.min(store.max_object_bytes),
        };
        Self {
            commit,
            options,
            inline_bytes: store.inline_bytes,
            rules: Parsed::new(Setting::Origin, rules_of),
            fetcher: OnceCell::new(),
            going: Mutex::new(Going::new(origin)),
            told: OnceLock::new(),
            tasks: TaskTracker::new(),
            ended: CancellationToken::new(),
            peers: OnceLock::new(),
        }
    }

    /// From now on `told` hears of every fetch. To be called once.
    pub(super) fn tell(&self, told: OnPulled) {
        let _ = self.told.set(told);
    }

    /// True if origins may have private addresses.
    pub(super) fn allow_private(&self) -> bool {
        self.options.allow_private
    }

    /// Ends what is fetched for nobody any more. Nothing was promised of it.
    pub(super) async fn end(&self) {
        self.ended.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// What the bucket's origin has to do with an object that is not here; none: nothing.
    ///
    /// # Errors
    /// The answer: the origin failed, or the client is sent there.
    pub(super) async fn missed(
        self: &Arc<Self>,
        asking: &Asking<'_>,
        wanted: &Wanted,
    ) -> S3Result<Option<Missed>> {
        let bucket = self.commit.store().bucket(&wanted.bucket).map_err(errors::of_store)?;
        let Some(bucket) = bucket else { return Ok(None) };
        let Some(rules) = self.rules.of(&bucket) else { return Ok(None) };
        let Some(rule) = rules.for_key(&wanted.key) else { return Ok(None) };
        let (query, encrypted) = (asking.uri.query(), asking.caller.context.peer.encrypted);
        let urls = rule.hosts.iter().filter_map(|host| rule.url(host, &wanted.key, query, encrypted));
        let urls: Vec<_> = urls.collect();
        let Some(first) = urls.first().cloned() else { return Ok(None) };
        let code = StatusCode::from_u16(rule.redirect_code).unwrap_or(StatusCode::FOUND);
        let request = asking.caller.request_info();
        let pull = Pull {
            bucket: wanted.bucket.as_str().into(),
            key: wanted.key.as_str().into(),
            urls,
            headers: rule.headers(asking.headers),
            follow: rule.follow_redirects,
            hops: Arc::new(request.hops.into()),
            request,
            born: bucket.created_us,
            hosts: rule.hosts.clone(),
        };
        match rule.kind {
            Kind::Redirect => Err(redirect(code, &first)),
            Kind::Proxy => {
                // Where too much waits already, a later request for it causes the fetch.
                let _ = self.begin(pull, true);
                Err(redirect(code, &first))
            }
            Kind::Mirror => match self.mirrored(pull.clone()).await {
                Ok(()) => Ok(Some(Missed::Kept)),
                Err(Failure::NotFound) => Ok(None),
                Err(Failure::NoRoom) => {
                    let passed = self.pass(pull, wanted).await;
                    passed.map(|answer| Some(Missed::Passed(Box::new(answer)))).or_else(|failure| {
                        match failure {
                            Failure::NotFound => Ok(None),
                            other => Err(other.answer(rule.transparent_errors)),
                        }
                    })
                }
                Err(failure) => Err(failure.answer(rule.transparent_errors)),
            },
        }
    }

    fn going(&self) -> MutexGuard<'_, Going> {
        self.going.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, pulled: Pulled) {
        if let Some(told) = self.told.get() {
            told(pulled);
        }
    }
}

/// The rules of a setting. Addresses are judged when they are called: what they were when it was set is past.
fn rules_of(value: &[u8]) -> Rules {
    let text = std::str::from_utf8(value).unwrap_or_default();
    Rules::parse(text, true).unwrap_or_default()
}
