//! `cargo xtask powercut`: packages, then the power cuts of the live tests with a release build, as root.
//! Must never judge anything itself.

use anyhow::Result;

use crate::brokers::Set;
use crate::fail::{FAILED, MISSING, fail};
use crate::guard::Guard;
use crate::packages::{self, Need};
use crate::{paths, steps};

/// What to cut.
#[derive(clap::Args)]
pub(crate) struct Powercut {
    /// How many moments of one life the power is cut at.
    #[arg(long, default_value_t = 200)]
    images: u64,
    /// Repeats a run: the number that it printed.
    #[arg(long)]
    seed: Option<u64>,
}

/// Builds and runs them; ends non-zero if something was lost, or if the deliberate fault was not noticed.
pub(crate) fn run(powercut: &Powercut) -> Result<()> {
    let mut guard = Guard::start(&Set::test()?)?;
    judge(&mut guard, powercut.images, powercut.seed, |_| ())
}

/// The same, with each line that is printed.
pub(crate) fn judge(guard: &mut Guard, images: u64, seed: Option<u64>, see: impl FnMut(&str)) -> Result<()> {
    if !packages::root() {
        return Err(fail(MISSING, "power cuts mount file systems: run this as root".to_owned()));
    }
    packages::ensure(&[packages::BUILD, &[Need::Nbdfuse, Need::Fuse, Need::Ext4]].concat())?;
    let words = ["test", "--release", "-p", "tidings", "--test", "live", "--features", "powercut"];
    let mut cargo = paths::cargo(&words)?;
    cargo.args(["--", "powercut::", "--nocapture"]);
    cargo.env("TIDINGS_IMAGES", images.to_string());
    if let Some(seed) = seed {
        cargo.env("TIDINGS_SEED", seed.to_string());
    }
    if steps::run(guard, &mut cargo, see).is_err() {
        return Err(fail(FAILED, "see above: the seed that was printed repeats it with --seed".to_owned()));
    }
    Ok(())
}
