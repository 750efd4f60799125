//! Judges `encoding`: which ones there are, and what a target gets that names none.
//!
//! Must never know how an encoding is written.

use tidings_http::Preset;

use super::check::Checker;
use super::load::choice_help;
use super::tree::KeyPath;
use super::{Encoding, raw};

impl Checker<'_> {
    /// How events are written for one target.
    pub(super) fn encoding(&mut self, at: &KeyPath, raw: &raw::Target) -> Encoding {
        let preset = raw.connector.http.as_ref().map_or(Preset::Plain, |http| http.preset);
        let default = match preset {
            Preset::Plain => Encoding::S3,
            Preset::Scf => Encoding::Cos,
            Preset::CloudEvents => Encoding::CloudEvents,
        };
        let Some(name) = &raw.encoding else { return default };
        let Some(encoding) = Encoding::parse(name) else {
            let what = format!("`encoding` cannot be `{}`", name.escape_debug());
            let names: Vec<_> = Encoding::ALL.iter().map(|encoding| encoding.name()).collect();
            let help = choice_help(name, &names);
            self.problem(at, what, &help.iter().map(String::as_str).collect::<Vec<_>>());
            return default;
        };
        if raw.connector.replication.is_some() && encoding != Encoding::S3 {
            self.problem(at, format!("`encoding` is `{name}`, but replicas have none"), &["leave it out"]);
        }
        let cloudevents = matches!(encoding, Encoding::CloudEvents | Encoding::CloudEventsStructured);
        if preset == Preset::CloudEvents && !cloudevents {
            let what = format!("`encoding` is `{name}`, but the preset `cloudevents` sends CloudEvents");
            self.problem(at, what, &["leave it out, or write \"cloudevents-structured\""]);
        }
        encoding
    }
}
