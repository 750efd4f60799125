//! Judges `on_reject` and `dead_letters_max_bytes`: what becomes of an event that a target can never accept.
//!
//! Must never know how dead letters are kept.

use super::check::Checker;
use super::load::choice_help;
use super::tree::KeyPath;
use super::{OnReject, raw};

/// The names of both, as they are typed.
const NAMES: [(&str, OnReject); 2] = [("dead-letter", OnReject::DeadLetter), ("hold-key", OnReject::HoldKey)];

impl Checker<'_> {
    /// What becomes of rejected events of one target.
    pub(super) fn on_reject(&mut self, at: &KeyPath, raw: &raw::Target) -> OnReject {
        self.size(&at.key("dead_letters_max_bytes"), raw.dead_letters_max_bytes, (1 << 20)..=(1 << 40));
        let name = &raw.on_reject;
        if let Some((_, known)) = NAMES.iter().find(|(known, _)| known == name) {
            return *known;
        }
        let what = format!("`on_reject` cannot be `{}`", name.escape_debug());
        let help = choice_help(name, &NAMES.map(|(name, _)| name));
        self.problem(&at.key("on_reject"), what, &help.iter().map(String::as_str).collect::<Vec<_>>());
        OnReject::DeadLetter
    }
}
