//! A dead letter as the message that its function's target gets, and which targets can get one.
//!
//! Must never say anything of an event that its function was not told.

use std::sync::Arc;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use tidings_connector::{Cause, ErrorClass, Header, Message};

use super::super::Parts;
use crate::admin::{ChangeError, ScfBackend as _, scf_letter};
use crate::delivery::EncodeFn;
use crate::functions::{FunctionChange, target_name};
use crate::queue::dead::Letter;

/// Whose dead letter a message is.
const HEADER: &str = "tidings-dead-letter";
/// What a letter's message keeps of the headers that its target's events have, beside ours.
const CONTENT_TYPE: &str = "content-type";
/// Connectors that carry messages to somebody who reads them.
const MESSENGERS: &[&str] = &["amqp", "http", "kafka", "nats"];

impl Parts {
    /// The message of a letter: SCF's form, to where its target sends events of such an object.
    pub(super) fn as_letter(
        &self,
        function: &str,
        letter: &Letter,
        encode: &EncodeFn,
    ) -> Result<Message, Cause> {
        let name = target_name(function);
        let wrong = |why: &str| Cause::new(ErrorClass::Encode, why);
        let sent = self.as_sent(&name, letter).ok_or_else(|| wrong("its event cannot be written"))?;
        let text = scf_letter(self.appid(), &name, letter, &sent);
        let text = text.ok_or_else(|| wrong("it is no event's"))?.to_string();
        let rule = letter.entry.deliveries.first().map(|delivery| Arc::clone(&delivery.rule));
        let mut message = encode(&letter.stored(), &rule.unwrap_or_default())?;
        message.id = letter_id(&name, &message.id);
        message.payload = Bytes::from(text);
        message.headers.retain(|header| header.name.starts_with("tidings-"));
        message.headers.push(Header { name: CONTENT_TYPE, value: "application/json".into() });
        message.headers.push(Header { name: HEADER, value: name.into() });
        Ok(message)
    }

    /// Refuses a target that cannot take letters.
    pub(super) fn takes_letters(&self, change: &FunctionChange) -> Result<(), ChangeError> {
        let Some(to) = change.dead_letters.as_deref().filter(|to| !to.is_empty()) else { return Ok(()) };
        let shown = to.escape_debug();
        let kind = self.targets.get(to).and_then(|entry| entry.configured).map(|t| t.connector.kind());
        match kind {
            Some(kind) if to.starts_with("function:") || !MESSENGERS.contains(&kind) => {
                Err(ChangeError::BadRequest(format!(
                    "`dead_letters`: the target `{shown}` carries no messages: name one of kind {}",
                    MESSENGERS.join(", ")
                )))
            }
            Some(_) => Ok(()),
            None => Err(ChangeError::BadRequest(format!(
                "`dead_letters`: no target `{shown}` is configured: `tidings target ls` lists them"
            ))),
        }
    }
}

/// Not the event's own id: a far side that has the event, too, would take the letter for the same message.
fn letter_id(target: &str, event: &str) -> Arc<str> {
    let digest = Sha256::new().chain_update(target).chain_update([0]).chain_update(event).finalize();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid().to_string().into()
}
