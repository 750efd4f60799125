//! What a lane does with its dead letters, and what everybody may ask of them.
//!
//! Must never wait, except where it says so: lanes call this in their working half.

use std::sync::atomic::Ordering;

use super::{Blocked, DamagedBytes, DeadLetters, DeadStatus, Gone, Job, Letter, News, Shared};

impl DeadLetters {
    /// Buries a letter: writes it, settles its entry in the books, and says so in the news. Never waits.
    pub fn bury(&self, letter: Letter) {
        self.shared.state().burials.push_back(letter);
        self.shared.kick();
    }

    /// Takes the news, oldest first. Never waits.
    pub fn news(&self, into: &mut Vec<News>) {
        into.append(&mut self.shared.state().news);
    }

    /// Waits until there may be news, or something may have changed. Cancel safe.
    pub async fn arrived(&self) {
        self.shared.arrived.notified().await;
    }

    /// Changes whenever something was written: letters may have come or gone.
    pub fn written(&self) -> tokio::sync::watch::Receiver<bool> {
        self.shared.idle.subscribe()
    }

    /// Why nothing can be buried now.
    pub fn blocked(&self) -> Option<Blocked> {
        self.shared.state().blocked.clone()
    }

    /// How many letters wait to be given to a lane as [`News::Replay`].
    pub fn replays_waiting(&self) -> usize {
        self.shared.state().replays.len()
    }

    /// Asks for up to `max` of them; they come as news.
    pub fn load_replays(&self, max: usize) {
        let mut state = self.shared.state();
        let count = max.min(state.replays.len());
        if count > 0 {
            let offsets = state.replays.drain(..count).collect();
            state.jobs.push_back(Job::Load(offsets));
            drop(state);
            self.shared.kick();
        }
    }

    /// The far side has a letter that was sent again. Repeated after a crash if this did not become durable:
    /// then the letter is still dead.
    pub fn replayed(&self, offset: u64) {
        self.end_replay(offset, Job::Gone { offsets: vec![offset], how: Gone::Replayed, done: None });
    }

    /// A replay failed: the letter stays, with what came of it.
    pub fn replay_failed(&self, letter: Letter) {
        self.end_replay(letter.position.offset, Job::Update(Box::new(letter)));
    }

    fn end_replay(&self, offset: u64, job: Job) {
        let mut state = self.shared.state();
        state.replaying.remove(&offset);
        state.jobs.push_back(job);
        drop(state);
        self.shared.kick();
    }

    /// A lane that had letters to send again is gone, or has just begun: they wait for the next one.
    pub fn recall_replays(&self) {
        let mut state = self.shared.state();
        state.news.retain(|news| matches!(news, News::Buried(_)));
        let mut all: Vec<u64> = state.replaying.iter().copied().collect();
        all.sort_unstable();
        state.replays = all.into();
    }

    /// Gives up what is not being written yet, and waits for the rest. What is given up stays undelivered.
    pub async fn quiesce(&self) {
        let _ = self.withdraw().await;
    }

    /// Takes back what is not being written yet, and waits for the rest: what is not given is settled.
    pub async fn withdraw(&self) -> Vec<Letter> {
        let mut idle = self.shared.idle.subscribe();
        let mut withdrawn = Vec::new();
        loop {
            {
                let mut state = self.shared.state();
                // What a failed write puts back comes before what waited behind it.
                let more = std::mem::take(&mut state.burials);
                withdrawn.splice(0..0, more);
                if !state.running {
                    return withdrawn;
                }
            }
            if idle.wait_for(|idle| *idle).await.is_err() {
                return withdrawn;
            }
        }
    }

    /// Ends all work for good: nothing is written any more when it returns. Blocks until then.
    pub(in crate::queue) fn retire(&self) {
        let mut state = self.shared.state();
        state.retired = true;
        state.burials.clear();
        state.jobs.clear();
        drop(state);
        drop(self.shared.file.lock());
    }

    /// Sets the byte bound.
    pub fn set_max_bytes(&self, bytes: u64) {
        self.shared.max_bytes.store(bytes, Ordering::Relaxed);
        self.shared.kick();
    }

    /// The letters in numbers.
    pub fn status(&self) -> DeadStatus {
        let mut state = self.shared.state();
        // Who waits for the end of a replay finds the letter as it became.
        let ending = state.ending + state.jobs.iter().filter(|job| job.ends_a_replay()).count();
        DeadStatus {
            letters: state.index.letters.len() as u64,
            bytes: state.index.bytes,
            max_bytes: self.shared.max_bytes.load(Ordering::Relaxed),
            oldest_unix_ms: state.index.oldest_ms(),
            written: state.written,
            failed: state.failed,
            replaying: (state.replaying.len() + ending) as u64,
            blocked: state.blocked.clone(),
        }
    }

    /// True if an offset is here, or was: it must not be sent again.
    pub fn knows(&self, offset: u64) -> bool {
        let state = self.shared.state();
        state.index.letters.contains_key(&offset) || state.index.gone.contains_key(&offset)
    }
}

impl Shared {
    /// Why the log is damaged, for people.
    pub(super) fn damage(&self, damaged: Option<DamagedBytes>, missing: u64) -> Option<Blocked> {
        let name = &self.name;
        let what = match damaged {
            Some(DamagedBytes(from, to)) => {
                format!("{name}: bytes {from} to {to} are damaged, at least {missing} dead letters are lost")
            }
            None if missing > 0 => format!("{name}: {missing} dead letters that were durable are missing"),
            None => return None,
        };
        let help = "restore the file from a backup, or accept the loss with `tidings dlq accept-loss`";
        Some(Blocked::Damaged(format!("{what}; {help}").into()))
    }
}
