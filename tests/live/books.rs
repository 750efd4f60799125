//! The product's books, as its metrics show them.
//!
//! Must never be the judge of itself: the checker compares these numbers with those counted outside.

use std::time::Duration;

use http::Method;
use tidings::client::Client;
use tokio::time::{Instant, sleep, timeout};

use crate::checker::Books;

/// How long a backlog may take to drain after the last change and the last fault: retries back off up to five
/// minutes.
pub(crate) const DRAIN_TIMEOUT: Duration = Duration::from_secs(400);
/// How often the foreign process is asked.
const ASK_EVERY: Duration = Duration::from_millis(50);

/// One reading of a target's books.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reading {
    /// The columns.
    pub(crate) books: Books,
    /// Deliveries that the product itself counted as repeated.
    pub(crate) repeated: u64,
}

/// Reads the books of the target `live` now.
pub(crate) async fn read(admin: &Client) -> Reading {
    read_of(admin, "live").await
}

/// Reads a target's books now.
pub(crate) async fn read_of(admin: &Client, target: &str) -> Reading {
    let answer = admin.send(Method::GET, "/metrics", &[], "").await.expect("metrics");
    assert_eq!(answer.status, 200, "/metrics");
    parse(std::str::from_utf8(&answer.body).expect("text"), target)
}

/// The books of `live`, if somebody answers.
#[cfg(feature = "faults")]
pub(crate) async fn try_read(admin: &Client) -> Option<Reading> {
    let answer = admin.send(Method::GET, "/metrics", &[], "").await.ok()?;
    Some(parse(std::str::from_utf8(&answer.body).expect("text"), "live"))
}

/// Waits until nothing is left to deliver to the target.
pub(crate) async fn drained(admin: &Client, target: &str) -> Reading {
    drained_to(admin, target, 0).await
}

/// Waits until no more than `most` events are left to deliver to the target.
pub(crate) async fn drained_to(admin: &Client, target: &str, most: u64) -> Reading {
    let deadline = Instant::now() + DRAIN_TIMEOUT;
    loop {
        let reading = read_of(admin, target).await;
        if reading.books.backlog + reading.books.held <= most {
            return reading;
        }
        assert!(Instant::now() < deadline, "{target} not drained after {DRAIN_TIMEOUT:?}: {reading:?}");
        sleep(ASK_EVERY).await;
    }
}

/// Waits until something is left to deliver: shows that an outage is one.
pub(crate) async fn backlog_above(admin: &Client, least: u64) {
    let reached = async {
        while read(admin).await.books.backlog <= least {
            sleep(ASK_EVERY).await;
        }
    };
    timeout(DRAIN_TIMEOUT, reached).await.unwrap_or_else(|_| panic!("no backlog above {least}"));
}

fn parse(metrics: &str, target: &str) -> Reading {
    let target = format!("target=\"{target}\"");
    let column = |name: &str| -> u64 {
        let value = metrics.lines().find_map(|line| {
            let labels = line.strip_prefix("tidings_books_events{")?;
            let (labels, value) = labels.split_once("} ")?;
            let named = labels.contains(&format!("column=\"{name}\"")) && labels.contains(&target);
            named.then(|| value.trim().parse::<f64>().expect("a number"))
        });
        value.unwrap_or_else(|| panic!("no tidings_books_events with column {name}:\n{metrics}")) as u64
    };
    let set_aside = ["dead_lettered", "purged", "forgotten", "quarantined"].map(column).iter().sum();
    let books = Books {
        matched: column("matched"),
        delivered: column("delivered"),
        backlog: column("backlog"),
        held: column("held"),
        set_aside,
        shed: column("shed"),
    };
    Reading { books, repeated: column("repeated") }
}

#[test]
fn the_books_are_read_from_metrics_text() {
    let columns = ["matched", "delivered", "backlog", "held", "dead_lettered", "purged", "forgotten"];
    let columns = columns.iter().chain(&["quarantined", "shed", "repeated"]).enumerate();
    let text: String = columns
        .map(|(at, name)| format!("tidings_books_events{{target=\"live\",column=\"{name}\"}} {at}\n"))
        .collect();
    let other = text.replace("live", "other").replace("} ", "} 9");
    let reading = parse(&format!("# TYPE tidings_books_events gauge\n{other}{text}"), "live");
    let books = Books { matched: 0, delivered: 1, backlog: 2, held: 3, set_aside: 4 + 5 + 6 + 7, shed: 8 };
    assert_eq!((reading.books, reading.repeated), (books, 9));
}
