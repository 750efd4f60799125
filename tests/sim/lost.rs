//! What is easily lost without anybody noticing: the proof that a record was synced, offsets behind a loss, a
//! body whose record is not applied yet, the number of an event, the count of what was shed.
//!
//! Must never ask the product what to expect: what callers were told decides.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tidings::config::{Budget, Encoding, WhenFull};
use tidings::encode::{Binding, Encoder, Origin};
use tidings::journal::{Opened, Repair, RepairError, verify};

use crate::cuts::runtime;
use crate::disk::{Image, SimDisk};
use crate::log::{append, dir, start};
use crate::power::Power;
use crate::rules::{NOW_US, options};
use crate::stack::{NEVER, Stack, Story, TARGET, drain, empty, judge};
use crate::{kills, sane, seed};

const SECTOR: usize = 512;
const BLOCK: usize = 4096;

/// A log with a few changes, stopped in order; gives also the offset of the last one.
fn stopped_in_order() -> Result<(Image, u64), String> {
    let disk = Arc::new(SimDisk::new(Path::new("/data")));
    let journal = start(&disk, 0)?;
    let mut last = 0;
    for n in 1..7 {
        last = append(&disk, &journal, &[n]).remove(0)?;
    }
    journal.stop();
    Ok((disk.cached(), last))
}

/// Where the batch that holds an offset begins.
fn batch_of(image: &Image, offset: u64) -> Result<(PathBuf, usize), String> {
    let begins = |bytes: &[u8]| {
        let number = |b: &[u8], at: usize| u64::from_le_bytes(b[at..at + 8].try_into().unwrap_or_default());
        let holds = |b: &[u8]| b.starts_with(b"TIDB") && number(b, 16) == offset && number(b, 48) > offset;
        bytes.chunks(BLOCK).position(holds).map(|block| block * BLOCK)
    };
    let found = image.files.iter().find_map(|(path, bytes)| Some((path.clone(), begins(bytes)?)));
    found.ok_or_else(|| format!("no batch begins with {offset}"))
}

/// The last record of a log that was stopped in order goes bad: that is damage, and no tail that nobody was
/// told about.
fn last_record_goes_bad() -> Result<(), String> {
    let (mut image, last) = stopped_in_order()?;
    let (path, at) = batch_of(&image, last)?;
    let bytes = image.files.get_mut(&path).ok_or("there")?;
    Arc::make_mut(bytes)[at..at + SECTOR].fill(0);
    let found = verify(&SimDisk::from_image(image), &dir(), 0).map_err(|e| e.to_string())?;
    let named: Vec<_> = found.damage.iter().map(|damage| (damage.from, damage.to)).collect();
    if named == [(last, last)] { Ok(()) } else { Err(format!("{last} is damaged, {named:?} is said to be")) }
}

#[test]
fn mutant_seal_not_written() {
    kills("seal-not-written", last_record_goes_bad);
}

/// The end of a log is gone, and a row knows how far it reached: what is appended then, before and after the
/// loss is accepted, has offsets that nobody had.
fn the_end_is_gone() -> Result<(), String> {
    let (mut image, last) = stopped_in_order()?;
    let (path, at) = batch_of(&image, last)?;
    let bytes = image.files.get_mut(&path).ok_or("there")?;
    Arc::make_mut(bytes)[at..].fill(0);
    let (disk, dir) = (Arc::new(SimDisk::from_image(image)), dir());
    let proven = last + 1;
    let next = |proven| {
        let opened = Opened::open(disk.disk(), options(&dir), proven).map_err(|e| e.to_string())?;
        match opened.next() {
            next if next > last => Ok(()),
            next => Err(format!("{last} was given, and {next} is given next")),
        }
    };
    next(proven)?;
    let accept = || {
        let mut repair = Repair::begin(&*disk, &dir, proven, (1, last), 5)?;
        repair.mend(&BTreeMap::new(), 5, options(&dir).random)?;
        repair.done(BTreeMap::new())
    };
    accept().map_err(|e| e.to_string())?;
    next(0)
}

#[test]
fn mutant_offsets_reused_after_loss() {
    kills("offsets-reused-after-loss", the_end_is_gone);
}

/// Accepts a loss, once more if power was lost on the way; what is left is whole and goes on above it.
fn accepted_in_the_end(image: Image, proven: u64, last: u64) -> Result<(), String> {
    let (disk, dir) = (Arc::new(SimDisk::from_image(image)), dir());
    let accept = || {
        let mut repair = Repair::begin(&*disk, &dir, proven, (1, last), 5)?;
        repair.mend(&BTreeMap::new(), 5, options(&dir).random)?;
        repair.done(BTreeMap::new())
    };
    match accept() {
        Ok(_) | Err(RepairError::Nothing) => {}
        Err(why) => return Err(why.to_string()),
    }
    let opened = Opened::open(disk.disk(), options(&dir), proven).map_err(|e| e.to_string())?;
    match (opened.report().damage.is_empty(), opened.next()) {
        (true, next) if next > last => Ok(()),
        found => Err(format!("{last} was lost, and afterwards: {found:?}")),
    }
}

/// Power is lost anywhere while an operator accepts a loss.
#[test]
fn accepting_a_loss_survives_power_cuts() {
    let _sane = sane();
    let (mut image, last) = stopped_in_order().expect("the disk is sound");
    let (path, at) = batch_of(&image, last).expect("it is there");
    Arc::make_mut(image.files.get_mut(&path).expect("there"))[at..].fill(0);
    let (disk, proven) = (Arc::new(SimDisk::from_image(image)), last + 1);
    let mut repair = Repair::begin(&*disk, &dir(), proven, (1, last), 5).expect("begun");
    repair.mend(&BTreeMap::new(), 5, options(&dir()).random).expect("mended");
    repair.done(BTreeMap::new()).expect("done");
    let (mut power, mut states) = (Power::new(disk.start(), seed(), 60), 0);
    let mut judge = |power: &mut Power| {
        power.images(|image| {
            states += 1;
            accepted_in_the_end(image, proven, last).unwrap_or_else(|why| panic!("image {states}: {why}"));
        });
    };
    for op in disk.trace() {
        judge(&mut power);
        power.pass(&op);
    }
    judge(&mut power);
    assert!(crate::judged("accepted losses", states) > 20);
}

/// A kill before the index made a checkpoint: at the next start bodies in files of their own are named by
/// records alone.
fn bodies_before_their_rows() -> Result<(), String> {
    let (disk, mut story) = (empty(), Story::default());
    let killed = runtime().block_on(async {
        let stack = Stack::open(&disk, NEVER).await?;
        for n in 1..4 {
            let key = format!("key-{n}");
            stack.put_blob(&key, n).await.map_err(|e| e.to_string())?;
            story.plan.insert(n, (key, false));
        }
        let killed = Arc::new(disk.kill());
        stack.stop().await;
        Ok::<_, String>(killed)
    })?;
    killed.see(|trace| trace.iter().for_each(|op| story.pass(op)));
    judge(&killed, &story)
}

#[test]
fn mutant_blob_collected_early() {
    kills("blob-collected-early", bodies_before_their_rows);
}

/// The clock goes back between two changes of one object: the later one is numbered above the earlier one.
fn numbered_while_the_clock_goes_back() -> Result<(), String> {
    let origin = Origin { region: "here", appid: "1", domain: None, target: "target" };
    let encoder = Encoder::new(Encoding::S3, Binding::Kafka, origin, None);
    let before = NOW_US.load(Ordering::SeqCst);
    let numbers = runtime().block_on(async {
        let stack = Stack::open(&empty(), NEVER).await?;
        for n in 1..4 {
            NOW_US.store(before + 1_000_000 - 1_000 * n, Ordering::SeqCst);
            stack.put("key", n.unsigned_abs()).await.map_err(|e| e.to_string())?;
        }
        let (mut reader, mut numbers) = (stack.reader().await?, Vec::new());
        while numbers.len() < 3 {
            for stored in reader.next(9).await.map_err(|e| e.to_string())? {
                let rule = stored.rule_for(TARGET).ok_or("it is for the target")?;
                let message = encoder.message(&stored, rule).map_err(|e| format!("{e:?}"))?;
                let number = message.headers.iter().find(|header| header.name == "tidings-sequencer");
                numbers.push(number.ok_or("no sequencer")?.value.to_string());
            }
        }
        drop(reader);
        stack.stop().await;
        Ok::<_, String>(numbers)
    });
    NOW_US.store(before, Ordering::SeqCst);
    let numbers = numbers?;
    if numbers.is_sorted_by(|a, b| a < b) { Ok(()) } else { Err(format!("P4: {numbers:?}")) }
}

#[test]
fn mutant_sequencer_from_the_clock() {
    kills("sequencer-from-the-clock", numbered_while_the_clock_goes_back);
}

/// Changes until a target that may shed is full: each is either matched or shed, in this life and the next.
fn shed_by_a_full_target() -> Result<(), String> {
    const CHANGES: u64 = 20;
    let disk = empty();
    runtime().block_on(async {
        let stack = Stack::open(&disk, NEVER).await?;
        let policy = Budget { max_backlog: 1_500, when_full: WhenFull::Shed };
        stack.progress.budget().set(&"target".into(), policy);
        for n in 1..=CHANGES {
            stack.put("key", n).await.map_err(|e| e.to_string())?;
        }
        let told = |stack: &Stack| {
            let books = stack.progress.books();
            match (books.matched + books.shed, books.shed) {
                (CHANGES, 1..CHANGES) => Ok(books.matched),
                _ => Err(format!("P8: {books:?} of {CHANGES} changes")),
            }
        };
        let matched = told(&stack)?;
        stack.stop().await;
        let stack = Stack::open(&disk, NEVER).await?;
        told(&stack)?;
        let mut reader = stack.reader().await?;
        let came = drain(&disk, &mut reader, matched).await?;
        drop(reader);
        stack.stop().await;
        // The first ones found room.
        if came.iter().copied().eq(1..=matched) {
            Ok(())
        } else {
            Err(format!("{matched} matched: {came:?}"))
        }
    })
}

#[test]
fn mutant_shed_not_counted() {
    kills("shed-not-counted", shed_by_a_full_target);
}
