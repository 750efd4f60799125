//! What is wrong with a configuration, as people read it: place, line, caret, reason, and what to do next.
//!
//! Must never hold more of a file than the one line it points at, and never decides what is wrong.

use std::fmt::{self, Write as _};

/// More problems than this are counted, not shown.
const MAX_SHOWN: usize = 50;
/// A longer line is shown as a window around the caret, in characters.
const MAX_LINE_CHARS: usize = 120;
/// Longer words get no suggestion.
const MAX_WORD_CHARS: usize = 64;

/// Everything that is wrong with a configuration, in the order of its file.
///
/// Its `Display` is plain text of several lines; the last one counts the problems and has no line break.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostics {
    problems: Vec<Problem>,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub place: Place,
    /// What is wrong, in one sentence without a full stop.
    pub what: String,
    /// What to do next, one sentence each.
    pub help: Vec<String>,
}

/// Where a problem is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In a file, at a key or a value.
    Line {
        /// The file as it was named.
        file: String,
        /// The line, from 1.
        line: usize,
        /// The column, from 1, in characters.
        column: usize,
        /// The line's text.
        text: String,
        /// How many characters the caret covers; at least 1.
        width: usize,
    },
    /// In an environment variable.
    Variable(String),
    /// The file as a whole.
    File(String),
    /// A key that nobody set, so that its default is what is wrong: the key's path.
    Key(String),
}

impl Diagnostics {
    /// Problems sorted by place: files first by line, then variables, then the rest.
    pub(super) fn new(mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|p| match &p.place {
            Place::File(_) => (0, 0, 0, String::new()),
            Place::Line { line, column, .. } => (1, *line, *column, String::new()),
            Place::Variable(name) => (2, 0, 0, name.clone()),
            Place::Key(path) => (3, 0, 0, path.clone()),
        });
        problems.dedup();
        Self { problems }
    }

    /// A single problem with the file as a whole.
    pub(super) fn file(file: String, what: String, help: &str) -> Self {
        Self { problems: vec![Problem { place: Place::File(file), what, help: vec![help.to_owned()] }] }
    }

    /// The problems, in the order they are shown.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl std::error::Error for Diagnostics {}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in self.problems.iter().take(MAX_SHOWN) {
            writeln!(f, "{problem}")?;
        }
        let hidden = self.problems.len().saturating_sub(MAX_SHOWN);
        if hidden > 0 {
            writeln!(f, "({hidden} more problems are not shown)")?;
        }
        match self.problems.len() {
            1 => write!(f, "the configuration has 1 problem; nothing was started or changed"),
            n => write!(f, "the configuration has {n} problems; nothing was started or changed"),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "error: {}", Plain(&self.what))?;
        let margin = match &self.place {
            Place::Line { line, .. } => line.to_string().len(),
            _ => 1,
        };
        writeln!(f, "{:margin$}--> {}", "", self.place)?;
        if let Place::Line { line, column, text, width, .. } = &self.place {
            let (shown, before, width) = window(text, *column, *width);
            writeln!(f, "{:margin$} |", "")?;
            writeln!(f, "{line} | {shown}")?;
            writeln!(f, "{:margin$} | {:before$}{}", "", "", "^".repeat(width))?;
        }
        for help in &self.help {
            writeln!(f, "{:margin$} = {}", "", Plain(help))?;
        }
        Ok(())
    }
}

impl Place {
    /// The same place, its line quoted up to the caret's end only.
    pub(super) fn without_what_follows(mut self) -> Self {
        if let Self::Line { column, text, width, .. } = &mut self {
            *text = text.chars().take(*column - 1 + *width).chain(" ...".chars()).collect();
        }
        self
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Line { file, line, column, .. } => write!(f, "{}:{line}:{column}", Plain(file)),
            Place::Variable(name) => write!(f, "environment variable {}", Plain(name)),
            Place::File(file) => Plain(file).fmt(f),
            Place::Key(path) => write!(f, "{} (not set: this is its default)", Plain(path)),
        }
    }
}

/// Text whose control characters are shown as escapes, so that a terminal obeys nothing that a file says.
struct Plain<'a>(&'a str);

impl fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c.is_control() {
                true => write!(f, "{}", c.escape_default())?,
                false => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

/// The part of a line that is shown, the characters before the caret, and the caret's width in it.
/// Control characters become spaces: the caret counts characters.
fn window(text: &str, column: usize, width: usize) -> (String, usize, usize) {
    let chars: Vec<char> = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let at = column.saturating_sub(1).min(chars.len());
    let start = if chars.len() <= MAX_LINE_CHARS { 0 } else { at.saturating_sub(MAX_LINE_CHARS / 3) };
    let end = chars.len().min(start + MAX_LINE_CHARS);
    let mut shown = String::new();
    let mut before = at - start;
    if start > 0 {
        shown.push_str("... ");
        before += 4;
    }
    shown.extend(&chars[start..end]);
    if end < chars.len() {
        shown.push_str(" ...");
    }
    (shown.trim_end().to_owned(), before, width.clamp(1, (end - at).max(1)))
}

/// The candidate that `word` was most likely meant to be, if one is near.
pub(super) fn suggest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word: Vec<char> = word.to_lowercase().chars().take(MAX_WORD_CHARS + 1).collect();
    if word.len() > MAX_WORD_CHARS {
        return None;
    }
    let near = |candidate: &'a str| {
        let letters: Vec<char> = candidate.to_lowercase().chars().collect();
        let distance = edit_distance(&word, &letters);
        // A third of the word may be wrong, but never all of it: `x` does not mean `y`.
        let allowed = word.len().max(letters.len()).div_ceil(3).min(word.len().saturating_sub(1));
        (distance <= allowed).then_some((distance, candidate))
    };
    candidates.into_iter().filter_map(near).min_by_key(|(distance, _)| *distance).map(|(_, c)| c)
}

/// Insertions, deletions, replacements and swaps of neighbours that make `b` of `a`.
fn edit_distance(a: &[char], b: &[char]) -> usize {
    let mut rows = vec![(0..=b.len()).collect::<Vec<usize>>(); a.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replaced.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = best;
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_word_is_suggested_and_a_far_one_is_not() {
        let keys = ["listen", "region", "data", "domain"];
        assert_eq!(suggest("listn", keys), Some("listen"));
        assert_eq!(suggest("LISTEN", keys), Some("listen"));
        assert_eq!(suggest("regoin", keys), Some("region"), "a swap is one edit");
        assert_eq!(suggest("workers", keys), None);
        assert_eq!(suggest("x", keys), None);
        assert_eq!(suggest("", keys), None);
        assert_eq!(suggest(&"d".repeat(10_000), keys), None);
    }

    #[test]
    fn the_caret_stands_under_what_is_meant() {
        let place = |text: &str, column, width| {
            let text = text.to_owned();
            let place = Place::Line { file: "t.toml".into(), line: 12, column, text, width };
            Problem { place, what: "bad".into(), help: vec!["do this".into()] }.to_string()
        };
        assert_eq!(
            place("\u{e9} = oops", 5, 4),
            "error: bad\n  --> t.toml:12:5\n   |\n12 | \u{e9} = oops\n   |     ^^^^\n   = do this\n"
        );
        let long = format!("{}HERE{}", "a".repeat(300), "b".repeat(300));
        let shown = place(&long, 301, 4);
        let line = shown.lines().nth(3).expect("the line");
        let caret = shown.lines().nth(4).expect("the caret");
        assert_eq!(line.find("HERE"), caret.find("^^^^"));
        assert!(line.len() < 140, "{line}");
        assert!(!place("a\u{1b}[31mb", 1, 1).contains('\u{1b}'), "no terminal escapes");
    }

    #[test]
    fn many_problems_are_counted_not_shown() {
        let one = |n: usize| Problem {
            place: Place::Variable(format!("V{n:03}")),
            what: "bad".into(),
            help: vec![],
        };
        let text = Diagnostics::new((0..60).rev().map(one).collect()).to_string();
        assert!(text.contains("V049") && !text.contains("V050"), "{text}");
        assert!(
            text.contains("(10 more problems are not shown)") && text.contains("has 60 problems"),
            "{text}"
        );
    }
}
