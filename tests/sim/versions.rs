//! A bucket with versions through power cuts and kills: every state is that after the acknowledged changes,
//! or after those and the one that was on its way; every event names the version that it is about; whoever
//! asks again for the object of an upload gets the one that was made, or makes it now, once.
//!
//! Must never ask the product what to expect: the reference is a list of versions for each key.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tidings::commit::{CommitError, Completion};
use tidings::event::{EventKind, VersionId};
use tidings::queue::{Column, Stored};
use tidings::store::Versioning;

use crate::cuts::{runtime, until};
use crate::disk::{Op, SimDisk};
use crate::power::Power;
use crate::rules::after;
use crate::sent::Sent;
use crate::stack::{NEVER, OFTEN, Pace, Stack, Story, change, empty};
use crate::{sane, scale, seed};

/// What one change does.
#[derive(Debug, Clone)]
enum Step {
    Put(String),
    /// An object of two parts.
    Upload(String),
    /// A copy of what this change made, whatever has become of it.
    Copy(String, u64),
    Hide(String),
    /// The version goes that this change made.
    Remove(String, u64),
    Mode(Versioning),
}

/// The versions of each key, the newest first: which change made each, whether it is a marker, whether it is
/// the null version.
type State = BTreeMap<String, Vec<(u64, bool, bool)>>;

/// What was done, and what clients were told.
#[derive(Debug, Clone, Default)]
struct Told {
    steps: BTreeMap<u64, Step>,
    ids: BTreeMap<u64, VersionId>,
    uploads: BTreeMap<u64, Sent>,
    story: Story,
}

impl Told {
    /// What is there after the changes up to this one.
    fn state(&self, last: u64) -> State {
        let (mut state, mut mode) = (State::new(), Versioning::Never);
        for (n, step) in self.steps.range(..=last) {
            match step {
                Step::Mode(wanted) => mode = *wanted,
                Step::Put(key) | Step::Upload(key) | Step::Copy(key, _) | Step::Hide(key) => {
                    let null = mode == Versioning::Suspended;
                    let versions = state.entry(key.clone()).or_default();
                    versions.retain(|(_, _, was)| !(null && *was));
                    versions.insert(0, (*n, matches!(step, Step::Hide(_)), null));
                }
                Step::Remove(key, of) => state.entry(key.clone()).or_default().retain(|(m, ..)| m != of),
            }
        }
        state.retain(|_, versions| !versions.is_empty());
        state
    }

    /// The change whose bytes the object has that change `n` made.
    fn bytes_of(&self, n: u64) -> u64 {
        match self.steps[&n] {
            Step::Copy(_, of) => of,
            _ => n,
        }
    }

    /// How a list of versions shows a state.
    fn shown(&self, state: &State) -> Vec<(String, Option<u64>, VersionId)> {
        let of_key = |(key, versions): (&String, &Vec<(u64, bool, bool)>)| {
            let shown = |(n, marker, _): &(u64, bool, bool)| {
                (key.clone(), (!marker).then(|| self.bytes_of(*n)), self.ids[n])
            };
            versions.iter().map(shown).collect::<Vec<_>>()
        };
        state.iter().flat_map(of_key).collect()
    }

    /// What to do as change `n` to this key.
    fn next(&self, rng: &mut fastrand::Rng, n: u64, key: String) -> Step {
        let there = self.state(n).get(&key).cloned().unwrap_or_default();
        match rng.u8(0..8) {
            _ if n == 1 => Step::Mode(Versioning::Enabled),
            0 => Step::Mode(if rng.bool() { Versioning::Enabled } else { Versioning::Suspended }),
            1 | 2 => Step::Hide(key),
            3 | 4 if !there.is_empty() => Step::Remove(key, there[rng.usize(0..there.len())].0),
            5 => Step::Upload(key),
            6 => match there.iter().find(|(_, marker, _)| !marker) {
                Some((of, ..)) => Step::Copy(format!("key-{}", rng.u8(0..2)), self.bytes_of(*of)),
                None => Step::Upload(key),
            },
            _ => Step::Put(key),
        }
    }

    /// An event must be that of its change.
    fn check_event(&self, stored: &Stored) -> Result<(), String> {
        let n = change(stored);
        let kind = stored.entry.event.as_ref().map(|event| event.kind);
        let (wanted, of) = match self.steps.get(&n) {
            Some(Step::Put(_)) => (EventKind::CreatedPut, n),
            Some(Step::Upload(_)) => (EventKind::CreatedMultipart, n),
            Some(Step::Copy(..)) => (EventKind::CreatedCopy, n),
            Some(Step::Hide(_)) => (EventKind::RemovedMarker, n),
            Some(Step::Remove(_, of)) => (EventKind::RemovedDelete, *of),
            Some(Step::Mode(_)) => return Err(format!("{n} is no event")),
            None => return Ok(()),
        };
        let told = (kind, stored.version());
        if told == (Some(wanted), self.ids.get(&of).copied()) {
            Ok(())
        } else {
            Err(format!("{n}: {told:?}"))
        }
    }
}

/// The key that a step changes.
fn key_of(step: &Step) -> Option<&String> {
    match step {
        Step::Put(key) | Step::Upload(key) | Step::Copy(key, _) | Step::Hide(key) | Step::Remove(key, _) => {
            Some(key)
        }
        Step::Mode(_) => None,
    }
}

/// Eight changes over two keys; the server stops, dies or goes on.
fn live(seed: u64, pace: Pace) -> (Arc<SimDisk>, Told) {
    let (mut rng, mut disk, mut told) = (fastrand::Rng::with_seed(seed), empty(), Told::default());
    runtime().block_on(async {
        let mut stack = Stack::open(&disk, pace).await.expect("an empty disk opens");
        for n in 1..9 {
            let key = format!("key-{}", rng.u8(0..2));
            let step = told.next(&mut rng, n, key);
            told.steps.insert(n, step.clone());
            if let Some(key) = key_of(&step) {
                told.story.plan.insert(n, (key.clone(), true));
            }
            match step {
                Step::Upload(key) => {
                    let sent = stack.upload(&key, n).await.expect("the disk is sound");
                    told.uploads.insert(n, sent);
                    told.ids.insert(n, stack.newest(&key).expect("reads").version);
                }
                Step::Copy(key, of) => {
                    stack.copy(&key, of, n).await.expect("the disk is sound");
                    told.ids.insert(n, stack.newest(&key).expect("reads").version);
                }
                Step::Put(key) => {
                    let id = stack.put_version(&key, n, rng.bool()).await.expect("the disk is sound");
                    told.ids.insert(n, id);
                }
                Step::Hide(key) => {
                    let id = stack.remove(&key, None, n).await.expect("the disk is sound");
                    told.ids.insert(n, id);
                }
                Step::Remove(key, of) => {
                    let id = told.ids[&of];
                    assert_eq!(stack.remove(&key, Some(id), n).await.expect("the disk is sound"), id);
                }
                Step::Mode(mode) => stack.versioning(mode, n).await.expect("the disk is sound"),
            }
            assert_eq!(
                stack.versions().await.expect("reads"),
                told.shown(&told.state(n)),
                "seed {seed}, {n}"
            );
            match rng.u8(0..5) {
                0 if n < 8 => {
                    if rng.bool() {
                        stack.stop().await;
                    } else {
                        disk = Arc::new(disk.kill());
                        stack.stop().await;
                    }
                    stack = Stack::open(&disk, pace).await.expect("opens again");
                }
                1 | 2 if pace.0.is_zero() => {
                    let end = stack.queue.stat().durable_end;
                    until("a checkpoint", || stack.store.checkpoint_next() >= end).await;
                }
                _ => {}
            }
        }
        stack.stop().await;
    });
    (disk, told)
}

/// Opens what a power cut left and judges it.
fn judge(disk: &Arc<SimDisk>, told: &Told) -> Result<(), String> {
    let judged = async {
        let stack = Stack::open(disk, NEVER).await?;
        let result = judge_open(&stack, told).await;
        stack.stop().await;
        result
    };
    runtime()
        .block_on(async { tokio::time::timeout(Duration::from_secs(20), judged).await })
        .unwrap_or_else(|_| Err("it hangs".to_owned()))
}

async fn judge_open(stack: &Stack, told: &Told) -> Result<(), String> {
    let story = &told.story;
    let acknowledged = story.acknowledged.values().map(|(n, _)| *n).max().unwrap_or(0).max(story.setting);
    let begun = story.begun.iter().copied().max().unwrap_or(0).max(story.setting_begun);
    for _ in 0..2 {
        let found = stack.versions().await?;
        let legal = [acknowledged, begun].map(|last| told.shown(&told.state(last)));
        if !legal.contains(&found) {
            return Err(format!("P1: there is {found:?}, legal are {legal:?}"));
        }
        for key in ["key-0", "key-1"] {
            // The marker on top hides what is below.
            let wanted = found.iter().find(|(of, ..)| of == key).and_then(|(_, made, _)| *made);
            let current = stack.get(key).await?;
            if current != wanted {
                return Err(format!("P1: {key} holds {current:?}, its versions say {wanted:?}"));
            }
        }
    }
    let mut told = told.clone();
    for sent in told.uploads.range(..=begun).map(|(_, sent)| sent.clone()).collect::<Vec<_>>() {
        if let Some(id) = ask_again(stack, &told, &sent, sent.n <= acknowledged).await? {
            told.ids.insert(sent.n, id);
        }
    }
    let probe = 900_000_000;
    let mut story = story.clone();
    story.plan.insert(probe, ("probe".to_owned(), false));
    story.begun.push(probe);
    stack.put("probe", probe).await.map_err(|e| format!("a change is refused: {e}"))?;
    let mut reader = stack.reader().await?;
    while !story.delivered.contains(&probe) {
        let entries = reader.next(64).await.map_err(|e| format!("the reader: {e}"))?;
        for stored in &entries {
            told.check_event(stored)?;
            story.delivered.push(change(stored));
        }
        let settled: Vec<_> = entries.iter().map(|s| (s.position.offset, Column::Delivered)).collect();
        reader.settle(&settled);
    }
    story.check_deliveries()
}

/// A client that heard nothing asks for the object of its upload again, and once more; gives the version if
/// it is made only now.
async fn ask_again(
    stack: &Stack,
    told: &Told,
    sent: &Sent,
    acknowledged: bool,
) -> Result<Option<VersionId>, String> {
    let before = stack.versions().await?;
    let name = told.ids[&sent.n].to_string();
    let first = stack.complete(sent).await;
    match &first {
        Ok(Completion::Repeated(done)) if done.version.as_deref() == Some(&*name) => {}
        // The record was not there: it is made now, and stands where another one may have stood.
        Ok(Completion::Made(_)) if !acknowledged => {}
        Err(CommitError::NoSuchUpload | CommitError::PartsChanged) if !acknowledged => {}
        other => return Err(format!("P1: asked again, upload {} answers {other:?}", sent.n)),
    }
    let made = matches!(first, Ok(Completion::Made(_)));
    let after = stack.versions().await?;
    let fresh = after.iter().filter(|version| !before.contains(version)).count();
    if fresh > usize::from(made) || (!made && after != before) {
        return Err(format!("P1: asked again, upload {} turned {before:?} into {after:?}", sent.n));
    }
    let again = stack.complete(sent).await;
    if stack.versions().await? != after || (made && !matches!(again, Ok(Completion::Repeated(_)))) {
        return Err(format!("P2: asked twice, upload {} answers {again:?}", sent.n));
    }
    let id = made.then(|| stack.newest(&sent.key).map(|object| object.version));
    id.transpose().map_err(|e| e.to_string())
}

#[test]
fn a_bucket_with_versions_survives_power_cuts() {
    let _sane = sane();
    let began = std::time::Instant::now();
    let (first, lives) = (seed() * 100, 16 * scale());
    println!("TIDINGS_SEED={}, lives {first}..{}", seed(), first + lives);
    let mut judged = 0;
    for seed in first..first + lives {
        let (disk, mut told) = live(seed, if seed % 2 == 0 { OFTEN } else { NEVER });
        let trace = disk.trace();
        let places = trace.iter().filter(|op| !matches!(op, Op::Mark(_))).count();
        let mut rng = fastrand::Rng::with_seed(seed);
        let share = 120.0 / (places.max(1) * 4) as f64;
        let mut power = Power::new(disk.start(), seed, 4);
        let mut images = Vec::new();
        for op in &trace {
            if !matches!(op, Op::Mark(_)) && rng.f64() <= share {
                power.images(|image| images.push((image, told.clone())));
            }
            power.pass(op);
            told.story.pass(op);
        }
        power.images(|image| images.push((image, told.clone())));
        judged += images.len();
        for (at, (image, told)) in images.into_iter().enumerate() {
            judge(&after(image), &told).unwrap_or_else(|why| panic!("seed {seed}, image {at}: {why}"));
        }
    }
    println!("{lives} lives in {:?}", began.elapsed());
    crate::judged("versions", judged);
    assert!(judged > 500);
}
