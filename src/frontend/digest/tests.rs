//! The checksums' tests: published check values, and every way in which a declaration can fail.

use super::*;

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    pairs.iter().map(|(n, v)| (n.parse().expect("name"), v.parse().expect("value"))).collect()
}

fn hash(pairs: &[(&'static str, &str)], trailers: &[(&'static str, &str)]) -> Result<Hashes, BodyFault> {
    let mut hash = BodyHash::new(Declared::of(&headers(pairs)).expect("checkable"));
    hash.update(b"1234");
    hash.update(b"56789");
    hash.finish(Some(headers(trailers)))
}

/// The published check values of the algorithms: all are of "123456789".
fn check_values() -> [(&'static str, String); 5] {
    [
        ("x-amz-checksum-crc32", BASE64.encode(0xcbf4_3926_u32.to_be_bytes())),
        ("x-amz-checksum-crc32c", BASE64.encode(0xe306_9283_u32.to_be_bytes())),
        ("x-amz-checksum-crc64nvme", BASE64.encode(0xae8b_1486_0a79_9888_u64.to_be_bytes())),
        ("x-amz-checksum-sha1", "98O8HYCOBHMq32eZZczDTKeuNEE=".into()),
        ("x-amz-checksum-sha256", "FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU=".into()),
    ]
}

#[test]
fn every_algorithm_gives_its_check_value() {
    let got = hash(&[("content-md5", "JfnnlDI7RTiF9RgfG2JNCw==")], &[]).expect("equal");
    assert_eq!(hex::encode(got.md5), "25f9e794323b453885f5181f1b624d0b");
    assert_eq!(got.crc64, 0x995d_c9bb_df19_39fa, "CRC-64/XZ");
    for (name, value) in &check_values() {
        assert!(hash(&[(name, value)], &[]).is_ok(), "{name}");
        let got = hash(&[("x-amz-trailer", name)], &[(name, value)]).expect("equal");
        assert_eq!(got.sum.map(|sum| sum.1).as_ref(), Some(value), "{name}");
    }
}

#[test]
fn a_wrong_or_missing_checksum_is_a_fault() {
    for (name, value) in &check_values() {
        let other = BASE64.encode(vec![7; BASE64.decode(value).expect("base64").len()]);
        assert_eq!(hash(&[(name, &other)], &[]).expect_err(name), BodyFault::Digest);
        assert_eq!(hash(&[("x-amz-trailer", name)], &[(name, &other)]).expect_err(name), BodyFault::Digest);
        assert!(hash(&[("x-amz-trailer", name)], &[]).is_err(), "{name} did not come");
        let twice = [(*name, value.as_str()), (*name, value.as_str())];
        assert!(hash(&[("x-amz-trailer", name)], &twice).is_err(), "{name} came twice");
        let more = [(*name, value.as_str()), ("x-amz-meta-a", "b")];
        assert!(hash(&[("x-amz-trailer", name)], &more).is_err(), "{name} and another");
        assert!(hash(&[], &[(name, value)]).is_err(), "{name} was not declared");
    }
    assert_eq!(
        hash(&[("content-md5", "AAAAAAAAAAAAAAAAAAAAAA==")], &[]).expect_err("md5"),
        BodyFault::Digest
    );
}

#[test]
fn what_cannot_be_checked_is_refused() {
    let cases: [&[(&'static str, &str)]; 8] = [
        &[("content-md5", "short")],
        &[("x-amz-checksum-crc32", "AAAAAAA=")],
        &[("x-amz-checksum-crc32", "!!!!!!==")],
        &[("x-amz-checksum-crc32", "AAAAAA=="), ("x-amz-checksum-crc32c", "AAAAAA==")],
        &[("x-amz-checksum-crc32", "AAAAAA=="), ("x-amz-trailer", "x-amz-checksum-crc32")],
        &[("x-amz-trailer", "x-amz-meta-late")],
        &[("x-amz-checksum-type", "COMPOSITE")],
        &[("x-amz-sdk-checksum-algorithm", "CRC32")],
    ];
    for case in cases {
        assert!(Declared::of(&headers(case)).is_err(), "{case:?}");
    }
}

#[test]
fn documents_are_compared_at_their_end() {
    let check = |pairs: &[(&'static str, &str)], body: &[u8]| {
        let mut hash = DocumentHash::new(Declared::of(&headers(pairs)).expect("checkable"));
        hash.update(body);
        hash.finish()
    };
    let md5 = [("content-md5", "JfnnlDI7RTiF9RgfG2JNCw==")];
    let crc = [("x-amz-checksum-crc32", "y/Q5Jg==")];
    for pairs in [&md5, &crc] {
        assert_eq!(check(pairs, b"123456789"), Ok(()));
        assert_eq!(check(pairs, b"123456780"), Err(BodyFault::Digest));
    }
    assert_eq!(check(&[], b"anything"), Ok(()));
}
