//! Bodies full of another server's records: a kill, and damage to the very record that carries them, bring
//! nothing of them to life. Neither an object nor an event of theirs is ever seen.
//!
//! Must never build a record itself: what is put in is what a real log held, where a real record would stand.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use tidings::client::{Client, Listing};
use tokio::time::timeout;

use crate::program::Program;
use crate::rot::{copy, segments};
use crate::targets::world::{Receiver, WAIT, target};

/// A far side that is never there.
const NOBODY: &str = "http://127.0.0.1:9/";
const BLOCK: usize = 4096;
/// Bytes of every body here: it travels in its record, and its length takes as many bytes there as any of
/// them.
const BODY: usize = 64_000;
/// Objects of the other server: few enough that its log fits into a body.
const THEIRS: usize = 4;
/// Objects that carry its log. Some of their offsets are in it.
const OURS: usize = 3;
const SERVER: &str = "reserve_timeout = \"30s\"\n";

fn more(url: &str) -> String {
    let small = "[queue]\nsegment_bytes = \"1MiB\"\nmax_bytes = \"64MiB\"\n";
    small.to_owned() + &target("all", url, "", "")
}

fn key(n: usize) -> String {
    format!("own/{n}")
}

async fn put(client: &Client, key: &str, body: Vec<u8>) {
    assert_eq!(client.put("bucket", key, body).await.expect("an answer").status, 200, "{key}");
}

/// The segment that holds these bytes, its content, and where they begin in it.
fn find(data: &Path, wanted: &[u8]) -> (PathBuf, Vec<u8>, usize) {
    let found = segments(data).into_keys().find_map(|name| {
        let path = data.join("journal").join(name);
        let bytes = fs::read(&path).expect("readable");
        let at = bytes.windows(wanted.len()).position(|window| window == wanted)?;
        Some((path, bytes, at))
    });
    found.expect("it is in the log")
}

/// A server of its own with a bucket of the same name and objects of other names; what its log held when it
/// was killed, from its first byte.
async fn their_log() -> Vec<u8> {
    let mut program = Program::new(SERVER, &more(NOBODY));
    program.start().await;
    let client = program.client();
    assert_eq!(client.create_bucket("bucket").await.expect("an answer").status, 200);
    for n in 0..THEIRS {
        put(&client, &format!("forged/{n}"), b"never".to_vec()).await;
    }
    program.kill().await;
    let (_, bytes, last) = find(&program.data(), format!("forged/{}", THEIRS - 1).as_bytes());
    let end = bytes[last..].iter().rposition(|byte| *byte != 0).expect("it is there") + last + 1;
    bytes[..end.next_multiple_of(BLOCK)].to_vec()
}

/// The data directory of a killed server of whose objects some carry `theirs`, each block of it where a block
/// of the log begins.
async fn ours(theirs: &[u8]) -> Program {
    let mut program = Program::new(SERVER, &more(NOBODY));
    program.start().await;
    let client = program.client();
    assert_eq!(client.create_bucket("bucket").await.expect("an answer").status, 200);
    let marker = b"where bodies stand in their batch|";
    put(&client, &key(0), marker.repeat(BODY / marker.len() + 1)[..BODY].to_vec()).await;
    let (_, _, at) = find(&program.data(), marker);
    let before = BLOCK - at % BLOCK;
    assert!(before + theirs.len() <= BODY, "their log has {} bytes", theirs.len());
    let mut body = vec![b'.'; before];
    body.extend(theirs);
    body.resize(BODY, b'.');
    for n in 1..=OURS {
        put(&client, &key(n), body.clone()).await;
    }
    // Whole, it proves that the others were acknowledged.
    put(&client, &key(OURS + 1), vec![b'.'; BODY]).await;
    program.kill().await;
    let (_, bytes, at) = find(&program.data(), theirs);
    assert_eq!(at % BLOCK, 0, "it stands where a batch could begin");
    assert_eq!(bytes[at..].windows(theirs.len()).filter(|window| *window == theirs).count(), OURS);
    program
}

/// What happens to the log before it is opened again.
#[derive(Debug, Clone, Copy)]
enum Harm {
    Nothing,
    /// The envelope of a record that carries their log: the next record is looked for byte by byte.
    Record(usize),
    /// The header of its batch: the next batch is looked for block by block.
    Batch(usize),
}

impl Harm {
    /// Damages one object's record; gives its number.
    fn done_to(self, data: &Path) -> Option<usize> {
        let (Self::Record(n) | Self::Batch(n)) = self else { return None };
        let (path, mut bytes, at) = find(data, key(n).as_bytes());
        match self {
            Self::Record(_) => bytes[at] ^= 1,
            _ => bytes[at / BLOCK * BLOCK] ^= 1,
        }
        fs::write(path, bytes).expect("writable");
        Some(n)
    }
}

/// Everything a client and the target can see is what was put, less the one that is damaged.
async fn judge(dead: &Program, harm: Harm) {
    let mut program = Program::new(SERVER, &more(NOBODY));
    copy(&dead.data(), &program.data());
    let lost = harm.done_to(&program.data());
    let (code, said) = program.run(&["journal", "verify"]).await;
    if lost.is_some() {
        assert_eq!((code, said.contains("in 1 place(s)")), (Some(3), true), "{harm:?}: {said}");
        let range = said.split("accept-loss ").nth(1).and_then(|rest| rest.split('`').next());
        let range = range.unwrap_or_else(|| panic!("{harm:?}: {said}"));
        let (code, said) = program.run(&["journal", "accept-loss", range]).await;
        assert_eq!(code, Some(0), "{harm:?}: {said}");
    } else {
        assert_eq!(code, Some(0), "{said}");
    }
    let far = Receiver::start(true).await;
    program.configure(SERVER, &more(&far.url));
    program.start().await;
    let kept: BTreeSet<String> = (0..=OURS + 1).filter(|n| Some(*n) != lost).map(key).collect();
    let client = program.client();
    let answer = client.list_v2("bucket", &[]).await.expect("an answer");
    let listed = Listing::parse(&answer.body).unwrap_or_else(|| panic!("{harm:?}: {answer:?}")).objects;
    let listed: Vec<String> = listed.into_iter().map(|object| object.key).collect();
    assert_eq!(listed, kept.iter().cloned().collect::<Vec<_>>(), "{harm:?}: objects");
    for key in &kept {
        let found = client.get("bucket", key).await.expect("an answer");
        assert_eq!((found.status.as_u16(), found.body.len()), (200, BODY), "{harm:?}: {key}");
    }
    // The last one of the log: whatever else was taken for an event lies before it.
    put(&client, "own/last", b"body".to_vec()).await;
    let all = kept.len() + 1;
    far.wait_for(all).await;
    let settled = async {
        while program.metric("tidings_books_events{target=\"all\",column=\"backlog\"}").await != 0.0 {}
    };
    timeout(WAIT, settled).await.unwrap_or_else(|_| panic!("{harm:?}: not settled"));
    let came: BTreeSet<String> = far.taken().into_iter().map(|(key, _)| key).collect();
    let expected = kept.into_iter().chain(["own/last".to_owned()]).collect();
    assert_eq!((came, far.taken().len()), (expected, all), "{harm:?}: events");
    assert_eq!(program.terminate().await, Some(0), "{harm:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_in_a_body_are_never_replayed() {
    let dead = ours(&their_log().await).await;
    for harm in [Harm::Nothing, Harm::Record(1), Harm::Record(OURS), Harm::Batch(1), Harm::Batch(OURS)] {
        judge(&dead, harm).await;
    }
}
