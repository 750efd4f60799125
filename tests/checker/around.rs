//! What a run must be beside its events: a system that comes back once the faults have ended, and that says
//! nothing which is not for everybody's eyes.
//!
//! Must never repeat a secret that it found.

use std::time::Duration;

use super::{Property, Report, whole_run};

/// A step of coming back, after the last fault.
#[derive(Debug, Clone)]
pub(crate) struct Stage {
    /// What must happen: ready, drained, a probe arrived.
    pub what: &'static str,
    /// How long it took; none if it never happened.
    pub took: Option<Duration>,
    /// How long it may take.
    pub within: Duration,
}

/// What was seen around the events.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Around<'a> {
    /// The steps of coming back.
    pub stages: &'a [Stage],
    /// What the product said: where, and the text.
    pub said: &'a [(String, String)],
    /// What it must never say: what that is, and the text.
    pub planted: &'a [(&'static str, String)],
}

/// Planted texts below this say nothing: they could be anywhere.
const LEAST: usize = 8;
/// How a panic shows itself.
const PANIC: &str = "panicked at";

impl Around<'_> {
    /// P6 and P10.
    pub(super) fn judge(&self, report: &mut Report) {
        for stage in self.stages {
            let Stage { what, took, within } = stage;
            let violation = match took {
                Some(took) if took <= within => continue,
                Some(took) => format!("{what} after {took:?}, {within:?} allowed"),
                None => format!("never {what}, within {within:?}"),
            };
            report.violations.push(whole_run(Property::P6Liveness, violation));
        }
        for (place, text) in self.said {
            let mut found = |what: &str, sought: &str| {
                let line = text.lines().position(|line| line.contains(sought));
                if let Some(line) = line {
                    let what = format!("{what} in {place}, line {}", line + 1);
                    report.violations.push(whole_run(Property::P10Quiet, what));
                }
            };
            found("a panic", PANIC);
            for (what, planted) in self.planted {
                assert!(planted.len() >= LEAST, "{what} is too short to be looked for");
                found(what, planted);
            }
        }
    }
}
