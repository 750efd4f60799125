//! Replays that are broken off: by the lane that takes the place of another, and by the end of the process.

use super::super::dispatcher::Routes;
use super::super::embedded::EmbeddedQueue;
use super::super::tests::{append, open_with, retaining, settle, take};
use super::super::{Queue as _, Reader, TargetNo, dead};
use super::*;
use crate::journal;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_goes_back_beyond_where_it_was_and_is_replaced_takes_nothing_twice() {
    let dir = tempfile::tempdir().expect("a directory");
    let queue = open_with(retaining(dir.path()), 1, 1);
    append(&queue, 0..1_000, |_| &[1]).await;
    let mut one = queue.open(TargetNo(1), 0).await.expect("opened");
    let mine = take(&mut one, 1_000).await;
    settle(&mut one, &mine);
    one.rewind(mine[500], false).await.expect("it is all there");
    append(&queue, 1_000..1_100, |_| &[1]).await;
    // One repetition is not delivered; the reader comes to what is new, and one of that is a dead letter.
    let again = take(&mut one, 600).await;
    assert_eq!(again[..500], mine[500..]);
    let new = &again[500..];
    let (stuck, open, dead) = (mine[600], new[40], new[50]);
    let settled: Vec<_> = again.iter().copied().filter(|o| ![stuck, open, dead].contains(o)).collect();
    settle(&mut one, &settled);
    bury(&queue, one.as_ref(), dead).await;
    one.flush().await.expect("durable");
    let books = one.progress().books();
    assert_eq!((books.imbalance(), books.matched, books.backlog, books.dead_lettered), (0, 1_100, 1, 1));
    // Killed here, the next process goes over the same: everything up to where the row says it was.
    let row = one.progress().row(queue.stat().durable_end);
    let routes = Routes::new(row.position);
    let killed = Progress::new(TargetNo(1), &row, journal::Total::default(), 0, &routes);
    assert_eq!(killed.replaying(), Some(Rewound { from: stuck, until: new[99] + 1, rematch: false }));
    drop(one);

    let expected: Vec<_> = (stuck..=new[99]).filter(|o| *o != dead).collect();
    let mut one = queue.open(TargetNo(1), 0).await.expect("opened by the next lane");
    assert_eq!(take(&mut one, expected.len()).await, expected);
    assert_eq!(one.progress().replay_of(open), None);
    let books = one.progress().books();
    assert_eq!((books.imbalance(), books.backlog, books.delivered), (0, 1, 1_098));
    one.flush().await.expect("durable");
    drop(one);
    queue.stop();
    drop(queue);

    let queue = open_with(retaining(dir.path()), 1_101, 1);
    let mut one = queue.open(TargetNo(1), 0).await.expect("opened by the next process");
    let again = take(&mut one, expected.len()).await;
    assert_eq!(again, expected);
    settle(&mut one, &again);
    let books = one.progress().books();
    assert_eq!((books.imbalance(), books.delivered, books.dead_lettered, books.backlog), (0, 1_099, 1, 0));
    assert_eq!(one.progress().replaying(), None);
    queue.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_purged_does_not_come_back_when_the_dead_letters_are_written_anew() {
    let dir = tempfile::tempdir().expect("a directory");
    let queue = open_with(retaining(dir.path()), 1, 1);
    append(&queue, 0..100, |_| &[1]).await;
    let mut one = queue.open(TargetNo(1), 0).await.expect("opened");
    let mine = take(&mut one, 100).await;
    let letters = queue.dead_letters(TargetNo(1)).expect("added");
    // So much that a purge leaves a file which is mostly waste.
    for stored in one.lookup().read(&mine[..50]).await.expect("read") {
        let letter = dead::Letter::of(&stored, TargetNo(1)).expect("an event");
        letters.bury(dead::Letter { text: "x".repeat(60_000).into(), ..letter });
    }
    while letters.status().letters < 50 {
        letters.arrived().await;
    }
    settle(&mut one, &mine[50..]);
    one.flush().await.expect("durable");
    letters.purge(dead::Selection::Fitting(dead::Filter::default())).await.expect("purged");
    letters.quiesce().await;
    let file = dir.path().join("dead-letters/00000001.dead");
    assert!(file.metadata().expect("there").len() < 100_000, "it was not written anew");
    one.rewind(mine[0], false).await.expect("it is all there");
    assert_eq!(take(&mut one, 50).await, mine[50..], "purged is for good");
    queue.stop();
}

/// Makes an entry that the reader took a dead letter.
async fn bury(queue: &EmbeddedQueue, one: &dyn Reader, offset: u64) {
    let letters = queue.dead_letters(TargetNo(1)).expect("added");
    let stored = one.lookup().read(&[offset]).await.expect("read");
    letters.bury(dead::Letter::of(&stored[0], TargetNo(1)).expect("an event"));
    let mut news = Vec::new();
    while news.is_empty() {
        letters.arrived().await;
        letters.news(&mut news);
    }
}
