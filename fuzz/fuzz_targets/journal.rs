//! Files of the log whose checksums are right and whose contents lie. Must never
//! hold a property of its own beside what it calls.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tidings::journal::fuzzing::journal(bytes));
