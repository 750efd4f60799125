//! Finds the place of a key or value: line and column in the file, or the environment variable that set it.
//!
//! Must never fail: what has no place of its own is placed at the nearest table around it.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::diagnostics::Place;
use super::tree::{KeyPath, Step, Variables};

/// Words in a key's name that make its value a secret typed into the wrong place.
const SECRET_WORDS: &[&str] = &["password", "passwd", "secret", "token", "credential", "private"];

/// Which part of `key = value` a problem is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// The key: it should not be here, or its table lacks something.
    Key,
    /// The value: it is wrong.
    Value,
}

/// Where everything in one configuration came from.
pub(super) struct Places<'a> {
    /// The file as it was named; none when the defaults alone run.
    pub(super) file: Option<&'a str>,
    /// The file's text; empty without a file.
    pub(super) text: &'a str,
    /// The file's parsed tables.
    pub(super) table: &'a DeTable<'a>,
    /// The variables over it.
    pub(super) variables: &'a Variables,
}

impl Places<'_> {
    /// The place of the key or value at `path`, or of the nearest table around it.
    pub(super) fn of(&self, path: &KeyPath, part: Part) -> Place {
        if let Some(name) = self.variables.setting(path) {
            return Place::Variable(name.to_owned());
        }
        let (span, tables) = self.nearest(path, part);
        // What the file does not have, or has as something else than a table, a variable may have made.
        let around = (tables + 1..=path.0.len()).rev().map(|steps| KeyPath(path.0[..steps].to_vec()));
        if let Some(name) = around.into_iter().find_map(|path| self.variables.inside(&path)) {
            return Place::Variable(name.to_owned());
        }
        match (span, self.file) {
            (Some(span), Some(file)) => line_of(file, self.text, span),
            _ => Place::Key(path.to_string()),
        }
    }

    /// The span of the deepest part of `path` that stands in the file, and through how many steps of it the
    /// file has tables or lists to reach into.
    fn nearest(&self, path: &KeyPath, part: Part) -> (Option<Range<usize>>, usize) {
        let mut span = None;
        let (mut table, mut list) = (Some(self.table), None);
        for (depth, step) in path.0.iter().enumerate() {
            let next: Option<(Range<usize>, &Spanned<DeValue<'_>>)> = match step {
                Step::Key(key) => {
                    let entry = table.and_then(|t| t.get_key_value(key.as_str()));
                    entry.map(|(key, value)| (key.span(), value))
                }
                Step::Index(index) => {
                    let element = list.and_then(|l: &DeArray<'_>| l.get(*index));
                    element.map(|value| (value.span(), value))
                }
            };
            let Some((key, value)) = next else { return (span, depth) };
            let last = depth + 1 == path.0.len();
            let plain = !matches!(value.get_ref(), DeValue::Table(_));
            span = Some(if last && part == Part::Value && plain { value.span() } else { key });
            table = value.get_ref().as_table();
            list = value.get_ref().as_array();
        }
        (span, path.0.len() - usize::from(table.is_none()))
    }
}

/// The line, column and caret of a span of bytes.
pub(super) fn line_of(file: &str, text: &str, span: Range<usize>) -> Place {
    let floor = |at: usize| (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    let (start, end) = (floor(span.start), floor(span.end));
    let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
    let line_end = text[start..].find('\n').map_or(text.len(), |at| start + at);
    let line = text[..start].matches('\n').count() + 1;
    let column = text[line_start..start].chars().count() + 1;
    let width = text[start..end.clamp(start, line_end)].trim_end().chars().count().max(1);
    let text = without_secrets(text[line_start..line_end].trim_end());
    Place::Line { file: file.to_owned(), line, column, text, width }
}

/// The line with what may be a secret replaced character by character: the user and the query of a URL, and
/// the value of a key that is called a secret. Configuration holds no secrets, but people put them there by
/// mistake.
fn without_secrets(line: &str) -> String {
    let mut chars: Vec<char> = line.chars().collect();
    let hide = |chars: &mut [char], range: Range<usize>| chars[range].iter_mut().for_each(|c| *c = '*');
    let equals = chars.iter().position(|c| *c == '=');
    if let Some(equals) = equals {
        let key: String = chars[..equals].iter().collect::<String>().to_lowercase();
        let reference = key.trim_end().ends_with("_file") || key.trim_end().ends_with("_env");
        if !reference && SECRET_WORDS.iter().any(|word| key.contains(word)) {
            let value = (equals + 1..chars.len()).find(|at| chars[*at] != ' ').unwrap_or(chars.len());
            let end = chars.len();
            hide(&mut chars, value..end);
        }
    }
    let mut from = 0;
    while let Some(at) =
        (from..chars.len().saturating_sub(2)).find(|at| chars[*at..*at + 3] == [':', '/', '/'])
    {
        let start = at + 3;
        let end =
            (start..chars.len()).find(|at| matches!(chars[*at], '"' | '\'' | ' ')).unwrap_or(chars.len());
        let query = (start..end).find(|at| chars[*at] == '?').unwrap_or(end);
        if let Some(user) = (start..query).rev().find(|at| chars[*at] == '@') {
            hide(&mut chars, start..user);
        }
        if query < end {
            hide(&mut chars, query + 1..end);
        }
        from = end;
    }
    chars.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters_and_carets_stay_in_their_line() {
        let text = "a = 1\n\u{e9}\u{e9} = [\n 2,\n]\n";
        let at = text.find('[').expect("a list");
        let place = line_of("f", text, at..text.len());
        let Place::Line { line, column, width, .. } = place else { panic!("{place:?}") };
        assert_eq!((line, column, width), (2, 6, 1));
        let end = line_of("f", text, text.len()..text.len() + 9);
        assert!(matches!(end, Place::Line { line: 5, column: 1, width: 1, .. }), "{end:?}");
        assert!(matches!(line_of("f", "", 0..0), Place::Line { line: 1, column: 1, .. }));
    }

    #[test]
    fn what_looks_like_a_secret_is_not_shown() {
        assert_eq!(
            without_secrets(r#"url = "http://u:p@h:1/x?sig=1" # x"#),
            r#"url = "http://***@h:1/x?*****" # x"#
        );
        assert_eq!(without_secrets(r#"password = "x""#), "password = ***");
        assert_eq!(without_secrets(r#"password_env = "X""#), r#"password_env = "X""#);
        assert_eq!(without_secrets(r#"url = "http://h/x""#), r#"url = "http://h/x""#);
    }
}
