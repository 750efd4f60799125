//! The bytes of dead letters: letters, and marks of those that are gone, as checksummed records.
//!
//! Must never panic on any input.

use std::sync::Arc;

use crate::event::Position;
use crate::journal::crc32c;
use crate::queue::codec::{self, DecodeError};
use crate::queue::entry::{DeliveryTo, Entry, Stored, TargetNo};

/// Bytes of a record before its content: checksum, length, kind.
pub(super) const RECORD_HEADER: usize = 12;
/// No batch holds more than this many bytes of records, unless a single record is larger.
pub(super) const BATCH_BYTES: usize = 256 << 10;
/// No record is longer.
const MAX_RECORD: usize = 16 << 20;
/// Bytes of a letter before its texts.
const LETTER_FIXED: usize = 68;

/// The record kinds.
pub(super) const LETTER: u8 = 1;
pub(super) const GONE: u8 = 2;
/// Letters that an operator wants to be sent again.
pub(super) const WISH: u8 = 3;

/// One event that its target can never accept.
#[derive(Debug, Clone, PartialEq)]
pub struct Letter {
    /// Where its entry stood in the log.
    pub position: Position,
    /// The entry without its body, with the one delivery that this is.
    pub entry: Entry,
    /// Class of the last outcome, as in metrics.
    pub class: Arc<str>,
    /// What the far side said last; no secrets.
    pub text: Arc<str>,
    /// Attempts so far, replays included. Those before a restart are not counted.
    pub attempts: u32,
    /// The first attempt, in milliseconds since the Unix epoch.
    pub first_unix_ms: i64,
    /// The last attempt.
    pub last_unix_ms: i64,
    /// Since when it has been a dead letter.
    pub since_unix_ms: i64,
    /// How often it was replayed, in vain.
    pub replays: u32,
    /// What its entry cost the target's budget, in bytes.
    pub bare: u32,
}

impl Letter {
    /// The letter of an entry that `target` rejects. `None` if the entry is not for the target, which is a
    /// bug.
    pub fn of(stored: &Stored, target: TargetNo) -> Option<Self> {
        let rule = Arc::clone(stored.rule_for(target)?);
        let deliveries = vec![DeliveryTo { target, rule }];
        let entry = Entry { deliveries, shed: Vec::new(), ..stored.entry.clone() };
        Some(Self {
            position: stored.position,
            entry,
            class: "".into(),
            text: "".into(),
            attempts: 0,
            first_unix_ms: 0,
            last_unix_ms: 0,
            since_unix_ms: 0,
            replays: 0,
            bare: stored.bare,
        })
    }

    /// The entry, as a lane takes it.
    pub fn stored(&self) -> Stored {
        let (position, entry) = (self.position, self.entry.clone());
        Stored { position, entry, body: bytes::Bytes::new(), charge: 0, bare: self.bare }
    }

    fn key_hash(&self) -> u64 {
        self.entry.event.as_ref().map_or(0, |e| crate::queue::entry::key_hash(&e.bucket, &e.key))
    }
}

/// How a dead letter ceased to be one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gone {
    /// An operator purged it.
    Purged,
    /// An operator replayed it, and the far side has it.
    Replayed,
}

/// What is known of a letter without reading it whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Brief {
    pub(super) offset: u64,
    pub(super) key: u64,
    pub(super) since_ms: i64,
    pub(super) bare: u32,
}

/// Appends a letter's record.
pub(super) fn put_letter(letter: &Letter, out: &mut Vec<u8>) {
    put_record(out, LETTER, |out| {
        let class = &letter.class.as_bytes()[..letter.class.len().min(255)];
        let text = &letter.text.as_bytes()[..letter.text.len().min(u16::MAX as usize)];
        for number in [letter.position.offset, letter.key_hash()] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        for time in [letter.first_unix_ms, letter.last_unix_ms, letter.since_unix_ms] {
            out.extend_from_slice(&time.to_le_bytes());
        }
        let target = letter.entry.deliveries.first().map_or(0, |d| d.target.0);
        for number in [letter.position.epoch, letter.attempts, letter.replays, target, letter.bare] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&(class.len() as u32).to_le_bytes());
        out.extend_from_slice(&(text.len() as u32).to_le_bytes());
        out.extend_from_slice(class);
        out.extend_from_slice(text);
        codec::encode(&letter.entry, out);
    });
}

/// Appends the record of letters that are gone.
pub(super) fn put_gone(how: Gone, marks: &[(u64, u32)], out: &mut Vec<u8>) {
    put_record(out, GONE, |out| {
        out.push(match how {
            Gone::Purged => 1,
            Gone::Replayed => 2,
        });
        for (offset, bare) in marks {
            out.extend_from_slice(&offset.to_le_bytes());
            out.extend_from_slice(&bare.to_le_bytes());
        }
    });
}

/// Appends the record of letters that are wanted again.
pub(super) fn put_wish(offsets: &[u64], out: &mut Vec<u8>) {
    put_record(out, WISH, |out| {
        offsets.iter().for_each(|offset| out.extend_from_slice(&offset.to_le_bytes()))
    });
}

fn put_record(out: &mut Vec<u8>, kind: u8, content: impl FnOnce(&mut Vec<u8>)) {
    let at = out.len();
    out.extend_from_slice(&[0; RECORD_HEADER]);
    content(out);
    let len = (out.len() - at - RECORD_HEADER) as u32;
    out[at + 4..at + 8].copy_from_slice(&len.to_le_bytes());
    out[at + 8] = kind;
    let crc = crc32c(&out[at + 4..]);
    out[at..at + 4].copy_from_slice(&crc.to_le_bytes());
}

pub(super) fn u32_at(b: &[u8], at: usize) -> Option<u32> {
    b.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes)
}

pub(super) fn u64_at(b: &[u8], at: usize) -> Option<u64> {
    b.get(at..at + 8)?.try_into().ok().map(u64::from_le_bytes)
}

/// The record at the beginning of `bytes`: its kind, its content, and its whole length.
pub(super) fn record(bytes: &[u8]) -> Option<(u8, &[u8], usize)> {
    let len = u32_at(bytes, 4)? as usize;
    let whole = RECORD_HEADER.checked_add(len).filter(|_| len <= MAX_RECORD)?;
    let all = bytes.get(..whole)?;
    (crc32c(&all[4..]) == u32_at(all, 0)?).then_some((all[8], &all[RECORD_HEADER..], whole))
}

/// What an index keeps of a letter, and its class.
pub(super) fn brief(content: &[u8]) -> Option<(Brief, &str)> {
    let class = content.get(LETTER_FIXED..LETTER_FIXED.checked_add(u32_at(content, 60)? as usize)?)?;
    let brief = Brief {
        offset: u64_at(content, 0)?,
        key: u64_at(content, 8)?,
        since_ms: u64_at(content, 32)? as i64,
        bare: u32_at(content, 56)?,
    };
    Some((brief, std::str::from_utf8(class).ok()?))
}

/// The whole letter.
pub(super) fn letter(content: &[u8]) -> Result<Letter, DecodeError> {
    let short = DecodeError::Malformed("a dead letter is too short");
    let number = |at| u32_at(content, at).ok_or(short.clone());
    let time = |at| u64_at(content, at).map(|n| n as i64).ok_or(short.clone());
    let (class_len, text_len) = (number(60)? as usize, number(64)? as usize);
    let texts = content.get(LETTER_FIXED..).ok_or(short.clone())?;
    let (class, rest) = texts.split_at_checked(class_len).ok_or(short.clone())?;
    let (text, entry) = rest.split_at_checked(text_len).ok_or(short.clone())?;
    Ok(Letter {
        position: Position { epoch: number(40)?, offset: u64_at(content, 0).ok_or(short.clone())? },
        entry: codec::decode(entry, [number(52)?].into_iter())?,
        class: String::from_utf8_lossy(class).into(),
        text: String::from_utf8_lossy(text).into(),
        attempts: number(44)?,
        first_unix_ms: time(16)?,
        last_unix_ms: time(24)?,
        since_unix_ms: time(32)?,
        replays: number(48)?,
        bare: number(56)?,
    })
}

/// The letters that are wanted again.
pub(super) fn wish(content: &[u8]) -> impl Iterator<Item = u64> + '_ {
    content.chunks_exact(8).filter_map(|b| u64_at(b, 0))
}

/// How letters went, which ones, and what their entries cost.
pub(super) fn gone(content: &[u8]) -> Option<(Gone, Vec<(u64, u32)>)> {
    let (how, marks) = content.split_first()?;
    let how = match how {
        1 => Gone::Purged,
        2 => Gone::Replayed,
        _ => return None,
    };
    Some((how, marks.chunks_exact(12).filter_map(|b| Some((u64_at(b, 0)?, u32_at(b, 8)?))).collect()))
}
