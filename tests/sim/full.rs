//! A full disk: changes are refused, everything else goes on in what was kept back, a kill changes nothing,
//! and it heals.
//!
//! Must never help the server with space that it did not keep back itself.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use tidings::commit::CommitError;
use tidings::journal::{Disk, Headroom, Opened};
use tidings::queue::{Full, FullReason};

use crate::cuts::{runtime, until};
use crate::disk::{Call, Fault, SimDisk};
use crate::rules::{self, after};
use crate::sane;
use crate::stack::{NEVER, OFTEN, Stack, Story, TARGET, data, drain, empty, judge};

/// Bytes kept back: stages of 1 MiB.
const KEPT: u64 = 4 << 20;

fn ballast() -> std::path::PathBuf {
    data().join("ballast")
}

fn headroom(disk: &Arc<SimDisk>) -> Arc<Headroom> {
    fn relieves(path: &Path) -> bool {
        let name = path.file_name().expect("a name").to_string_lossy();
        !name.ends_with(".seg") && !name.starts_with("spare-")
    }
    Arc::new(Headroom::over(disk.disk(), ballast(), KEPT, relieves).expect("opens"))
}

fn ballast_bytes(disk: &SimDisk) -> u64 {
    disk.cached().files[&ballast()].len() as u64
}

fn short(headroom: &Headroom) -> bool {
    *headroom.short().expect("it keeps something back").borrow()
}

/// Puts until there is no space, over `keys` keys; gives the last number used, and why it was refused.
async fn put_until_full(stack: &Stack, story: &mut Story, mut n: u64, keys: u64) -> (u64, Full) {
    loop {
        n += 1;
        let key = format!("key-{}", n % keys);
        story.plan.insert(n, (key.clone(), false));
        match stack.put(&key, n).await {
            Ok(_) => {}
            // The next segment is being prepared.
            Err(CommitError::Full(full)) if full.why.ends_with("segment is ready") => {}
            Err(CommitError::Full(full)) => return (n, full),
            Err(other) => panic!("{other}"),
        }
    }
}

#[test]
fn a_full_disk_is_administered_drained_killed_and_heals() {
    let _sane = sane();
    let disk = empty();
    let mut story = Story::default();
    let runtime = runtime();
    let (killed, n) = runtime.block_on(async {
        let headroom = headroom(&disk);
        headroom.fill().expect("there is space");
        let over = Arc::clone(&headroom) as Arc<dyn Disk>;
        let stack = Stack::open_over(&disk, over, OFTEN).await.expect("opens");
        until("segments", || stack.queue.accepts()).await;
        disk.leave_free(Some(0));
        let (mut n, full) = put_until_full(&stack, &mut story, 0, 7).await;
        assert!(matches!(full.reason, FullReason::Disk | FullReason::Log), "{full:?}");
        // Index, packs and progress go on, and so do settings and removals.
        until("the index", || stack.store.checkpoint_next() == stack.queue.stat().durable_end).await;
        assert!(short(&headroom) && ballast_bytes(&disk) < KEPT, "nothing was given back: it proves nothing");
        assert!(!stack.queue.accepts());
        let mut reader = stack.reader().await.expect("opens");
        let last = stack.get(&format!("key-{}", (n - 1) % 7)).await.expect("reads").expect("was put");
        drain(&disk, &mut reader, last).await.expect("delivers");
        reader.flush().await.expect("progress is durable on a full disk");
        stack.commit.pause_target(TARGET, tidings::queue::Pause::Operator).await.expect("a setting");
        for key in 1..4 {
            n += 1;
            let key = format!("key-{key}");
            assert!(stack.get(&key).await.expect("reads").is_some(), "a removal of nothing says nothing");
            story.plan.insert(n, (key.clone(), true));
            stack.delete(&key, n).await.expect("a removal");
        }
        until("the index", || stack.store.checkpoint_next() == stack.queue.stat().durable_end).await;
        drop(reader);
        let killed = Arc::new(disk.kill());
        stack.stop().await;
        (killed, n)
    });

    // The disk is as full as it was.
    runtime.block_on(async {
        killed.leave_free(Some(0));
        let headroom = headroom(&killed);
        let over = Arc::clone(&headroom) as Arc<dyn Disk>;
        let stack = Stack::open_over(&killed, over, OFTEN).await.expect("starts on a full disk");
        assert_eq!(stack.get("key-1").await.expect("reads"), None, "removed");
        headroom.fill().expect_err("still full");
        let (n, full) = put_until_full(&stack, &mut story, n, 7).await;
        assert!(matches!(full.reason, FullReason::Disk | FullReason::Log), "{full:?}");
        killed.leave_free(None);
        headroom.fill().expect("there is space");
        assert!(!short(&headroom) && ballast_bytes(&killed) == KEPT);
        until("segments", || stack.queue.accepts()).await;
        story.plan.insert(n + 1, ("key-1".to_owned(), false));
        stack.put("key-1", n + 1).await.expect("healed without a restart");
        stack.stop().await;
    });
    killed.see(|trace| trace.iter().for_each(|op| story.pass(op)));
    judge(&killed, &story).expect("nothing was lost");
}

#[test]
fn a_stage_for_which_there_is_no_space_is_left_to_others() {
    let disk = empty();
    disk.leave_free(Some(KEPT / 2 + (300 << 10)));
    let headroom = headroom(&disk);
    headroom.fill().expect_err("only half of it fits");
    assert_eq!(ballast_bytes(&disk), KEPT / 2);
    assert!(short(&headroom));
    let path = data().join("row");
    let file = headroom.create(&path).expect("created");
    file.write_at(&[1; 300 << 10], 0).expect("what is free is free for others");
    assert_eq!(ballast_bytes(&disk), KEPT / 2);
    file.write_at(&[1; 600 << 10], 0).expect("a stage is given back");
    assert_eq!(ballast_bytes(&disk), KEPT / 4);
    let spare = headroom.create(&data().join("spare-1.tmp")).expect("created");
    let refused = spare.write_at(&[1; 1 << 20], 0).expect_err("a segment gets nothing of it");
    assert_eq!((refused.kind(), ballast_bytes(&disk)), (ErrorKind::StorageFull, KEPT / 4));
    file.write_at(&[1; 3 << 20], 0).expect_err("more than there is");
    assert_eq!(ballast_bytes(&disk), 0);
}

/// Where even the ballast is used up, what stands ready for the log makes room for the copy of its tail.
#[test]
fn a_tail_is_copied_on_a_full_disk_in_the_room_of_prepared_segments() {
    let _sane = sane();
    let (disk, dir) = (empty(), data());
    runtime().block_on(async {
        let stack = Stack::open(&disk, NEVER).await.expect("opens");
        until("segments", || stack.queue.stat().prepared == 3).await;
        stack.put("key", 1).await.expect("there is space");
        let disk = Arc::new(disk.kill());
        stack.stop().await;
        disk.leave_free(Some(0));
        let opened = Opened::open(disk.disk(), rules::options(&dir.join("journal")), 0).expect("opens");
        assert!(opened.report().copied > 0, "nothing was copied: it proves nothing");
        drop(opened);
        // And once more, from what that left.
        let again = Arc::new(SimDisk::from_image(disk.cached()));
        Opened::open(again.disk(), rules::options(&dir.join("journal")), 0).expect("opens again");
    });
}

#[test]
fn a_flush_that_found_no_space_says_so_and_the_next_one_does_not() {
    let _sane = sane();
    let disk = empty();
    runtime().block_on(async {
        let stack = Stack::open(&disk, NEVER).await.expect("opens");
        let mut reader = stack.reader().await.expect("opens");
        stack.put("key", 1).await.expect("there is space");
        drain(&disk, &mut reader, 1).await.expect("delivers");
        let full = Fault {
            call: Call::Write,
            nth: 1,
            times: u64::MAX,
            error: ErrorKind::StorageFull,
            on: "progress",
        };
        disk.fail(Some(full));
        reader.flush().await.expect_err("the row is not durable");
        disk.fail(None);
        reader.flush().await.expect("now it is");
        let image = after(disk.cached());
        drop(reader);
        stack.stop().await;
        let again = Stack::open(&image, NEVER).await.expect("opens");
        assert_eq!(again.progress.books().delivered, 1);
        again.stop().await;
    });
}
