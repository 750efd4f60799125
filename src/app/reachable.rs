//! Whom buckets' own rules can reach: every configured target, by its name.
//!
//! Must never name a target that is not registered durably.

use super::targets::Targets;
use crate::config::{self, Encoding};
use crate::queue::TargetNo;
use crate::rules::{KafkaTopic, Named, Names};

impl Targets {
    /// Those of the wanted targets that have a number: buckets' own rules can reach them.
    pub(super) fn reachable(&self, wanted: &[config::Target]) -> Names {
        let mut names = Names::default();
        for target in wanted {
            let Some(entry) = self.get(&target.name) else { continue };
            names.add(&target.name, self.named(target, entry.registered.target));
        }
        names
    }

    /// One of them.
    pub(super) fn named(&self, target: &config::Target, number: TargetNo) -> Named {
        let kind = target.connector.kind();
        let topic = target.connector.destination().filter(|topic| kind == "kafka" && topic.is_fixed());
        let brokers = || target.connector.brokers().to_vec();
        Named {
            target: number,
            invokes: matches!(kind, "http" | "function"),
            tested: target.encoding != Encoding::Cos,
            region: target.connector.region().map(Into::into),
            topic: topic.map(|topic| KafkaTopic { name: topic.source().into(), brokers: brokers() }),
        }
    }
}
