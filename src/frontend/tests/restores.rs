//! Restores of archived objects as clients meet them, over the real store, with a clock of the test's own.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use http::Method;

use super::memory::Memory;
use super::real::Real;
use super::support::{assert_complete_error, told};
use crate::client::Response;
use crate::commit::{Conditions, LOOK_AGAIN, NewBody, PutObject, RestoresEnded, WantedRestore};
use crate::event::{Event, EventKind, RequestInfo, Version, VersionId};
use crate::queue::Tier;
use crate::store::Restores as _;

const HOUR: i64 = 3_600_000_000;
/// 2023-11-14T22:13:20Z
const START: i64 = 1_700_000_000_000_000;
const RESTORE: [(&str, &str); 1] = [("restore", "")];
const IN_PROGRESS: Option<&str> = Some("ongoing-request=\"true\"");

/// A clock that only the test moves.
macro_rules! clock {
    ($now:ident, $clock:ident) => {
        static $clock: AtomicI64 = AtomicI64::new(START);
        fn $now() -> i64 {
            $clock.load(Ordering::SeqCst)
        }
    };
}

fn wish(days: u32, tier: &str) -> String {
    format!(
        "<RestoreRequest><Days>{days}</Days><GlacierJobParameters><Tier>{tier}</Tier></GlacierJobParameters>\
         </RestoreRequest>"
    )
}

fn cos_wish(days: u32, tier: &str) -> String {
    wish(days, tier).replace("GlacierJobParameters", "CASJobParameters")
}

impl Real {
    async fn archive(&self, key: &str, class: &str, body: &'static str) {
        let headers = [("x-amz-storage-class", class), ("x-amz-meta-m", "1")];
        let put = self.ask(Method::PUT, &format!("/bucket/{key}"), &[], &headers, body).await;
        assert_eq!(put.status, 200, "{put:?}");
    }

    async fn restore(&self, key: &str, document: String) -> Response {
        self.ask(Method::POST, &format!("/bucket/{key}"), &RESTORE, &[], document).await
    }

    async fn of(&self, method: Method, key: &str) -> Response {
        self.ask(method, &format!("/bucket/{key}"), &[], &[], "").await
    }

    /// Looks at what is due at the clock's time.
    async fn look(&self) -> (usize, usize, usize) {
        let RestoresEnded { completed, expired, void, waiting } =
            self.commit.end_due_restores(self.commit.now_us()).await.expect("a sound disk");
        assert_eq!(waiting, 0);
        (completed, expired, void)
    }

    fn kinds(&self) -> Vec<EventKind> {
        self.events().into_iter().map(|event| event.kind).collect()
    }

    /// Nothing is left to be done, ever.
    fn nothing_is_due(&self) {
        assert_eq!(self.store.due_restores(None, i64::MAX, 10).expect("readable"), []);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archived_object_can_be_read_from_its_restore_to_its_expiry() {
    clock!(now, CLOCK);
    let mut real = Real::with_clock(now).await;
    real.archive("cold", "ARCHIVE", "body").await;
    let shown = real.of(Method::HEAD, "cold").await;
    assert_eq!((shown.status.as_u16(), shown.header("x-amz-storage-class")), (200, Some("ARCHIVE")));
    assert_eq!((shown.header("x-amz-restore"), shown.header("x-cos-restore")), (None, None));
    let copy = [("x-amz-copy-source", "bucket/cold")];
    let upload = real.ask(Method::POST, "/bucket/parts", &[("uploads", "")], &[], "").await;
    let upload = super::multipart::text(&upload, "UploadId");
    let part = [("partNumber", "1"), ("uploadId", upload.as_str())];
    for running in [false, true] {
        for read in [
            real.of(Method::GET, "cold").await,
            real.ask(Method::GET, "/bucket/cold", &[], &[("range", "bytes=0-1")], "").await,
            real.ask(Method::PUT, "/bucket/copy", &[], &copy, "").await,
            real.ask(Method::PUT, "/bucket/parts", &part, &copy, "").await,
        ] {
            assert_eq!(told(&read), (403, "InvalidObjectState"), "{running}");
            assert_complete_error(&read);
        }
        let asked = real.restore("cold", wish(1, "Standard")).await;
        match running {
            false => assert_eq!((asked.status.as_u16(), &asked.body[..]), (202, &b""[..]), "{asked:?}"),
            true => assert_eq!(told(&asked), (409, "RestoreAlreadyInProgress")),
        }
        // Whether or not the index has it, before a start and after it.
        real.checkpointed().await;
        real = real.restart().await;
        assert_eq!(real.of(Method::HEAD, "cold").await.header("x-amz-restore"), IN_PROGRESS);
    }
    let status = "tier=\"standard\"; request-date=\"Tue, 14 Nov 2023 22:13:20 GMT\"";
    assert_eq!(real.of(Method::HEAD, "cold").await.header("x-cos-restore-status"), Some(status));
    CLOCK.fetch_add(5 * HOUR - 1, Ordering::SeqCst);
    assert_eq!(real.look().await, (0, 0, 0), "it takes five hours");
    CLOCK.fetch_add(1, Ordering::SeqCst);
    assert_eq!(real.of(Method::GET, "cold").await.status, 403, "only the event makes it readable");
    assert_eq!(real.look().await, (1, 0, 0));
    assert_eq!(real.look().await, (0, 0, 0), "once");
    let expiry = "ongoing-request=\"false\", expiry-date=\"Fri, 17 Nov 2023 00:00:00 GMT\"";
    let got = real.of(Method::GET, "cold").await;
    assert_eq!((got.status.as_u16(), &got.body[..]), (200, &b"body"[..]));
    assert_eq!((got.header("x-amz-restore"), got.header("x-cos-restore")), (Some(expiry), Some(expiry)));
    assert_eq!(real.ask(Method::PUT, "/bucket/copy", &[], &copy, "").await.status, 200);
    assert_eq!(real.ask(Method::PUT, "/bucket/parts", &part, &copy, "").await.status, 200);
    assert_eq!(real.of(Method::GET, "copy").await.header("x-amz-restore"), None, "a copy is not archived");

    stays_longer_and_expires(real, &CLOCK, expiry).await;
}

/// Asked for again it stays for as many days from now on, and that is no event.
async fn stays_longer_and_expires(mut real: Real, clock: &AtomicI64, expiry: &str) {
    assert_eq!(real.restore("cold", wish(3, "Bulk")).await.status, 200);
    let longer = expiry.replace("Fri, 17", "Sun, 19");
    assert_eq!(real.of(Method::HEAD, "cold").await.header("x-amz-restore"), Some(&*longer));
    real = real.restart().await;
    assert_eq!(real.of(Method::HEAD, "cold").await.header("x-amz-restore"), Some(&*longer));
    clock.fetch_add(72 * HOUR, Ordering::SeqCst);
    assert_eq!(real.look().await, (0, 0, 0));
    assert_eq!(real.of(Method::GET, "cold").await.status, 200, "its last day has begun");
    clock.fetch_add(24 * HOUR, Ordering::SeqCst);
    assert_eq!(real.of(Method::GET, "cold").await.status, 403, "whether or not somebody looked");
    assert_eq!(real.of(Method::HEAD, "cold").await.header("x-amz-restore"), None);
    assert_eq!(real.look().await, (0, 1, 0));
    real.nothing_is_due();
    assert_eq!(real.restore("cold", wish(1, "Expedited")).await.status, 202, "and again from the beginning");
    assert_eq!(
        real.kinds(),
        [
            EventKind::CreatedPut,
            EventKind::RestorePost,
            EventKind::RestoreCompleted,
            EventKind::CreatedCopy,
            EventKind::RestorePost,
        ]
    );
    let [posted, completed] = [1, 2].map(|at| real.events()[at].clone());
    assert_eq!((posted.request, posted.size, &posted.etag), (completed.request, 4, &completed.etag));
    assert_eq!((completed.time_us - posted.time_us, completed.version), (5 * HOUR, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_is_asked_for_in_the_words_of_both_protocols() {
    clock!(now, CLOCK);
    let real = Real::with_clock(now).await;
    real.archive("glacier", "GLACIER", "body").await;
    real.archive("deep", "DEEP_ARCHIVE", "body").await;
    real.archive("warm", "GLACIER_IR", "body").await;
    assert_eq!(real.of(Method::GET, "warm").await.status, 200, "it can be read at once");
    for (key, document, wanted) in [
        ("warm", wish(1, "Bulk"), (403, "InvalidObjectState")),
        ("warm", cos_wish(1, "Bulk"), (403, "InvalidObjectState")),
        ("none", wish(1, "Bulk"), (404, "NoSuchKey")),
        ("deep", wish(1, "Expedited"), (400, "InvalidArgument")),
        ("deep", cos_wish(1, "Expedited"), (400, "InvalidArgument")),
        ("deep", wish(0, "Bulk"), (400, "InvalidArgument")),
        ("deep", wish(36_501, "Bulk"), (400, "InvalidArgument")),
        ("deep", wish(1, "Soon"), (400, "MalformedXML")),
        ("deep", cos_wish(1, "Soon"), (400, "MalformedXML")),
        ("deep", String::new(), (400, "MalformedXML")),
        ("deep", "<RestoreRequest>".into(), (400, "MalformedXML")),
        ("deep", wish(1, "Bulk").replace("<Days>1</Days>", ""), (400, "MalformedXML")),
        ("deep", wish(1, "Bulk").replace("Days>", "Type>").replace('1', "SELECT"), (501, "NotImplemented")),
    ] {
        let refused = real.restore(key, document.clone()).await;
        assert_eq!(told(&refused), wanted, "{key} {document}");
        assert_complete_error(&refused);
    }
    // Who asks decides whose words the answer is in, not the document's.
    for document in [wish(1, "Bulk"), cos_wish(1, "Bulk")] {
        let refused = real.cos(Method::POST, "/warm", &RESTORE, &[], document).await;
        assert_eq!(told(&refused), (405, "RestoreNonArchiveObject"));
    }
    let more = [("restore", ""), ("select", "")];
    let refused = real.ask(Method::POST, "/bucket/deep", &more, &[], wish(1, "Bulk")).await;
    assert_eq!(told(&refused), (501, "NotImplemented"));
    let damaged = [("content-md5", "AAAAAAAAAAAAAAAAAAAAAA==")];
    let refused = real.ask(Method::POST, "/bucket/deep", &RESTORE, &damaged, wish(1, "Bulk")).await;
    assert_eq!(told(&refused), (400, "BadDigest"));
    assert_eq!(real.events().len(), 3, "nothing began");
    real.nothing_is_due();
    for (key, document, hours) in [
        ("glacier", cos_wish(1, "Expedited"), 1),
        ("deep", wish(1, "Standard").replace("<GlacierJobParameters>", "<x/><GlacierJobParameters>"), 12),
    ] {
        assert_eq!(real.restore(key, document).await.status, 202, "{key}");
        CLOCK.fetch_add(hours * HOUR, Ordering::SeqCst);
        assert_eq!(real.look().await, (1, 0, 0), "{key}");
        assert_eq!(real.of(Method::GET, key).await.status, 200, "{key}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_goes_takes_its_restore_along() {
    clock!(now, CLOCK);
    let mut real = Real::with_clock(now).await;
    for (round, checkpointed) in [false, true].into_iter().enumerate() {
        for key in ["replaced", "removed", "restored"] {
            real.archive(key, "ARCHIVE", "body").await;
            assert_eq!(real.restore(key, wish(1, "Standard")).await.status, 202);
        }
        CLOCK.fetch_add(HOUR, Ordering::SeqCst);
        if checkpointed {
            real.checkpointed().await;
        }
        real.archive("replaced", "ARCHIVE", "other").await;
        assert_eq!(real.of(Method::DELETE, "removed").await.status, 204);
        assert_eq!(real.of(Method::HEAD, "replaced").await.header("x-amz-restore"), None);
        if checkpointed {
            real.checkpointed().await;
        }
        // The new one is another object: its restore begins, and ends, on its own.
        assert_eq!(real.restore("replaced", wish(1, "Standard")).await.status, 202);
        real = real.restart().await;
        CLOCK.fetch_add(4 * HOUR, Ordering::SeqCst);
        assert_eq!(real.look().await, (1, 0, 2), "{round}");
        assert_eq!(real.of(Method::GET, "replaced").await.status, 403);
        CLOCK.fetch_add(HOUR, Ordering::SeqCst);
        assert_eq!(real.look().await, (1, 0, 0), "{round}");
        assert_eq!(&real.of(Method::GET, "replaced").await.body[..], b"other");
        // One that was restored already is over as well.
        assert_eq!(real.of(Method::DELETE, "restored").await.status, 204);
        CLOCK.fetch_add(48 * HOUR, Ordering::SeqCst);
        assert_eq!(real.look().await, (0, 1, 1), "{round}");
        real.nothing_is_due();
        let of = |kind| real.kinds().into_iter().filter(|other| *other == kind).count();
        let counts = (of(EventKind::RestorePost), of(EventKind::RestoreCompleted));
        assert_eq!(counts, (4 * (round + 1), 2 * (round + 1)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_version_is_restored_on_its_own() {
    clock!(now, CLOCK);
    let mut real = Real::with_clock(now).await;
    let enabled = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
    assert_eq!(real.ask(Method::PUT, "/bucket", &[("versioning", "")], &[], enabled).await.status, 200);
    let mut ids = Vec::new();
    for body in ["one", "two", "three"] {
        real.archive("k", "DEEP_ARCHIVE", body).await;
        ids.push(real.of(Method::HEAD, "k").await.header("x-amz-version-id").expect("one").to_owned());
    }
    assert_eq!(real.of(Method::DELETE, "k").await.status, 204, "hidden by a delete marker");
    let of_version =
        |id: &str| [("restore".to_owned(), String::new()), ("versionId".to_owned(), id.to_owned())];
    for id in &ids[..2] {
        let query = of_version(id);
        let query: Vec<_> = query.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        let asked = real.ask(Method::POST, "/bucket/k", &query, &[], wish(1, "Bulk")).await;
        assert_eq!(asked.status, 202, "{asked:?}");
    }
    assert_eq!(
        told(&real.restore("k", wish(1, "Bulk")).await),
        (404, "NoSuchKey"),
        "the marker is no object"
    );
    real.checkpointed().await;
    let gone = real.ask(Method::DELETE, "/bucket/k", &[("versionId", &ids[0])], &[], "").await;
    assert_eq!(gone.status, 204);
    real = real.restart().await;
    CLOCK.fetch_add(48 * HOUR, Ordering::SeqCst);
    assert_eq!(real.look().await, (1, 0, 1));
    let read = async |id: &str| {
        let got = real.ask(Method::GET, "/bucket/k", &[("versionId", id)], &[], "").await;
        (got.status.as_u16(), String::from_utf8(got.body.to_vec()).expect("text"))
    };
    assert_eq!(read(&ids[1]).await, (200, "two".into()));
    assert_eq!(read(&ids[2]).await.0, 403);
    let events = real.events();
    let about = |event: &Event| (event.kind, event.version);
    let two = VersionId::parse(&ids[1]).expect("an id");
    let last = events.last().expect("an event");
    assert_eq!(about(last), (EventKind::RestoreCompleted, Some(Version::Named(two))));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_due_waits_for_space_and_is_never_dropped() {
    clock!(now, CLOCK);
    let real = Real::with_clock(now).await;
    for key in ["a", "b"] {
        real.archive(key, "ARCHIVE", "body").await;
        assert_eq!(real.restore(key, wish(1, "Expedited")).await.status, 202);
    }
    assert_eq!(real.look().await, (0, 0, 0));
    CLOCK.fetch_add(HOUR, Ordering::SeqCst);
    real.full.store(true, Ordering::SeqCst);
    for _ in 0..3 {
        let ended = real.commit.end_due_restores(now()).await.expect("it waits");
        assert_eq!((ended.completed, ended.waiting), (0, 1), "the others would not find any either");
        assert_eq!(real.of(Method::GET, "a").await.status, 403);
    }
    assert_eq!(told(&real.restore("a", wish(1, "Bulk")).await).0, 503);
    real.full.store(false, Ordering::SeqCst);
    // Nobody asks any more: the wait for what is due ends by itself.
    CLOCK.fetch_add(1_000_000, Ordering::SeqCst);
    real.commit.restores_due(now).await;
    assert_eq!(real.look().await, (2, 0, 0));
    assert_eq!(real.kinds().iter().filter(|kind| **kind == EventKind::RestoreCompleted).count(), 2);
}

#[tokio::test(start_paused = true)]
async fn waiting_costs_nothing_where_nothing_is_restored_and_notices_a_clock_that_is_set() {
    clock!(now, CLOCK);
    let (commit, _memory) = Memory::commit();
    commit.restores_due(now).await;
    assert_eq!(commit.end_due_restores(now()).await.expect("an empty store"), RestoresEnded::default());
    let mut waiting = std::pin::pin!(commit.restores_due(now));
    assert!(waiting.as_mut().now_or_never().is_none());
    tokio::time::advance(Duration::from_secs(365 * 86_400)).await;
    assert!(waiting.as_mut().now_or_never().is_none(), "no timer runs");

    let request = RequestInfo { id: "r".into(), source_ip: None, principal: "p".into(), hops: 0 };
    let bucket = commit.reserve(0).await.expect("space");
    commit.create_bucket(bucket, "bucket", request.clone()).await.expect("made");
    let put = PutObject {
        bucket: "bucket".into(),
        key: "cold".into(),
        kind: EventKind::CreatedPut,
        size: 0,
        etag: "".into(),
        crc64: 0,
        headers: Vec::new(),
        body: NewBody::Inline("".into()),
        conditions: Conditions::default(),
        request: request.clone(),
    };
    commit.put_object(commit.reserve(0).await.expect("space"), put).await.expect("made");
    let object = commit.store().object("bucket", "cold").expect("readable").expect("there");
    let (class, takes) = ("ARCHIVE".into(), Duration::from_secs(100 * 3_600));
    // The clock of this commit path is the system's.
    CLOCK.store(commit.now_us(), Ordering::SeqCst);
    let wanted = WantedRestore { class, tier: Tier::Bulk, takes, days: 1, request };
    commit.restore_object(commit.reserve(0).await.expect("space"), &object, wanted).await.expect("begun");
    assert!(waiting.as_mut().now_or_never().is_none(), "it wakes, and finds that it is not due");
    tokio::time::advance(LOOK_AGAIN).await;
    assert!(waiting.as_mut().now_or_never().is_none());
    CLOCK.fetch_add(101 * HOUR, Ordering::SeqCst);
    tokio::time::advance(LOOK_AGAIN).await;
    assert!(waiting.as_mut().now_or_never().is_some());
}
