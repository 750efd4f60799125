//! Functions as far sides of their lanes.
//!
//! Must never run anything: connectors do.

use std::sync::Arc;
use std::time::Duration;

use tidings_connector::ConnectorConfig;
use tidings_function::FunctionConfig;

use super::elsewhere::Elsewhere;
use super::{Functions, Whose};
use crate::config::Encoding;

/// A function as a far side.
pub struct FarSide {
    /// Who delivers to it.
    pub connector: Arc<dyn ConnectorConfig>,
    /// How events are written for it.
    pub encoding: Encoding,
    /// How long one attempt may take.
    pub longest: Duration,
    /// The pause between two attempts, if it is fixed.
    pub pause: Option<Duration>,
}

impl Functions {
    /// A function as a far side.
    pub fn connector(&self, name: &str) -> Option<FarSide> {
        let live = self.get(name).ok()?;
        let settings = &live.record.settings;
        let pause = settings.policy().pause;
        let pool = match live.host {
            Whose::Ours(pool) => pool,
            Whose::Theirs(remote) => {
                let (encoding, longest) = (remote.0.preset.encoding(), Elsewhere::longest(settings));
                return Some(FarSide { connector: Arc::new(remote), encoding, longest, pause });
            }
        };
        let config = FunctionConfig {
            name: live.record.name.as_str().into(),
            concurrency: settings.concurrency as usize,
            policy: settings.policy(),
            tally: Arc::default(),
            revision: live.record.revision.to_string(),
            invoker: Arc::new(pool),
        };
        // Its turn, room, the start, the run, and what ending an instance takes.
        let longest = settings.start_timeout() + settings.timeout() + Duration::from_secs(30);
        Some(FarSide { connector: Arc::new(config), encoding: Encoding::Cos, longest, pause })
    }
}
