//! The head of a request: SigV4 in header and query, COS's `q-sign`, and everything the guard refuses. Must never
//! hold a property of its own beside what it calls.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tidings::frontend::fuzzing::head(bytes));
