//! Configuration files, and files of credentials. Must never
//! hold a property of its own beside what it calls.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tidings::config::fuzzing::file(bytes));
