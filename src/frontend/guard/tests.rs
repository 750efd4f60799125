//! The guard's rules, one by one: a head that is right, and every way to make it wrong.

mod dates;
mod payloads;

use http::Request;

use super::*;

/// 2026-11-23T04:00:00Z.
const NOW: i64 = 1_795_406_400;
const DATE: &str = "20261123T040000Z";
const SIGNATURE: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const SIGNED: &str = "host;x-amz-content-sha256;x-amz-date";

fn rules() -> Rules {
    Rules { region: "ap-guangzhou".into(), unsigned_bodies: false }
}

fn scope(date: &str) -> String {
    format!("AKIDEXAMPLE/{date}/ap-guangzhou/s3/aws4_request")
}

fn authorization(credential: &str, signed: &str) -> String {
    format!("AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={signed}, Signature={SIGNATURE}")
}

/// A head in the making: what is right unless a test says otherwise.
#[derive(Clone)]
struct Head {
    method: &'static str,
    target: String,
    headers: Vec<(String, Vec<u8>)>,
}

impl Head {
    fn signed() -> Self {
        let head = Self { method: "PUT", target: "/bucket/key".into(), headers: Vec::new() };
        head.set("host", "127.0.0.1:9000")
            .set("x-amz-date", DATE)
            .set("x-amz-content-sha256", EMPTY)
            .set("content-length", "0")
            .set("authorization", &authorization(&scope("20261123"), SIGNED))
    }

    fn presigned() -> Self {
        let query = format!(
            "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={}&X-Amz-Date={DATE}&X-Amz-Expires=3600\
             &X-Amz-SignedHeaders=host&X-Amz-Signature={SIGNATURE}",
            scope("20261123").replace('/', "%2F")
        );
        let head = Self { method: "GET", target: format!("/bucket/key?{query}"), headers: Vec::new() };
        head.set("host", "127.0.0.1:9000")
    }

    fn set(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(known, _)| known != name);
        self.add(name, value)
    }

    fn add(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(known, _)| known != name);
        self
    }

    fn auth(self, value: &str) -> Self {
        self.set("authorization", value)
    }

    fn target(mut self, target: &str) -> Self {
        self.target = target.into();
        self
    }

    fn method(mut self, method: &'static str) -> Self {
        self.method = method;
        self
    }

    /// Replaces part of the query, which must be there.
    fn swap(mut self, from: &str, to: &str) -> Self {
        assert!(self.target.contains(from), "{from} is not in {}", self.target);
        self.target = self.target.replace(from, to);
        self
    }

    fn check_at(&self, local: bool, now: i64) -> Result<Claim, Refusal> {
        self.check_by(&rules(), local, now)
    }

    fn check_by(&self, rules: &Rules, local: bool, now: i64) -> Result<Claim, Refusal> {
        let mut request = Request::builder().method(self.method).uri(&self.target);
        for (name, value) in &self.headers {
            request = request.header(name, http::HeaderValue::from_bytes(value).expect("a value"));
        }
        let (parts, ()) = request.body(()).expect("a head").into_parts();
        check(&parts, rules, local, now)
    }

    fn check(&self) -> Result<Claim, Refusal> {
        self.check_at(true, NOW)
    }

    fn refusal(&self) -> (u16, &'static str) {
        let refusal = self.check().expect_err("must be refused");
        let (status, code, _) = refusal.answer();
        (status.as_u16(), code)
    }
}

#[test]
fn what_is_right_goes_on() {
    let claim = Head::signed().check().expect("right");
    assert_eq!(&*claim.access_key, "AKIDEXAMPLE");
    assert_eq!((claim.payload, claim.length), (Payload::Hashed, Some(0)));
    let claim = Head::presigned().check().expect("right");
    assert_eq!(&*claim.access_key, "AKIDEXAMPLE");
    assert_eq!((claim.payload, claim.length), (Payload::Unsigned, Some(0)));
    let claim = Head::signed().without("content-length").set("transfer-encoding", "chunked").check();
    assert_eq!(claim.expect("right").length, None);
    let tight = authorization(&scope("20261123"), SIGNED).replace(", ", ",");
    assert!(Head::signed().auth(&tight).check().is_ok(), "some clients leave out the spaces");
}

/// A3, A4: exactly one authentication.
#[test]
fn exactly_one_authentication() {
    for method in ["GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS", "PATCH", "TRACE", "BREW"] {
        for target in ["/", "/bucket", "/bucket/key", "/bucket?delete", "/bucket?notification"] {
            let head = Head::signed().without("authorization").method(method).target(target);
            assert_eq!(head.refusal(), (403, "AccessDenied"), "{method} {target}");
        }
    }
    let both = Head::presigned().set("authorization", &authorization(&scope("20261123"), SIGNED));
    assert_eq!(both.refusal(), (400, "InvalidRequest"));
    // Any authenticating parameter at all counts, in any spelling.
    for parameter in ["X-Amz-Credential=x", "x-amz-signature=x", "Signature=x", "AWSAccessKeyId=x", "q-ak=x"]
    {
        let head = Head::signed().target(&format!("/bucket/key?{parameter}"));
        assert_eq!(head.refusal(), (400, "InvalidRequest"), "{parameter}");
        let alone = head.without("authorization");
        assert!(alone.check().is_err(), "{parameter} alone");
    }
}

/// A5: one algorithm.
#[test]
fn only_sigv4() {
    let right = authorization(&scope("20261123"), SIGNED);
    for other in ["AWS AKIDEXAMPLE:frJIUN8DYpKDtOLCwo//yllqDzg=", "", "Basic QUtJRDpTSw==", "Bearer token"] {
        assert_eq!(Head::signed().auth(other).refusal(), (403, "AccessDenied"), "{other}");
    }
    for algorithm in ["AWS4-ECDSA-P256-SHA256", "AWS4-HMAC-SHA512", "aws4-hmac-sha256", "AWS4-HMAC-SHA256x"] {
        let other = right.replace("AWS4-HMAC-SHA256", algorithm);
        assert_eq!(Head::signed().auth(&other).refusal(), (403, "AccessDenied"), "{algorithm}");
        let query = Head::presigned().swap("AWS4-HMAC-SHA256", algorithm);
        assert_eq!(query.refusal(), (403, "AccessDenied"), "{algorithm}");
    }
    let v2 = Head::presigned().target("/bucket/key?AWSAccessKeyId=AKID&Expires=1795410000&Signature=abc");
    assert_eq!(v2.refusal(), (403, "AccessDenied"));
}

#[test]
fn the_authorization_header_has_one_form() {
    let right = authorization(&scope("20261123"), SIGNED);
    for (from, to) in [
        ("Credential=", "credential="),
        (", SignedHeaders", "; SignedHeaders"),
        ("SignedHeaders=", "Signed="),
        ("/aws4_request", "/aws4"),
        ("/aws4_request", "/aws4_request/more"),
        ("/20261123", ""),
    ] {
        let wrong = right.replace(from, to);
        assert_eq!(Head::signed().auth(&wrong).refusal(), (400, "AuthorizationHeaderMalformed"), "{wrong}");
    }
    for more in [", Signature=x", ", Credential=x", ","] {
        let wrong = format!("{right}{more}");
        assert_eq!(Head::signed().auth(&wrong).refusal(), (400, "AuthorizationHeaderMalformed"), "{more}");
    }
    for signature in ["", "garbage", &SIGNATURE[1..], &SIGNATURE.to_uppercase()] {
        let wrong = right.replace(SIGNATURE, signature);
        assert_eq!(Head::signed().auth(&wrong).refusal(), (403, "SignatureDoesNotMatch"), "{signature}");
        let query = Head::presigned().swap(SIGNATURE, signature);
        assert_eq!(query.refusal(), (403, "SignatureDoesNotMatch"), "{signature}");
    }
}

/// A6, and the verifier's hole: what is present but not signed could have been put there by anybody.
#[test]
fn every_amz_header_is_signed() {
    for missing in ["host", "x-amz-date"] {
        let signed: Vec<_> = SIGNED.split(';').filter(|name| *name != missing).collect();
        let head = Head::signed().auth(&authorization(&scope("20261123"), &signed.join(";")));
        assert_eq!(head.refusal(), (403, "AccessDenied"), "{missing}");
    }
    let attacks = [
        ("x-amz-copy-source", "/other/secret"),
        ("x-amz-meta-a", "b"),
        ("x-amz-acl", "public-read"),
        ("x-amz-storage-class", "STANDARD"),
        ("x-amz-checksum-crc32", "AAAAAA=="),
        ("x-amz-sdk-checksum-algorithm", "CRC32"),
    ];
    for (name, value) in attacks {
        for head in [Head::signed(), Head::presigned(), Head::presigned().method("PUT")] {
            assert_eq!(head.set(name, value).refusal(), (403, "AccessDenied"), "{name}");
        }
        let signed = format!("{SIGNED};{name}");
        let head = Head::signed().set(name, value).auth(&authorization(&scope("20261123"), &signed));
        assert!(head.check().is_ok(), "{name} signed");
    }
    let named = Head::signed().auth(&authorization(&scope("20261123"), "host;x-amz-date"));
    assert!(named.check().is_ok(), "the payload's hash needs no place in the list");
    let flood = authorization(&scope("20261123"), &format!("{SIGNED}{}", ";a".repeat(200)));
    assert_eq!(Head::signed().auth(&flood).refusal(), (400, "AuthorizationHeaderMalformed"));
    for odd in ["", ";host", "host;", "host;;x-amz-date", "host; x-amz-date"] {
        let head = Head::signed().auth(&authorization(&scope("20261123"), odd));
        assert!(head.check().is_err(), "{odd:?}");
    }
}

/// A8: the scope.
#[test]
fn the_scope_is_ours() {
    let with = |credential: &str| {
        let header = Head::signed().auth(&authorization(credential, SIGNED)).refusal();
        let query =
            Head::presigned().swap(&scope("20261123").replace('/', "%2F"), &credential.replace('/', "%2F"));
        assert_eq!(query.refusal(), header, "{credential}");
        header
    };
    let malformed = (400, "AuthorizationHeaderMalformed");
    assert_eq!(with("AKID/20261123/us-east-1/s3/aws4_request"), malformed);
    assert_eq!(with("AKID/20261123//s3/aws4_request"), malformed);
    assert_eq!(with("AKID/20261123/ap-guangzhou/sts/aws4_request"), malformed);
    assert_eq!(with("AKID/20261123/ap-guangzhou/s3express/aws4_request"), malformed);
    assert_eq!(with("AKID/20261122/ap-guangzhou/s3/aws4_request"), malformed);
    assert_eq!(with("AKID//ap-guangzhou/s3/aws4_request"), malformed);
    let wrong = Head::signed().auth(&authorization("AKID/20261123/us-east-1/s3/aws4_request", SIGNED));
    assert_eq!(wrong.check().expect_err("refused").region(), Some("ap-guangzhou"));
}

/// A12: access keys.
#[test]
fn odd_access_keys_are_unknown() {
    let long = "A".repeat(10_000);
    for key in ["", "A B", "A%0A", "A\"B", "ÄKID", "A\tB", long.as_str()] {
        let head = Head::signed()
            .auth(&authorization(&format!("{key}/20261123/ap-guangzhou/s3/aws4_request"), SIGNED));
        let (status, _) = head.refusal();
        assert!(matches!(status, 400 | 403), "{key:.20}");
        let message = format!("{:?}", head.check());
        assert!(message.len() < 200, "a refusal repeats nothing of the request");
    }
    for key in ["A%00B", "A%0AB", "%D0%90KID"] {
        let credential = format!("{key}%2F20261123%2Fap-guangzhou%2Fs3%2Faws4_request");
        let head = Head::presigned().swap(&scope("20261123").replace('/', "%2F"), &credential);
        assert_eq!(head.refusal(), (403, "InvalidAccessKeyId"), "{key}");
    }
}

/// A13: nothing twice, nothing in another spelling.
#[test]
fn nothing_comes_twice() {
    for name in ["authorization", "host", "x-amz-date", "x-amz-content-sha256", "content-length"] {
        let head = Head::signed();
        let value = head.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone()).expect("there");
        let head = head.add(name, std::str::from_utf8(&value).expect("text"));
        assert_eq!(head.refusal(), (400, "InvalidRequest"), "{name}");
    }
    let meta = Head::signed().add("x-amz-meta-a", "1").add("x-amz-meta-a", "2");
    assert_eq!(meta.refusal(), (400, "InvalidRequest"));
    let other = Head::signed().add("accept", "a").add("accept", "b");
    assert!(other.check().is_ok(), "what means nothing may come often");

    for target in ["/b/k?a=1&a=2", "/b/k?a&a", "/b?list-type=2&list%2Dtype=1", "/b/k?%61=1&a=2"] {
        let head = Head::signed().method("GET").target(target);
        assert_eq!(head.refusal(), (400, "InvalidRequest"), "{target}");
    }
    for name in ["X-Amz-Signature", "X-Amz-Credential", "X-Amz-Expires", "X-Amz-Date"] {
        let twice = Head::presigned();
        let target = format!("{}&{name}=1", twice.target);
        assert_eq!(twice.target(&target).refusal(), (400, "InvalidRequest"), "{name}");
        let spelled = Head::presigned().swap(name, &name.to_lowercase());
        assert_eq!(spelled.refusal(), (400, "InvalidRequest"), "{name}");
        let gone = Head::presigned().swap(name, "gone");
        assert_eq!(gone.refusal(), (400, "AuthorizationHeaderMalformed"), "{name}");
    }
    let many: Vec<_> = (0..65).map(|n| format!("p{n}=")).collect();
    let head = Head::signed().method("GET").target(&format!("/b?{}", many.join("&")));
    assert_eq!(head.refusal(), (400, "InvalidURI"));
}

/// A14: one reading of a path.
#[test]
fn paths_have_one_reading() {
    for path in ["/b/%2e%2e/k", "/b//k", "/b/a+b", "/b/%252e", "/b/..", "/b/%E2%82%AC", "/b/a%2Fb"] {
        assert!(Head::signed().target(path).check().is_ok(), "{path}");
    }
    for path in ["/b/%00", "/b/%", "/b/%2", "/b/%zz", "/b/%+1", "/b/%ff", "/b/%C3", "/b/k?a=%ff", "/b/k?%=1"]
    {
        assert_eq!(Head::signed().target(path).refusal(), (400, "InvalidURI"), "{path}");
    }
    assert_eq!(Head::signed().target("*").method("OPTIONS").refusal(), (400, "InvalidURI"));
}

#[test]
fn what_is_ours_stays_ours() {
    for name in ["x-tidings-principal", "x-tidings-hops", "X-Tidings-Replicated"] {
        assert_eq!(Head::signed().set(name, "1").refusal(), (403, "AccessDenied"), "{name}");
    }
    assert_eq!(Head::signed().without("host").refusal(), (400, "InvalidRequest"));
    let signed = format!("{SIGNED};x-amz-security-token");
    let token =
        Head::signed().set("x-amz-security-token", "t").auth(&authorization(&scope("20261123"), &signed));
    assert_eq!(token.refusal(), (400, "InvalidToken"));
    let query = Head::presigned();
    let target = format!("{}&X-Amz-Security-Token=t", query.target);
    assert_eq!(query.target(&target).refusal(), (400, "InvalidToken"));
}

#[test]
fn changes_with_unknown_parameters_change_nothing() {
    for (method, target) in [
        ("DELETE", "/bucket?website"),
        ("PUT", "/bucket?inventory"),
        ("PUT", "/bucket/key?append"),
        ("POST", "/bucket/key?select"),
    ] {
        let head = Head::signed().method(method).target(target);
        assert_eq!(head.refusal(), (501, "NotImplemented"), "{method} {target}");
        assert!(Head::signed().method("GET").target(target).check().is_ok(), "reads do no harm");
    }
    for (method, target) in [("POST", "/bucket?delete"), ("DELETE", "/b/k?versionId=null")] {
        assert!(Head::signed().method(method).target(target).check().is_ok(), "{method} {target}");
    }
    for method in ["OPTIONS", "PATCH", "TRACE", "CONNECTED"] {
        assert_eq!(Head::signed().method(method).refusal(), (405, "MethodNotAllowed"), "{method}");
    }
    for form in ["multipart/form-data; boundary=x", " Multipart/Form-Data;boundary=x"] {
        let head = Head::signed().method("POST").target("/bucket").set("content-type", form);
        assert_eq!(head.refusal(), (400, "InvalidRequest"), "{form}");
        assert_eq!(head.without("authorization").refusal(), (403, "AccessDenied"), "{form}");
    }
}

/// Bytes of any kind make a refusal, never a panic.
#[test]
fn nonsense_never_panics() {
    let mut random = fastrand::Rng::with_seed(7);
    let right = authorization(&scope("20261123"), SIGNED);
    for _ in 0..20_000 {
        let mut bytes = right.clone().into_bytes();
        for _ in 0..random.usize(1..4) {
            let at = random.usize(..bytes.len());
            match random.u8(..3) {
                0 => bytes[at] = random.u8(0x20..0x7f),
                1 => drop(bytes.remove(at)),
                _ => bytes.insert(at, random.u8(0x80..)),
            }
        }
        let mut head = Head::signed();
        head.headers.retain(|(name, _)| name != "authorization");
        head.headers.push(("authorization".into(), bytes));
        let _ = head.check();
        let mut target = Head::presigned().target.into_bytes();
        let at = random.usize(1..target.len());
        target[at] = *b"%&=+/?;~0".get(random.usize(..9)).expect("in range");
        let _ = Head::presigned().target(std::str::from_utf8(&target).expect("ASCII")).check();
    }
}
