//! Rust source as far as tidiness needs it: comments and literals blanked, test code marked, functions
//! measured.
//!
//! Must never change the length or the lines of what it reads: positions in the code are positions in the
//! file.

use std::fs;
use std::ops::Range;
use std::path::Path;

/// One file.
pub(crate) struct Source {
    /// The path from the workspace's root, with `/`.
    pub(crate) path: String,
    /// As it is.
    pub(crate) text: String,
    /// With comments and literals blanked.
    pub(crate) code: String,
    /// The byte ranges that only tests compile.
    tests: Vec<Range<usize>>,
}

impl Source {
    pub(crate) fn new(path: &str, text: String) -> Self {
        let code = blank(&text);
        let tests = if is_test_file(path) {
            Vec::from([Range { start: 0, end: code.len() }])
        } else {
            test_regions(&code)
        };
        Self { path: path.to_owned(), text, code, tests }
    }

    /// True if only tests compile what is at this byte.
    pub(crate) fn in_tests(&self, at: usize) -> bool {
        self.tests.iter().any(|range| range.contains(&at))
    }

    /// Lines that not only tests compile.
    pub(crate) fn product_lines(&self) -> usize {
        let tests = self.tests.iter().map(|range| self.text[range.clone()].lines().count());
        self.text.lines().count().saturating_sub(tests.sum())
    }

    /// The same without comments and blank lines.
    pub(crate) fn code_lines(&self) -> usize {
        let (mut counted, mut end) = (0, 0);
        for line in self.text.split_inclusive('\n') {
            end += line.len();
            // Tests begin and end with a line: its last character tells.
            let of_tests = self.in_tests(end - line.len() + line.trim_end().len().saturating_sub(1));
            let said = line.trim();
            counted += usize::from(!said.is_empty() && !said.starts_with("//") && !of_tests);
        }
        counted
    }

    /// The line number of a byte, from 1.
    pub(crate) fn line(&self, at: usize) -> usize {
        self.code.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count() + 1
    }

    /// Where `what` begins in the code, as a whole word at its beginning.
    pub(crate) fn find(&self, what: &str) -> Vec<usize> {
        let word = |at: usize| at == 0 || !is_ident(self.code.as_bytes()[at - 1]);
        let glued = !what.starts_with(|c: char| c.is_ascii_alphanumeric());
        self.code.match_indices(what).map(|(at, _)| at).filter(|&at| glued || word(at)).collect()
    }

    /// Every function with a body: its name, its first line, and how many lines it has that are not blank.
    pub(crate) fn functions(&self) -> Vec<(String, usize, usize)> {
        let mut found = Vec::new();
        for at in self.find("fn ") {
            let name = ident(&self.code[at + 3..]);
            if name.is_empty() {
                continue;
            }
            if let Some(body) = item_body(&self.code, at) {
                let lines = self.text[at..body.end].lines().filter(|line| !line.trim().is_empty()).count();
                found.push((name.to_owned(), self.line(at), lines));
            }
        }
        found
    }

    /// The top-level modules of this crate that product code here names, with where.
    pub(crate) fn edges(&self, root: &str) -> Vec<(String, usize)> {
        let mut found = Vec::new();
        for at in self.find(root).into_iter().filter(|&at| !self.in_tests(at)) {
            let rest = &self.code[at + root.len()..];
            names(rest, &mut |name| found.push((name.to_owned(), at)));
        }
        for at in self.find("super::").into_iter().filter(|&at| !self.in_tests(at)) {
            let mut rest = &self.code[at..];
            let mut ups = 0;
            while let Some(inner) = rest.strip_prefix("super::") {
                (rest, ups) = (inner, ups + 1);
            }
            let first = !self.code[..at].ends_with("super::");
            if first && ups >= depth(&self.path) {
                names(rest, &mut |name| found.push((name.to_owned(), at)));
            }
        }
        found
    }
}

/// Every Rust file of the workspace, in path order.
pub(crate) fn all(root: &Path) -> Vec<Source> {
    let mut sources = Vec::new();
    for dir in ["src", "connectors", "tests", "xtask"] {
        walk(root, &root.join(dir), &mut sources);
    }
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(sources.len() > 20, "found only {} files: is {} the workspace?", sources.len(), root.display());
    sources
}

fn walk(root: &Path, dir: &Path, sources: &mut Vec<Source>) {
    let listing = fs::read_dir(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    for entry in listing {
        let path = entry.expect("a readable directory").path();
        if path.is_dir() && !path.ends_with("target") {
            walk(root, &path, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(root).expect("below the root").to_string_lossy().replace('\\', "/");
            let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
            sources.push(Source::new(&name, text));
        }
    }
}

/// Files that only tests compile by their place or name.
pub(crate) fn is_test_file(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    path.starts_with("tests/")
        || path.contains("/tests/")
        || path.contains("/contract/")
        || ["tests.rs", "testing.rs", "contract.rs"].contains(&name)
        || name.ends_with("_tests.rs")
}

/// How many modules deep a file of `src/` is: 1 for `src/a.rs` and `src/a/mod.rs`.
fn depth(path: &str) -> usize {
    let inside = path.split_once("src/").map_or(path, |(_, inside)| inside);
    let parts = inside.matches('/').count();
    if inside.ends_with("/mod.rs") { parts } else { parts + 1 }
}

/// The first segment of every path in what follows `crate::`: one, or those of a group.
fn names(rest: &str, found: &mut dyn FnMut(&str)) {
    let Some(group) = rest.strip_prefix('{') else { return found(ident(rest)) };
    let (mut nested, mut fresh) = (0, true);
    for (at, c) in group.char_indices() {
        match c {
            '{' => nested += 1,
            '}' if nested == 0 => return,
            '}' => nested -= 1,
            ',' if nested == 0 => fresh = true,
            c if fresh && !c.is_whitespace() => {
                found(ident(&group[at..]));
                fresh = false;
            }
            _ => {}
        }
    }
}

fn ident(text: &str) -> &str {
    &text[..text.bytes().take_while(|byte| is_ident(*byte)).count()]
}

fn is_ident(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// The braces of the item that begins at `at`, if it has a body: up to one past the closing one.
fn item_body(code: &str, at: usize) -> Option<Range<usize>> {
    let mut open = 0;
    for (offset, byte) in code[at..].bytes().enumerate() {
        match byte {
            b'(' | b'[' => open += 1,
            b')' | b']' => open -= 1,
            b';' if open == 0 => return None,
            b'{' if open == 0 => {
                let begin = at + offset;
                return Some(begin..closing(code, begin));
            }
            _ => {}
        }
    }
    None
}

/// One past the brace that closes the one at `begin`.
fn closing(code: &str, begin: usize) -> usize {
    let mut nested = 0;
    for (offset, byte) in code[begin..].bytes().enumerate() {
        match byte {
            b'{' => nested += 1,
            b'}' => nested -= 1,
            _ => {}
        }
        if nested == 0 {
            return begin + offset + 1;
        }
    }
    code.len()
}

fn test_regions(code: &str) -> Vec<Range<usize>> {
    let marks = ["#[cfg(test)]", "#[cfg(any(test", "#[cfg(all(test"];
    let starts = marks.iter().flat_map(|mark| code.match_indices(mark).map(|(at, mark)| (at, mark.len())));
    starts
        .map(|(at, length)| {
            let end = item_body(code, at).map(|body| body.end);
            at..end.unwrap_or_else(|| code[at + length..].find(';').map_or(code.len(), |n| at + length + n))
        })
        .collect()
}

/// The text with every comment and literal replaced by spaces.
fn blank(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = skipped(bytes, at);
        for byte in &mut out[at..end] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        at = end.max(at + 1);
    }
    String::from_utf8(out).expect("whole characters are blanked")
}

/// The end of the comment or literal that begins at `at`; `at` itself if none does.
fn skipped(bytes: &[u8], at: usize) -> usize {
    let rest = &bytes[at..];
    let word_before = at > 0 && is_ident(bytes[at - 1]);
    if rest.starts_with(b"//") {
        return at + rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
    }
    if rest.starts_with(b"/*") {
        return block_comment(bytes, at);
    }
    if rest[0] == b'"' {
        return quoted(bytes, at + 1);
    }
    if rest[0] == b'\'' {
        return character(bytes, at);
    }
    if !word_before && matches!(rest[0], b'r' | b'b' | b'c') {
        let prefix = rest.iter().take_while(|byte| matches!(byte, b'r' | b'b' | b'c')).count();
        let hashes = rest[prefix..].iter().take_while(|byte| **byte == b'#').count();
        if prefix <= 2 && rest.get(prefix + hashes) == Some(&b'"') {
            let inside = at + prefix + hashes + 1;
            let raw = rest[..prefix].contains(&b'r');
            return if raw { raw_quoted(bytes, inside, hashes) } else { quoted(bytes, inside) };
        }
    }
    at
}

fn block_comment(bytes: &[u8], mut at: usize) -> usize {
    let mut nested = 0;
    while at < bytes.len() {
        match &bytes[at..] {
            [b'/', b'*', ..] => (nested, at) = (nested + 1, at + 2),
            [b'*', b'/', ..] => (nested, at) = (nested - 1, at + 2),
            _ => at += 1,
        }
        if nested == 0 {
            break;
        }
    }
    at
}

fn quoted(bytes: &[u8], mut at: usize) -> usize {
    while at < bytes.len() && bytes[at] != b'"' {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(bytes.len())
}

fn raw_quoted(bytes: &[u8], mut at: usize, hashes: usize) -> usize {
    let close = [b"\"".as_slice(), &vec![b'#'; hashes]].concat();
    while at < bytes.len() && !bytes[at..].starts_with(&close) {
        at += 1;
    }
    (at + close.len()).min(bytes.len())
}

/// A character literal, told from a lifetime by its closing quote.
fn character(bytes: &[u8], at: usize) -> usize {
    let Some(rest) = std::str::from_utf8(&bytes[at + 1..]).ok() else { return at };
    let mut chars = rest.char_indices();
    match (chars.next(), chars.next()) {
        (Some((_, '\\')), Some((next, _))) => {
            let after = next + 1;
            rest[after..].find('\'').map_or(at, |close| at + 1 + after + close + 1)
        }
        (Some(_), Some((next, '\''))) => at + 1 + next + 1,
        _ => at,
    }
}
