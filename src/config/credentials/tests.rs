//! The credentials' file: what is refused, what commands make of it.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::PathBuf;

use super::edit::{EditError, New, add, remove, rotate};
use super::*;

const PAIR: &str = "[[credential]]\naccess_key = \"ABC\"\nsecret_key = \"planted-secret\"\n";

/// Counts upwards, so that two draws differ.
fn counting() -> impl FnMut(&mut [u8]) {
    let mut next = 200_u8;
    move |bytes| bytes.iter_mut().for_each(|b| (*b, next) = (next, next.wrapping_add(1)))
}

fn directory() -> tempfile::TempDir {
    tempfile::tempdir().expect("a directory")
}

fn write(data: &Path, text: &str, mode: u32) -> PathBuf {
    let path = data.join(CREDENTIALS_FILE);
    fs::write(&path, text).expect("written");
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("mode set");
    path
}

#[test]
fn the_first_start_makes_a_pair_and_the_second_reads_it() {
    let data = directory();
    let mut random = counting();
    let (first, created) = load_or_create(data.path(), &mut random).expect("made");
    let path = data.path().join(CREDENTIALS_FILE);
    assert_eq!(created, Created::Now(path.clone()));
    assert_eq!(fs::metadata(&path).expect("there").mode() & 0o777, 0o600);
    let keys: Vec<&str> = first.access_keys().collect();
    let [key] = keys[..] else { panic!("{keys:?}") };
    assert!(key.len() == 20 && key.starts_with("TD"), "{key}");
    assert!(key.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit()), "{key}");
    let secret = first.secret(key).expect("its secret").expose_secret();
    assert_eq!(secret.len(), 40);
    assert!(!format!("{first:?}").contains(secret) && format!("{first:?}").contains(key));

    let (second, created) = load_or_create(data.path(), &mut random).expect("read");
    assert_eq!(created, Created::Before(path));
    assert_eq!(second.secret(key).expect("the same").expose_secret(), secret);
    assert!(second.secret("TDOTHER").is_none());
    let files = fs::read_dir(data.path()).expect("listed").count();
    assert_eq!(files, 1, "no temporary file is left");
}

#[test]
fn an_interrupted_first_start_is_made_good() {
    let data = directory();
    fs::write(data.path().join("credentials.new"), "half").expect("written");
    let (made, _) = load_or_create(data.path(), &mut counting()).expect("made");
    assert_eq!(made.access_keys().count(), 1);
}

#[test]
fn a_file_that_others_may_read_is_refused() {
    for mode in [0o640, 0o604, 0o620, 0o601] {
        let data = directory();
        let path = write(data.path(), PAIR, mode);
        let error = load_or_create(data.path(), &mut counting()).expect_err("exposed");
        assert!(error.to_string().contains(&format!("chmod 600 {}", path.display())), "{error}");
        assert!(matches!(error, SecretFileError::Exposed { mode: m, .. } if m == mode), "{error}");
    }
    let data = directory();
    write(data.path(), PAIR, 0o400);
    assert!(load_or_create(data.path(), &mut counting()).is_ok());
}

#[test]
fn a_malformed_file_is_refused_without_quoting_it() {
    for (text, says) in [
        (String::new(), "holds no [[credential]]"),
        (PAIR.replace('"', ""), "line 2"),
        (PAIR.replace("secret_key", "secret"), "line"),
        (PAIR.replace("ABC", "A B"), "credential 1: `access_key`"),
        (PAIR.replace("planted-", "planted "), "credential 1: `secret_key`"),
        (PAIR.repeat(2), "credential 2: its `access_key`"),
    ] {
        let data = directory();
        write(data.path(), &text, 0o600);
        let error = load_or_create(data.path(), &mut counting()).expect_err("malformed").to_string();
        assert!(error.contains(says), "{error}");
        assert!(!error.contains("planted"), "{error}");
    }
}

#[test]
fn every_letter_is_as_likely_as_any_other() {
    let mut random = fastrand::Rng::with_seed(1);
    let mut random = |bytes: &mut [u8]| random.fill(bytes);
    let keys: String = (0..14_000).map(|_| access_key(&mut random)[2..].to_owned()).collect();
    let mut counts = BTreeMap::new();
    keys.chars().for_each(|c| *counts.entry(c).or_insert(0) += 1);
    // Without the fair bound the first four letters would come up a seventh more often.
    let (least, most) = (counts.values().min(), counts.values().max());
    assert_eq!(counts.len(), 36);
    assert!(least.zip(most).is_some_and(|(least, most)| most - least <= most / 10), "{counts:?}");
}

#[test]
fn scopes_contain_each_other_and_patterns_are_names_with_stars() {
    let text = format!(
        "{PAIR}scope = \"write\"\nbuckets = [\"logs\", \"photos-*\"]\nnote = \"a \\\"b\\\" \\\\ c\"\n"
    );
    let data = directory();
    write(data.path(), &text, 0o600);
    let read = load(data.path()).expect("legal");
    let pair = read.get("ABC").expect("there");
    assert_eq!((pair.scope, pair.note.as_deref()), (Scope::Write, Some("a \"b\" \\ c")));
    for (bucket, covered) in [
        ("logs", true),
        ("logs-1", false),
        ("photos-", true),
        ("photos-a", true),
        ("photos", false),
        ("", false),
    ] {
        assert_eq!(pair.covers(bucket), covered, "{bucket}");
    }
    assert!(Scope::Read < Scope::Write && Scope::Write < Scope::Admin);
    write(data.path(), PAIR, 0o600);
    let old = load(data.path()).expect("legal");
    let old = old.get("ABC").expect("there");
    assert!(old.scope == Scope::Admin && old.covers("any"), "as files of a first start were");
}

#[test]
fn wrong_scopes_and_patterns_are_refused() {
    for (more, says) in [
        ("scope = \"root\"", "line 4"),
        ("scopes = \"read\"", "line"),
        ("buckets = \"*\"", "line 4"),
        ("buckets = []", "`buckets` must hold 1 to 100"),
        ("buckets = [\"a/b\"]", "`a/b` cannot match"),
        ("buckets = [\"a%2Fb\"]", "cannot match"),
        ("buckets = [\"A\"]", "cannot match"),
        ("buckets = [\"\"]", "cannot match"),
        ("note = \"a\\nb\"", "`note` must be one line"),
    ] {
        let data = directory();
        write(data.path(), &format!("{PAIR}{more}\n"), 0o600);
        let error = load(data.path()).expect_err(more).to_string();
        assert!(error.contains(says) && !error.contains("planted"), "{error}");
    }
}

fn new(access_key: Option<&str>) -> New {
    let buckets = vec!["in-*".to_owned()];
    New { access_key: access_key.map(str::to_owned), scope: Scope::Read, buckets, note: Some("it's".into()) }
}

#[test]
fn commands_add_rotate_and_remove() {
    let data = directory();
    let mut random = counting();
    let path = write(data.path(), &format!("# by hand\n{PAIR}note = \"first\"\n"), 0o400);
    let issued = add(data.path(), new(None), &mut random).expect("added");
    let named = add(data.path(), new(Some("reader")), &mut random).expect("added");
    assert_eq!(named.access_key, "reader");
    assert_eq!(fs::metadata(&path).expect("there").mode() & 0o777, 0o600);
    let read = load(data.path()).expect("legal");
    assert_eq!(read.access_keys().count(), 3);
    let pair = read.get(&issued.access_key).expect("there");
    assert_eq!(pair.secret.expose_secret(), issued.secret.expose_secret());
    assert_eq!((pair.scope, &pair.buckets[..]), (Scope::Read, &["in-*".to_owned()][..]));
    assert_eq!(read.get("ABC").and_then(|pair| pair.note.clone()).as_deref(), Some("first"));

    let rotated = rotate(data.path(), "reader", &mut random).expect("rotated");
    assert_ne!(rotated.secret.expose_secret(), named.secret.expose_secret());
    remove(data.path(), "ABC").expect("removed");
    let now = load(data.path()).expect("legal");
    assert_eq!(now.secret("reader").expect("there").expose_secret(), rotated.expose());
    let difference = read.difference(&now);
    assert_eq!(difference.changed, ["reader"]);
    assert_eq!((difference.removed, difference.added), (vec!["ABC".to_owned()], vec![]));
    assert_eq!(fs::read_dir(data.path()).expect("listed").count(), 1, "no temporary file is left");
}

#[test]
fn what_cannot_be_done_changes_nothing() {
    let data = directory();
    let path = write(data.path(), PAIR, 0o600);
    let refused = |result: Result<(), EditError>, says: &str| {
        let error = result.expect_err(says).to_string();
        assert!(error.contains(says) && !error.contains("planted"), "{error}");
        assert_eq!(fs::read_to_string(&path).expect("there"), PAIR);
    };
    refused(remove(data.path(), "ABC"), "only credential");
    refused(remove(data.path(), "A\u{1b}[31m"), "\\u{1b}");
    refused(rotate(data.path(), "NONE", &mut counting()).map(drop), "no credential `NONE`");
    refused(add(data.path(), new(Some("ABC")), &mut counting()).map(drop), "there already");
    refused(add(data.path(), new(Some("A B")), &mut counting()).map(drop), "`access_key`");
    let slash = New { buckets: vec!["a/b".into()], ..new(None) };
    refused(add(data.path(), slash, &mut counting()).map(drop), "cannot match");
    write(data.path(), PAIR, 0o644);
    refused(remove(data.path(), "ABC"), "chmod 600");
}

#[test]
fn commands_at_once_lose_nothing() {
    let data = directory();
    write(data.path(), PAIR, 0o600);
    std::thread::scope(|scope| {
        for n in 0..8 {
            let data = data.path();
            scope.spawn(move || add(data, new(Some(&format!("key-{n}"))), &mut counting()).expect("added"));
        }
    });
    assert_eq!(load(data.path()).expect("legal").access_keys().count(), 9);
}
