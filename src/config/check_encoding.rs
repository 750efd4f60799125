//! Judges `encoding`: which ones there are, and what a target gets that names none.
//!
//! Must never know how an encoding is written.

use super::check::Checker;
use super::load::choice_help;
use super::tree::KeyPath;
use super::{Encoding, raw};

impl Checker<'_> {
    /// How events are written for one target.
    pub(super) fn encoding(&mut self, at: &KeyPath, raw: &raw::Target) -> Encoding {
        let Some(name) = &raw.encoding else { return Encoding::S3 };
        Encoding::parse(name).unwrap_or_else(|| {
            let what = format!("`encoding` cannot be `{}`", name.escape_debug());
            let names: Vec<_> = Encoding::ALL.iter().map(|encoding| encoding.name()).collect();
            let help = choice_help(name, &names);
            self.problem(at, what, &help.iter().map(String::as_str).collect::<Vec<_>>());
            Encoding::S3
        })
    }
}
