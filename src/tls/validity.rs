//! From when until when a certificate is good: the two dates in its DER, and nothing else of it.
//!
//! Must never panic on malformed bytes. Whether a certificate is to be trusted is not decided here.

/// Seconds since the Unix epoch, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Validity {
    pub(super) from: i64,
    pub(super) until: i64,
}

const SEQUENCE: u8 = 0x30;
/// The version, which old certificates leave out.
const VERSION: u8 = 0xA0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// Reads `Certificate { TBSCertificate { [version], serial, algorithm, issuer, validity … } … }`.
pub(super) fn validity(der: &[u8]) -> Option<Validity> {
    let (certificate, _) = expect(der, SEQUENCE)?;
    let (mut body, _) = expect(certificate, SEQUENCE)?;
    if body.first() == Some(&VERSION) {
        body = element(body)?.2;
    }
    for _serial_algorithm_issuer in 0..3 {
        body = element(body)?.2;
    }
    let (dates, _) = expect(body, SEQUENCE)?;
    let (tag, from, rest) = element(dates)?;
    let from = time(tag, from)?;
    let (tag, until, _) = element(rest)?;
    Some(Validity { from, until: time(tag, until)? })
}

fn expect(der: &[u8], wanted: u8) -> Option<(&[u8], &[u8])> {
    let (tag, content, rest) = element(der)?;
    (tag == wanted).then_some((content, rest))
}

/// The first element: its tag, its content, and what follows.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, first], rest) = der.split_first_chunk::<2>()?;
    let (length, rest) = match first {
        0..=0x7F => (usize::from(first), rest),
        // Up to four bytes of length: 4 GiB.
        0x81..=0x84 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first - 0x80))?;
            (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

/// `YYMMDDhhmmssZ` or `YYYYMMDDhhmmssZ`.
fn time(tag: u8, text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let year = match tag {
        UTC_TIME => 2,
        GENERALIZED_TIME => 4,
        _ => return None,
    };
    if text.len() != year + 10 || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let number = |at: usize, digits: usize| text[at..at + digits].parse::<i16>().ok();
    let years = match (tag, number(0, year)?) {
        // As RFC 5280 says: two digits are 1950 to 2049.
        (UTC_TIME, short @ 50..) => 1900 + short,
        (UTC_TIME, short) => 2000 + short,
        (_, long) => long,
    };
    let two = |at: usize| i8::try_from(number(year + at, 2)?).ok();
    let date = jiff::civil::DateTime::new(years, two(0)?, two(2)?, two(4)?, two(6)?, two(8)?, 0).ok()?;
    Some(date.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_second())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_a_date_are_read() {
        assert_eq!(time(UTC_TIME, b"200101000000Z"), Some(1_577_836_800));
        assert_eq!(time(UTC_TIME, b"491231235959Z"), Some(2_524_607_999));
        assert_eq!(time(UTC_TIME, b"500101000000Z"), Some(-631_152_000));
        assert_eq!(time(GENERALIZED_TIME, b"21200101000000Z"), Some(4_733_510_400));
        for wrong in
            [&b"20010100000Z"[..], b"200101000000", b"201301000000Z", b"200132000000Z", b"", b"Z", b"\xFF"]
        {
            assert_eq!(time(UTC_TIME, wrong), None, "{wrong:?}");
        }
        assert_eq!(time(0x04, b"200101000000Z"), None);
    }

    #[test]
    fn no_prefix_of_a_certificate_and_no_byte_in_it_harms() {
        use rustls::pki_types::CertificateDer;
        use rustls::pki_types::pem::PemObject as _;
        let pem = include_bytes!("../../connectors/http/tests/tls/expired.pem");
        let whole = CertificateDer::from_pem_slice(pem).expect("a certificate");
        let good = Validity { from: 1_577_836_800, until: 1_609_459_200 };
        assert_eq!(validity(&whole), Some(good));
        for end in 0..whole.len() {
            assert_eq!(validity(&whole[..end]), None, "{end}");
        }
        for at in 0..whole.len() {
            for byte in [0, 0x7F, 0x80, 0x84, 0xFF] {
                let mut changed = whole.to_vec();
                changed[at] = byte;
                let _ = validity(&changed);
            }
        }
    }
}
