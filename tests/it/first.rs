//! A data directory of the first format, kept in the repository: it opens, everything in it can be read, and
//! what waited in it arrives. What is made today is held to the same.
//!
//! `TIDINGS_MAKE_FIRST=FILE cargo test --test it first::` writes such a directory into FILE. Must never take
//! the place of `tests/first/data.pack` by one of a later format: that one is what users may have on disk.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use http::Method;
use miniz_oxide::deflate::compress_to_vec;
use miniz_oxide::inflate::decompress_to_vec;
use serde_json::{Value, json};
use tidings::client::{Client, Response};
use tokio::time::timeout;

use crate::program::Program;
use crate::targets::world::{Receiver, WAIT};

/// What a packed directory begins with.
const MAGIC: &[u8] = b"tidings data directory 1\n";
/// Made anew by every start: no secret, and nothing of another machine, stands in the repository.
const LEFT_OUT: [&str; 5] = ["credentials.toml", "admin.token", "audit.log", "ballast", "lock"];
const SERVER: &str = "reserve_timeout = \"60s\"\n";
const CODE: &str = "def main_handler(event, context): return 1\n";

/// Everything goes to one target, and functions may be made where none can run.
fn more(url: &str) -> String {
    format!(
        "[queue]\nsegment_bytes = \"1MiB\"\nmax_bytes = \"64MiB\"\noverlay_bytes = \"1MiB\"\n\
         [store]\nmin_part_bytes = \"1KiB\"\n[restore]\narchive_expedited = \"10s\"\n\
         [functions]\nallow_unsandboxed = true\n\
         [target.orders]\nbackoff_min = \"10ms\"\nbackoff_max = \"50ms\"\n\
         [target.orders.connector.http]\nurl = {url:?}\n[[target.orders.rule]]\n\
         events = [\"cos:ObjectCreated:*\", \"cos:ObjectRemove:*\", \"cos:ObjectRestore:*\"]\n"
    )
}

fn large() -> Vec<u8> {
    b"0123456789abcdef".repeat(10_000)
}

fn parts() -> [Vec<u8>; 2] {
    [vec![b'a'; 5_000], vec![b'b'; 70_000]]
}

async fn ask(
    s3: &Client,
    method: Method,
    path: &str,
    query: &[(&str, &str)],
    headers: &[(&str, &str)],
    body: impl Into<bytes::Bytes>,
) -> Response {
    let answer = s3.request(method, path, query, headers, body.into()).await.expect("an answer");
    assert!(answer.status.is_success(), "{path} {query:?}: {answer:?}");
    answer
}

async fn put(s3: &Client, path: &str, body: impl Into<bytes::Bytes>) -> Response {
    ask(s3, Method::PUT, path, &[], &[], body).await
}

fn text(answer: &Response) -> String {
    String::from_utf8_lossy(&answer.body).into_owned()
}

/// What stands between tags of this name, each time.
fn between(text: &str, tag: &str) -> Vec<String> {
    let (begins, ends) = (format!("<{tag}>"), format!("</{tag}>"));
    text.split(&begins).skip(1).filter_map(|rest| Some(rest.split_once(&ends)?.0.to_owned())).collect()
}

/// Runs a command that must succeed.
async fn run(program: &Program, arguments: &[&str]) -> Value {
    let arguments = [arguments, &["--admin", &program.admin, "--json"]].concat();
    let (code, said, errors) = program.output(&arguments).await;
    assert_eq!(code, Some(0), "{arguments:?}: {errors}");
    serde_json::from_str(&said).unwrap_or_else(|e| panic!("{arguments:?}: {e}: {said}"))
}

/// Asks until the target is as it should be.
async fn target(program: &Program, right: impl Fn(&Value) -> bool) -> Value {
    let mut last = Value::Null;
    let asked = async {
        loop {
            let (_, view) = program.get("/v1/targets/orders").await;
            last = serde_json::from_str(&view).expect("JSON");
            if right(&last) {
                return;
            }
        }
    };
    let asked = timeout(WAIT, asked).await.is_ok();
    assert!(asked, "{last}");
    last
}

/// One of everything that is kept: a small body, a large one, one of parts, versions, tags, a function, a
/// trigger, a dead letter.
async fn fill(program: &Program) {
    let s3 = program.client();
    for bucket in ["bucket", "versions"] {
        assert_eq!(s3.create_bucket(bucket).await.expect("an answer").status, 200);
    }
    let meta = [("x-amz-meta-a", "b"), ("content-type", "text/plain")];
    ask(&s3, Method::PUT, "/bucket/small", &[], &meta, "small").await;
    let tags = "<Tagging><TagSet><Tag><Key>k</Key><Value>v</Value></Tag></TagSet></Tagging>";
    ask(&s3, Method::PUT, "/bucket/small", &[("tagging", "")], &[], tags).await;
    put(&s3, "/bucket/large", large()).await;
    put(&s3, "/bucket/bad/letter", "rejected").await;
    put(&s3, "/bucket/good", "gone later").await;
    let archive = [("x-amz-storage-class", "ARCHIVE")];
    ask(&s3, Method::PUT, "/bucket/archived", &[], &archive, "archived").await;
    let begun = ask(&s3, Method::POST, "/bucket/parts", &[("uploads", "")], &[], "").await;
    let upload = between(&text(&begun), "UploadId").remove(0);
    let mut list = String::new();
    for (n, body) in ["1", "2"].into_iter().zip(parts()) {
        let query = [("partNumber", n), ("uploadId", upload.as_str())];
        let part = ask(&s3, Method::PUT, "/bucket/parts", &query, &[], body).await;
        let etag = part.etag().expect("an ETag").to_owned();
        list += &format!("<Part><PartNumber>{n}</PartNumber><ETag>\"{etag}\"</ETag></Part>");
    }
    let list = format!("<CompleteMultipartUpload>{list}</CompleteMultipartUpload>");
    ask(&s3, Method::POST, "/bucket/parts", &[("uploadId", &upload)], &[], list).await;
    let enabled = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
    ask(&s3, Method::PUT, "/versions", &[("versioning", "")], &[], enabled).await;
    put(&s3, "/versions/v", "one").await;
    put(&s3, "/versions/v", "two").await;
    assert_eq!(s3.delete("versions", "v").await.expect("an answer").status, 204);
    run(program, &["function", "create", "keeper", "--text", CODE]).await;
    let bind = ["--bucket", "versions", "--event", "cos:ObjectCreated:*", "--prefix", "never/"];
    run(program, &[&["trigger", "add", "keeper"], &bind[..]].concat()).await;
    let settled = |v: &Value| v["books"]["delivered"] == 8 && v["books"]["dead_lettered"] == 1;
    target(program, settled).await;
}

/// Makes such a directory: a life that ends in order, and one that is killed with events that wait and a
/// restore that is not done.
async fn make() -> Program {
    let far = Receiver::start(true).await;
    let mut program = Program::new(SERVER, &more(&far.url));
    program.start().await;
    fill(&program).await;
    far.takes.send_replace(false);
    assert_eq!(program.terminate().await, Some(0));
    program.start().await;
    let s3 = program.client();
    put(&s3, "/bucket/waits/1", "1").await;
    put(&s3, "/bucket/waits/2", "2").await;
    assert_eq!(s3.delete("bucket", "good").await.expect("an answer").status, 204);
    let wish = "<RestoreRequest><Days>1</Days><GlacierJobParameters><Tier>Expedited</Tier>\
                </GlacierJobParameters></RestoreRequest>";
    ask(&s3, Method::POST, "/bucket/archived", &[("restore", "")], &[], wish).await;
    program.kill().await;
    program
}

/// Reads everything that [`make`] put there, and waits for what it left undelivered.
async fn judge(mut program: Program) {
    let far = Receiver::start(true).await;
    program.configure(SERVER, &more(&far.url));
    program.start().await;
    let s3 = program.client();
    let get = async |key: &str| s3.get("bucket", key).await.expect("an answer");
    let small = get("small").await;
    assert_eq!((&small.body[..], small.header("x-amz-meta-a")), (&b"small"[..], Some("b")));
    assert_eq!(small.header("content-type"), Some("text/plain"));
    assert!(get("large").await.body == large(), "a blob");
    assert!(get("parts").await.body == parts().concat(), "two parts");
    for (key, body) in [("bad/letter", "rejected"), ("waits/1", "1"), ("waits/2", "2")] {
        assert_eq!(get(key).await.body, body, "{key}");
    }
    assert_eq!(get("good").await.status, 404, "its removal was in the log alone");
    let tags = ask(&s3, Method::GET, "/bucket/small", &[("tagging", "")], &[], "").await;
    assert_eq!(
        (between(&text(&tags), "Key"), between(&text(&tags), "Value")),
        (vec!["k".into()], vec!["v".into()])
    );
    versions(&s3).await;
    far.wait_for(5).await;
    let view = target(&program, |v| v["books"]["delivered"] == 13).await;
    let books =
        ["matched", "backlog", "held", "dead_lettered", "shed"].map(|column| view["books"][column].clone());
    assert_eq!(books, [14, 0, 0, 1, 0].map(|n| json!(n)), "{view}");
    assert_eq!(view["books_imbalance"], 0, "{view}");
    let said = |record: &Value| {
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        (text(&record["s3"]["object"]["key"]), text(&record["eventName"]))
    };
    let came: BTreeSet<_> = far.records().iter().map(said).collect();
    let waited = [
        ("archived", "ObjectRestore:Completed"),
        ("archived", "ObjectRestore:Post"),
        ("good", "ObjectRemoved:Delete"),
        ("waits/1", "ObjectCreated:Put"),
        ("waits/2", "ObjectCreated:Put"),
    ];
    assert_eq!(came, waited.map(|(key, name)| (key.to_owned(), name.to_owned())).into());
    assert_eq!(get("archived").await.body, "archived", "restored");
    let letters = run(&program, &["dlq", "ls", "orders"]).await;
    assert_eq!((&letters["total"], &letters["dead_letters"][0]["key"]), (&json!(1), &json!("bad/letter")));
    let function = run(&program, &["function", "show", "keeper"]).await;
    assert_eq!((&function["name"], &function["version"]), (&json!("keeper"), &json!(1)), "{function}");
    let triggers = run(&program, &["trigger", "ls"]).await;
    assert_eq!(triggers["triggers"][0]["active"], true, "{triggers}");
    assert_eq!(code(&program.data()), [CODE]);
    assert_eq!(program.terminate().await, Some(0));
    for what in ["journal", "store"] {
        let (code, said, errors) = program.output(&[what, "verify"]).await;
        assert_eq!(code, Some(0), "{what}: {said}{errors}");
    }
}

/// Two versions below a delete marker, each with its own body.
async fn versions(s3: &Client) {
    let listed = ask(s3, Method::GET, "/versions", &[("versions", "")], &[], "").await;
    let listed = text(&listed);
    assert_eq!(listed.matches("<DeleteMarker>").count(), 1, "{listed}");
    let mut bodies = BTreeSet::new();
    for version in between(&listed, "Version") {
        let id = between(&version, "VersionId").remove(0);
        let got = ask(s3, Method::GET, "/versions/v", &[("versionId", &id)], &[], "").await;
        bodies.insert(text(&got));
    }
    assert_eq!(bodies, ["one", "two"].map(str::to_owned).into());
    assert_eq!(s3.get("versions", "v").await.expect("an answer").status, 404);
}

/// The text of every file of code.
fn code(data: &Path) -> Vec<String> {
    let files = files(&data.join("functions/code"));
    files.iter().map(|path| fs::read_to_string(path).expect("text")).collect()
}

/// Every file below a folder, sorted.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).expect("a folder").flatten() {
        match entry.file_type().expect("known") {
            kind if kind.is_dir() => found.extend(files(&entry.path())),
            kind if kind.is_file() => found.push(entry.path()),
            _ => {}
        }
    }
    found.sort();
    found
}

/// A directory as one small file: segments are mostly zeros.
fn pack(data: &Path) -> Vec<u8> {
    let mut whole = Vec::new();
    for path in files(data) {
        let name = path.strip_prefix(data).expect("below it").to_str().expect("UTF-8");
        if LEFT_OUT.contains(&name) || name.starts_with("functions/run/") {
            continue;
        }
        let bytes = fs::read(&path).expect("readable");
        whole.extend_from_slice(&(name.len() as u64).to_le_bytes());
        whole.extend_from_slice(name.as_bytes());
        whole.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
        whole.extend_from_slice(&bytes);
    }
    [MAGIC, &compress_to_vec(&whole, 10)].concat()
}

fn unpack(packed: &[u8], data: &Path) {
    let packed = packed.strip_prefix(MAGIC).expect("a packed directory");
    let whole = decompress_to_vec(packed).expect("whole");
    let mut rest = &whole[..];
    let mut next = || {
        let (len, after) = rest.split_first_chunk::<8>()?;
        let (bytes, after) = after.split_at(u64::from_le_bytes(*len) as usize);
        rest = after;
        Some(bytes)
    };
    while let Some(name) = next() {
        let path = data.join(std::str::from_utf8(name).expect("UTF-8"));
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(path, next().expect("its bytes")).expect("written");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_directory_of_the_first_format_opens_whole() {
    let packed = fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/first/data.pack")).expect("kept");
    let program = Program::new(SERVER, "");
    unpack(&packed, &program.data());
    judge(program).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_made_today_opens_whole() {
    let program = make().await;
    let packed = pack(&program.data());
    if let Some(file) = std::env::var_os("TIDINGS_MAKE_FIRST") {
        fs::write(&file, &packed).expect("written");
        println!("{} bytes in {}", packed.len(), Path::new(&file).display());
    }
    // Through the packing, so that it is known to be whole.
    let again = Program::new(SERVER, "");
    unpack(&packed, &again.data());
    judge(again).await;
}
