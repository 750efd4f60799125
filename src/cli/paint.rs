//! What people see: tables with aligned columns, colours where a terminal shows them, progress of long work.
//!
//! Must never colour what a program reads, nor print anything with which a key or a far side's words could
//! steer a terminal.

use std::ffi::OsStr;
use std::io::{IsTerminal as _, Write as _};
use std::sync::OnceLock;

use serde_json::Value;

/// What a cell's text means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Paint {
    Plain,
    Head,
    Good,
    Warning,
    Bad,
}

impl Paint {
    /// Of a state, a severity or a file: the words that the API, `check` and `journal verify` use.
    pub(super) fn of(word: &str) -> Self {
        match word {
            "up" | "ok" | "delivered" => Self::Good,
            "connecting" | "throttled" | "paused" | "removed" | "warning" | "retry" => Self::Warning,
            "down" | "faulted" | "error" | "damaged" | "unreadable" | "rejected" => Self::Bad,
            _ => Self::Plain,
        }
    }

    fn code(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Head => Some("1"),
            Self::Good => Some("32"),
            Self::Warning => Some("33"),
            Self::Bad => Some("31"),
        }
    }
}

/// True where colours are seen and wanted: a terminal that can, and no `NO_COLOR`.
fn wanted(terminal: bool, no_color: Option<&OsStr>, term: Option<&OsStr>) -> bool {
    terminal && no_color.is_none_or(OsStr::is_empty) && term.is_some_and(|term| term != "dumb")
}

fn colours() -> bool {
    static COLOURS: OnceLock<bool> = OnceLock::new();
    *COLOURS.get_or_init(|| {
        let var = |name| std::env::var_os(name);
        wanted(std::io::stdout().is_terminal(), var("NO_COLOR").as_deref(), var("TERM").as_deref())
    })
}

/// The text in its colour, `width` characters wide at least.
fn painted(text: &str, paint: Paint, width: usize, right: bool, colours: bool) -> String {
    let padding = " ".repeat(width.saturating_sub(text.chars().count()));
    let text = match paint.code() {
        Some(code) if colours => format!("\x1b[{code}m{text}\x1b[0m"),
        _ => text.to_owned(),
    };
    if right { padding + &text } else { text + &padding }
}

/// The text as a terminal may show it: what would steer it is spelled out.
pub(super) fn harmless(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        // Letters that turn the direction of a line hide what stands in it.
        if c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

/// A value as people read it.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(s) => harmless(s),
        other => other.to_string(),
    }
}

/// A table. A heading that begins with `>` stands, as its column does, to the right.
pub(super) struct Table {
    heads: &'static [&'static str],
    rows: Vec<Vec<(String, Paint)>>,
}

impl Table {
    pub(super) fn new(heads: &'static [&'static str]) -> Self {
        Self { heads, rows: Vec::new() }
    }

    /// Adds a row of plain texts, one for each heading.
    pub(super) fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.into_iter().map(|text| (harmless(&text), Paint::Plain)).collect());
    }

    /// Paints a cell of the last row by its word.
    pub(super) fn paint(&mut self, column: usize) {
        if let Some((text, paint)) = self.rows.last_mut().and_then(|row| row.get_mut(column)) {
            *paint = Paint::of(text);
        }
    }

    pub(super) fn print(&self) {
        self.lines(colours()).iter().for_each(|line| say!("{line}"));
    }

    fn lines(&self, colours: bool) -> Vec<String> {
        let name = |head: &&'static str| head.trim_start_matches('>');
        let widths = self.heads.iter().enumerate().map(|(at, head)| {
            let cells = self.rows.iter().filter_map(|row| row.get(at)).map(|(text, _)| text.chars().count());
            cells.chain([name(head).len()]).max().unwrap_or(0)
        });
        let widths: Vec<usize> = widths.collect();
        let heads = self.heads.iter().map(|head| (name(head).to_owned(), Paint::Head)).collect();
        let line = |row: &Vec<(String, Paint)>| {
            let cells = row.iter().zip(self.heads).zip(&widths).map(|(((text, paint), head), width)| {
                painted(text, *paint, *width, head.starts_with('>'), colours)
            });
            cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        };
        [&heads].into_iter().chain(&self.rows).map(line).collect()
    }
}

/// Prints every field of an object, one a line, names and values aligned.
pub(super) fn print_fields(value: &Value) {
    let mut fields = Vec::new();
    flatten(value, "", &mut fields);
    let width = fields.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    for (name, value) in fields {
        let paint = if name == "state" || name == "outcome" { Paint::of(&value) } else { Paint::Plain };
        say!(
            "{}  {}",
            painted(&name, Paint::Plain, width, false, false),
            painted(&value, paint, 0, false, colours())
        );
    }
}

fn flatten(value: &Value, prefix: &str, into: &mut Vec<(String, String)>) {
    for (name, value) in value.as_object().into_iter().flatten() {
        match value {
            Value::Object(_) => flatten(value, &format!("{prefix}{name}."), into),
            Value::Array(all) if all.first().is_some_and(Value::is_object) => {
                let numbered = (1..).zip(all);
                numbered.for_each(|(n, value)| flatten(value, &format!("{prefix}{name}.{n}."), into));
            }
            other => into.push((harmless(&format!("{prefix}{name}")), text(other))),
        }
    }
}

/// One line for every list that is not empty.
pub(super) fn print_lists(value: &Value) {
    let fields = value.as_object().into_iter().flatten();
    let lists = fields.filter_map(|(name, list)| Some((name, list.as_array().filter(|l| !l.is_empty())?)));
    for (name, list) in lists {
        let list: Vec<_> = list.iter().map(text).collect();
        say!("{:<14} {}", name.replace('_', " "), list.join(", "));
    }
}

/// How far long work has come: one line that is written over, on standard error, if that is a terminal.
pub(super) struct Progress {
    shown: bool,
    terminal: bool,
}

impl Progress {
    pub(super) fn new() -> Self {
        Self { shown: false, terminal: std::io::stderr().is_terminal() }
    }

    pub(super) fn show(&mut self, line: &str) {
        if self.terminal {
            self.shown = true;
            eprint!("\r\x1b[K{line}");
            let _ = std::io::stderr().flush();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown {
            eprint!("\r\x1b[K");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_what_stands_in_them() {
        let mut table = Table::new(&["NAME", ">COUNT", "STATE", "END"]);
        table.row(["a".into(), "12345678".into(), "up".into(), "x".into()]);
        table.paint(2);
        table.row(["größer".into(), "1".into(), "faulted".into(), String::new()]);
        table.paint(2);
        let plain =
            ["NAME       COUNT  STATE    END", "a       12345678  up       x", "größer         1  faulted"];
        assert_eq!(table.lines(false), plain);
        let coloured = table.lines(true);
        assert_eq!(coloured[1], "a       12345678  \x1b[32mup\x1b[0m       x");
        assert!(coloured[2].contains("\x1b[31mfaulted\x1b[0m"), "{coloured:?}");
    }

    #[test]
    fn colours_are_for_terminals_whose_user_did_not_refuse_them() {
        let (color, xterm) = (Some(OsStr::new("1")), Some(OsStr::new("xterm")));
        assert!(wanted(true, None, xterm) && wanted(true, Some(OsStr::new("")), xterm));
        assert!(!wanted(false, None, xterm) && !wanted(true, color, xterm));
        assert!(!wanted(true, None, None) && !wanted(true, None, Some(OsStr::new("dumb"))));
    }

    #[test]
    fn no_text_steers_the_terminal() {
        assert_eq!(harmless("in/größe \u{1f408}.jpg"), "in/größe \u{1f408}.jpg");
        assert_eq!(harmless("a\x1b[2Jb\nc\u{9b}1m\u{202e}gpj"), "a\\u{1b}[2Jb\\nc\\u{9b}1m\\u{202e}gpj");
        let mut table = Table::new(&["KEY"]);
        table.row(["\x1b]0;title\x07".into()]);
        assert!(table.lines(true).concat().contains("\\u{1b}]0;title\\u{7}"));
    }
}
