//! What is remembered of a broker between two commands: a file of `name=value` lines. Must never know how it
//! is run.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, Result};
use clap::ValueEnum;

use super::From;

/// Who started the broker.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    Ours(From),
    /// Somebody else: it is used and never harmed.
    Outside,
}

impl Origin {
    pub(super) fn word(self) -> &'static str {
        match self {
            Origin::Ours(From::Docker) => "docker",
            Origin::Ours(From::Local) => "local",
            Origin::Outside => "outside",
        }
    }
}

/// A broker that was started, whether it still runs or not.
pub(super) struct State {
    pub(super) origin: Origin,
    /// `host:port`.
    pub(super) address: String,
}

impl State {
    /// The state kept in `dir`, if any.
    pub(super) fn read(dir: &Path) -> Result<Option<State>> {
        match fs::read_to_string(dir.join("state")) {
            Ok(text) => {
                State::parse(&text).map(Some).context("the broker's state file is damaged; remove it")
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", dir.join("state").display())),
        }
    }

    /// Keeps the state in `dir`. Written aside and renamed: a reader sees all of it or nothing.
    pub(super) fn write(&self, dir: &Path) -> Result<()> {
        let text = format!("origin={}\naddress={}\n", self.origin.word(), self.address);
        let aside = dir.join("state.new");
        fs::write(&aside, text)
            .and_then(|()| fs::rename(&aside, dir.join("state")))
            .with_context(|| format!("cannot write {}", dir.join("state").display()))
    }

    /// Removes the state kept in `dir`, if any.
    pub(super) fn forget(dir: &Path) -> Result<()> {
        match fs::remove_file(dir.join("state")) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(error).context("cannot remove the state file")
            }
            _ => Ok(()),
        }
    }

    fn parse(text: &str) -> Option<State> {
        let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        let origin = match value("origin")? {
            "outside" => Origin::Outside,
            word => Origin::Ours(From::from_str(word, false).ok()?),
        };
        Some(State { origin, address: value("address")?.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_is_read_as_it_was_written() {
        for origin in [Origin::Ours(From::Docker), Origin::Ours(From::Local), Origin::Outside] {
            let text = format!("origin={}\naddress=127.0.0.1:9\n", origin.word());
            let state = State::parse(&text).unwrap();
            assert!(state.origin == origin && state.address == "127.0.0.1:9");
        }
        assert!(State::parse("origin=local\n").is_none());
        assert!(State::parse("origin=elsewhere\naddress=127.0.0.1:9\n").is_none());
    }
}
