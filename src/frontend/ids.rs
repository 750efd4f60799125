//! Request ids, in each family's form, and the headers that carry them.
//!
//! Must never give an id twice in one run.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::header::{HeaderMap, HeaderName, HeaderValue};

use super::family::Family;

const S3_ID: HeaderName = HeaderName::from_static("x-amz-request-id");
const S3_HOST_ID: HeaderName = HeaderName::from_static("x-amz-id-2");
const COS_ID: HeaderName = HeaderName::from_static("x-cos-request-id");
const COS_TRACE_ID: HeaderName = HeaderName::from_static("x-cos-trace-id");

/// One mixed counter, so that ids look random, never repeat within a run, and cost one addition.
pub(super) struct Ids {
    seed: u64,
    next: AtomicU64,
    /// Names this process in answers, as S3's second id names the host.
    host: HeaderValue,
}

impl Ids {
    pub(super) fn new(seed: u64) -> Self {
        let host = format!("{:016X}{:016X}", mix(!seed), mix(seed.rotate_left(32)));
        let host = HeaderValue::from_str(&host).expect("hex digits are a header value");
        Self { seed, next: AtomicU64::new(0), host }
    }

    /// S3's are 16 upper-case hex digits. COS's are the base64 of four hex numbers: the second of the request
    /// (`now`, since the Unix epoch), who answers, and two that tell requests apart.
    pub(super) fn next(&self, family: Family, now: i64) -> Arc<str> {
        let n = self.next.fetch_add(1, Ordering::Relaxed);
        let mixed = mix(self.seed.wrapping_add(n));
        match family {
            Family::S3 => format!("{mixed:016X}").into(),
            Family::Cos => {
                let (host, high, low) = (mix(self.seed) >> 32, mixed >> 48, mixed & 0xFFFF_FFFF_FFFF);
                BASE64.encode(format!("{:08x}_{host:08x}_{high:x}_{low:x}", now.max(0))).into()
            }
        }
    }

    /// Puts the id of a request into its answer.
    pub(super) fn answer(&self, family: Family, id: &str, failed: bool, headers: &mut HeaderMap) {
        let value = HeaderValue::from_str(id).expect("ids are header values");
        match family {
            Family::S3 => {
                headers.insert(S3_ID, value);
                headers.insert(S3_HOST_ID, self.host.clone());
            }
            Family::Cos => {
                headers.insert(COS_ID, value);
                if failed && let Ok(trace) = HeaderValue::from_str(&trace_of(id)) {
                    headers.insert(COS_TRACE_ID, trace);
                }
            }
        }
    }
}

/// COS names a failure by a second id, which is made of the first.
pub(super) fn trace_of(id: &str) -> String {
    let mixed = id.bytes().fold(0xCBF2_9CE4_8422_2325, |sum: u64, b| mix(sum ^ u64::from(b)));
    BASE64.encode(format!("{mixed:016x}{:016x}", mix(mixed)))
}

/// A bijection on 64 bits (the finalizer of splitmix64): different numbers stay different.
fn mix(n: u64) -> u64 {
    let n = n.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let n = (n ^ (n >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    n ^ (n >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_s3_are_sixteen_hex_digits_and_differ() {
        let ids = Ids::new(42);
        let made: std::collections::HashSet<_> = (0..10_000).map(|_| ids.next(Family::S3, 7)).collect();
        assert_eq!(made.len(), 10_000);
        assert!(
            made.iter()
                .all(|id| id.len() == 16 && id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'A'..=b'F')))
        );
    }

    #[test]
    fn ids_of_cos_are_four_hex_numbers_and_differ() {
        let ids = Ids::new(42);
        let now = 0x6177_964f;
        let made: std::collections::HashSet<_> = (0..10_000).map(|_| ids.next(Family::Cos, now)).collect();
        assert_eq!(made.len(), 10_000);
        for id in made {
            let text = String::from_utf8(BASE64.decode(&*id).expect("base64")).expect("UTF-8");
            let numbers: Vec<_> = text.split('_').map(|n| u64::from_str_radix(n, 16).expect("hex")).collect();
            assert_eq!((numbers.len(), numbers[0]), (4, 0x6177_964f), "{text}");
        }
    }
}
