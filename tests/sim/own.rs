//! A bucket's own rules through power cuts and kills: who gets what follows from what was acknowledged,
//! change by change, and a target that is not configured for a while gets what is matched after it returned.
//!
//! Must never ask the product what to expect: the reference is a list of configurations.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tidings::config;
use tidings::event::{EventKind, EventSet, RequestInfo};
use tidings::queue::Column;
use tidings::rules::{Around, Form, Named, Names, Notification, PutRule, RuleSet};

use crate::cuts::{runtime, until};
use crate::disk::{Mark, Op, SimDisk};
use crate::power::Power;
use crate::rules::after;
use crate::stack::{NEVER, OFTEN, Pace, Stack, Story, TARGET, change, empty};
use crate::{kills, sane, scale, seed};

const BUCKET: &str = "bucket";
const PREFIXES: [&str; 3] = ["a/", "b/", "c/"];
/// The changes of one life.
const CHANGES: u64 = 9;

/// What one change does.
#[derive(Debug, Clone)]
enum Step {
    /// A PUT under this prefix.
    Put(usize),
    /// The bucket's rules are these: each has a prefix, and is called by its change and prefix.
    Rules(Vec<usize>),
    /// The target is in the configuration from now on, or not. Nothing is written.
    Configured(bool),
}

/// What was done, and what clients were told.
#[derive(Debug, Clone, Default)]
struct Told {
    steps: BTreeMap<u64, Step>,
    story: Story,
}

fn id(n: u64, prefix: usize) -> String {
    format!("{n}-{prefix}")
}

impl Told {
    /// The names of the rules after the changes up to this one.
    fn rules(&self, last: u64) -> Vec<String> {
        let set = self.steps.range(..=last).rev().find_map(|(n, step)| match step {
            Step::Rules(prefixes) => Some(prefixes.iter().map(|prefix| id(*n, *prefix)).collect()),
            _ => None,
        });
        set.unwrap_or_default()
    }

    /// What the target gets of the changes up to this one: the change, its kind, and the rule.
    fn given(&self, last: u64) -> Vec<(u64, EventKind, String)> {
        let (mut given, mut rules, mut configured) = (Vec::new(), BTreeMap::new(), true);
        for (n, step) in self.steps.range(..=last) {
            match step {
                Step::Configured(now) => configured = *now,
                Step::Rules(prefixes) => {
                    rules = prefixes.iter().map(|prefix| (*prefix, id(*n, *prefix))).collect();
                    given.extend(
                        prefixes
                            .first()
                            .filter(|_| configured)
                            .map(|first| (*n, EventKind::Test, id(*n, *first))),
                    );
                }
                Step::Put(prefix) => {
                    let rule = rules.get(prefix).filter(|_| configured);
                    given.extend(rule.map(|rule| (*n, EventKind::CreatedPut, rule.clone())));
                }
            }
        }
        given
    }
}

fn names() -> Names {
    let mut names = Names::default();
    names.add(
        &"target".into(),
        Named { target: TARGET, invokes: false, tested: true, topic: None, region: None },
    );
    names
}

/// The configuration has no rules of its own.
fn configure(stack: &Stack, configured: bool) {
    let names = if configured { names() } else { Names::default() };
    stack.commit.set_rules(RuleSet::build(&[]).reaching(names));
}

async fn set_rules(stack: &Stack, n: u64, prefixes: &[usize]) -> Result<(), String> {
    let rule = |prefix: &usize| PutRule {
        id: Some(id(n, *prefix)),
        form: Form::Queue,
        to: "arn:tidings:sqs:here::target".into(),
        events: vec!["s3:ObjectCreated:*".into()],
        filter: vec![("prefix".into(), PREFIXES[*prefix].into())],
        broker: None,
    };
    let put: Vec<_> = prefixes.iter().map(rule).collect();
    stack.disk.mark(Mark::Setting { value: n, durable: false });
    let failed = |e: tidings::commit::CommitError| e.to_string();
    let permit = stack.commit.reserve(4_096).await.map_err(failed)?;
    let request = RequestInfo { id: n.to_string().into(), source_ip: None, principal: "me".into(), hops: 0 };
    let announce = stack.commit.announce(request).await.map_err(failed)?;
    let change = move |now: &Notification| {
        let names = names();
        let around = Around { region: "here", names: &names };
        now.replaced_by(put, around, || "made".into()).map(|next| (next, ()))
    };
    let set = stack.commit.change_rules(permit, BUCKET, change, Some(announce)).await.map_err(failed)?;
    set.map_err(|e| e.to_string())?;
    stack.disk.mark(Mark::Setting { value: n, durable: true });
    Ok(())
}

async fn do_step(stack: &Stack, n: u64, step: &Step) -> Result<(), String> {
    match step {
        Step::Put(prefix) => {
            stack.put(&format!("{}{n}", PREFIXES[*prefix]), n).await.map_err(|e| e.to_string())?;
        }
        Step::Rules(prefixes) => set_rules(stack, n, prefixes).await?,
        Step::Configured(configured) => configure(stack, *configured),
    }
    Ok(())
}

/// Changes over three prefixes; the target is away; the server stops, dies or goes on.
fn live(seed: u64, pace: Pace) -> (Arc<SimDisk>, Told) {
    let (mut rng, mut disk, mut told) = (fastrand::Rng::with_seed(seed), empty(), Told::default());
    runtime().block_on(async {
        let mut stack = Stack::open(&disk, pace).await.expect("an empty disk opens");
        let mut configured = true;
        configure(&stack, configured);
        for n in 1..=CHANGES {
            let step = match rng.u8(0..8) {
                _ if n == 1 => Step::Rules(vec![0, 1]),
                0..=2 => Step::Rules((0..3).filter(|_| rng.bool()).collect()),
                3 => Step::Configured(rng.bool()),
                _ => Step::Put(rng.usize(0..3)),
            };
            told.steps.insert(n, step.clone());
            if let Step::Configured(now) = step {
                configured = now;
            }
            do_step(&stack, n, &step).await.expect("the disk is sound");
            match rng.u8(0..5) {
                0 if n < CHANGES => {
                    if rng.bool() {
                        stack.stop().await;
                    } else {
                        disk = Arc::new(disk.kill());
                        stack.stop().await;
                    }
                    stack = Stack::open(&disk, pace).await.expect("opens again");
                    configure(&stack, configured);
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
    configure(stack, true);
    let story = &told.story;
    let acknowledged = story.acknowledged.values().map(|(n, _)| *n).max().unwrap_or(0).max(story.setting);
    let begun = story.begun.iter().copied().max().unwrap_or(0).max(story.setting_begun).max(acknowledged);
    let Ok(now) = stack.commit.rules_of(BUCKET) else { return Err("P1: the rules cannot be read".into()) };
    let rules: Vec<_> = now.rules().iter().map(|rule| rule.id.clone()).collect();
    // What they match from now on, and an end that a rule of the configuration matches.
    let (probe, end) = (900_000_000, 900_000_001);
    stack.put("a/probe", probe).await.map_err(|e| format!("a change is refused: {e}"))?;
    let all = config::Rule {
        name: "end".into(),
        bucket: "*".into(),
        events: EventSet::parse("s3:ObjectCreated:*").expect("a known name"),
        prefix: String::new(),
        suffix: String::new(),
    };
    stack.commit.set_rules(RuleSet::build(&[(TARGET, vec![all])]));
    stack.put("end", end).await.map_err(|e| format!("a change is refused: {e}"))?;
    let mut reader = stack.reader().await?;
    let mut given: Vec<(u64, EventKind, String)> = Vec::new();
    while given.last().is_none_or(|(n, ..)| *n != end) {
        let entries = reader.next(64).await.map_err(|e| format!("the reader: {e}"))?;
        given.extend(entries.iter().map(|stored| {
            let kind = stored.entry.event.as_ref().expect("an event").kind;
            (change(stored), kind, stored.rule_for(TARGET).expect("its own").to_string())
        }));
        let settled: Vec<_> = entries.iter().map(|s| (s.position.offset, Column::Delivered)).collect();
        reader.settle(&settled);
    }
    let first = rules.iter().find(|id| id.ends_with("-0"));
    let tail = first.map(|rule| (probe, EventKind::CreatedPut, rule.clone()));
    let tail: Vec<_> = tail.into_iter().chain([(end, EventKind::CreatedPut, "end".to_owned())]).collect();
    // Rules are there before they are announced: who gets the test event can rely on them.
    let legal = [(acknowledged, acknowledged), (begun, acknowledged), (begun, begun)];
    let legal = legal.map(|(rules, last)| (told.rules(rules), [told.given(last), tail.clone()].concat()));
    let found = (rules, given);
    if !legal.contains(&found) {
        return Err(format!("P1: there is {found:?}, legal are {legal:?}"));
    }
    let books = reader.progress().books();
    match (books.imbalance(), books.backlog) {
        (0, 0) => Ok(()),
        other => Err(format!("the books do not balance: {other:?}")),
    }
}

fn survives(lives: u64) -> Result<usize, String> {
    let first = seed() * 100;
    let mut judged = 0;
    for seed in first..first + lives {
        let (disk, mut told) = live(seed, if seed % 2 == 0 { OFTEN } else { NEVER });
        let trace = disk.trace();
        let places = trace.iter().filter(|op| !matches!(op, Op::Mark(_))).count();
        let mut rng = fastrand::Rng::with_seed(seed);
        let share = 100.0 / (places.max(1) * 4) as f64;
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
            judge(&after(image), &told).map_err(|why| format!("seed {seed}, image {at}: {why}"))?;
        }
    }
    Ok(judged)
}

#[test]
fn a_bucket_s_own_rules_survive_power_cuts_and_decide_each_change_as_acknowledged() {
    let _sane = sane();
    let began = std::time::Instant::now();
    let lives = 12 * scale();
    println!("TIDINGS_SEED={}, {lives} lives", seed());
    let judged = survives(lives).unwrap_or_else(|why| panic!("{why}"));
    println!("{lives} lives in {:?}", began.elapsed());
    crate::judged("rules of a bucket", judged);
    assert!(judged > 200);
}

#[test]
fn rules_that_are_announced_before_they_are_durable_are_noticed() {
    kills("rules-announced-early", || survives(4).map(|_| ()));
}
