//! Elements with text, as configuration documents have them.
//!
//! Must never resolve an entity of a document's own, nor go deeper or on for longer than a bound: documents
//! come from outside.

/// No document is larger, in bytes.
pub const MAX_BYTES: usize = 64 << 10;
/// No element lies deeper.
const MAX_DEPTH: usize = 16;
/// No document has more elements.
const MAX_ELEMENTS: usize = 4_096;

/// An element: its name without a prefix, its text, its elements.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Element {
    pub(crate) name: String,
    pub(crate) text: String,
    pub(crate) children: Vec<Element>,
}

/// The root element of a document; none if it is not one that we read.
pub(crate) fn parse(document: &str) -> Option<Element> {
    if document.len() > MAX_BYTES {
        return None;
    }
    let mut parser = Parser { rest: document.trim_start_matches('\u{feff}'), elements: 0 };
    parser.skip_between()?;
    let root = parser.element(0)?;
    parser.skip_between()?;
    parser.rest.is_empty().then_some(root)
}

struct Parser<'a> {
    rest: &'a str,
    elements: usize,
}

impl<'a> Parser<'a> {
    fn take(&mut self, what: &str) -> bool {
        let after = self.rest.strip_prefix(what);
        self.rest = after.unwrap_or(self.rest);
        after.is_some()
    }

    fn until(&mut self, end: &str) -> Option<&'a str> {
        let (before, after) = self.rest.split_once(end)?;
        self.rest = after;
        Some(before)
    }

    /// White space, comments and the declaration. A document type is refused.
    fn skip_between(&mut self) -> Option<()> {
        loop {
            self.rest = self.rest.trim_ascii_start();
            if self.take("<?") {
                self.until("?>")?;
            } else if self.take("<!--") {
                self.until("-->")?;
            } else {
                return Some(());
            }
        }
    }

    fn element(&mut self, depth: usize) -> Option<Element> {
        self.elements += 1;
        if depth > MAX_DEPTH || self.elements > MAX_ELEMENTS || !self.take("<") {
            return None;
        }
        let tag = self.until(">")?;
        let (tag, empty) = tag.strip_suffix('/').map_or((tag, false), |tag| (tag, true));
        let name = tag.split([' ', '\t', '\r', '\n']).next()?;
        // Attributes are namespaces, and mean nothing here; a `>` in one is not read.
        let attributes = &tag[name.len()..];
        let quotes = attributes.bytes().filter(|b| matches!(b, b'"' | b'\'')).count();
        if !is_name(name) || attributes.contains('<') || !quotes.is_multiple_of(2) {
            return None;
        }
        let own = name.rsplit(':').next()?.to_owned();
        let mut element = Element { name: own, ..Element::default() };
        if empty {
            return Some(element);
        }
        loop {
            let at = self.rest.find('<')?;
            let (text, rest) = self.rest.split_at(at);
            unescape(&mut element.text, text)?;
            self.rest = rest;
            if self.take("</") {
                let end = self.until(">")?;
                return (end.trim_ascii_end() == name).then(|| element.trimmed());
            } else if self.take("<!--") {
                self.until("-->")?;
            } else if self.take("<![CDATA[") {
                let text = self.until("]]>")?;
                element.text.push_str(text);
            } else {
                element.children.push(self.element(depth + 1)?);
            }
        }
    }
}

impl Element {
    /// White space around elements is no text.
    fn trimmed(mut self) -> Self {
        if !self.children.is_empty() && self.text.trim_ascii().is_empty() {
            self.text.clear();
        }
        self
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b':'))
}

fn unescape(out: &mut String, mut text: &str) -> Option<()> {
    while let Some((before, after)) = text.split_once('&') {
        out.push_str(before);
        let (name, after) = after.split_once(';')?;
        out.push(match name {
            "lt" => '<',
            "gt" => '>',
            "amp" => '&',
            "quot" => '"',
            "apos" => '\'',
            _ => {
                let number = name.strip_prefix('#')?;
                let code = match number.strip_prefix('x') {
                    Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                    None => number.parse().ok()?,
                };
                char::from_u32(code).filter(|c| *c != '\0')?
            }
        });
        text = after;
    }
    out.push_str(text);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(document: &str) -> Option<String> {
        parse(document).map(|root| root.text)
    }

    #[test]
    fn documents_are_read_as_they_are_written() {
        let root = parse("<?xml version='1.0'?>\n<!-- c --><a xmlns=\"x\">\n <b>1 &lt;&#x41;</b><c/></a >\n");
        let root = root.expect("a document");
        let names: Vec<_> = root.children.iter().map(|c| (c.name.as_str(), c.text.as_str())).collect();
        assert_eq!((root.name.as_str(), root.text.as_str()), ("a", ""));
        assert_eq!(names, [("b", "1 <A"), ("c", "")]);
        assert_eq!(text("<n:a><![CDATA[<x>&amp;]]></n:a>").as_deref(), Some("<x>&amp;"));
        assert_eq!(text("<x>&lt;a&gt;&amp;&quot;&apos;&#13;</x>").as_deref(), Some("<a>&\"'\r"));
    }

    #[test]
    fn what_is_no_document_is_none() {
        for not in [
            "",
            "text",
            "<a>",
            "<a></b>",
            "<a/><b/>",
            "<a>&nbsp;</a>",
            "<a>&#0;</a>",
            "<a>&lt</a>",
            "<!DOCTYPE a [<!ENTITY x \"y\">]><a>&x;</a>",
            "<a b=\"<\"/>",
            "< a/>",
        ] {
            assert_eq!(text(not), None, "{not}");
        }
        let deep = |n| "<a>".repeat(n) + &"</a>".repeat(n);
        assert!(parse(&deep(MAX_DEPTH)).is_some() && parse(&deep(MAX_DEPTH + 2)).is_none());
        assert!(parse(&format!("<a>{}</a>", "<b/>".repeat(MAX_ELEMENTS))).is_none());
        assert!(parse(&format!("<a>{}</a>", " ".repeat(MAX_BYTES))).is_none());
    }
}
