//! Destination templates: `objects.{bucket}` and their safe rendering.
//!
//! Values are the clients' bytes. Each place has one encoder, so that a key can never leave the place it is
//! put into.

use std::fmt::Write as _;
use std::ops::RangeInclusive;

use crate::Scope;

/// Where a rendered template is used; each place has its own legal characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// A Kafka topic: `[a-zA-Z0-9._-]`, at most 249 bytes, not `.` or `..`.
    KafkaTopic,
    /// A NATS subject: visible ASCII without wildcards, in tokens between dots, none of them empty, at most
    /// 255 bytes, not beginning with `$`. A placeholder is one token, whatever the value holds.
    NatsSubject,
    /// An AMQP routing key: UTF-8, at most 255 bytes, empty too. A placeholder is one word of a topic
    /// exchange's key: what a bucket's name holds cannot become a second word, nor look like a wildcard.
    AmqpRoutingKey,
}

/// A destination with placeholders: `{bucket}` or `{kind}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    source: String,
    place: Place,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Bucket,
    Kind,
}

/// Why a template was refused, or could not be rendered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A placeholder that does not exist.
    #[error("unknown placeholder `{{{0}}}`: use {{bucket}} or {{kind}}")]
    UnknownPlaceholder(String),
    /// A brace without its partner.
    #[error("unbalanced brace: write placeholders as {{bucket}}")]
    Unbalanced,
    /// The text holds a character that the place does not allow, or not where it stands.
    #[error("`{0}` is not allowed in a {1}, or not where it stands")]
    IllegalCharacter(char, &'static str),
    /// The result (or the fixed text alone) is empty or too long.
    #[error("the {0} would be {1} bytes long; allowed are {2} to {3}")]
    Length(&'static str, usize, usize, usize),
}

impl Place {
    fn name(self) -> &'static str {
        match self {
            Place::KafkaTopic => "Kafka topic",
            Place::NatsSubject => "NATS subject",
            Place::AmqpRoutingKey => "routing key",
        }
    }

    /// Bytes that a rendered result may have.
    fn len(self) -> RangeInclusive<usize> {
        match self {
            Place::KafkaTopic => 1..=249,
            Place::NatsSubject => 1..=255,
            Place::AmqpRoutingKey => 0..=255,
        }
    }

    fn allows(self, c: char) -> bool {
        match self {
            Place::KafkaTopic => c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'),
            Place::NatsSubject => c.is_ascii_graphic() && !matches!(c, '*' | '>'),
            Place::AmqpRoutingKey => !c.is_control() && !c.is_whitespace() && !matches!(c, '*' | '#'),
        }
    }

    /// Whether `c` means something between tokens or at their beginning, where one placeholder must stay one
    /// plain token.
    fn separates(self, c: char) -> bool {
        match self {
            Place::KafkaTopic => false,
            Place::NatsSubject => matches!(c, '.' | '$'),
            Place::AmqpRoutingKey => c == '.',
        }
    }

    /// The character for which a rendered text is refused although each of its own is allowed.
    fn misplaced(self, text: &str) -> Option<char> {
        match self {
            Place::KafkaTopic => text.chars().all(|c| c == '.').then_some('.'),
            // The server's own subjects begin so.
            Place::NatsSubject if text.starts_with('$') => Some('$'),
            Place::NatsSubject => text.split('.').any(str::is_empty).then_some('.'),
            Place::AmqpRoutingKey => None,
        }
    }

    /// Appends `value`, each character that the place does not allow in it written as `_` and its bytes in
    /// hex.
    fn encode(self, value: &str, out: &mut String) {
        for c in value.chars() {
            if self.allows(c) && !self.separates(c) {
                out.push(c);
            } else {
                let mut bytes = [0; 4];
                for byte in c.encode_utf8(&mut bytes).bytes() {
                    let _ = write!(out, "_{byte:02x}");
                }
            }
        }
    }
}

impl Template {
    /// Parses a template and checks everything that can be known before an event exists.
    pub fn parse(source: &str, place: Place) -> Result<Self, TemplateError> {
        let mut parts = Vec::new();
        let mut rest = source;
        while let Some(open) = rest.find(['{', '}']) {
            let (text, after) = rest.split_at(open);
            push_text(&mut parts, text, place)?;
            let inner = after.strip_prefix('{').ok_or(TemplateError::Unbalanced)?;
            let (name, tail) = inner.split_once('}').ok_or(TemplateError::Unbalanced)?;
            parts.push(match name {
                "bucket" => Part::Bucket,
                "kind" => Part::Kind,
                other => return Err(TemplateError::UnknownPlaceholder(other.to_owned())),
            });
            rest = tail;
        }
        push_text(&mut parts, rest, place)?;
        let template = Self { source: source.to_owned(), place, parts };
        // Whatever goes wrong for the shortest values goes wrong for every event.
        template.render("b", "k")?;
        Ok(template)
    }

    /// As it was written.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// True if it names one destination whatever the event is.
    pub fn is_fixed(&self) -> bool {
        self.parts.iter().all(|p| matches!(p, Part::Text(_)))
    }

    /// What a destination that cannot be reached affects: the target, or that destination alone.
    pub fn scope(&self) -> Scope {
        if self.is_fixed() { Scope::Target } else { Scope::Destination }
    }

    /// Renders for one event. `kind` is the event's name without a family prefix (`ObjectCreated:Put`).
    pub fn render(&self, bucket: &str, kind: &str) -> Result<String, TemplateError> {
        let mut out = String::with_capacity(self.source.len() + bucket.len());
        for part in &self.parts {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Bucket => self.place.encode(bucket, &mut out),
                Part::Kind => self.place.encode(kind, &mut out),
            }
        }
        let (name, len) = (self.place.name(), self.place.len());
        if !len.contains(&out.len()) {
            return Err(TemplateError::Length(name, out.len(), *len.start(), *len.end()));
        }
        if let Some(bad) = self.place.misplaced(&out) {
            return Err(TemplateError::IllegalCharacter(bad, name));
        }
        Ok(out)
    }
}

fn push_text(parts: &mut Vec<Part>, text: &str, place: Place) -> Result<(), TemplateError> {
    if let Some(bad) = text.chars().find(|c| !place.allows(*c)) {
        return Err(TemplateError::IllegalCharacter(bad, place.name()));
    }
    if !text.is_empty() {
        parts.push(Part::Text(text.to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renders_and_encodes() {
        let t = Template::parse("objects.{bucket}.{kind}", Place::KafkaTopic).expect("valid");
        assert_eq!(
            t.render("my-bucket", "ObjectCreated:Put").as_deref(),
            Ok("objects.my-bucket.ObjectCreated_3aPut")
        );
        assert!(!t.is_fixed());
    }

    #[test]
    fn a_placeholder_is_one_token_of_a_subject() {
        let t = Template::parse("objects.{bucket}.{kind}", Place::NatsSubject).expect("valid");
        let kind = "ObjectCreated:Put";
        for (bucket, token) in [
            ("my-bucket", "my-bucket"),
            ("a.b.>", "a_2eb_2e_3e"),
            ("*", "_2a"),
            ("$JS.API.STREAM.DELETE.X", "_24JS_2eAPI_2eSTREAM_2eDELETE_2eX"),
            ("a b\r\nPUB x 0\r\n", "a_20b_0d_0aPUB_20x_200_0d_0a"),
            ("é\0\u{7f}", "_c3_a9_00_7f"),
        ] {
            assert_eq!(
                t.render(bucket, kind),
                Ok(format!("objects.{token}.ObjectCreated:Put")),
                "{bucket:?}"
            );
        }
        let bare = Template::parse("{bucket}", Place::NatsSubject).expect("valid");
        assert_eq!(bare.render("$SYS.>", kind).as_deref(), Ok("_24SYS_2e_3e"));
        // An empty value would make an empty token.
        assert_eq!(t.render("", kind), Err(TemplateError::IllegalCharacter('.', "NATS subject")));
        assert!(t.render(&".".repeat(100), kind).is_err(), "too long once encoded");
    }

    #[test]
    fn a_subject_that_no_event_could_have_is_refused_early() {
        let refused = |source, c| {
            let told = Template::parse(source, Place::NatsSubject);
            assert_eq!(told, Err(TemplateError::IllegalCharacter(c, "NATS subject")), "{source}");
        };
        for source in [".a", "a.", "a..b", "a.{bucket}.", "a..{bucket}", "."] {
            refused(source, '.');
        }
        for (source, c) in
            [("a.*", '*'), ("a.>", '>'), ("a b", ' '), ("a\tb", '\t'), ("é", 'é'), ("$JS.{kind}", '$')]
        {
            refused(source, c);
        }
        let long = "a".repeat(256);
        assert!(Template::parse(&format!("{long}{{bucket}}"), Place::NatsSubject).is_err());
    }

    #[test]
    fn refuses_what_can_be_known_early() {
        let parse = |s| Template::parse(s, Place::KafkaTopic);
        assert_eq!(parse("a{nope}"), Err(TemplateError::UnknownPlaceholder("nope".into())));
        assert_eq!(parse("a{bucket"), Err(TemplateError::Unbalanced));
        assert_eq!(parse("a}b"), Err(TemplateError::Unbalanced));
        assert_eq!(parse("a b"), Err(TemplateError::IllegalCharacter(' ', "Kafka topic")));
        assert_eq!(parse(""), Err(TemplateError::Length("Kafka topic", 0, 1, 249)));
        assert_eq!(parse(".."), Err(TemplateError::IllegalCharacter('.', "Kafka topic")));
    }
    #[test]
    fn a_placeholder_is_one_word_of_a_routing_key() {
        fn parse(source: &str) -> Result<Template, TemplateError> {
            Template::parse(source, Place::AmqpRoutingKey)
        }
        let t = parse("objects.{bucket}.{kind}").expect("valid");
        let hostile = "a.b *#\r\n\u{7f}$\u{1f511}";
        assert_eq!(
            t.render(hostile, "ObjectCreated:Put").as_deref(),
            Ok("objects.a_2eb_20_2a_23_0d_0a_7f$\u{1f511}.ObjectCreated:Put")
        );
        assert_eq!(parse("").expect("a fanout exchange needs none").render("b", "k").as_deref(), Ok(""));
        for (text, bad) in [("a.*", '*'), ("a.#", '#'), ("a b", ' '), ("a\0", '\0')] {
            assert_eq!(parse(text), Err(TemplateError::IllegalCharacter(bad, "routing key")));
        }
        assert_eq!(parse(&"a".repeat(256)), Err(TemplateError::Length("routing key", 256, 0, 255)));
        // What only an event can make too long is refused then.
        let long = parse("{bucket}").expect("valid");
        assert!(long.render(&"b".repeat(255), "k").is_ok());
        let refused = Err(TemplateError::Length("routing key", 258, 0, 255));
        assert_eq!(long.render(&("b".repeat(255) + "."), "k"), refused);
    }
}
