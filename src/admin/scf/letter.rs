//! A dead letter of a function in the form in which SCF sends one to a dead letter queue.
//!
//! Must never say anything of an event that its function was not told.

use serde_json::{Value, json};
use tidings_function::{Blame, Status};

use super::super::backend::{AdminBackend, rfc3339};
use crate::queue::dead::Letter;

/// What SCF says of a failure of the code, whatever it was.
const CODE_FAILED: i64 = -1;

/// The letter as a message of the vendor's; none for a target that is no function, or is not there any more.
pub(in crate::admin) fn letter(backend: &dyn AdminBackend, target: &str, letter: &Letter) -> Option<Value> {
    let sent = backend.scf().as_sent(target, letter)?;
    scf_letter(backend.scf().appid(), target, letter, &sent)
}

/// The letter as a message of the vendor's: `sent` is the event as the function got it. None for a target
/// that is no function.
pub fn scf_letter(appid: &str, target: &str, letter: &Letter, sent: &[u8]) -> Option<Value> {
    let function = target.strip_prefix("function:")?;
    let id = letter.entry.event.as_ref()?.id.to_string();
    Some(json!({
        "RequestId": id,
        "ErrorCode": code(&letter.text),
        "ErrorMessage": &*letter.text,
        "Body": {
            "AppId": appid.parse::<u64>().unwrap_or(0),
            "Uin": "",
            "SubAccountUin": null,
            "RequestSource": "TRIGGER_COS",
            "FunctionName": function,
            "Namespace": "default",
            "Qualifier": "$DEFAULT",
            "InvocationType": "Event",
            "ClientContext": String::from_utf8_lossy(sent),
            "LogType": "",
            "TimeStampForInvoker": letter.first_unix_ms.to_string(),
            "RequestId": id,
            "PushTime": rfc3339(letter.first_unix_ms.saturating_mul(1_000)),
            "RetryNum": letter.attempts.saturating_sub(1),
            "Ttl": 0,
        },
    }))
}

/// The run log's status, with which the text of a function's failure begins.
fn code(text: &str) -> i64 {
    let status = text.split(' ').next().and_then(|word| word.parse().ok()).and_then(Status::from_code);
    match status {
        Some(status) if status.blame() != Blame::Execution => status.code().into(),
        _ => CODE_FAILED,
    }
}

#[cfg(test)]
mod tests {
    use super::code;

    #[test]
    fn what_the_code_did_is_one_number_and_the_rest_are_statuses() {
        for (text, means) in [
            ("430 code failed: ValueError: no (given up after 2 retries)", -1),
            ("433 timed out: it took longer than 3 s", -1),
            ("500 internal error: the disk failed", 500),
            ("508 loop: 8 runs", 508),
            ("POST http://h answered 422", -1),
            ("", -1),
        ] {
            assert_eq!(code(text), means, "{text}");
        }
    }
}
