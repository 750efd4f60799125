//! Which keys are fetched, which wait for it, and how many there may be of both.
//!
//! Must never let a key be fetched twice at once, and never lose a place.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio::sync::watch;

use super::Pull;
use super::failure::Failure;
use crate::config;

/// A bucket and a key.
pub(super) type At = (Arc<str>, Arc<str>);
/// What came of a fetch: the object is here, or why not.
pub(super) type Outcome = Result<(), Failure>;
/// Who waits for an outcome; none: it is going on.
pub(super) type Told = watch::Receiver<Option<Outcome>>;

/// A fetch, and who is to be told.
pub(super) struct Job {
    pub(super) pull: Pull,
    pub(super) tell: watch::Sender<Option<Outcome>>,
}

/// What became of a wish.
pub(super) enum Begun {
    /// Somebody wished it before.
    Joins(Told),
    /// It has its place: to be started.
    Starts(Box<Job>, Told),
    /// It starts when it has a place.
    Waits(Told),
    /// There is no room for it.
    Full,
}

/// Everything that is fetched or waits for it.
pub(super) struct Going {
    most: usize,
    most_of_bucket: usize,
    most_waiting: usize,
    /// With the fewest hops of those who wait for each.
    keys: HashMap<At, (Told, Arc<AtomicU8>)>,
    all: usize,
    of_bucket: HashMap<Arc<str>, usize>,
    waiting: VecDeque<Job>,
}

impl Going {
    pub(super) fn new(origin: &config::Origin) -> Self {
        Self {
            most: origin.max_fetches,
            most_of_bucket: origin.max_fetches_per_bucket,
            most_waiting: origin.max_waiting,
            keys: HashMap::new(),
            all: 0,
            of_bucket: HashMap::new(),
            waiting: VecDeque::new(),
        }
    }

    /// Wishes a fetch. One that may wait is of a client who does not.
    pub(super) fn begin(&mut self, pull: Pull, may_wait: bool) -> Begun {
        let at = (Arc::clone(&pull.bucket), Arc::clone(&pull.key));
        if let Some((told, hops)) = self.keys.get(&at) {
            hops.fetch_min(pull.hops.load(Ordering::Relaxed), Ordering::Relaxed);
            return Begun::Joins(told.clone());
        }
        let starts = self.take(&pull.bucket);
        if !starts && (!may_wait || self.waiting.len() >= self.most_waiting) {
            return Begun::Full;
        }
        let (tell, told) = watch::channel(None);
        self.keys.insert(at, (told.clone(), Arc::clone(&pull.hops)));
        let job = Job { pull, tell };
        if starts {
            return Begun::Starts(Box::new(job), told);
        }
        self.waiting.push_back(job);
        Begun::Waits(told)
    }

    /// Takes a place; false: there is none.
    pub(super) fn take(&mut self, bucket: &Arc<str>) -> bool {
        let has = self.has_place(bucket);
        if has {
            self.all += 1;
            *self.of_bucket.entry(Arc::clone(bucket)).or_default() += 1;
        }
        has
    }

    /// Gives a place back. Who has waited longest of those that have one now starts in it.
    pub(super) fn give(&mut self, bucket: &Arc<str>) -> Option<Job> {
        self.all -= 1;
        if let Some(n) = self.of_bucket.get_mut(bucket) {
            *n -= 1;
            if *n == 0 {
                self.of_bucket.remove(bucket);
            }
        }
        let next = self.waiting.iter().position(|job| self.has_place(&job.pull.bucket))?;
        let job = self.waiting.remove(next)?;
        self.take(&job.pull.bucket);
        Some(job)
    }

    /// A key is fetched no more.
    pub(super) fn end(&mut self, at: &At) {
        self.keys.remove(at);
    }

    fn has_place(&self, bucket: &Arc<str>) -> bool {
        self.all < self.most && self.of_bucket.get(bucket).is_none_or(|n| *n < self.most_of_bucket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::RequestInfo;

    fn going(most: usize, most_of_bucket: usize, most_waiting: usize) -> Going {
        Going::new(&config::Origin {
            max_fetches: most,
            max_fetches_per_bucket: most_of_bucket,
            max_waiting: most_waiting,
            ..config::Origin::default()
        })
    }

    fn pull(bucket: &str, key: &str) -> Pull {
        Pull {
            bucket: bucket.into(),
            key: key.into(),
            urls: Vec::new(),
            headers: http::HeaderMap::new(),
            follow: false,
            request: RequestInfo { id: "id".into(), source_ip: None, principal: "key".into(), hops: 0 },
            hops: Arc::default(),
            born: 0,
            hosts: Vec::new(),
        }
    }

    fn begin(going: &mut Going, bucket: &str, key: &str, may_wait: bool) -> &'static str {
        match going.begin(pull(bucket, key), may_wait) {
            Begun::Joins(_) => "joins",
            Begun::Starts(..) => "starts",
            Begun::Waits(_) => "waits",
            Begun::Full => "full",
        }
    }

    fn ended(going: &mut Going, bucket: &str, key: &str) -> Option<String> {
        let bucket: Arc<str> = bucket.into();
        going.end(&(Arc::clone(&bucket), key.into()));
        going.give(&bucket).map(|job| format!("{}/{}", job.pull.bucket, job.pull.key))
    }

    #[test]
    fn a_key_is_fetched_once_at_a_time() {
        let mut going = going(2, 2, 1);
        assert_eq!(begin(&mut going, "a", "k", false), "starts");
        assert_eq!(begin(&mut going, "a", "k", false), "joins");
        assert_eq!(begin(&mut going, "b", "k", false), "starts", "of another bucket");
        assert_eq!(begin(&mut going, "b", "w", true), "waits");
        assert_eq!(begin(&mut going, "b", "w", false), "joins");
        assert_eq!(ended(&mut going, "a", "k").as_deref(), Some("b/w"));
        assert_eq!(begin(&mut going, "a", "k", false), "full");
        assert_eq!(ended(&mut going, "b", "w"), None);
        assert_eq!(begin(&mut going, "a", "k", false), "starts", "it ended, and begins again");
    }

    /// An object that a client waits for too is no step of a loop of functions.
    #[test]
    fn who_joins_with_fewer_hops_is_a_cause_too() {
        let mut going = going(1, 1, 0);
        let mut hops = Vec::new();
        for n in [5_u8, 7, 0, 3] {
            let mut pull = pull("a", "k");
            pull.hops = Arc::new(n.into());
            hops.push(Arc::clone(&pull.hops));
            going.begin(pull, false);
        }
        assert_eq!(hops[0].load(Ordering::Relaxed), 0);
    }

    #[test]
    fn no_bucket_takes_every_place_and_none_is_lost() {
        let mut going = going(3, 2, 3);
        for key in ["1", "2"] {
            assert_eq!(begin(&mut going, "a", key, false), "starts");
        }
        assert_eq!(begin(&mut going, "a", "3", false), "full");
        for key in ["3", "4"] {
            assert_eq!(begin(&mut going, "a", key, true), "waits");
        }
        assert_eq!(begin(&mut going, "b", "1", false), "starts");
        assert_eq!(begin(&mut going, "b", "2", true), "waits");
        assert_eq!(begin(&mut going, "b", "3", true), "full", "nor does a queue grow for ever");
        assert_eq!(ended(&mut going, "b", "1").as_deref(), Some("b/2"), "the others have no place yet");
        assert_eq!(ended(&mut going, "a", "1").as_deref(), Some("a/3"));
        assert_eq!(ended(&mut going, "a", "3").as_deref(), Some("a/4"));
        for (bucket, key) in [("a", "2"), ("a", "4"), ("b", "2")] {
            assert_eq!(ended(&mut going, bucket, key), None);
        }
        assert_eq!((going.all, going.of_bucket.len(), going.keys.len()), (0, 0, 0));
    }
}
