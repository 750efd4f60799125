//! When rows are written: soon after something changed, without anybody asking, and never otherwise.

use std::path::Path;
use std::sync::Arc;

use super::super::embedded::EmbeddedQueue;
use super::super::rows;
use super::super::tests::{PATIENT, WAIT, append, open_with, options, settle, take};
use super::*;
use crate::journal::OsDisk;
use crate::queue::Queue as _;

const TARGET: TargetNo = TargetNo(1);

fn open(dir: &Path) -> Arc<EmbeddedQueue> {
    open_with(options(dir, 8, PATIENT), 1, 1)
}

/// Waits until the keeper made a row durable that is past `offset`.
async fn synced_past(queue: &EmbeddedQueue, offset: u64) {
    let synced = async {
        while !queue.inner.synced_past(TARGET, offset) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(WAIT / 4, synced).await.expect("the keeper was told of the change");
}

/// Nobody flushes, and few entries come: a process that is killed now would repeat all that it delivered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_row_of_every_life_is_written_without_a_flush() {
    let dir = tempfile::tempdir().expect("a directory");
    for life in 0..2 {
        let queue = open(dir.path());
        let mut reader = queue.open(TARGET, 0).await.expect("opened");
        append(&queue, life..life + 1, |_| &[1]).await;
        let taken = take(&mut reader, 1).await;
        settle(&mut reader, &taken);
        synced_past(&queue, taken[0]).await;
        let row = rows::read(&OsDisk, &dir.path().join("progress"), TARGET).expect("read").expect("there");
        assert_eq!((row.totals.delivered, row.position), (life + 1, taken[0] + 1));
        drop(reader);
        queue.stop();
    }
}

/// Everything in the rows' directory, byte for byte.
fn on_disk(dir: &Path) -> Vec<Vec<u8>> {
    let files = std::fs::read_dir(dir.join("progress")).expect("there");
    files.map(|file| std::fs::read(file.expect("there").path()).expect("readable")).collect()
}

#[tokio::test]
async fn the_keeper_rests_while_nothing_changes() {
    let dir = tempfile::tempdir().expect("a directory");
    let queue = open(dir.path());
    let mut reader = queue.open(TARGET, 0).await.expect("opened");
    append(&queue, 0..3, |_| &[1]).await;
    let taken = take(&mut reader, 3).await;
    settle(&mut reader, &taken);
    synced_past(&queue, taken[2]).await;
    reader.flush().await.expect("durable");
    let mut flushed = queue.inner.flushed.subscribe();
    let before = on_disk(dir.path());
    tokio::time::pause();
    // Its next turns, if it had any, were due many times over.
    for _ in 0..1_000 {
        tokio::time::advance(ROW_WRITTEN / 2).await;
        tokio::task::yield_now().await;
    }
    tokio::time::resume();
    assert!(!flushed.has_changed().expect("alive"), "it serves what nobody asked for");
    assert_eq!(on_disk(dir.path()), before, "a row is written again and again");
    // It is there all the same.
    reader.flush().await.expect("durable");
    assert!(flushed.borrow_and_update().served > 0);
    drop(reader);
    queue.stop();
}
