//! Bodies in `aws-chunked` form: signed chunks, and unsigned chunks with a trailing checksum.
//!
//! Must never decide what is right: it builds what it is told, so that tests can tamper with every part.

use jiff::Timestamp;
use tidings::client::sign::{Signer, amz_date, payload_hash};

/// The `x-amz-content-sha256` of a body in signed chunks.
pub(crate) const SIGNED_CHUNKS: &str = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD";
/// The `x-amz-content-sha256` of a body in unsigned chunks with trailing headers.
pub(crate) const UNSIGNED_TRAILER: &str = "STREAMING-UNSIGNED-PAYLOAD-TRAILER";

/// The body as signed chunks of `size` bytes, the last one shorter, and the empty end chunk. `seed` is the
/// signature of the request's headers, made at `at`.
pub(crate) fn signed_chunks(signer: &Signer, at: Timestamp, seed: &str, body: &[u8], size: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len() + 256);
    let mut previous = seed.to_owned();
    for chunk in body.chunks(size).chain([&[] as &[u8]]) {
        previous = chunk_signature(signer, at, &previous, chunk);
        out.extend_from_slice(format!("{:x};chunk-signature={previous}\r\n", chunk.len()).as_bytes());
        out.extend_from_slice(chunk);
        out.extend_from_slice(b"\r\n");
    }
    out
}

/// One chunk's signature: it covers the chunk and, through `previous`, everything before it.
pub(crate) fn chunk_signature(signer: &Signer, at: Timestamp, previous: &str, chunk: &[u8]) -> String {
    let date = amz_date(at);
    let scope = signer.scope(&date[..8]);
    let (nothing, hash) = (payload_hash(b""), payload_hash(chunk));
    let text = format!("AWS4-HMAC-SHA256-PAYLOAD\n{date}\n{scope}\n{previous}\n{nothing}\n{hash}");
    signer.sign_text(&text, at)
}

/// The body as unsigned chunks of `size` bytes and trailing headers (`x-amz-checksum-crc32:…`), in the given
/// order.
pub(crate) fn unsigned_chunks(body: &[u8], size: usize, trailers: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len() + 256);
    for chunk in body.chunks(size) {
        out.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        out.extend_from_slice(chunk);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"0\r\n");
    for (name, value) in trailers {
        out.extend_from_slice(format!("{name}:{value}\r\n").as_bytes());
    }
    out.extend_from_slice(b"\r\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The worked example of Amazon's S3 documentation: 65 KiB of `a` in chunks of 64 KiB.
    #[test]
    fn chunk_signatures_equal_the_published_ones() {
        let secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
        let signer = Signer::new("us-east-1", "AKIAIOSFODNN7EXAMPLE", secret);
        let at = "2013-05-24T00:00:00Z".parse().expect("a timestamp");
        let seed = "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9";
        let body = signed_chunks(&signer, at, seed, &[b'a'; 66_560], 65_536);
        let text = String::from_utf8(body).expect("text");
        let heads: Vec<&str> = text.lines().filter(|line| line.contains(';')).collect();
        assert_eq!(
            heads,
            [
                "10000;chunk-signature=ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
                "400;chunk-signature=0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
                "0;chunk-signature=b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9",
            ]
        );
        assert_eq!(text.len(), 66_824, "the documentation's content-length");
    }

    #[test]
    fn trailers_follow_the_end_chunk() {
        let body = unsigned_chunks(b"abcde", 4, &[("x-amz-checksum-crc32", "hYfPIA==")]);
        assert_eq!(body, b"4\r\nabcd\r\n1\r\ne\r\n0\r\nx-amz-checksum-crc32:hYfPIA==\r\n\r\n");
    }
}
