//! The moment in which a change asks the budgets of its targets.
//!
//! Must never refuse a change for a target that it is not for, shed anything for a change that is not made,
//! nor keep the charge of an entry that was not appended.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::budget::{OverBudget, percent_of};
use super::codec;
use super::dispatcher::Routes;
use super::entry::{DeliveryTo, Entry, TargetNo};
use super::progress::Progress;
use crate::journal;

/// From so many percent of the log's own budget on, targets shed that may: the largest first.
const LOG_PRESSED: u64 = 90;

/// Bytes charged to the targets of one entry that is not appended yet. Dropped, it gives them back.
#[derive(Debug)]
pub(super) struct Charge {
    bytes: u64,
    targets: Vec<Arc<Progress>>,
    /// The entry as it goes into the log.
    meta: Vec<u8>,
}

impl Charge {
    /// Bytes of the entry's record without its body.
    pub(super) fn encoded_len(&self) -> usize {
        self.bytes as usize
    }

    /// The entry is handed over: from here on only settling it gives the bytes back. Gives its encoding.
    pub(super) fn spend(mut self) -> Vec<u8> {
        self.targets.clear();
        std::mem::take(&mut self.meta)
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.targets.iter().for_each(|progress| progress.budget.give_back(self.bytes));
    }
}

/// How much of the log's own budget is used, in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct LogUse {
    pub(super) used: u64,
    pub(super) of: u64,
}

/// Charges an entry to each of its targets. Those that are full and may shed it do, by their policy or
/// because they are in `named`; one that is full and may not refuses the whole change, and then nothing is
/// charged.
pub(super) fn admit(
    routes: &Routes,
    log: LogUse,
    entry: &mut Entry,
    named: &[TargetNo],
) -> Result<Charge, OverBudget> {
    let may_shed = |progress: &Progress| progress.budget.sheds() || named.contains(&progress.target());
    let mut meta = Vec::with_capacity(512);
    codec::encode(entry, &mut meta);
    // Which targets shed it changes neither the number of labels nor the bytes.
    let bytes = journal::bare_len(entry.deliveries.len() + entry.shed.len(), meta.len()) as u64;
    let mut charge = Charge { bytes, targets: Vec::with_capacity(entry.deliveries.len()), meta };
    let mut shedding = false;
    // Who refuses is asked first: nothing is shed by a change that is not made.
    for delivery in &entry.deliveries {
        let Some(progress) = routes.get(delivery.target) else { continue };
        if may_shed(&progress) {
            shedding = true;
        } else if progress.budget.charge(bytes) {
            charge.targets.push(progress);
        } else {
            return Err(progress.budget.full());
        }
    }
    if !shedding {
        return Ok(charge);
    }
    let from = pressed(routes, log, may_shed);
    let mut sheds = |delivery: &mut DeliveryTo| {
        let progress = routes.get(delivery.target).filter(|progress| may_shed(progress));
        let Some(progress) = progress else { return false };
        if progress.budget.charged.load(Ordering::Acquire) >= from || !progress.budget.charge(bytes) {
            return true;
        }
        charge.targets.push(progress);
        false
    };
    entry.shed.extend(entry.deliveries.extract_if(.., &mut sheds));
    if !entry.shed.is_empty() {
        charge.meta.clear();
        codec::encode(entry, &mut charge.meta);
    }
    Ok(charge)
}

/// Charges an entry that nobody asked about: whoever appends it decided.
pub(super) fn force(routes: &Routes, entry: &Entry) -> Charge {
    let mut meta = Vec::with_capacity(512);
    codec::encode(entry, &mut meta);
    let bytes = journal::bare_len(entry.deliveries.len() + entry.shed.len(), meta.len()) as u64;
    let targets: Vec<_> = entry.deliveries.iter().filter_map(|d| routes.get(d.target)).collect();
    targets.iter().for_each(|progress| progress.budget.force(bytes));
    Charge { bytes, targets, meta }
}

/// From which charge on a target that may shed does so for the log's sake: none below 90 % of the log's
/// budget, there the largest alone, and fewer bytes suffice the fuller it gets, until at its end all do.
fn pressed(routes: &Routes, log: LogUse, may_shed: impl Fn(&Progress) -> bool) -> u64 {
    let percent = percent_of(log.used, log.of);
    if percent < LOG_PRESSED {
        return u64::MAX;
    }
    let all = routes.all();
    let shedding = all.iter().filter(|progress| may_shed(progress));
    let largest = shedding.map(|progress| progress.budget.charged.load(Ordering::Acquire)).max().unwrap_or(0);
    let left = 100_u64.saturating_sub(percent);
    (largest / (100 - LOG_PRESSED) * left).max(1)
}

#[cfg(test)]
mod tests;
