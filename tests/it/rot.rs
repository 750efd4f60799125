//! A rotten sector in the log of the real program, in every kind of place, with the server stopped and
//! running: found, named, never passed over, and given up only by an operator. The simulator has every
//! sector, and kills.
//!
//! Must never know more of a segment than that the bodies of small objects stand in it as they came.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use http::Method;
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::timeout;

use crate::program::Program;
use crate::targets::world::{NOBODY, Receiver, WAIT, target};

const SECTOR: usize = 512;
/// Bytes of a body: several sectors of it lie between its ends, wherever it begins.
const BODY: usize = 60_000;
/// Objects whose events the target waits for.
const KEPT: usize = 200;
const SERVER: &str = "reserve_timeout = \"30s\"\n";

/// Small segments, and none of them kept for replay.
fn more(url: &str) -> String {
    let small = "[queue]\nsegment_bytes = \"1MiB\"\nmax_bytes = \"64MiB\"\nretain_bytes = 0\n\
                 overlay_bytes = \"1MiB\"\n[store]\ncheckpoint_interval = \"1s\"\n";
    small.to_owned() + &target("kept", url, "kept/", "")
}

fn body(n: usize) -> Vec<u8> {
    format!("{n:0>15}|").into_bytes().repeat(BODY / 16)
}

fn key(n: usize) -> String {
    format!("kept/{n}")
}

/// The files of the log, by name, with their inodes.
pub(crate) fn segments(data: &Path) -> BTreeMap<String, u64> {
    let files = fs::read_dir(data.join("journal")).expect("there").flatten();
    let named = files.filter_map(|file| {
        let name = file.file_name().into_string().ok().filter(|name| name.ends_with(".seg"))?;
        // It may live under another name by now.
        Some((name, file.metadata().ok()?.ino()))
    });
    named.collect()
}

/// A log to be damaged.
struct Sound {
    data: TempDir,
    /// Offset of the first event that the target waits for; one follows the other.
    first: u64,
    /// What kind of place, the number of the object, its file, and a sector in the middle of its body.
    places: Vec<(&'static str, usize, String, u64)>,
}

pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("made");
    for entry in fs::read_dir(from).expect("there").flatten() {
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        match from.is_dir() {
            true => copy(&from, &to),
            false => drop(fs::copy(from, to).expect("copied")),
        }
    }
}

fn copied(data: &Path) -> TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    copy(data, dir.path());
    dir
}

/// Where the middle of an object's body is: the file, and a sector.
fn place_of(data: &Path, n: usize) -> (String, u64) {
    let start = &body(n)[..64];
    let found = segments(data).into_keys().find_map(|name| {
        let bytes = fs::read(data.join("journal").join(&name)).expect("readable");
        let at = bytes.windows(start.len()).position(|w| w == start)?;
        Some((name, ((at + BODY / 2).next_multiple_of(SECTOR)) as u64))
    });
    found.expect("its record is in the log")
}

/// Where the log's files begin is chance: tried until the one being written holds some that are kept.
async fn make() -> Sound {
    let mut before = 0;
    loop {
        if let Some(sound) = made(before).await {
            return sound;
        }
        before += 5;
    }
}

/// The log behind so many more changes that nobody waits for.
async fn made(more_before: usize) -> Option<Sound> {
    let mut program = Program::new(SERVER, &more(NOBODY));
    program.start().await;
    let (client, data) = (program.client(), program.data());
    assert_eq!(client.create_bucket("bucket").await.expect("an answer").status, 200);
    let put = async |key: &str, n| {
        assert_eq!(client.put("bucket", key, body(n)).await.expect("an answer").status, 200);
    };
    // Nobody waits for these: their segments go, until some of the files live again under another name.
    let (mut names, mut again) = (BTreeMap::new(), BTreeSet::new());
    let mut n = 1_000;
    while again.len() < 2 {
        put("gone", n).await;
        n += 1;
        for (name, inode) in segments(&data) {
            if names.insert(inode, name.clone()).is_some_and(|before| before != name) {
                again.insert(inode);
            }
        }
    }
    for n in n..n + more_before {
        put("gone", n).await;
    }
    let (_, journal) = program.get("/v1/journal").await;
    let journal: Value = serde_json::from_str(&journal).expect("JSON");
    let first = journal["durable_end"].as_u64().expect("a number");
    for n in 0..KEPT {
        put(&key(n), n).await;
    }
    assert_eq!(program.terminate().await, Some(0));
    let inodes = segments(&data);
    let of: Vec<_> = (0..KEPT).map(|n| (n, place_of(&data, n))).collect();
    let current = of[KEPT - 1].1.0.clone();
    if of.iter().filter(|(_, (file, _))| *file == current).count() < 3 {
        return None;
    }
    // The first and the last object of a segment may share it with others.
    let middle = |what: &str, is: &dyn Fn(&str) -> bool| {
        let those: Vec<_> = of[..KEPT - 1].iter().filter(|(_, (file, _))| is(file)).collect();
        (*those.get(those.len() / 2).unwrap_or_else(|| panic!("nothing in {what}"))).clone()
    };
    let places = [
        ("the last record of an idle log", of[KEPT - 1].clone()),
        ("an old segment", middle("an old one", &|file| file != current && !again.contains(&inodes[file]))),
        ("the current segment", middle("the current one", &|file| file == current)),
        ("a recycled segment", middle("a recycled one", &|f| f != current && again.contains(&inodes[f]))),
    ];
    let places = places.map(|(what, (n, (file, at)))| (what, n, file, at)).into();
    Some(Sound { data: copied(&data), first, places })
}

/// Damages one sector of a file.
fn spoil(file: &Path, at: u64, zero: bool) {
    let mut file = fs::File::options().read(true).write(true).open(file).expect("there");
    let mut sector = [0; SECTOR];
    file.seek(SeekFrom::Start(at)).and_then(|_| file.read_exact(&mut sector)).expect("readable");
    match zero {
        true => sector.fill(0),
        false => sector[100] ^= 4,
    }
    file.seek(SeekFrom::Start(at)).and_then(|_| file.write_all(&sector)).expect("written");
}

/// One case: a copy of the log, and what happens to it.
struct Case<'a> {
    name: String,
    program: Program,
    far: Receiver,
    sound: &'a Sound,
    /// Which object, and where the middle of its body is.
    n: usize,
    file: PathBuf,
    at: u64,
}

impl<'a> Case<'a> {
    async fn new(sound: &'a Sound, place: usize, how: &str) -> Self {
        let (what, n, file, at) = &sound.places[place];
        let program = Program::new(SERVER, &more(NOBODY));
        copy(sound.data.path(), &program.data());
        let file = program.data().join("journal").join(file);
        let name = format!("{how}, {what}");
        Self { name, program, far: Receiver::start(true).await, sound, n: *n, file, at: *at }
    }

    fn offset(&self) -> u64 {
        self.sound.first + self.n as u64
    }

    /// The command finds the damage, and nothing else, and says what to do.
    async fn verify(&self) {
        let (code, said) = self.program.run(&["journal", "verify"]).await;
        let next = format!("accept-loss {0}..{0}`", self.offset());
        assert_eq!((code, said.contains("in 1 place(s)")), (Some(3), true), "{}: {said}", self.name);
        assert!(said.contains(&next), "{}: not {next}: {said}", self.name);
    }

    async fn view(&self) -> Value {
        let (status, view) = self.program.get("/v1/targets/kept").await;
        assert_eq!(status, 200, "{}: {view}", self.name);
        let view: Value = serde_json::from_str(&view).expect("JSON");
        assert_eq!(view["books_imbalance"], 0, "{}: {view}", self.name);
        view
    }

    /// The target gets what lies before the damage, never what is damaged, and everybody is told. Of what
    /// lies behind it gets what it had taken before, since other objects do not wait for this one.
    async fn stops_at_damage(&self) {
        let named = format!("records {0} to {0} are damaged", self.offset());
        self.far.wait_for(self.n).await;
        let told = async {
            loop {
                let view = self.view().await;
                let before = view["books"]["delivered"].as_u64() >= Some(self.n as u64);
                if before && view["blocked"].as_str().is_some_and(|error| error.contains(&named)) {
                    return view;
                }
            }
        };
        let told = timeout(WAIT, told).await;
        let Ok(view) = told else { panic!("{}: not told of {named}: {}", self.name, self.view().await) };
        let lacks = view["books"]["backlog"] != 0 || view["books"]["held"] != 0;
        let age = view["oldest_undelivered_age_seconds"].as_f64();
        assert!(!lacks || age > Some(0.0), "{}: {view}", self.name);
        let corrupt = self.program.metric("tidings_queue_corrupt_records_total").await;
        assert!(corrupt >= 1.0, "{}: {corrupt}", self.name);
        let came = self.came();
        let right = came.starts_with(&(0..self.n).collect::<Vec<_>>()) && !came.contains(&self.n);
        assert!(right, "{}: {came:?}", self.name);
    }

    /// Numbers of the objects whose events came, ascending.
    fn came(&self) -> Vec<usize> {
        let number = |key: &String| key["kept/".len()..].parse().expect("a number");
        let mut came: Vec<_> = self.far.taken().iter().map(|(key, _)| number(key)).collect();
        came.sort_unstable();
        came
    }

    /// Every object is there, byte for byte; or, if `lost` says so, all but the one whose record is gone.
    async fn objects(&self, lost: bool) {
        let client = self.program.client();
        for n in (0..KEPT).step_by(40).chain([self.n, KEPT - 1]) {
            let found = client.get("bucket", &key(n)).await.expect("an answer");
            let refused = found.status == 503 && !lost;
            let gone = found.status == 404 && lost && n == self.n;
            let whole = found.status == 200 && found.body[..] == body(n);
            assert!(whole || refused || gone, "{}: {n}: {}", self.name, found.status);
        }
    }

    /// The operator gives the record up: everything else arrives, and the books say what became of it.
    async fn accept(&mut self) {
        let range = format!("{0}..{0}", self.offset());
        let (code, said) = self.program.run(&["journal", "accept-loss", &range]).await;
        assert_eq!(code, Some(0), "{}: {said}", self.name);
        self.program.configure(SERVER, &more(&self.far.url));
        self.program.start().await;
        self.far.wait_for(KEPT - 1).await;
        let all = async { while self.view().await["books"]["delivered"] != KEPT - 1 {} };
        assert!(timeout(WAIT, all).await.is_ok(), "{}: {}", self.name, self.view().await);
        assert_eq!(self.view().await["books"]["quarantined"], 1, "{}", self.name);
        let came: BTreeSet<_> = self.came().into_iter().collect();
        assert_eq!(came, (0..KEPT).filter(|n| *n != self.n).collect(), "{}", self.name);
        self.objects(true).await;
        let answer = self.program.client().put("bucket", "more", "body").await.expect("an answer");
        assert_eq!(answer.status, 200, "{}: it goes on", self.name);
        assert_eq!(self.program.terminate().await, Some(0), "{}", self.name);
    }

    /// The sector rots while nobody is there.
    async fn at_rest(mut self, zero: bool) {
        spoil(&self.file, self.at, zero);
        self.verify().await;
        self.program.configure(SERVER, &more(&self.far.url));
        self.program.start().await;
        self.stops_at_damage().await;
        self.objects(false).await;
        assert_eq!(self.program.terminate().await, Some(0), "{}", self.name);
        self.verify().await;
        self.accept().await;
    }

    /// It rots while the server runs, which reads it later.
    async fn running(mut self) {
        self.program.start().await;
        spoil(&self.file, self.at, false);
        self.verify().await;
        self.program.configure(SERVER, &more(&self.far.url));
        let (status, answer) = self.program.ask(Method::POST, "/v1/reload").await;
        assert_eq!(status, 200, "{}: {answer}", self.name);
        self.stops_at_damage().await;
        self.objects(false).await;
        assert_eq!(self.program.terminate().await, Some(0), "{}", self.name);
        self.verify().await;
        self.accept().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotten_sector_is_found_named_and_given_up_by_an_operator_only() {
    let sound = make().await;
    for place in 0..sound.places.len() {
        let (one, two) =
            tokio::join!(Case::new(&sound, place, "stopped"), Case::new(&sound, place, "running"));
        tokio::join!(one.at_rest(place % 2 == 0), two.running());
    }
}
