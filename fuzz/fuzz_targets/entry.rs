//! Entries of the log as a damaged or forged record would hold them:
//! what is read is written and read again alike. Must never
//! hold a property of its own beside what it calls.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = tidings::queue::decode_object(bytes);
    let _ = tidings::queue::decode_manifest(bytes);
    let _ = tidings::queue::decode_restore(bytes);
    let Ok(entry) = tidings::queue::decode(bytes, std::iter::empty()) else { return };
    let mut again = Vec::new();
    tidings::queue::encode(&entry, &mut again);
    let read = tidings::queue::decode(&again, std::iter::empty()).expect("what is written can be read");
    assert_eq!(format!("{entry:?}"), format!("{read:?}"));
});
