//! The end of every live test: drain, read everything back, judge, print the numbers.
//!
//! Must never skip a part: a test that judged less would look the same.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::stream::{self, StreamExt};
use http::Method;
use tidings::client::{Client, Listing};

use crate::books::{self, DRAIN_TIMEOUT, Reading};
use crate::checker::{Around, Delivery, Listed, Property, Report, Run, Stage, check};
use crate::far::FarSide;
use crate::load::Shared;
use crate::server::{Ready, Server};

/// A change may take this long once everything is mended.
const PROBE: Duration = Duration::from_secs(30);
/// Reads at once while every key is compared.
const READERS: usize = 16;

/// Waits until everything is delivered, reads every key back byte by byte, lists the bucket, reads the
/// far side from its beginning, judges, and ends the server by SIGTERM. Panics unless all is right.
pub(crate) async fn conclude(
    test: &str,
    server: &mut Server,
    ready: &Ready,
    shared: &Shared,
    far: &dyn FarSide,
    max_duplicates: usize,
) -> Report {
    let mut reports = conclude_all(test, server, ready, shared, &[("live", far, max_duplicates)]).await;
    reports.pop().expect("one of each")
}

/// The same for several targets, each of which had every change: name, far side, duplicates allowed.
pub(crate) async fn conclude_all(
    test: &str,
    server: &mut Server,
    ready: &Ready,
    shared: &Shared,
    targets: &[(&str, &dyn FarSide, usize)],
) -> Vec<Report> {
    let mut stages = vec![drained("drained", ready, targets).await.1];
    // A fresh change goes all the way, through each of them.
    let began = Instant::now();
    let put = shared.put(&ready.s3, "probe").await;
    stages.push(Stage { what: "changed", took: put.then(|| began.elapsed()), within: PROBE });
    let (readings, arrived) = drained("with the probe", ready, targets).await;
    stages.push(arrived);
    read_every_key(&ready.s3, shared).await;
    let listing = list_all(&ready.s3, shared.bucket()).await;
    let left = Left { listing, stages, said: said(server, ready).await };
    let mut reports = Vec::new();
    for ((name, far, max_duplicates), reading) in targets.iter().zip(readings) {
        let test = if targets.len() > 1 { format!("{test}/{name}") } else { test.to_owned() };
        let deliveries = far.read_all().await;
        reports.push(judge(&test, server, shared, &left, &deliveries, reading, *max_duplicates));
    }
    server.stop().await;
    reports
}

/// What a run leaves beside its events.
struct Left {
    listing: Vec<Listed>,
    stages: Vec<Stage>,
    said: Vec<(String, String)>,
}

fn judge(
    test: &str,
    server: &Server,
    shared: &Shared,
    left: &Left,
    deliveries: &[Delivery],
    reading: Reading,
    max_duplicates: usize,
) -> Report {
    let Left { listing, stages, said } = left;
    let ops = shared.recorder.ops();
    let bucket = format!("{}/", shared.bucket());
    let report = check(&Run {
        ops: &ops,
        deliveries,
        listing: Some(listing),
        books: Some(reading.books),
        matches: &|key| key.starts_with(&bucket),
        max_duplicates,
        around: Around { stages, said, planted: &server.planted() },
    });
    println!("{test}: {report}");
    println!(
        "{test}: {} objects at the end; books {:?}, repeated {}; {} answers 5xx",
        listing.len(),
        reading.books,
        reading.repeated,
        shared.refused()
    );
    println!(
        "figure: run={test} acknowledged={} unknown={} deliveries={} events={} repeats={} lost={} \
         phantoms={} reordered={} violations={}",
        report.acknowledged,
        report.unknown,
        report.deliveries,
        report.events,
        report.duplicates(),
        report.count(Property::P1Complete),
        report.count(Property::P2NoPhantom),
        report.count(Property::P3Order),
        report.violations.len()
    );
    if !report.violations.is_empty() {
        let lines = |items: Vec<String>| items.join("\n") + "\n";
        server.keep("ops.txt", &lines(ops.iter().map(|op| format!("{op:?}")).collect()));
        server.keep("deliveries.txt", &lines(deliveries.iter().map(|one| format!("{one:?}")).collect()));
        server.keep("listing.txt", &lines(listing.iter().map(|one| format!("{one:?}")).collect()));
        panic!("{test}: {report}");
    }
    report
}

/// Waits until nothing is left to deliver to any of them; gives the books then, and how long it took.
async fn drained(
    what: &'static str,
    ready: &Ready,
    targets: &[(&str, &dyn FarSide, usize)],
) -> (Vec<Reading>, Stage) {
    let (began, mut readings) = (Instant::now(), Vec::new());
    for (name, ..) in targets {
        readings.push(books::drained(&ready.admin, name).await);
    }
    let within = DRAIN_TIMEOUT * targets.len() as u32;
    (readings, Stage { what, took: Some(began.elapsed()), within })
}

/// Everything that the product ever said, its metrics too.
async fn said(server: &Server, ready: &Ready) -> Vec<(String, String)> {
    let metrics = ready.admin.send(Method::GET, "/metrics", &[], "").await.expect("metrics");
    let metrics = String::from_utf8_lossy(&metrics.body).into_owned();
    [server.said(), vec![("/metrics".to_owned(), metrics)]].concat()
}

/// GETs every key and records what was there.
pub(crate) async fn read_every_key(client: &Client, shared: &Shared) {
    let reads = stream::iter(shared.keys()).map(|key| async move {
        assert!(shared.read(client, &key).await, "no answer to GET {key} at the end");
    });
    reads.buffer_unordered(READERS).collect::<Vec<()>>().await;
}

/// The whole listing of a bucket.
pub(crate) async fn list_all(client: &Client, bucket: &str) -> Vec<Listed> {
    let mut listed = Vec::new();
    let mut token: Option<String> = None;
    loop {
        let query: Vec<(&str, &str)> = token.iter().map(|token| ("continuation-token", &**token)).collect();
        let answer = client.list_v2(bucket, &query).await.expect("an answer");
        let page = Listing::parse(&answer.body).unwrap_or_else(|| panic!("not a listing: {answer:?}"));
        listed.extend(page.objects.into_iter().map(|object| Listed {
            key: Arc::from(format!("{bucket}/{}", object.key)),
            etag: object.etag,
            size: object.size,
        }));
        match page.next {
            Some(next) => token = Some(next),
            None => return listed,
        }
    }
}
