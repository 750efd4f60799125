//! Signatures of Standard Webhooks: HMAC-SHA256 over id, time and body, one for each secret.
//!
//! Must never show a secret, and never sign a time that is not the attempt's.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;

/// What a secret of Standard Webhooks begins with.
const PREFIX: &str = "whsec_";

/// How many bytes a secret has.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// More secrets than a rotation needs would be headers without bound.
const MAX_SECRETS: usize = 8;

/// Signs with every secret, so that a receiver may hold any of them.
#[derive(Clone)]
pub(crate) struct Signer {
    keys: Vec<Hmac<Sha256>>,
}

impl Signer {
    /// One or more secrets, each `whsec_` and base64, separated by white space. `Err` never quotes them.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut keys = Vec::new();
        for secret in text.split_whitespace() {
            let bytes = secret.strip_prefix(PREFIX).and_then(|base64| STANDARD.decode(base64).ok());
            let bytes = bytes.filter(|bytes| SECRET_BYTES.contains(&bytes.len()));
            let key = bytes.and_then(|bytes| Hmac::new_from_slice(&bytes).ok());
            keys.push(key.ok_or("a secret must be whsec_ and the base64 of 24 to 64 bytes")?);
        }
        match keys.len() {
            1..=MAX_SECRETS => Ok(Self { keys }),
            count => Err(format!("there are {count} secrets; allowed are 1 to {MAX_SECRETS}")),
        }
    }

    /// The value of `webhook-signature` for one attempt at `unix_s`.
    pub(crate) fn sign(&self, id: &str, unix_s: u64, body: &[u8]) -> String {
        let mut out = String::with_capacity(48 * self.keys.len());
        for key in &self.keys {
            let mut mac = key.clone();
            for part in [id.as_bytes(), b".", unix_s.to_string().as_bytes(), b".", body] {
                mac.update(part);
            }
            if !out.is_empty() {
                out.push(' ');
            }
            out.push_str("v1,");
            STANDARD.encode_string(mac.finalize().into_bytes(), &mut out);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";

    fn sign(secrets: &str, unix_s: u64, body: &str) -> String {
        Signer::parse(secrets).expect("valid").sign(ID, unix_s, body.as_bytes())
    }

    #[test]
    fn the_published_vector() {
        let signature = sign(SECRET, 1_614_265_330, r#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn another_time_body_or_secret_is_another_signature() {
        let (body, other) = (r#"{"test": 1}"#, "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX");
        let first = sign(SECRET, 1, body);
        assert_ne!(first, sign(SECRET, 2, body));
        assert_ne!(first, sign(SECRET, 1, "{}"));
        assert_ne!(first, sign(other, 1, body));
        let both = sign(&format!("{SECRET}\n{other}\n"), 1, body);
        assert_eq!(both, format!("{first} {}", sign(other, 1, body)));
    }

    #[test]
    fn what_is_no_secret_is_refused_without_showing_it() {
        let nine = [SECRET; 9].join(" ");
        for bad in
            ["", "whsec_", "planted", "whsec_planted!", "whsec_cGxhbnRlZA==", "whsk_cGxhbnRlZA==", &nine]
        {
            let told = Signer::parse(bad).err().expect(bad);
            assert!(!told.contains("planted") && !told.contains("cGxh"), "{told}");
        }
    }
}
