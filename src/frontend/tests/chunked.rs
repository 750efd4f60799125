//! `aws-chunked` bodies for the tests, signed and unsigned, with and without trailers.

use jiff::Timestamp;

use super::support::Running;
use crate::client::sign::{amz_date, payload_hash};

/// Signs chunk after chunk.
pub(super) struct Chunker<'a> {
    running: &'a Running,
    at: Timestamp,
    previous: String,
    pub(super) body: Vec<u8>,
}

impl<'a> Chunker<'a> {
    pub(super) fn new(running: &'a Running, at: Timestamp, seed: &str) -> Self {
        Self { running, at, previous: seed.to_owned(), body: Vec::new() }
    }

    /// Appends a signed chunk; the last one is empty.
    pub(super) fn chunk(mut self, data: &[u8]) -> Self {
        let (date, scope) = self.date_and_scope();
        let (nothing, hash) = (payload_hash(b""), payload_hash(data));
        let previous = &self.previous;
        let text = format!("AWS4-HMAC-SHA256-PAYLOAD\n{date}\n{scope}\n{previous}\n{nothing}\n{hash}");
        self.previous = self.running.client.signer().sign_text(&text, self.at);
        self.body
            .extend_from_slice(format!("{:x};chunk-signature={}\r\n", data.len(), self.previous).as_bytes());
        self.body.extend_from_slice(data);
        if !data.is_empty() {
            self.body.extend_from_slice(b"\r\n");
        }
        self
    }

    /// Appends a signed trailer after the last chunk.
    pub(super) fn trailer(mut self, name: &str, value: &str) -> Self {
        let (date, scope) = self.date_and_scope();
        let hash = payload_hash(format!("{name}:{value}\n").as_bytes());
        let text = format!("AWS4-HMAC-SHA256-TRAILER\n{date}\n{scope}\n{}\n{hash}", self.previous);
        let signature = self.running.client.signer().sign_text(&text, self.at);
        let lines = format!("{name}:{value}\r\nx-amz-trailer-signature:{signature}\r\n\r\n");
        self.body.extend_from_slice(lines.as_bytes());
        self
    }

    /// Ends a body without trailers.
    pub(super) fn end(mut self) -> Vec<u8> {
        self.body.extend_from_slice(b"\r\n");
        self.body
    }

    fn date_and_scope(&self) -> (String, String) {
        let date = amz_date(self.at);
        let scope = self.running.client.signer().scope(&date[..8]);
        (date, scope)
    }
}

/// An unsigned chunked body with these trailer lines.
pub(super) fn unsigned(chunks: &[&[u8]], trailers: &str) -> Vec<u8> {
    let mut body = Vec::new();
    for chunk in chunks {
        body.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        body.extend_from_slice(chunk);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("0\r\n{trailers}\r\n").as_bytes());
    body
}
