//! Every target's books, looked at for as long as a server lives: they balance at every moment, and what
//! matched once is counted for ever, across kills too.
//!
//! Must never look less often because a test is about something else: every server of every test is
//! watched.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use http::Method;
use tidings::client::Client;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// How often a server is asked.
const EVERY: Duration = Duration::from_millis(100);
/// Must stay 0, whoever was killed.
const NEVER: [&str; 4] = [
    "tidings_books_imbalance_events",
    "tidings_events_lost_total",
    "tidings_unsynced_ack_total",
    "tidings_queue_corrupt_records_total",
];

/// What was seen in all lives of one server.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    matched: BTreeMap<String, u64>,
    pub(crate) looks: u64,
}

/// One life under watch.
pub(crate) struct Watch {
    end: oneshot::Sender<()>,
    task: JoinHandle<Result<Seen, String>>,
}

impl Watch {
    /// Looks once before anybody works, and then until the end.
    pub(crate) async fn begin(admin: Client, mut seen: Seen) -> Self {
        // One that is to die at a failpoint may be gone by now.
        if let Some(first) = ask(&admin).await {
            seen.look(&first).unwrap_or_else(|why| panic!("when it was ready: {why}"));
        }
        let (end, mut ended) = oneshot::channel();
        let task = tokio::spawn(async move {
            // A dead server is found out by whoever owns it.
            while timeout(EVERY, &mut ended).await.is_err() {
                tokio::select! {
                    _ = &mut ended => break,
                    text = ask(&admin) => if let Some(text) = text { seen.look(&text)? },
                }
            }
            Ok(seen)
        });
        Self { end, task }
    }

    /// The life has ended. Panics if something was wrong in it.
    pub(crate) async fn end(self) -> Seen {
        let _ = self.end.send(());
        self.task.await.expect("the watch ends").unwrap_or_else(|why| panic!("under way: {why}"))
    }
}

async fn ask(admin: &Client) -> Option<String> {
    let answer = admin.send(Method::GET, "/metrics", &[], "").await.ok()?;
    (answer.status == 200).then(|| String::from_utf8_lossy(&answer.body).into_owned())
}

impl Seen {
    /// Compares one scrape with the identity, and with what was seen before.
    fn look(&mut self, metrics: &str) -> Result<(), String> {
        let mut all: BTreeMap<String, HashMap<String, u64>> = BTreeMap::new();
        for line in metrics.lines() {
            let Some((series, value)) = line.rsplit_once(' ') else { continue };
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            if NEVER.contains(&name) && value.parse() != Ok(0.0) {
                return Err(line.to_owned());
            }
            if name == "tidings_books_events" {
                let label = |key: &str| Some(labels.split_once(&format!("{key}=\""))?.1.split_once('"')?.0);
                let (Some(target), Some(column)) = (label("target"), label("column")) else {
                    return Err(format!("a series without its labels: {line}"));
                };
                let value = value.parse::<f64>().map_err(|_| line.to_owned())? as u64;
                all.entry(target.to_owned()).or_default().insert(column.to_owned(), value);
            }
        }
        for (target, books) in &all {
            let column =
                |name: &str| books.get(name).copied().ok_or(format!("{target} has no {name}: {books:?}"));
            let mut sum = 0;
            for name in
                ["delivered", "backlog", "held", "dead_lettered", "purged", "forgotten", "quarantined"]
            {
                sum += column(name)?;
            }
            let (matched, before) = (column("matched")?, self.matched.get(target).copied().unwrap_or(0));
            if matched != sum || matched < before {
                return Err(format!("{target}: {sum} in the columns, {before} matched before: {books:?}"));
            }
        }
        // Who is forgotten begins anew.
        self.matched = all.into_iter().map(|(target, books)| (target, books["matched"])).collect();
        self.looks += 1;
        Ok(())
    }
}

#[test]
fn books_that_do_not_balance_or_shrink_are_seen() {
    let text = |matched: u64, delivered: u64, lost: u64| {
        let others = ["backlog", "held", "dead_lettered", "purged", "forgotten", "quarantined", "shed"];
        let others =
            others.map(|c| format!("tidings_books_events{{target=\"a\",column=\"{c}\"}} 0\n")).concat();
        format!(
            "{others}tidings_books_events{{target=\"a\",column=\"matched\"}} {matched}\n\
             tidings_books_events{{target=\"a\",column=\"delivered\"}} {delivered}\n\
             tidings_events_lost_total {lost}\n"
        )
    };
    let mut seen = Seen::default();
    seen.look(&text(5, 5, 0)).expect("it balances");
    seen.look(&text(5, 4, 0)).expect_err("one is nowhere");
    seen.look(&text(5, 6, 0)).expect_err("one is counted twice");
    seen.look(&text(4, 4, 0)).expect_err("one is forgotten");
    seen.look(&text(6, 6, 1)).expect_err("one is lost");
    seen.look("").expect("nobody is there");
    seen.look(&text(1, 1, 0)).expect("another one of that name");
    assert_eq!(seen.looks, 3);
}
