//! The checker: says whether what consumers received agrees with what clients were told, and names what does
//! not.
//!
//! It judges from outside: its input is what clients sent and were answered, and what an independent consumer
//! read. It must never read the product's log, do IO, or assume that the product's own numbers are right.

mod around;
mod history;
mod key;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

pub(crate) use around::{Around, Stage};
pub(crate) use history::{Action, Found, Op, Outcome, Recorder, TICK_NEVER};
use key::KeyCheck;

/// The properties that a run must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Property {
    /// Every acknowledged change has its event.
    P1Complete,
    /// Every event corresponds to one change that may have happened, and says of it what was done.
    P2NoPhantom,
    /// Per key, a delivery is a repeat or the next event.
    P3Order,
    /// Sequencers are unique and follow real time.
    P4Sequencer,
    /// Bodies and events agree with each other and stay the same.
    P5Content,
    /// Once the faults have ended the system comes back: ready, drained, and a fresh change arrives.
    P6Liveness,
    /// The last event of each key is what the store holds.
    P7Fold,
    /// The books balance and equal what was seen from outside.
    P8Books,
    /// Duplicates stay within what the run allows.
    P9Duplicates,
    /// No secret, no body and no panic is said anywhere.
    P10Quiet,
}

/// One way in which a run is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Violation {
    /// Which property does not hold.
    pub property: Property,
    /// The key, as `bucket/key`; empty where it concerns the whole run.
    pub key: Arc<str>,
    /// What was found.
    pub what: String,
}

/// What a delivered event says happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An object was put.
    Put,
    /// An object was deleted.
    Delete,
    /// Anything else.
    Other(String),
}

/// One delivery, as an independent consumer read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Delivery {
    /// The sequence of the far side in which it stood; order means something only within one.
    pub partition: i32,
    /// `bucket/key`.
    pub key: Arc<str>,
    /// The stable event id.
    pub event_id: String,
    /// The sequencer; compares bytewise.
    pub sequencer: String,
    /// What it says happened.
    pub kind: Kind,
    /// The ETag it carries.
    pub etag: Option<String>,
    /// The size it carries.
    pub size: Option<u64>,
    /// The request that caused it.
    pub request_id: Option<String>,
    /// A digest of the whole payload: the same at every attempt.
    pub digest: u64,
}

/// An object in the store's final listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listed {
    /// `bucket/key`.
    pub key: Arc<str>,
    /// The ETag.
    pub etag: String,
    /// Bytes.
    pub size: u64,
}

/// One target's books as the product reports them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Books {
    /// Events that matched.
    pub matched: u64,
    /// Delivered.
    pub delivered: u64,
    /// Waiting.
    pub backlog: u64,
    /// Waiting because their key is stuck.
    pub held: u64,
    /// Dead-lettered, purged, forgotten and quarantined together.
    pub set_aside: u64,
    /// Never accepted.
    pub shed: u64,
}

/// Everything known about one run at one target.
pub(crate) struct Run<'a> {
    /// What the clients did.
    pub ops: &'a [Op],
    /// What the consumer read: in order within each partition, duplicates included.
    pub deliveries: &'a [Delivery],
    /// The store's listing after the last operation returned, if it was taken.
    pub listing: Option<&'a [Listed]>,
    /// The target's books after the last delivery, if they were read.
    pub books: Option<Books>,
    /// Which keys (`bucket/key`) the target's rules match; they must match every kind of such a key.
    pub matches: &'a dyn Fn(&str) -> bool,
    /// How many repeated deliveries the run may have; without a fault, 0.
    pub max_duplicates: usize,
    /// What was seen around the events; nothing, if nobody looked.
    pub around: Around<'a>,
}

/// The verdict and its numbers: of the keys that the target's rules match.
#[derive(Debug, Clone, Default)]
pub(crate) struct Report {
    /// Everything that is wrong, by property.
    pub violations: Vec<Violation>,
    /// Changes that were acknowledged.
    pub acknowledged: usize,
    /// Changes whose outcome the client never learnt.
    pub unknown: usize,
    /// Of those, the ones whose event arrived.
    pub unknown_applied: usize,
    /// Reads that were checked against the events.
    pub reads: usize,
    /// Deliveries read.
    pub deliveries: usize,
    /// Distinct events among them.
    pub events: usize,
}

impl Report {
    /// Deliveries that repeated an earlier one.
    pub(crate) fn duplicates(&self) -> usize {
        self.deliveries - self.events
    }

    fn count_op(&mut self, op: &Op) {
        match (&op.action, op.outcome) {
            (Action::Read { .. }, _) => self.reads += 1,
            (_, Outcome::Ok) => self.acknowledged += 1,
            (_, Outcome::Info) => self.unknown += 1,
            (_, Outcome::Fail) => {}
        }
    }

    /// How many violations of one property there are.
    pub(crate) fn count(&self, property: Property) -> usize {
        self.violations.iter().filter(|violation| violation.property == property).count()
    }
}

/// Judges a run.
pub(crate) fn check(run: &Run<'_>) -> Report {
    let mut report = Report { deliveries: run.deliveries.len(), ..Report::default() };
    let mut keys: BTreeMap<&Arc<str>, (Vec<&Op>, Vec<&Delivery>)> = BTreeMap::new();
    for op in run.ops {
        if (run.matches)(&op.key) {
            report.count_op(op);
        }
        keys.entry(&op.key).or_default().0.push(op);
    }
    for delivery in run.deliveries {
        keys.entry(&delivery.key).or_default().1.push(delivery);
    }
    let mut folded = HashMap::new();
    for (key, (ops, deliveries)) in &keys {
        let mut key_check = KeyCheck::new(key, ops);
        if !(run.matches)(key) {
            report.deliveries -= deliveries.len();
            for delivery in deliveries {
                let what = format!("no rule matches this key, and {} arrived", delivery.event_id);
                key_check.violate(Property::P2NoPhantom, what);
            }
            report.violations.append(&mut key_check.violations);
            continue;
        }
        key_check.deliveries(deliveries);
        key_check.changes();
        key_check.observations();
        report.events += key_check.events();
        report.unknown_applied += key_check.unknown_applied();
        if let Some(last) = key_check.last() {
            folded.insert(Arc::clone(key), last);
        }
        report.violations.append(&mut key_check.violations);
    }
    unique_sequencers(run.deliveries, &mut report);
    if let Some(listing) = run.listing {
        fold_equals_store(&folded, listing, run.matches, &mut report);
    }
    if let Some(books) = run.books {
        books_agree(&books, &mut report);
    }
    if report.duplicates() > run.max_duplicates {
        let what = format!("{} repeated deliveries, {} allowed", report.duplicates(), run.max_duplicates);
        report.violations.push(whole_run(Property::P9Duplicates, what));
    }
    run.around.judge(&mut report);
    report.violations.sort_by_key(|violation| violation.property);
    report
}

fn whole_run(property: Property, what: String) -> Violation {
    Violation { property, key: "".into(), what }
}

/// One sequencer names one event, whatever its key.
fn unique_sequencers(deliveries: &[Delivery], report: &mut Report) {
    let mut owner: HashMap<&str, &Delivery> = HashMap::new();
    for delivery in deliveries {
        let first = owner.entry(&delivery.sequencer).or_insert(delivery);
        if first.event_id != delivery.event_id {
            let what = format!(
                "sequencer {} names {} and, for {}, {}",
                delivery.sequencer, delivery.event_id, first.key, first.event_id
            );
            let key = Arc::clone(&delivery.key);
            report.violations.push(Violation { property: Property::P4Sequencer, key, what });
        }
    }
}

/// The last event of each key, by sequencer, is what the store lists.
fn fold_equals_store(
    folded: &HashMap<Arc<str>, Option<(String, u64)>>,
    listing: &[Listed],
    matches: &dyn Fn(&str) -> bool,
    report: &mut Report,
) {
    let mut listed: HashMap<&str, &Listed> = HashMap::new();
    let mut violate = |key: &Arc<str>, what: String| {
        report.violations.push(Violation { property: Property::P7Fold, key: Arc::clone(key), what });
    };
    for object in listing.iter().filter(|object| matches(&object.key)) {
        if listed.insert(&object.key, object).is_some() {
            violate(&object.key, "listed twice".to_owned());
        }
        if !folded.contains_key(&object.key) {
            violate(&object.key, format!("the store holds {} and no event says so", object.etag));
        }
    }
    for (key, last) in folded {
        let listed = listed.get(&**key).map(|object| (object.etag.as_str(), object.size));
        if listed != last.as_ref().map(|(etag, size)| (etag.as_str(), *size)) {
            violate(key, format!("the events end with {last:?}, the store holds {listed:?}"));
        }
    }
}

/// The identity holds, nothing is left over, and the numbers are those counted outside.
fn books_agree(books: &Books, report: &mut Report) {
    let settled = books.delivered + books.backlog + books.held + books.set_aside;
    let mut violate = |what: String| report.violations.push(whole_run(Property::P8Books, what));
    if settled != books.matched {
        violate(format!("the books do not balance: {books:?}"));
    }
    if books.delivered != report.events as u64 {
        violate(format!("{} delivered by the books, {} events arrived", books.delivered, report.events));
    }
    let (least, most) = (report.acknowledged, report.acknowledged + report.unknown);
    if books.matched > most as u64 {
        violate(format!("{} matched by the books; clients made {least} to {most} changes", books.matched));
    }
    if books.shed > 0 {
        violate(format!("{} events were shed", books.shed));
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {}: {}", self.property, self.key, self.what)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 20;
        write!(
            f,
            "{} acknowledged, {} unknown ({} of them applied), {} reads; {} deliveries of {}, {} repeats",
            self.acknowledged,
            self.unknown,
            self.unknown_applied,
            self.reads,
            self.deliveries,
            self.events,
            self.duplicates()
        )?;
        write!(f, "; {} violations", self.violations.len())?;
        for violation in self.violations.iter().take(SHOWN) {
            write!(f, "\n  {violation}")?;
        }
        Ok(())
    }
}
