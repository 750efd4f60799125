//! Space is won back from packs while power is cut: what objects need is in the old pack or in the new one.
//!
//! Must never ask the product what to expect: what clients were told is on the trace.

use std::path::Path;
use std::sync::Arc;

use tidings::fail;

use crate::cuts::{judge_cuts, runtime, until};
use crate::disk::{Op, SimDisk};
use crate::stack::{OFTEN, Pace, Stack, Story, empty};
use crate::{kills, sane, scale};

fn is_pack(path: &Path) -> bool {
    path.extension().is_some_and(|e| e == "pack")
}

/// One object that stays, others that are written again and again and removed, until a pack went.
fn live(seed: u64, pace: Pace) -> Result<(Arc<SimDisk>, Story), String> {
    fail::set_small();
    let disk = empty();
    let mut story = Story::default();
    runtime().block_on(async {
        let stack = Stack::open(&disk, pace).await?;
        let (mut n, mut there) = (seed * 10_000, std::collections::BTreeSet::new());
        let gone =
            || disk.see(|trace| trace.iter().any(|op| matches!(op, Op::Remove { path } if is_pack(path))));
        let mut rng = fastrand::Rng::with_seed(seed);
        while !gone() {
            n += 1;
            let key = if n % 20 == 1 { format!("stays-{n}") } else { format!("key-{}", rng.u8(0..3)) };
            if rng.u8(0..8) == 0 && there.remove(&key) {
                story.plan.insert(n, (key.clone(), true));
                stack.delete(&key, n).await.map_err(|e| e.to_string())?;
            } else {
                story.plan.insert(n, (key.clone(), false));
                stack.put(&key, n).await.map_err(|e| e.to_string())?;
                there.insert(key);
            }
            if n % 8 == 0 {
                let end = stack.queue.stat().durable_end;
                until("the index", || stack.store.applied_next() >= end).await;
            }
            if n % 10_000 > 3_000 {
                return Err("no pack was removed: the test says nothing".to_owned());
            }
        }
        stack.stop().await;
        Ok::<_, String>(())
    })?;
    Ok((disk, story))
}

/// Power cuts from the first body that was moved to the end.
fn around_a_removed_pack() -> Result<(), String> {
    for seed in 1..3 + scale() {
        let (disk, story) = live(seed, OFTEN)?;
        let near = |op: &Op| match op {
            Op::Create { path, .. } | Op::Remove { path } => is_pack(path),
            Op::SyncDir { .. } => true,
            _ => false,
        };
        let states =
            judge_cuts(&disk, &story, seed, 60, |op| matches!(op, Op::Remove { path } if is_pack(path)))
                .and_then(|last| Ok(last + judge_cuts(&disk, &story, seed, 60, near)?))?;
        crate::judged("packs that are emptied", states);
    }
    Ok(())
}

#[test]
fn power_cuts_while_space_is_won_back_lose_nothing() {
    let _sane = sane();
    around_a_removed_pack().unwrap_or_else(|why| panic!("{why}"));
}

#[test]
fn mutant_pack_removed_before_checkpoint() {
    kills("pack-removed-before-checkpoint", around_a_removed_pack);
}
