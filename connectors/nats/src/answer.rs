//! What comes back on the connection: which attempts it is about, and what they met.
//!
//! Must never take anything for an acknowledgement that is not the expected stream's own.

use std::borrow::Cow;

use async_nats::{Message, StatusCode};
use serde::Deserialize;
use tidings_common::Token;

use crate::error::Met;

/// An answer of JetStream, as far as it matters.
#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    stream: Option<Cow<'a, str>>,
    error: Option<Refusal>,
}

#[derive(Deserialize)]
struct Refusal {
    #[serde(default)]
    err_code: u64,
    #[serde(default)]
    description: String,
}

/// `stream`: the expected one; `None`: the messages are our own echoes.
pub(crate) fn read_all(answers: &[Message], stream: Option<&str>) -> Vec<(Token, Met, String)> {
    match stream {
        Some(stream) => answers.iter().filter_map(|answer| acknowledged(answer, stream)).collect(),
        None => answers.iter().flat_map(|answer| echoed(&answer.payload)).collect(),
    }
}

fn acknowledged(answer: &Message, stream: &str) -> Option<(Token, Met, String)> {
    let token = answer.subject.rsplit('.').next()?.parse().ok()?;
    if answer.status == Some(StatusCode::NO_RESPONDERS) {
        return Some((token, Met::NoResponders, "no stream takes this subject".to_owned()));
    }
    let (met, text) = judge(&answer.payload, stream);
    Some((token, met, text))
}

fn judge(payload: &[u8], expected: &str) -> (Met, String) {
    match serde_json::from_slice::<Answer<'_>>(payload) {
        Ok(Answer { error: Some(Refusal { err_code, description }), .. }) => {
            (Met::Refused(err_code), format!("{description} ({err_code})"))
        }
        Ok(Answer { stream: Some(stream), .. }) if stream == expected => (Met::Stored, String::new()),
        Ok(Answer { stream: Some(stream), .. }) => {
            (Met::OtherStream, format!("the stream `{stream}` has it instead of `{expected}`"))
        }
        Ok(Answer { stream: None, .. }) | Err(_) => {
            (Met::Unreadable, "an answer that is not JetStream's".to_owned())
        }
    }
}

fn echoed(payload: &[u8]) -> impl Iterator<Item = (Token, Met, String)> {
    let tokens = payload.chunks_exact(size_of::<Token>());
    tokens
        .filter_map(|token| Some((Token::from_be_bytes(token.try_into().ok()?), Met::Echoed, String::new())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_expected_stream_acknowledges() {
        let of = |payload: &str| judge(payload.as_bytes(), "OBJECTS").0;
        assert_eq!(of(r#"{"stream":"OBJECTS","seq":7}"#), Met::Stored);
        assert_eq!(
            of(r#"{"stream":"OBJECTS","seq":7,"duplicate":true,"domain":"hub","val":"1"}"#),
            Met::Stored
        );
        assert_eq!(of(r#"{"stream":"OTHER","seq":7}"#), Met::OtherStream);
        let refused =
            r#"{"error":{"code":503,"err_code":10077,"description":"full"},"stream":"OBJECTS","seq":0}"#;
        assert_eq!(of(refused), Met::Refused(10_077));
        assert_eq!(of(r#"{"error":{},"stream":"OBJECTS"}"#), Met::Refused(0));
        for not_an_answer in
            ["", "{}", "+OK", r#"{"stream":7}"#, r#"["OBJECTS"]"#, r#"{"error":"no"}"#, "\u{0}"]
        {
            assert_eq!(of(not_an_answer), Met::Unreadable, "{not_an_answer}");
        }
        // An escaped name is a borrowed one no more.
        assert_eq!(of(r#"{"stream":"\u004fBJECTS","seq":7}"#), Met::Stored);
    }

    #[test]
    fn an_echo_names_its_attempts() {
        let payload = [1_u64.to_be_bytes(), (7_u64 << 32).to_be_bytes()].concat();
        let tokens = |payload: &[u8]| echoed(payload).map(|(token, ..)| token).collect::<Vec<_>>();
        assert_eq!(tokens(&payload), [1, 7 << 32]);
        assert_eq!(tokens(&payload[..11]), [1]);
    }
}
