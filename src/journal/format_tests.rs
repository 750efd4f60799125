//! The bytes of a segment file: what round-trips, what damage is noticed.

use super::format::*;

fn view<'a>(labels: &'a [u8], meta: &'a [u8], body: &'a [u8]) -> RecordView<'a> {
    RecordView { offset: 7, epoch: 2, kind: 1, bodyless: false, labels, meta, body, body_crc: crc32c(body) }
}

#[test]
fn a_record_round_trips_and_any_flipped_bit_is_found() {
    let id = SegmentId::new([9; 16]);
    let mut out = Vec::new();
    let record = view(&[1, 0, 0, 0, 2, 0, 0, 0], b"meta", b"the body");
    record.encode_into(&id, &mut out);
    assert_eq!(out.len(), record.encoded_len());
    let (back, rest) = RecordView::decode(&id, &out).expect("valid");
    assert_eq!((back, rest.len()), (record, 0));
    assert_eq!(back.labels().collect::<Vec<_>>(), [1, 2]);
    for bit in 0..out.len() * 8 {
        let mut bad = out.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(RecordView::decode(&id, &bad).is_none(), "bit {bit} was not noticed");
    }
}

#[test]
fn another_life_of_the_file_reads_nothing() {
    let (old, new) = (SegmentId::new([1; 16]), SegmentId::new([2; 16]));
    let mut out = Vec::new();
    view(&[], b"m", b"b").encode_into(&old, &mut out);
    assert!(RecordView::decode(&new, &out).is_none());
    let header = BatchHeader {
        kind: BatchKind::Records,
        payload: 5,
        count: 1,
        first: 3,
        end: 4,
        synced_through: 3,
        epoch: 1,
        time_us: -4,
    };
    let mut b = [0; BATCH_HEADER];
    header.encode_into(&old, &mut b);
    assert_eq!(BatchHeader::decode(&old, &b), Some(header));
    assert_eq!(BatchHeader::decode(&new, &b), None);
    let trailer = Trailer { footer: 8192, first: 1, end: 9, epoch: 1, time_us: 5 };
    assert_eq!(Trailer::decode(&old, &trailer.encode(&old)), Some(trailer));
    assert_eq!(Trailer::decode(&new, &trailer.encode(&old)), None);
}

#[test]
fn an_unknown_version_is_refused_with_a_sentence() {
    let header = SegmentHeader { id: SegmentId::new([3; 16]), first: 1, last: 1, partial: true, len: 8_192 };
    let mut b = header.encode();
    assert_eq!(SegmentHeader::decode(&b), Ok(header));
    b[8] = 9;
    assert_eq!(SegmentHeader::decode(&b), Err(HeaderError::Version(9)));
    b[0] = b'X';
    assert_eq!(SegmentHeader::decode(&b), Err(HeaderError::Damaged));
}

#[test]
fn counts_round_trip() {
    let id = SegmentId::new([4; 16]);
    let (here, total) = (Total { count: 2, bytes: 300 }, Total { count: 9, bytes: 1 << 40 });
    let counts = vec![(1, LabelCount { first: 5, here, total }), (7, LabelCount::default())];
    let mut out = Vec::new();
    encode_counts(&id, &counts, &mut out);
    assert_eq!(out.len(), counts_len(2));
    assert_eq!(decode_counts(&id, &out), Some(counts));
    assert_eq!(decode_counts(&id, &out[..out.len() - 1]), None);
}
