//! The server's clock steps by a day and back and starts in 1970, while a target is away: order, ids and
//! retries do not notice, and only signatures that are too old or too new are refused.
//!
//! Must never compare times: what is judged is what arrived, and in which order.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::Method;
use jiff::{SignedDuration, Timestamp};
use tempfile::TempDir;
use tidings::client::sign::{Parts, amz_date, payload_hash};
use tidings::client::{Client, Response};
use tokio::time::timeout;

use crate::far::FarSide as _;
use crate::receiver::Receiver;
use crate::server::Server;
use crate::{books, turn};

const BUCKET: &str = "live-clock";
const KEYS: u64 = 20;
/// Everything waits no longer than this once the target is back: pauses are a second here.
const DRAINED_WITHIN: Duration = Duration::from_secs(60);
/// Where Debian has the library, by architecture.
const LIBRARY: &str = "faketime/libfaketimeMT.so.1";

/// A clock of the server's own.
struct Clock {
    dir: TempDir,
    behind: SignedDuration,
}

fn library() -> PathBuf {
    let all = fs::read_dir("/usr/lib").expect("a system").flatten().map(|entry| entry.path().join(LIBRARY));
    all.into_iter().find(|path| path.is_file()).expect("the package libfaketime: run `cargo xtask test`")
}

impl Clock {
    fn right() -> Self {
        let mut clock = Self { dir: TempDir::new().expect("a directory"), behind: SignedDuration::ZERO };
        clock.step(SignedDuration::ZERO);
        clock
    }

    /// From now on it goes so much ahead of the real one. Replaced whole: it is read at every look.
    fn step(&mut self, ahead: SignedDuration) {
        self.behind = -ahead;
        let (file, aside) = (self.dir.path().join("clock"), self.dir.path().join("clock.new"));
        fs::write(&aside, format!("{:+}\n", ahead.as_secs())).expect("written");
        fs::rename(aside, file).expect("renamed");
    }

    fn now(&self) -> Timestamp {
        Timestamp::now().checked_sub(self.behind).expect("a time")
    }

    fn variables(&self) -> Vec<(String, String)> {
        let text = |path: &Path| path.to_str().expect("UTF-8").to_owned();
        [
            ("LD_PRELOAD", text(&library())),
            ("FAKETIME_TIMESTAMP_FILE", text(&self.dir.path().join("clock"))),
            ("FAKETIME_NO_CACHE", "1".to_owned()),
            // A clock that cannot be set is not the one that steps.
            ("DONT_FAKE_MONOTONIC", "1".to_owned()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
            ("FAKETIME_DONT_RESET", "1".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }
}

/// PUT, signed at a moment of the caller's.
async fn put(s3: &Client, key: &str, body: String, at: Timestamp) -> Response {
    let (path, payload, date) = (format!("/{BUCKET}/{key}"), payload_hash(body.as_bytes()), amz_date(at));
    let mut headers = vec![
        ("host", s3.authority()),
        ("x-amz-content-sha256", payload.as_str()),
        ("x-amz-date", date.as_str()),
    ];
    let parts = Parts { method: "PUT", path: &path, query: "", headers: &headers, payload: &payload };
    let authorization = s3.signer().sign(&parts, at).authorization;
    headers.push(("authorization", &authorization));
    s3.send(Method::PUT, &path, &headers, body).await.expect("an answer")
}

/// What clients were told: the requests that changed each key, in order.
#[derive(Default)]
struct Made(BTreeMap<String, Vec<String>>);

impl Made {
    /// Changes every key, signed by the server's clock, which alone it takes.
    async fn change_all(&mut self, s3: &Client, clock: &Clock, round: &str) {
        if clock.behind != SignedDuration::ZERO {
            let refused = put(s3, "0", "body".to_owned(), Timestamp::now()).await;
            let said = (refused.status.as_u16(), refused.error_code());
            assert_eq!(said, (403, Some("RequestTimeTooSkewed")), "{round}");
        }
        for n in 0..KEYS {
            let answer = put(s3, &n.to_string(), format!("{round} {n}"), clock.now()).await;
            assert_eq!(answer.status, 200, "{round}: {answer:?}");
            let request = answer.header("x-amz-request-id").expect("named").to_owned();
            self.0.entry(format!("{BUCKET}/{n}")).or_default().push(request);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_steps_by_a_day_and_starts_in_1970_changes_neither_order_nor_ids_nor_retries() {
    let _turn = turn().await;
    let day = SignedDuration::from_hours(24);
    let (far, mut clock, mut made) = (Receiver::start().await, Clock::right(), Made::default());
    let extra = "[target.live]\nbackoff_min = \"100ms\"\nbackoff_max = \"1s\"\n";
    let mut server = Server::new(&far, extra);
    server.change_variables(clock.variables());
    let mut ready = server.start().await;
    assert_eq!(ready.s3.create_bucket(BUCKET).await.expect("an answer").status, 200);
    made.change_all(&ready.s3, &clock, "right").await;
    let steps = [("a day ahead", day), ("a day behind", -day), ("right again", SignedDuration::ZERO)];
    for (round, ahead) in steps {
        let fault = far.kill().await;
        // Something waits for its next attempt while the clock steps.
        made.change_all(&ready.s3, &clock, "away").await;
        clock.step(ahead);
        made.change_all(&ready.s3, &clock, round).await;
        fault.mend().await;
        let drained = timeout(DRAINED_WITHIN, books::drained(&ready.admin, "live")).await;
        drained.unwrap_or_else(|_| panic!("{round}: retries wait for another clock"));
    }
    // A machine without a battery, twice: before and after it learns the time.
    let since_1970 = SignedDuration::from_secs(3_600) - Timestamp::now().as_duration();
    for (round, ahead) in [("in 1970", since_1970), ("and later", SignedDuration::ZERO)] {
        server.kill().await;
        clock.step(ahead);
        ready = server.start().await;
        made.change_all(&ready.s3, &clock, round).await;
        timeout(DRAINED_WITHIN, books::drained(&ready.admin, "live")).await.expect("it arrives");
    }
    judge(&made, &far).await;
    server.stop().await;
}

/// Everything arrived in the order in which it was made, and sequencers and ids say so.
async fn judge(made: &Made, far: &Receiver) {
    let (all, mut ids) = (far.read_all().await, BTreeSet::new());
    for (key, requests) in &made.0 {
        let (mut came, mut last) = (Vec::new(), String::new());
        for one in all.iter().filter(|one| &*one.key == key) {
            let request = one.request_id.clone().expect("named");
            if came.contains(&request) {
                continue;
            }
            assert!(one.sequencer > last, "{key}: {} follows {last}", one.sequencer);
            assert!(ids.insert(one.event_id.clone()), "{} is an event twice", one.event_id);
            last.clone_from(&one.sequencer);
            came.push(request);
        }
        assert_eq!(&came, requests, "{key}");
    }
}
