//! Clients that put, overwrite, delete and read shared keys, and record what they were told.
//!
//! Must never repeat an operation: one whose outcome is unknown stays unknown, and the client goes on with
//! another.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use md5::{Digest, Md5};
use tidings::client::{Client, ClientError, Response};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::checker::{Action, Found, Outcome, Recorder};
use crate::many::etag_of_one_part;

/// How long a client that got no answer waits for a new server before it tries the old one again.
const RETRY_PAUSE: Duration = Duration::from_millis(100);
/// Bodies above this size get a file of their own in the store; below it they travel in the log.
const INLINE_BYTES: usize = 64 << 10;

/// Stands in every body: no log, metric or error may say it.
pub(crate) const MARK: &str = "bytes-of-a-body-of-the-live-tests";

/// What the clients shall do.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    /// Clients working at once.
    pub(crate) clients: u64,
    /// Keys shared by all of them.
    pub(crate) keys: u64,
    /// Changes to be acknowledged in all; then the clients end.
    pub(crate) changes: u64,
    /// In 1,000 operations: deletes.
    pub(crate) deletes: u64,
    /// In 1,000 operations: reads.
    pub(crate) reads: u64,
    /// In 1,000 puts: bodies too large for the log.
    pub(crate) blobs: u64,
    /// In 1,000 operations: objects uploaded in parts.
    pub(crate) uploads: u64,
    /// In 1,000 operations: deletes of many keys with one request.
    pub(crate) batches: u64,
    /// Everything random follows from it.
    pub(crate) seed: u64,
}

/// What all clients share.
pub(crate) struct Shared {
    plan: Plan,
    bucket: String,
    pub(crate) recorder: Recorder,
    acknowledged: watch::Sender<u64>,
    stopped: AtomicBool,
    refused: AtomicU64,
}

/// Clients under way.
pub(crate) struct Load {
    pub(crate) shared: Arc<Shared>,
    server: watch::Sender<Option<Client>>,
    clients: JoinSet<()>,
}

impl Load {
    /// Starts the clients; they wait for a server.
    pub(crate) fn start(bucket: &str, plan: Plan) -> Self {
        Self::start_with(bucket, plan, Recorder::default())
    }

    /// The same with a recorder of the caller's.
    pub(crate) fn start_with(bucket: &str, plan: Plan, recorder: Recorder) -> Self {
        let shared = Arc::new(Shared {
            plan,
            bucket: bucket.to_owned(),
            recorder,
            acknowledged: watch::Sender::new(0),
            stopped: AtomicBool::new(false),
            refused: AtomicU64::new(0),
        });
        let server = watch::Sender::new(None);
        let mut clients = JoinSet::new();
        for number in 0..plan.clients {
            clients.spawn(work(Arc::clone(&shared), server.subscribe(), plan.seed.wrapping_add(number)));
        }
        Self { shared, server, clients }
    }

    /// Tells the clients where the server is now; `None` makes them wait.
    pub(crate) fn serve(&self, server: Option<Client>) {
        self.server.send_replace(server);
    }

    /// Waits until this many changes were acknowledged in all.
    pub(crate) async fn acknowledged(&self, changes: u64) {
        let mut acknowledged = self.shared.acknowledged.subscribe();
        acknowledged.wait_for(|done| *done >= changes).await.expect("the sender lives in `shared`");
    }

    /// Changes acknowledged by now.
    pub(crate) fn acknowledged_now(&self) -> u64 {
        *self.shared.acknowledged.borrow()
    }

    /// Tells the clients to end, whatever the plan says.
    pub(crate) fn stop(&self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
    }

    /// Waits until all clients have ended.
    pub(crate) async fn finished(mut self) -> Arc<Shared> {
        while let Some(client) = self.clients.join_next().await {
            client.expect("a client found nothing wrong");
        }
        self.shared
    }
}

impl Shared {
    /// The bucket that the clients work in.
    pub(crate) fn bucket(&self) -> &str {
        &self.bucket
    }

    /// Every key, whether it was used or not.
    pub(crate) fn keys(&self) -> impl Iterator<Item = String> + use<> {
        (0..self.plan.keys).map(key_name)
    }

    /// One of them.
    pub(crate) fn some_key(&self, rng: &mut fastrand::Rng) -> String {
        key_name(rng.u64(..self.plan.keys))
    }

    /// 503 answers.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    pub(crate) fn full_name(&self, key: &str) -> Arc<str> {
        format!("{}/{key}", self.bucket).into()
    }

    /// GETs a key and records what was there, compared byte by byte; false if there was no answer.
    pub(crate) async fn read(&self, client: &Client, key: &str) -> bool {
        let name = self.full_name(key);
        let reading = self.recorder.invoke(self.recorder.next_id(), &name, Action::Read { found: None });
        match client.get(&self.bucket, key).await {
            Ok(answer) if answer.status == 200 => reading.found(Some(self.found(&answer))),
            Ok(answer) if answer.error_code() == Some("NoSuchKey") => reading.found(None),
            Ok(answer) if answer.status.is_client_error() => panic!("GET {name}: {}", shown(&answer)),
            Ok(_) | Err(_) => {
                reading.forget();
                return false;
            }
        }
        true
    }

    fn found(&self, answer: &Response) -> Found {
        let etag = match answer.etag() {
            Some(etag) if etag.contains('-') => etag_of_one_part(&answer.body),
            _ => hex::encode(Md5::digest(&answer.body)),
        };
        let id = answer.body.get(..16).and_then(|head| std::str::from_utf8(head).ok());
        let id = id.and_then(|head| u64::from_str_radix(head, 16).ok());
        let intact = id.is_some_and(|id| self.body(id) == answer.body) && answer.etag() == Some(&*etag);
        Found { etag: answer.etag().unwrap_or_default().to_owned(), size: answer.body.len() as u64, intact }
    }

    /// The body of operation `id`: unlike any other's, and known from the id and the seed alone.
    pub(crate) fn body(&self, id: u64) -> Vec<u8> {
        let mut rng = fastrand::Rng::with_seed(self.plan.seed ^ id.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let size = match (rng.u64(..1_000) < self.plan.blobs, rng.u8(..8)) {
            (true, 0) => rng.usize(16 * INLINE_BYTES..40 * INLINE_BYTES),
            (true, _) => rng.usize(INLINE_BYTES + 1..4 * INLINE_BYTES),
            (false, _) => rng.usize(64..2_048),
        };
        let mut body = vec![0; size];
        rng.fill(&mut body);
        body[..16].copy_from_slice(format!("{id:016x}").as_bytes());
        body[16..16 + MARK.len()].copy_from_slice(MARK.as_bytes());
        body
    }

    /// PUTs a key and records what came of it; false if it is not known to be done.
    pub(crate) async fn put(&self, client: &Client, key: &str) -> bool {
        let id = self.recorder.next_id();
        let body = self.body(id);
        let etag = hex::encode(Md5::digest(&body));
        let name = self.full_name(key);
        let action = Action::Put { etag: etag.clone(), size: body.len() as u64 };
        let pending = self.recorder.invoke(id, &name, action);
        let answer = client.put(&self.bucket, key, body).await;
        let (outcome, request_id) = self.outcome(&name, &answer);
        if let (Outcome::Ok, Ok(answer)) = (outcome, &answer) {
            assert_eq!(answer.etag(), Some(&*etag), "the ETag of PUT {name}");
        }
        pending.finish(outcome, request_id);
        self.count(outcome)
    }

    async fn delete(&self, client: &Client, key: &str) -> bool {
        let name = self.full_name(key);
        let pending = self.recorder.invoke(self.recorder.next_id(), &name, Action::Delete);
        let answer = client.delete(&self.bucket, key).await;
        let (outcome, request_id) = self.outcome(&name, &answer);
        pending.finish(outcome, request_id);
        self.count(outcome)
    }

    /// What an answer, or none, says about a change. These clients send nothing that deserves a 4xx.
    pub(crate) fn outcome(
        &self,
        name: &str,
        answer: &Result<Response, ClientError>,
    ) -> (Outcome, Option<String>) {
        match answer {
            Ok(answer) => {
                let request_id = answer.header("x-amz-request-id").map(str::to_owned);
                if answer.status.is_success() {
                    assert!(request_id.is_some(), "no x-amz-request-id");
                    return (Outcome::Ok, request_id);
                }
                assert!(answer.status.is_server_error(), "{name}: {}", shown(answer));
                self.refused.fetch_add(1, Ordering::Relaxed);
                (Outcome::Info, request_id)
            }
            Err(ClientError::NotSent(_)) => (Outcome::Fail, None),
            Err(ClientError::Unknown(_)) => (Outcome::Info, None),
            Err(ClientError::Invalid(what)) => panic!("{name}: {what}"),
        }
    }

    pub(crate) fn count(&self, outcome: Outcome) -> bool {
        if outcome == Outcome::Ok {
            self.acknowledged.send_modify(|done| *done += 1);
        }
        outcome == Outcome::Ok
    }

    fn done(&self) -> bool {
        self.stopped.load(Ordering::Relaxed) || *self.acknowledged.borrow() >= self.plan.changes
    }
}

/// One client's life.
async fn work(shared: Arc<Shared>, mut server: watch::Receiver<Option<Client>>, seed: u64) {
    let mut rng = fastrand::Rng::with_seed(seed);
    let plan = shared.plan;
    while !shared.done() {
        let now = server.borrow_and_update().clone();
        let client = match now {
            Some(client) => client,
            None => {
                let _ = timeout(RETRY_PAUSE, server.changed()).await;
                continue;
            }
        };
        let key = shared.some_key(&mut rng);
        let dice = rng.u64(..1_000);
        let upto = [plan.deletes, plan.reads, plan.uploads, plan.batches];
        let upto = upto.map({
            let mut sum = 0;
            move |share| {
                sum += share;
                sum
            }
        });
        let answered = match upto.iter().position(|end| dice < *end) {
            Some(0) => shared.delete(&client, &key).await,
            Some(1) => shared.read(&client, &key).await,
            Some(2) => shared.upload(&client, &key).await,
            Some(_) => {
                let keys = shared.some_keys(&mut rng);
                shared.delete_many(&client, &keys).await
            }
            None => shared.put(&client, &key).await,
        };
        if !answered {
            let _ = timeout(RETRY_PAUSE, server.changed()).await;
        }
    }
}

/// Keys that need encoding somewhere on their way.
fn key_name(number: u64) -> String {
    const SHAPES: [&str; 4] = ["plain/", "with space+plus/", "é%20/", "a=b&c/"];
    format!("{}{number:05}", SHAPES[(number % 4) as usize])
}

pub(crate) fn shown(answer: &Response) -> String {
    format!("{}: {}", answer.status, String::from_utf8_lossy(&answer.body))
}
