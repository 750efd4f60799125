//! Judges what was typed and builds the checked configuration: everything but the targets.
//!
//! Must never stop at the first problem, and never judge a value that was already told to have the wrong
//! type.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use tidings_connector::{Size, Span};

use super::decode::Known;
use super::diagnostics::Problem;
use super::places::{Part, Places};
use super::tree::KeyPath;
use super::{Account, Config, Queue, raw};

pub(super) const KIB: u64 = 1 << 10;
pub(super) const MIB: u64 = 1 << 20;
pub(super) const GIB: u64 = 1 << 30;
pub(super) const MS: Duration = Duration::from_millis(1);
pub(super) const MINUTE: Duration = Duration::from_secs(60);
pub(super) const HOUR: Duration = Duration::from_secs(3_600);
const YEAR: Duration = Duration::from_secs(365 * 86_400);

/// The log holds at least this many segments: two stand ready, one is written, one is drained.
const MIN_SEGMENTS: u64 = 4;
/// Segments are written in whole blocks.
const BLOCK_BYTES: u64 = 4_096;

/// Gathers what is wrong while the checked configuration is built.
pub(super) struct Checker<'a> {
    pub(super) places: &'a Places<'a>,
    pub(super) tree: &'a config::Value,
    pub(super) known: &'a [Known],
    /// Paths whose values were taken out because they had the wrong type: nothing is said about them again.
    pub(super) broken: &'a [KeyPath],
    pub(super) problems: Vec<Problem>,
    pub(super) warnings: Vec<String>,
    /// `server.region` and `account.appid`, as typed: functions are told both.
    pub(super) region: String,
    pub(super) appid: String,
}

impl Checker<'_> {
    /// The checked configuration; worth something only if no problem was found.
    pub(super) fn check(&mut self, raw: raw::Raw) -> Option<Config> {
        let server = self.server(raw.server);
        let admin = self.admin(raw.admin, server.as_ref());
        let limits = self.limits_of_all(&raw.limits);
        let appid_at = KeyPath::of(&["account", "appid"]);
        let appid = raw.account.appid;
        if !(1..=20).contains(&appid.len()) || !appid.bytes().all(|b| b.is_ascii_digit()) {
            self.problem(&appid_at, "`appid` must be 1 to 20 digits".into(), &["such as \"1250000000\""]);
        }
        let queue = self.queue(&raw.queue);
        let store = self.store(&raw.store);
        let restore = self.restore(&raw.restore);
        let origin = self.origin(&raw.origin);
        let replication = self.replication(raw.replication);
        let functions = self.functions(raw.functions);
        let region = server.as_ref().map(|s| s.region.clone()).unwrap_or_default();
        let targets = self.targets(raw.target, &region);
        Some(Config {
            server: server?,
            admin: admin?,
            limits,
            account: Account { appid },
            queue,
            store,
            restore,
            origin,
            replication,
            functions,
            targets: targets?,
            warnings: std::mem::take(&mut self.warnings),
        })
    }

    fn queue(&mut self, raw: &raw::Queue) -> Queue {
        let at = KeyPath::of(&["queue"]);
        let segment = raw.segment_bytes.0;
        let segment_ok = self.size(&at.key("segment_bytes"), raw.segment_bytes, MIB..=GIB);
        if segment_ok && !segment.is_multiple_of(BLOCK_BYTES) {
            let what = format!("`segment_bytes` is {segment}, which is no multiple of {BLOCK_BYTES}");
            self.problem(&at.key("segment_bytes"), what, &["write it in KiB or MiB, such as \"64MiB\""]);
        }
        let least = MIN_SEGMENTS * segment.min(GIB);
        if segment_ok && !self.is_broken(&at.key("segment_bytes")) && raw.max_bytes.0 < least {
            let what = format!("`max_bytes` must hold at least {MIN_SEGMENTS} segments: {}", in_units(least));
            self.problem(&at.key("max_bytes"), what, &["raise `max_bytes`, or lower `segment_bytes`"]);
        }
        self.size(&at.key("max_bytes"), raw.max_bytes, 0..=1024 * 1024 * GIB);
        self.size(&at.key("retain_bytes"), raw.retain_bytes, 0..=1024 * 1024 * GIB);
        self.span(&at.key("retain_age"), raw.retain_age, Duration::ZERO..=YEAR);
        self.size(&at.key("overlay_bytes"), raw.overlay_bytes, MIB..=64 * GIB);
        self.size(&at.key("tail_bytes"), raw.tail_bytes, 0..=64 * GIB);
        Queue {
            max_bytes: raw.max_bytes.0,
            retain_bytes: raw.retain_bytes.0,
            retain_age: raw.retain_age.0,
            segment_bytes: segment,
            overlay_bytes: raw.overlay_bytes.0,
            tail_bytes: raw.tail_bytes.0,
        }
    }

    /// Tells a problem with the value at `at`, unless its type was already wrong.
    pub(super) fn problem(&mut self, at: &KeyPath, what: String, help: &[&str]) {
        self.problem_at(at, Part::Value, what, help);
    }

    /// The same with a choice of what the caret stands under.
    pub(super) fn problem_at(&mut self, at: &KeyPath, part: Part, what: String, help: &[&str]) {
        if !self.is_broken(at) {
            let help = help.iter().map(|h| (*h).to_owned()).collect();
            self.problems.push(Problem { place: self.places.of(at, part), what, help });
        }
    }

    /// True if this value, or a table around it, was taken out because it had the wrong type.
    pub(super) fn is_broken(&self, at: &KeyPath) -> bool {
        self.broken.iter().any(|broken| at.starts_with(broken))
    }

    pub(super) fn listen(&mut self, at: &KeyPath, text: &str) -> Option<SocketAddr> {
        let address = text.parse().ok();
        if address.is_none() {
            let what = format!("`{}` is not an address to listen on", text.escape_debug());
            self.problem(
                at,
                what,
                &["write an IP address and a port, such as \"127.0.0.1:9000\" or \"[::1]:9000\""],
            );
        }
        address
    }

    pub(super) fn size(&mut self, at: &KeyPath, size: Size, allowed: RangeInclusive<u64>) -> bool {
        let fits = allowed.contains(&size.0);
        if !fits {
            self.bounds(at, &in_units(size.0), &in_units(*allowed.start()), &in_units(*allowed.end()));
        }
        fits
    }

    pub(super) fn span(&mut self, at: &KeyPath, span: Span, allowed: RangeInclusive<Duration>) -> bool {
        let fits = allowed.contains(&span.0);
        if !fits {
            self.bounds(at, &in_time(span.0), &in_time(*allowed.start()), &in_time(*allowed.end()));
        }
        fits
    }

    pub(super) fn count(&mut self, at: &KeyPath, count: usize, allowed: RangeInclusive<usize>) {
        if !allowed.contains(&count) {
            self.bounds(at, &count.to_string(), &allowed.start().to_string(), &allowed.end().to_string());
        }
    }

    fn bounds(&mut self, at: &KeyPath, is: &str, least: &str, most: &str) {
        let key = at.last_key();
        self.problem(at, format!("`{key}` is {is}; allowed are {least} to {most}"), &[]);
    }
}

/// 1 to 64 of `a-z 0-9 -`.
pub(super) fn is_region(text: &str) -> bool {
    let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=64).contains(&text.len()) && text.bytes().all(legal)
}

/// A number of bytes in the largest unit that shows it exactly.
pub(super) fn in_units(bytes: u64) -> String {
    let units = [(1 << 40, "TiB"), (GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")];
    match units.iter().find(|(factor, _)| bytes >= *factor && bytes.is_multiple_of(*factor)) {
        Some((factor, unit)) => format!("{}{unit}", bytes / factor),
        None => format!("{bytes}"),
    }
}

/// A duration in the largest unit that shows it exactly.
pub(super) fn in_time(span: Duration) -> String {
    let ms = span.as_millis();
    let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s")];
    match units.iter().find(|(factor, _)| ms >= *factor && ms.is_multiple_of(*factor)) {
        Some((factor, unit)) => format!("{}{unit}", ms / factor),
        None => format!("{ms}ms"),
    }
}
