//! Space out of packs: the bytes that objects still need are moved out of packs that are mostly dead, and
//! such packs are removed.
//!
//! One pass goes over all rows, in pieces between the index thread's batches, at a bounded rate; it moves
//! what its packs hold behind everything else, in the newest pack. Must never remove a pack by the counts
//! alone: a pass has seen every row, every row was readable, none names the pack, and a synced checkpoint
//! says the same. A body that cannot be read stays where it is, and its pack with it.

use std::collections::BTreeSet;
use std::io;
use std::ops::Bound;

use super::META_PACK_END;
use super::apply::{Applier, End, RETRY};
use super::body::is_damage;
use super::index::{Reads as _, Space};
use super::pace::Throttle;
use super::row_edit::{self, Packed};
use super::usage::Delta;
use crate::fail;
use crate::journal::disk::is_no_space;
use crate::store::StoreError;

/// Rows looked at between two batches …
const ROWS: usize = 1024;
/// … and bytes moved.
const MOVE_BYTES: u64 = 1 << 20;
/// What looking at one row counts as, in bytes of the rate.
const ROW_COST: u64 = 256;
/// An idle store closes its newest pack, if that is mostly dead, once it has this part of a full one.
const CLOSE_PART: u64 = 16;

/// What is being moved.
pub(super) struct Reclaim {
    throttle: Throttle,
    pass: Option<Pass>,
    /// Packs that the applied rows do not name any more; the last checkpoint's may.
    emptied: Vec<u32>,
    /// Packs that stay as long as this process runs.
    left: BTreeSet<u32>,
    /// A row is damaged, and nobody knows which pack it names: all packs stay.
    blind: bool,
    /// Rows were changed that no checkpoint holds.
    pub(super) moved: bool,
}

struct Pass {
    victims: BTreeSet<u32>,
    /// Where it is: which of [`Space::WITH_BODIES`], and the last row seen there.
    space: usize,
    from: Vec<u8>,
    /// Victims that were named again meanwhile, by a row that moved from one space to another: it may have
    /// been in neither when the pass looked.
    named: BTreeSet<u32>,
}

/// Rows of victims, and where their bytes are.
type Found = Vec<(Vec<u8>, Vec<u8>, Packed)>;

impl Reclaim {
    /// Moves at most `rate` bytes a second; with 0 no pass is ever begun.
    pub(super) fn new(rate: u64) -> Self {
        let (emptied, left) = (Vec::new(), BTreeSet::new());
        Self { throttle: Throttle::new(rate), pass: None, emptied, left, blind: false, moved: false }
    }

    /// A pack stays as it is until the next start.
    pub(super) fn leave(&mut self, pack: u32) {
        self.left.insert(pack);
    }

    /// A batch is applied that puts rows which name these packs.
    pub(super) fn named(&mut self, packs: impl Iterator<Item = u32>) {
        if let Some(pass) = &mut self.pass {
            pass.named.extend(packs.filter(|pack| pass.victims.contains(pack)));
        }
    }

    /// A checkpoint was made; gives the packs that it does not name.
    pub(super) fn checkpointed(&mut self) -> Vec<u32> {
        self.moved = false;
        std::mem::take(&mut self.emptied)
    }
}

impl Applier {
    /// How long until there is more to move; none if there is nothing.
    pub(super) fn reclaim_patience(&self) -> Option<std::time::Duration> {
        let begins = || !self.victims().is_empty() || self.closable();
        let work = self.tail_reached && !self.reclaim.blind && (self.reclaim.pass.is_some() || begins());
        if work { self.reclaim.throttle.patience() } else { None }
    }

    /// Moves a piece, if it is time. `idle`: nothing waits to be applied.
    pub(super) fn reclaim(&mut self, idle: bool) -> Result<(), End> {
        if self.is_stalled() || !self.reclaim_patience().is_some_and(|left| left.is_zero()) {
            return Ok(());
        }
        if self.reclaim.pass.is_none() {
            if idle && self.closable() {
                self.builder.packs.close();
            }
            let victims = self.victims();
            if victims.is_empty() {
                return Ok(());
            }
            tracing::debug!(packs = victims.len(), "moving what is needed out of packs that are mostly dead");
            self.reclaim.pass = Some(Pass { victims, space: 0, from: Vec::new(), named: BTreeSet::new() });
        }
        let Some(mut pass) = self.reclaim.pass.take() else { return Ok(()) };
        match self.piece(&mut pass) {
            Ok(()) if pass.space == Space::WITH_BODIES.len() => self.end_pass(pass),
            Ok(()) => self.reclaim.pass = Some(pass),
            Err(StoreError::Io(e)) if is_no_space(&e) => {
                self.reclaim.throttle.pause(RETRY);
                self.reclaim.pass = Some(pass);
            }
            Err(e) => return Err(e.into()),
        }
        Ok(())
    }

    fn victims(&self) -> BTreeSet<u32> {
        let mut except = self.reclaim.left.clone();
        except.extend(self.reclaim.emptied.iter().chain(&self.sweep.packs));
        self.usage.victims(self.builder.packs.current(), &except)
    }

    /// True if the newest pack takes part when nothing else goes on.
    fn closable(&self) -> bool {
        let packs = &self.builder.packs;
        let long = packs.end().at >= packs.limit() / CLOSE_PART;
        packs.current().is_some_and(|pack| long && self.usage.is_mostly_dead(pack))
    }

    /// Looks at some rows, and moves what they say is in a victim.
    fn piece(&mut self, pass: &mut Pass) -> Result<(), StoreError> {
        let space = Space::WITH_BODIES[pass.space];
        let from = if pass.from.is_empty() { Bound::Unbounded } else { Bound::Excluded(&*pass.from) };
        let (mut seen, mut bytes, mut last, mut more, mut blind) = (0, 0, Vec::new(), false, false);
        let mut found = Found::new();
        self.shared.index.scan(space, from, None, &mut |key, row| {
            more = seen == ROWS || bytes >= MOVE_BYTES;
            if more {
                return Ok(false);
            }
            seen += 1;
            last.clear();
            last.extend_from_slice(key);
            match row_edit::packed(key, row) {
                Ok(Some(packed)) if pass.victims.contains(&packed.pack) => {
                    bytes += packed.bytes;
                    found.push((key.to_vec(), row.to_vec(), packed));
                }
                Ok(_) => {}
                Err(_) => blind = true,
            }
            Ok(true)
        })?;
        if !found.is_empty() {
            self.move_all(space, &found)?;
        }
        if blind && !std::mem::replace(&mut self.reclaim.blind, true) {
            tracing::error!(
                "a row of the index is damaged; packs are kept as they are, since nobody knows which one it \
                 names: see `tidings store verify`"
            );
        }
        self.reclaim.throttle.spend(2 * bytes + seen as u64 * ROW_COST);
        (pass.space, pass.from) = if more { (pass.space, last) } else { (pass.space + 1, Vec::new()) };
        Ok(())
    }

    fn move_all(&mut self, space: Space, found: &Found) -> Result<(), StoreError> {
        if !self.shared.index.relieve() {
            return Err(io::Error::from(io::ErrorKind::StorageFull).into());
        }
        let before = self.builder.packs.end();
        let moved = self.rewrite(space, found);
        if moved.is_err() {
            self.builder.packs.rewind(before);
        }
        let mut delta = Delta::default();
        if moved? {
            let (index, batch) = (&self.shared.index, &self.builder.batch);
            self.reclaim.moved = true;
            index.apply(batch, index.applied_next(), &mut |edit, _| delta.add(edit))?;
            self.usage.add(&delta, self.builder.packs.end());
            self.publish_usage();
        }
        Ok(())
    }

    /// Copies bodies into the newest pack and fills the batch with their rows. False: there was none to copy.
    fn rewrite(&mut self, space: Space, found: &Found) -> Result<bool, StoreError> {
        let builder = &mut self.builder;
        builder.batch.clear();
        let mut begun = false;
        for (key, row, Packed { pack, at, bytes, crc32c }) in found {
            let body = match self.shared.packs.read(*pack, *at, *bytes as usize, *crc32c) {
                Ok(body) => body,
                Err(e) if is_damage(&e) || e.kind() == io::ErrorKind::NotFound => {
                    if self.reclaim.left.insert(*pack) {
                        tracing::error!(pack, at, error = %e, "a body is damaged; its pack stays as it is");
                    }
                    continue;
                }
                Err(e) => return Err(e.into()),
            };
            if !std::mem::replace(&mut begun, true) {
                builder.packs.begin()?;
            }
            let to = builder.packs.append(&body)?;
            builder.batch.put(space, key, |out| row_edit::put_moved(out, key, row, to.pack, to.at));
        }
        if begun {
            builder.packs.flush()?;
            let end = builder.packs.end().to_bytes();
            builder.batch.put(Space::Meta, META_PACK_END, |out| out.extend_from_slice(&end));
        }
        Ok(begun)
    }

    fn end_pass(&mut self, pass: Pass) {
        if self.reclaim.blind {
            return;
        }
        // Of the others no row can be left: what was found was moved. The next pass looks again.
        for pack in pass.victims.difference(&pass.named).copied() {
            if self.usage.live(pack) == 0 {
                self.reclaim.emptied.push(pack);
            } else if self.reclaim.left.insert(pack) {
                let live = self.usage.live(pack);
                tracing::error!(
                    pack,
                    live,
                    "no row names this pack, and yet bytes of it are counted; it stays"
                );
            }
        }
        let early = fail::mutant("pack-removed-before-checkpoint");
        if early || !self.is_dirty() {
            self.sweep.packs.append(&mut self.reclaim.emptied);
        }
        if early {
            self.sweep();
        }
    }
}
