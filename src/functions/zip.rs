//! Reads a zip file: names and contents, as far as functions need it.
//!
//! Must never unpack more than it is allowed to, whatever sizes the file names, and never panic on any input.

use super::FunctionError;

/// Files of one zip, at most.
const MAX_ENTRIES: usize = 10_000;
const END: u32 = 0x0605_4b50;
const CENTRAL: u32 = 0x0201_4b50;
const LOCAL: u32 = 0x0403_4b50;
/// The end record with the longest comment.
const END_REACH: usize = 22 + 0xffff;
/// The type of a symbolic link, and its mask, in the mode of a file.
const S_IFLNK: u32 = 0o120_000;
const S_IFMT: u32 = 0o170_000;

/// One file of a zip.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// As it stands there, not checked.
    pub(super) path: String,
    pub(super) bytes: Vec<u8>,
    pub(super) executable: bool,
}

/// Everything in it but folders. `room` is how many bytes all files together may have.
pub(super) fn read(zip: &[u8], mut room: usize) -> Result<Vec<Entry>, FunctionError> {
    let torn = || wrong("it is cut off or no zip file");
    let end = find_end(zip).ok_or_else(torn)?;
    let entries = usize::from(u16_at(zip, end + 10).ok_or_else(torn)?);
    let start = u32_at(zip, end + 16).ok_or_else(torn)?;
    if entries == 0xffff || start == u32::MAX {
        return Err(wrong("zip64 is not read: it is too large for a function"));
    }
    if entries > MAX_ENTRIES {
        return Err(wrong(&format!("it has {entries} files; {MAX_ENTRIES} are allowed")));
    }
    let mut at = start as usize;
    let mut found = Vec::new();
    for _ in 0..entries {
        let head = Head::read(zip, at).ok_or_else(torn)?;
        at = head.next;
        if head.path.ends_with('/') {
            continue;
        }
        let bytes = head.unpack(zip, room)?;
        room -= bytes.len();
        found.push(Entry { path: head.path, bytes, executable: head.mode & 0o111 != 0 });
    }
    Ok(found)
}

fn wrong(what: &str) -> FunctionError {
    FunctionError::Invalid(format!("the zip file cannot be used: {what}"))
}

fn find_end(zip: &[u8]) -> Option<usize> {
    let last = zip.len().checked_sub(22)?;
    (zip.len().saturating_sub(END_REACH)..=last).rev().find(|at| u32_at(zip, *at) == Some(END))
}

fn u16_at(zip: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(zip.get(at..at.checked_add(2)?)?.try_into().ok()?))
}

fn u32_at(zip: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(zip.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

/// One row of the central directory.
struct Head {
    path: String,
    method: u16,
    flags: u16,
    crc: u32,
    packed: usize,
    size: usize,
    mode: u32,
    local: usize,
    next: usize,
}

impl Head {
    fn read(zip: &[u8], at: usize) -> Option<Self> {
        if u32_at(zip, at)? != CENTRAL {
            return None;
        }
        let length = |field: usize| u16_at(zip, at + field).map(usize::from);
        let (name, extra, comment) = (length(28)?, length(30)?, length(32)?);
        let raw = zip.get(at + 46..at + 46 + name)?;
        Some(Self {
            path: String::from_utf8_lossy(raw).into_owned(),
            method: u16_at(zip, at + 10)?,
            flags: u16_at(zip, at + 8)?,
            crc: u32_at(zip, at + 16)?,
            packed: u32_at(zip, at + 20)? as usize,
            size: u32_at(zip, at + 24)? as usize,
            mode: u32_at(zip, at + 38)? >> 16,
            local: u32_at(zip, at + 42)? as usize,
            next: at + 46 + name + extra + comment,
        })
    }

    fn unpack(&self, zip: &[u8], room: usize) -> Result<Vec<u8>, FunctionError> {
        let name = self.path.escape_debug();
        if self.flags & 1 != 0 {
            return Err(wrong(&format!("`{name}` is encrypted")));
        }
        if self.mode & S_IFMT == S_IFLNK {
            return Err(wrong(&format!("`{name}` is a symbolic link")));
        }
        if self.size > room {
            return Err(wrong("unpacked it is larger than a function may be"));
        }
        let torn = || wrong(&format!("`{name}` is cut off"));
        if u32_at(zip, self.local) != Some(LOCAL) {
            return Err(torn());
        }
        let length = |field: usize| u16_at(zip, self.local + field).map(usize::from);
        let (Some(names), Some(extra)) = (length(26), length(28)) else { return Err(torn()) };
        let from = self.local + 30 + names + extra;
        let packed = from.checked_add(self.packed).and_then(|to| zip.get(from..to)).ok_or_else(torn)?;
        let bytes = match self.method {
            0 => packed.to_vec(),
            // Never more than the directory says, and that is below the bound.
            8 => miniz_oxide::inflate::decompress_to_vec_with_limit(packed, self.size)
                .map_err(|_| wrong(&format!("`{name}` does not unpack to the size that it names")))?,
            other => return Err(wrong(&format!("`{name}` is packed by method {other}; 0 and 8 are known"))),
        };
        let sum = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32IsoHdlc, &bytes);
        if bytes.len() != self.size || sum != u64::from(self.crc) {
            return Err(wrong(&format!("`{name}` is damaged")));
        }
        Ok(bytes)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A zip file with these entries: path, bytes, mode, packed or not.
    pub(in crate::functions) fn pack(entries: &[(&str, &[u8], u32, bool)]) -> Vec<u8> {
        let (mut out, mut directory) = (Vec::new(), Vec::new());
        for (path, bytes, mode, packed) in entries {
            let data = match packed {
                true => miniz_oxide::deflate::compress_to_vec(bytes, 6),
                false => bytes.to_vec(),
            };
            let method: u16 = if *packed { 8 } else { 0 };
            let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32IsoHdlc, bytes) as u32;
            let local = out.len() as u32;
            let mut common = Vec::new();
            common.extend(20_u16.to_le_bytes());
            common.extend(0_u16.to_le_bytes());
            common.extend(method.to_le_bytes());
            common.extend([0; 4]);
            common.extend(crc.to_le_bytes());
            common.extend((data.len() as u32).to_le_bytes());
            common.extend((bytes.len() as u32).to_le_bytes());
            common.extend((path.len() as u16).to_le_bytes());
            common.extend(0_u16.to_le_bytes());
            out.extend(LOCAL.to_le_bytes());
            out.extend(&common);
            out.extend(path.as_bytes());
            out.extend(&data);
            directory.extend(CENTRAL.to_le_bytes());
            directory.extend((3_u16 << 8 | 20).to_le_bytes());
            directory.extend(&common);
            directory.extend([0; 6]);
            directory.extend((mode << 16).to_le_bytes());
            directory.extend(local.to_le_bytes());
            directory.extend(path.as_bytes());
        }
        let start = out.len() as u32;
        out.extend(&directory);
        out.extend(END.to_le_bytes());
        out.extend([0; 4]);
        out.extend((entries.len() as u16).to_le_bytes());
        out.extend((entries.len() as u16).to_le_bytes());
        out.extend((directory.len() as u32).to_le_bytes());
        out.extend(start.to_le_bytes());
        out.extend([0; 2]);
        out
    }

    fn told(zip: &[u8], room: usize) -> String {
        read(zip, room).expect_err("refused").to_string()
    }

    #[test]
    fn what_was_packed_is_there() {
        let long = b"print('hello')\n".repeat(1_000);
        let zip = pack(&[
            ("lib/", b"", 0o040_755, false),
            ("lib/a.py", &long, 0o100_644, true),
            ("bootstrap", b"#!/bin/sh\n", 0o100_755, false),
        ]);
        let entries = read(&zip, 1 << 20).expect("read");
        let entry = |path: &str, bytes: &[u8], executable| Entry {
            path: path.to_owned(),
            bytes: bytes.to_vec(),
            executable,
        };
        let wanted = [entry("lib/a.py", &long, false), entry("bootstrap", b"#!/bin/sh\n", true)];
        assert_eq!(entries, wanted);
    }

    #[test]
    fn a_bomb_is_refused_by_what_it_says_and_by_what_it_does() {
        let zeros = vec![0; 4 << 20];
        let zip = pack(&[("a", &zeros, 0, true)]);
        assert!(zip.len() < 8 << 10);
        assert!(told(&zip, 1 << 20).contains("larger than a function"), "what it says");
        let many = pack(&[("a", &zeros, 0, true), ("b", &zeros, 0, true)]);
        assert!(told(&many, 5 << 20).contains("larger than a function"), "together");
        // It says that it is small, and is not.
        let mut lies = zip.clone();
        let size = (zeros.len() as u32).to_le_bytes();
        for at in 0..lies.len() - 4 {
            if lies[at..at + 4] == size {
                lies[at..at + 4].copy_from_slice(&100_u32.to_le_bytes());
            }
        }
        assert!(told(&lies, 1 << 20).contains("does not unpack"), "{}", told(&lies, 1 << 20));
    }

    #[test]
    fn links_encryption_and_damage_are_refused() {
        let link = pack(&[("passwd", b"/etc/passwd", S_IFLNK | 0o777, false)]);
        assert!(told(&link, 100).contains("symbolic link"));
        let good = pack(&[("a", b"hello hello hello", 0, true)]);
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x55;
            let _ = read(&bad, 1 << 10);
            let _ = read(&good[..at], 1 << 10);
        }
        let mut bad = pack(&[("a", b"hello", 0, false)]);
        let at = bad.windows(5).position(|w| w == b"hello").expect("there");
        bad[at] = b'j';
        assert!(told(&bad, 100).contains("damaged"));
        for nothing in [&b""[..], b"PK", &[0; 100]] {
            assert!(read(nothing, 100).is_err());
        }
    }
}
