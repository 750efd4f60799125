//! Every configured target by its name: whom a bucket's own rules can reach now.
//!
//! Must never be another set for one copy because somebody changed another copy.

use std::collections::HashMap;
use std::sync::Arc;

use super::arn::FUNCTION;
use super::refused::Refused;
use crate::queue::TargetNo;

/// A copy carries at most so many names that it does not share.
const MAX_OWN: usize = 256;

/// Every configured target by its name. Copies share all but the latest changes: one name more or fewer costs
/// the same among ten thousand as among ten.
#[derive(Debug, Clone, Default)]
pub struct Names {
    shared: Arc<HashMap<Arc<str>, Named>>,
    /// Stands above what is shared; none: the name is gone.
    own: HashMap<Arc<str>, Option<Named>>,
}

/// One configured target.
#[derive(Debug, Clone)]
pub struct Named {
    /// Its number.
    pub target: TargetNo,
    /// It invokes something: a trigger may name it.
    pub invokes: bool,
    /// It can take a test event: its events are not written as COS's, which has none.
    pub tested: bool,
    /// The one Kafka topic that it writes to.
    pub topic: Option<KafkaTopic>,
    /// The region that it replicates objects to: only buckets' rules of replication may name it.
    pub region: Option<Arc<str>>,
}

/// A topic, and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KafkaTopic {
    /// Its name.
    pub name: Arc<str>,
    /// The brokers that are asked first, each `host:port`.
    pub brokers: Vec<String>,
}

impl Names {
    /// Adds a target, or puts it in the place of the one of its name.
    pub fn add(&mut self, name: &Arc<str>, named: Named) {
        self.put(name, Some(named));
    }

    /// Takes a target out.
    pub fn remove(&mut self, name: &str) {
        if let Some((name, _)) = self.entry(name) {
            self.put(&Arc::clone(name), None);
        }
    }

    fn put(&mut self, name: &Arc<str>, named: Option<Named>) {
        self.own.insert(Arc::clone(name), named);
        if self.own.len() > MAX_OWN {
            let shared = Arc::make_mut(&mut self.shared);
            for (name, named) in self.own.drain() {
                match named {
                    Some(named) => drop(shared.insert(name, named)),
                    None => drop(shared.remove(&name)),
                }
            }
        }
    }

    /// The target of this name.
    pub fn get(&self, name: &str) -> Option<&Named> {
        self.entry(name).map(|(_, named)| named)
    }

    pub(super) fn entry(&self, name: &str) -> Option<(&Arc<str>, &Named)> {
        match self.own.get_key_value(name) {
            Some((name, named)) => named.as_ref().map(|named| (name, named)),
            None => self.shared.get_key_value(name),
        }
    }

    /// The target that a function's name means: the function's own, else a configured one that invokes.
    ///
    /// # Errors
    /// There is none, or it invokes nothing.
    pub fn function(&self, name: &str) -> Result<&Arc<str>, Refused> {
        let own = self.entry(format!("{FUNCTION}{name}").as_str());
        match own.or_else(|| self.entry(name)) {
            Some((target, named)) if named.invokes => Ok(target),
            Some(_) => Err(Refused::NoFunction(name.to_owned())),
            None => Err(Refused::UnknownDestination(name.to_owned())),
        }
    }

    /// The targets that replicate objects, with the regions that they replicate to.
    pub fn replicating(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<str>)> {
        let shared = self.shared.iter().filter(|(name, _)| !self.own.contains_key(*name));
        let own = self.own.iter().filter_map(|(name, named)| Some((name, named.as_ref()?)));
        shared.chain(own).filter_map(|(name, named)| Some((name, named.region.as_ref()?)))
    }

    /// The one target that writes to this Kafka topic, at this broker if one is given.
    pub(super) fn of_topic(&self, topic: &str, broker: Option<&str>) -> Option<&Arc<str>> {
        let is = |named: &Named| {
            let known = named.topic.as_ref().filter(|known| *known.name == *topic);
            let at = |known: &KafkaTopic| {
                broker.is_none_or(|at| known.brokers.iter().any(|broker| broker.eq_ignore_ascii_case(at)))
            };
            known.is_some_and(at)
        };
        let shared = self.shared.iter().filter(|(name, _)| !self.own.contains_key(*name));
        let own = self.own.iter().filter_map(|(name, named)| Some((name, named.as_ref()?)));
        let mut found = shared.chain(own).filter(|(_, named)| is(named));
        let (name, _) = found.next()?;
        found.next().is_none().then_some(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(n: u32) -> Named {
        let topic = KafkaTopic { name: "events".into(), brokers: vec!["b:9092".into()] };
        Named { target: TargetNo(n), invokes: true, tested: true, topic: Some(topic), region: None }
    }

    #[test]
    fn copies_do_not_see_each_others_changes_however_many_there_are() {
        let name = |n: u32| Arc::from(format!("t{n}"));
        let mut one = Names::default();
        one.add(&"orders".into(), named(0));
        assert_eq!(one.of_topic("events", None).map(|name| &**name), Some("orders"));
        let before = one.clone();
        (1..1_000).for_each(|n| one.add(&name(n), named(n)));
        let mut two = one.clone();
        for n in (0..1_000).step_by(2) {
            two.remove(&name(n));
            two.remove("nobody");
        }
        two.add(&name(1), named(7_777));
        for n in 1..1_000 {
            let number = |names: &Names| names.get(&name(n)).map(|named| named.target.0);
            assert_eq!((number(&before), number(&one)), (None, Some(n)));
            assert_eq!(number(&two), if n == 1 { Some(7_777) } else { (n % 2 == 1).then_some(n) });
        }
        assert!(one.of_topic("events", None).is_none() && before.of_topic("events", None).is_some());
        for n in 1..1_000 {
            two.remove(&name(n));
        }
        assert_eq!(two.of_topic("events", None).map(|name| &**name), Some("orders"), "the last one of many");
        two.remove("orders");
        assert!(two.of_topic("events", None).is_none() && two.get("orders").is_none());
        assert!(one.function("t3").is_ok());
    }
}
