//! What the fuzzers hold true, over their seeds and some thousand changes of each: so that they always build,
//! and never begin with something that is known.
//!
//! Must never be taken for the fuzzers: `cargo xtask fuzz` sees which way the code went, this does not.

use std::fs;
use std::path::{Path, PathBuf};

use crate::frontend::fuzzing;
use crate::{config, journal, rules};

/// How often each seed is changed.
const ROUNDS: usize = 2_000;

/// A fuzzer's name, and what it calls.
type Fuzzer = (&'static str, fn(&[u8]));

const FUZZERS: [Fuzzer; 8] = [
    ("head", fuzzing::head),
    ("query", fuzzing::query),
    ("chunks", fuzzing::chunks),
    ("form", fuzzing::form),
    ("xml", fuzzing::xml),
    ("config", config::fuzzing::file),
    ("journal", journal::fuzzing::journal),
    ("rules", rules::fuzzing::rules),
];

fn seeds(name: &str) -> Vec<Vec<u8>> {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(name);
    let files = fs::read_dir(&dir).map(|files| files.flatten().map(|file| file.path()).collect());
    let mut files: Vec<PathBuf> = files.unwrap_or_default();
    files.sort();
    let read = |path: &PathBuf| fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    files.iter().map(read).chain([Vec::new()]).collect()
}

/// Changes a few bytes: flipped, cut out, doubled, put in.
fn changed(seed: &[u8], random: &mut fastrand::Rng) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..random.usize(1..6) {
        let at = random.usize(..=bytes.len());
        let end = (at + random.usize(..32)).min(bytes.len());
        match random.u8(..5) {
            0 if at < bytes.len() => bytes[at] ^= 1 << random.u8(..8),
            1 => drop(bytes.drain(at..end)),
            2 => {
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
            3 => drop(bytes.splice(at..at, std::iter::repeat_with(|| random.u8(..)).take(16))),
            _ => {
                let odd = [&b"%00"[..], b"\r\n", b"\xff\xfe", b"=", b"&&", b"\"", b"999999999999999999999"];
                bytes.splice(at..at, odd[random.usize(..odd.len())].iter().copied());
            }
        }
    }
    bytes
}

#[test]
fn what_fuzzers_hold_true_holds_near_their_seeds() {
    for (n, (name, fuzzer)) in (0..).zip(FUZZERS) {
        let mut random = fastrand::Rng::with_seed(n);
        for seed in seeds(name) {
            fuzzer(&seed);
            for _ in 0..ROUNDS / if seed.len() > 4_096 { 20 } else { 1 } {
                fuzzer(&changed(&seed, &mut random));
            }
        }
    }
}

/// A log is a script of decisions: random ones, from a few to many.
#[test]
fn logs_whose_contents_lie_are_told_and_never_obeyed() {
    let mut random = fastrand::Rng::with_seed(11);
    for round in 0..5_000 {
        let script: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(round % 600).collect();
        journal::fuzzing::journal(&script);
    }
}

#[test]
fn every_fuzzer_is_tried_here_but_that_of_entries() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/fuzz_targets");
    let files = fs::read_dir(dir).expect("targets").flatten().map(|file| file.path());
    for name in files.filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned())) {
        // `queue::codec` has properties of its own over every entry.
        assert!(name == "entry" || FUZZERS.iter().any(|(known, _)| *known == name), "{name}");
    }
}
