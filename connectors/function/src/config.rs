//! One function as a far side.
//!
//! Must never hold code, or a value of its environment: the invoker does.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use tidings_connector::{Connector, ConnectorConfig, ErrorClass, Fault, Finding, Template};

use crate::connector::FunctionConnector;
use crate::{Invoker, Policy, Tally};

/// A function, and who runs it.
#[derive(Clone)]
pub struct FunctionConfig {
    /// Its name, for people.
    pub name: Arc<str>,
    /// How many of its events may run at once, at least 1.
    pub concurrency: usize,
    /// What becomes of events that fail.
    pub policy: Policy,
    /// How often its events failed so far.
    pub tally: Arc<Tally>,
    /// Two equal texts mean that nothing about the function changed: its version and its settings.
    pub revision: String,
    /// Who runs it.
    pub invoker: Arc<dyn Invoker>,
}

#[async_trait]
impl ConnectorConfig for FunctionConfig {
    /// Starts nothing: the first event does.
    async fn connect(&self) -> Result<Box<dyn Connector>, Fault> {
        self.invoker.ready().await.map_err(|why| {
            Fault::faulted(ErrorClass::Unroutable, format!("function `{}`: {why}", self.name))
        })?;
        Ok(Box::new(FunctionConnector::new(self.clone())))
    }

    async fn check(&self) -> Vec<Finding> {
        vec![match self.invoker.ready().await {
            Ok(()) => Finding::ok(format!("function `{}` can be hosted here", self.name)),
            Err(why) => Finding::error(format!("function `{}`: {why}", self.name)),
        }]
    }

    fn kind(&self) -> &'static str {
        "function"
    }

    fn destination(&self) -> Option<&Template> {
        None
    }

    fn fingerprint(&self) -> String {
        format!("{} {} {:?} {}", self.name, self.concurrency, self.policy, self.revision)
    }
}

impl fmt::Debug for FunctionConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FunctionConfig").field("name", &self.name).finish_non_exhaustive()
    }
}
