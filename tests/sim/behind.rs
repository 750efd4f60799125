//! A reader whose inbox is full: it reads for itself, and has everything in the end.
//!
//! Must never let the reader take anything before the inbox has overflown: that is what is tested.

use std::time::Duration;

use tidings::fail;

use crate::stack::{NEVER, Stack, drain, empty};
use crate::{kills, sane};

/// Far more than a small inbox holds.
const CHANGES: u64 = 60;
/// Of them, those that it waits for before they are made.
const WAITED_FOR: u64 = 8;

/// Nobody takes anything until everything was routed; then all of it comes, in order, and what is new
/// behind it.
fn overflown() -> Result<(), String> {
    fail::set_small();
    let disk = empty();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.map_err(|e| e.to_string())?.block_on(async {
        let stack = Stack::open(&disk, NEVER).await?;
        let mut reader = stack.reader().await?;
        let put = async |n: u64| {
            let put = stack.put(&format!("key-{}", n % 5), n).await;
            put.map(drop).map_err(|e| e.to_string())
        };
        // The reader waits for each of these: from then on entries are routed to its inbox.
        let mut came = Vec::new();
        for n in 1..=WAITED_FOR {
            let (took, put) = tokio::join!(drain(&disk, &mut reader, n), put(n));
            put?;
            came.extend(took?);
        }
        for n in WAITED_FOR + 1..=CHANGES {
            put(n).await?;
        }
        // The last one is a probe: it comes whatever became of those before it.
        let rest = tokio::time::timeout(Duration::from_secs(10), async {
            came.extend(drain(&disk, &mut reader, WAITED_FOR + 1).await?);
            put(CHANGES + 1).await?;
            came.extend(drain(&disk, &mut reader, CHANGES + 1).await?);
            Ok::<_, String>(())
        });
        rest.await.map_err(|_| "it hangs".to_owned())??;
        let books = stack.progress.books();
        drop(reader);
        stack.stop().await;
        match came.iter().copied().eq(1..=CHANGES + 1) && (books.imbalance(), books.backlog) == (0, 0) {
            true => Ok(()),
            false => Err(format!("of {} changes came {came:?}; {books:?}", CHANGES + 1)),
        }
    })
}

#[test]
fn a_reader_that_falls_behind_reads_for_itself() {
    let _sane = sane();
    overflown().unwrap_or_else(|why| panic!("{why}"));
}

#[test]
fn mutant_drop_on_full() {
    kills("drop-on-full", overflown);
}
