//! What operators do with dead letters: look at them, send them again, purge them.
//!
//! Must never hold the worker up: letters are read beside it.

use std::io;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::index::{Filter, Known};
use super::rewrite::read;
use super::{DeadLetters, Gone, Job, Letter, Shared};
use crate::journal::DiskFile;

/// Letters made to go by one sync.
const CHUNK: usize = 8_192;

/// Some letters, in offset order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Page {
    /// The letters.
    pub letters: Vec<Letter>,
    /// Where the next page begins, if there may be one: above this offset.
    pub next: Option<u64>,
}

/// Which letters an operator means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// These; others are passed over.
    Offsets(Vec<u64>),
    /// Those that fit.
    Fitting(Filter),
}

impl DeadLetters {
    /// Up to `limit` letters above the offset `after` that fit.
    ///
    /// # Errors
    /// What the disk says; a damaged letter is named by its place.
    pub async fn page(&self, filter: Filter, after: u64, limit: usize) -> io::Result<Page> {
        let shared = Arc::clone(&self.shared);
        blocking(move || {
            let mut page = Page::default();
            shared.each(&filter, after, &mut |letter| {
                if page.letters.len() == limit {
                    page.next = page.letters.last().map(|letter| letter.position.offset);
                    return false;
                }
                page.letters.push(letter);
                true
            })?;
            Ok(page)
        })
        .await
    }

    /// One letter, if it is one.
    ///
    /// # Errors
    /// What the disk says.
    pub async fn show(&self, offset: u64) -> io::Result<Option<Letter>> {
        let shared = Arc::clone(&self.shared);
        blocking(move || {
            let (known, reader) = {
                let state = shared.state();
                (state.index.letters.get(&offset).copied(), state.reader.clone())
            };
            known.map(|known| read(reader.as_deref(), &known)).transpose()
        })
        .await
    }

    /// Lets the lane send the selected letters again, beside its other events. Gives how many those are that
    /// were not on their way already. The wish is durable when it returns: a restart goes on with it.
    ///
    /// # Errors
    /// What the disk says; some may be on their way then.
    pub async fn replay(&self, selection: Selection) -> io::Result<u64> {
        let offsets = self.selected(selection).await?;
        let mut count = 0;
        for chunk in offsets.chunks(CHUNK) {
            let (done, wished) = oneshot::channel();
            self.shared.enqueue(Job::Wish { offsets: chunk.to_vec(), done });
            count += wished.await.map_err(|_| io::Error::other("the wish was interrupted"))?;
        }
        Ok(count)
    }

    /// Purges the selected letters; gives how many, all of them durably gone.
    ///
    /// # Errors
    /// What the disk says; some may be purged then.
    pub async fn purge(&self, selection: Selection) -> io::Result<u64> {
        let offsets = self.selected(selection).await?;
        let mut purged = 0;
        for chunk in offsets.chunks(CHUNK) {
            let (done, gone) = oneshot::channel();
            let offsets = chunk.to_vec();
            self.shared.enqueue(Job::Gone { offsets, how: Gone::Purged, done: Some(done) });
            purged += gone.await.map_err(|_| io::Error::other("the purge was interrupted"))?;
        }
        Ok(purged)
    }

    /// Goes on without the letters that are missing; gives how many those are, counted as quarantined.
    ///
    /// # Errors
    /// What the disk says; nothing is accepted then.
    pub async fn accept_loss(&self) -> io::Result<u64> {
        let (done, accepted) = oneshot::channel();
        {
            let state = self.shared.state();
            if state.damaged.is_none() && state.missing == 0 {
                return Ok(0);
            }
        }
        self.shared.enqueue(Job::Accept(done));
        accepted.await.map_err(|_| io::Error::other("interrupted"))?.map_err(io::Error::other)
    }

    async fn selected(&self, selection: Selection) -> io::Result<Vec<u64>> {
        let shared = Arc::clone(&self.shared);
        match selection {
            Selection::Offsets(offsets) => {
                let state = shared.state();
                Ok(offsets.into_iter().filter(|o| state.index.letters.contains_key(o)).collect())
            }
            // Hashes say enough unless they name an object.
            Selection::Fitting(filter) if filter.object.is_none() => {
                Ok(shared.state().index.fitting(&filter, 0).map(|(offset, _)| offset).collect())
            }
            Selection::Fitting(filter) => {
                blocking(move || {
                    let mut offsets = Vec::new();
                    shared.each(&filter, 0, &mut |letter| {
                        offsets.push(letter.position.offset);
                        true
                    })?;
                    Ok(offsets)
                })
                .await
            }
        }
    }
}

impl Shared {
    /// Reads letters that are to be sent again; what cannot be read stays what it is.
    pub(super) fn load(
        &self,
        reader: Option<&dyn DiskFile>,
        letters: Vec<(u64, Option<Known>)>,
    ) -> Vec<Letter> {
        let mut found = Vec::with_capacity(letters.len());
        for (offset, known) in letters {
            match known.map(|known| read(reader, &known)) {
                Some(Ok(letter)) => found.push(letter),
                // Purged meanwhile.
                None => drop(self.state().replaying.remove(&offset)),
                Some(Err(error)) => {
                    tracing::error!(target = self.target.0, offset, %error, "a dead letter cannot be read");
                    self.state().replaying.remove(&offset);
                }
            }
        }
        found
    }

    /// Reads letters that fit, in offset order, until `give` says no. Blocking.
    fn each(&self, filter: &Filter, mut after: u64, give: &mut dyn FnMut(Letter) -> bool) -> io::Result<()> {
        loop {
            let (known, reader) = {
                let state = self.state();
                let known: Vec<(u64, Known)> = state.index.fitting(filter, after).take(CHUNK / 8).collect();
                (known, state.reader.clone())
            };
            let Some((last, _)) = known.last() else { return Ok(()) };
            after = *last;
            for (_, known) in &known {
                let letter = read(reader.as_deref(), known)?;
                if fits(filter, &letter) && !give(letter) {
                    return Ok(());
                }
            }
        }
    }
}

fn fits(filter: &Filter, letter: &Letter) -> bool {
    let event = letter.entry.event.as_ref();
    filter
        .object
        .as_ref()
        .is_none_or(|(bucket, key)| event.is_some_and(|e| e.bucket == *bucket && e.key == *key))
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}
