//! Waiting until a target has sent again what it was asked for: `--wait`.
//!
//! Must never ask more often than a person would look, nor call anything done that the server does not.

use std::time::Duration;

use reqwest::Method;
use serde_json::Value;

use super::Failure;
use super::paint::{Progress, text};
use super::remote::Server;

/// A look costs the server next to nothing; a person sees no difference.
const LOOK_EVERY: Duration = Duration::from_millis(500);

impl Server {
    /// Looks at a target until `left` says that nothing is left, showing how far it is; gives the last look.
    pub(super) async fn wait(
        &self,
        target: &str,
        left: impl Fn(&Value) -> Option<String>,
    ) -> Result<Value, Failure> {
        let mut progress = Progress::new();
        loop {
            let view = self.call(Method::GET, &format!("/v1/targets/{target}")).await?;
            let Some(left) = left(&view) else { return Ok(view) };
            progress.show(&format!("{target} is {}: {left}", text(&view["state"])));
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

/// What is left of a replay of a target.
pub(super) fn of_target(view: &Value) -> Option<String> {
    let replay = &view["replay"];
    replay.is_object().then(|| format!("offset {} of {}", text(&replay["from"]), text(&replay["until"])))
}

/// What is left of replays of dead letters.
pub(super) fn of_letters(view: &Value) -> Option<String> {
    let left = view["replaying"].as_u64().filter(|left| *left > 0)?;
    Some(format!("{left} dead letter(s) to be sent again"))
}
