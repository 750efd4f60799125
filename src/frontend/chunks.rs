//! The framing of an `aws-chunked` body, checked and bounded before the verifier sees it.
//!
//! The verifier holds one whole chunk in memory, forgives a missing last chunk and does not count bytes. Here
//! a chunk is bounded (unsigned ones are cut into small ones, which nothing signs), the last chunk must come,
//! and the decoded length must be the declared one. Must never look at signatures or buffer data.

use std::collections::VecDeque;

use bytes::Bytes;

use super::context::BodyFault;

/// The longest line before a chunk: eight digits, the signature, and no room for other extensions.
const MAX_LINE: usize = 128;
/// The largest chunk with a signature: the verifier keeps it in memory until the signature is checked.
const MAX_SIGNED_CHUNK: u64 = 16 << 20;
/// Unsigned chunks are passed on in pieces of this size.
const PIECE: u64 = 256 << 10;
/// The largest trailer.
const MAX_TRAILER: usize = 16 << 10;

const SIGNATURE: &[u8] = b";chunk-signature=";

/// Follows one body.
#[derive(Debug)]
pub(super) struct Chunks {
    signed: bool,
    state: State,
    line: Vec<u8>,
    /// Decoded bytes that must still come.
    left: u64,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    /// In the line before a chunk.
    Line,
    /// In the data: bytes left of the chunk, and of the piece that was announced to the verifier.
    Data { chunk: u64, piece: u64 },
    /// After the data: how many of CR and LF have come.
    End(usize),
    /// After the last chunk: bytes seen.
    Trailer(usize),
}

impl Chunks {
    /// Follows a body that declared `length` decoded bytes.
    pub(super) fn new(signed: bool, length: u64) -> Self {
        Self { signed, state: State::Line, line: Vec::with_capacity(MAX_LINE), left: length }
    }

    /// Takes the next bytes and appends what goes on to the verifier.
    pub(super) fn feed(&mut self, bytes: Bytes, out: &mut VecDeque<Bytes>) -> Result<(), BodyFault> {
        if self.signed {
            // Signatures cover the framing as it came: it is followed, and passed on untouched.
            let mut rest = bytes.clone();
            while !rest.is_empty() {
                self.step(&mut rest, None)?;
            }
            out.push_back(bytes);
            return Ok(());
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            self.step(&mut rest, Some(out))?;
        }
        Ok(())
    }

    /// The body ended: true framing ends only after its last chunk.
    pub(super) fn end(&self) -> Result<(), BodyFault> {
        match self.state {
            State::Trailer(_) => Ok(()),
            _ => Err(BodyFault::Length),
        }
    }

    /// Goes over at least one byte of `rest`.
    fn step(&mut self, rest: &mut Bytes, out: Option<&mut VecDeque<Bytes>>) -> Result<(), BodyFault> {
        match self.state {
            State::Line => self.line_bytes(rest, out),
            State::Data { chunk, piece } => {
                let n = piece.min(rest.len() as u64);
                let data = rest.split_to(usize::try_from(n).expect("at most a buffer's length"));
                let (chunk, piece) = (chunk - n, piece - n);
                if let Some(out) = out {
                    out.push_back(data);
                    if piece == 0 && chunk > 0 {
                        out.push_back(Bytes::from_static(b"\r\n"));
                        let next = chunk.min(PIECE);
                        out.push_back(format!("{next:x}\r\n").into());
                        self.state = State::Data { chunk, piece: next };
                        return Ok(());
                    }
                }
                self.state = if chunk == 0 { State::End(0) } else { State::Data { chunk, piece } };
                Ok(())
            }
            State::End(seen) => {
                let byte = rest.split_to(1);
                if byte[0] != b"\r\n"[seen] {
                    return Err(BodyFault::Framing("a chunk does not end where it should"));
                }
                self.state = if seen == 1 { State::Line } else { State::End(1) };
                if let Some(out) = out.filter(|_| seen == 1) {
                    out.push_back(Bytes::from_static(b"\r\n"));
                }
                Ok(())
            }
            State::Trailer(seen) => {
                let seen = seen + rest.len();
                if seen > MAX_TRAILER {
                    return Err(BodyFault::Framing("the trailer is too long"));
                }
                self.state = State::Trailer(seen);
                let all = std::mem::take(rest);
                if let Some(out) = out {
                    out.push_back(all);
                }
                Ok(())
            }
        }
    }

    fn line_bytes(&mut self, rest: &mut Bytes, out: Option<&mut VecDeque<Bytes>>) -> Result<(), BodyFault> {
        let end = rest.iter().position(|b| *b == b'\n').map_or(rest.len(), |at| at + 1);
        let part = rest.split_to(end);
        if self.line.len() + part.len() > MAX_LINE {
            return Err(BodyFault::Framing("the line before a chunk is too long"));
        }
        self.line.extend_from_slice(&part);
        if !self.line.ends_with(b"\n") {
            return Ok(());
        }
        let size = self.parse_line()?;
        self.line.clear();
        if size > self.left || (size == 0 && self.left > 0) {
            return Err(BodyFault::Length);
        }
        self.left -= size;
        // A signed chunk goes on whole; an unsigned one in pieces.
        let piece = if self.signed { size } else { size.min(PIECE) };
        self.state = if size == 0 { State::Trailer(0) } else { State::Data { chunk: size, piece } };
        if let Some(out) = out {
            out.push_back(format!("{piece:x}\r\n").into());
        }
        Ok(())
    }

    /// The size that the complete line announces.
    fn parse_line(&self) -> Result<u64, BodyFault> {
        let malformed = BodyFault::Framing("the line before a chunk is malformed");
        let line = self.line.strip_suffix(b"\r\n").ok_or(malformed)?;
        let digits = line.iter().take_while(|b| b.is_ascii_hexdigit()).count();
        let (digits, extension) = line.split_at(digits);
        let signature = extension.strip_prefix(SIGNATURE);
        let lower_hex = |s: &[u8]| s.len() == 64 && s.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let fits = match self.signed {
            true => signature.is_some_and(lower_hex),
            false => extension.is_empty(),
        };
        if digits.is_empty() || digits.len() > 8 || !fits {
            return Err(malformed);
        }
        let text = std::str::from_utf8(digits).map_err(|_| malformed)?;
        let size = u64::from_str_radix(text, 16).map_err(|_| malformed)?;
        match self.signed && size > MAX_SIGNED_CHUNK {
            true => Err(BodyFault::Framing("a signed chunk is larger than 16 MiB")),
            false => Ok(size),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `body` in parts of `step` bytes; what went on, joined.
    fn run(signed: bool, length: u64, body: &[u8], step: usize) -> Result<Vec<u8>, BodyFault> {
        let mut chunks = Chunks::new(signed, length);
        let mut out = VecDeque::new();
        for part in body.chunks(step) {
            chunks.feed(Bytes::copy_from_slice(part), &mut out)?;
        }
        chunks.end()?;
        Ok(out.into_iter().flatten().collect())
    }

    #[test]
    fn whole_framing_goes_through_however_it_is_cut() {
        let plain = b"5\r\nhello\r\n1\r\n!\r\n0\r\nx-amz-checksum-crc32:AAAA\r\n\r\n";
        let signature = "ab".repeat(32);
        let signed = format!(
            "5;chunk-signature={signature}\r\nhello\r\n1;chunk-signature={signature}\r\n!\r\n\
             0;chunk-signature={signature}\r\n\r\n"
        );
        for step in 1..plain.len() {
            assert_eq!(run(false, 6, plain, step).as_deref(), Ok(&plain[..]), "step {step}");
            assert_eq!(
                run(true, 6, signed.as_bytes(), step).as_deref(),
                Ok(signed.as_bytes()),
                "step {step}"
            );
        }
    }

    #[test]
    fn a_large_unsigned_chunk_is_cut_into_pieces() {
        let data = vec![b'z'; PIECE as usize + 10];
        let mut body = format!("{:x}\r\n", data.len()).into_bytes();
        body.extend_from_slice(&data);
        body.extend_from_slice(b"\r\n0\r\n\r\n");
        let got = run(false, data.len() as u64, &body, 70_001).expect("whole");
        let mut expected = format!("{PIECE:x}\r\n").into_bytes();
        expected.extend_from_slice(&data[..PIECE as usize]);
        expected.extend_from_slice(b"\r\na\r\nzzzzzzzzzz\r\n0\r\n\r\n");
        assert!(got == expected, "the pieces are not framed as they must be");
    }

    #[test]
    fn broken_framing_is_refused() {
        let signature = "ab".repeat(32);
        let cases: [(&str, bool, u64, String); 14] = [
            ("no last chunk", false, 5, "5\r\nhello\r\n".into()),
            ("no last chunk, signed", true, 5, format!("5;chunk-signature={signature}\r\nhello\r\n")),
            ("cut in the data", false, 5, "5\r\nhel".into()),
            ("empty", false, 0, String::new()),
            ("more than declared", false, 4, "5\r\nhello\r\n0\r\n\r\n".into()),
            ("less than declared", false, 6, "5\r\nhello\r\n0\r\n\r\n".into()),
            ("nine digits", false, 5, "000000005\r\nhello\r\n0\r\n\r\n".into()),
            ("no digits", false, 5, "\r\nhello\r\n0\r\n\r\n".into()),
            ("a sign", false, 5, "+5\r\nhello\r\n0\r\n\r\n".into()),
            ("bare LF", false, 5, "5\nhello\r\n0\r\n\r\n".into()),
            ("data not closed", false, 5, "5\r\nhelloX\r\n0\r\n\r\n".into()),
            ("no signature", true, 5, "5\r\nhello\r\n0\r\n\r\n".into()),
            ("another extension", false, 5, format!("5;{}\r\nhello\r\n0\r\n\r\n", "x=y;".repeat(9))),
            ("a flood of extension", false, 5, "5;".to_owned() + &"x".repeat(4096)),
        ];
        for (name, signed, length, body) in cases {
            for step in [1, 3, body.len().max(1)] {
                assert!(run(signed, length, body.as_bytes(), step).is_err(), "{name}, step {step}");
            }
        }
        let large = format!("{:x};chunk-signature={signature}\r\n", MAX_SIGNED_CHUNK + 1);
        assert!(matches!(run(true, 1 << 40, large.as_bytes(), 9), Err(BodyFault::Framing(_))));
        let trailer = format!("0\r\n{}", "t".repeat(MAX_TRAILER + 1));
        assert!(matches!(run(false, 0, trailer.as_bytes(), 999), Err(BodyFault::Framing(_))));
    }
}
