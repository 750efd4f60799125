//! Rules, against their plainest reading, and buckets' own as they are stored. Must never
//! hold a property of its own beside what it calls.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tidings::rules::fuzzing::rules(bytes));
