//! Servers on machines that are not as one would wish: not root's, or without bubblewrap.
//!
//! Must never pass where nobody was told.

use std::os::unix::fs::MetadataExt as _;
use std::process::Command;

use serde_json::{Value, json};

use crate::world::{World, rule};

/// A user that is nobody's.
const NOBODY: u32 = 65_534;
const GOOD: &str = "def main_handler(e, c): return 1";

fn is_root() -> bool {
    std::fs::metadata("/proc/self").expect("there").uid() == 0
}

/// A command line before the server's own that makes it somebody else's; none where nobody is root.
fn as_nobody() -> Vec<String> {
    let user = ["--reuid", "--regid"].map(|option| format!("{option}={NOBODY}"));
    let words = ["setpriv".to_owned()].into_iter().chain(user).chain(["--clear-groups".to_owned()]);
    if is_root() { words.collect() } else { Vec::new() }
}

/// A command line before the server's own that hides bubblewrap from it.
fn without_bubblewrap(world: &World) -> Vec<String> {
    let empty = world.file("empty", "");
    let hide = "mount --bind \"$0\" \"$(readlink -f /usr/bin/bwrap)\" && exec \"$@\"".to_owned();
    let alone = if is_root() { "-m" } else { "-rm" };
    vec!["unshare".into(), alone.into(), "sh".into(), "-c".into(), hide, empty]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_not_root_contains_code_as_one_that_is() {
    let mut world = World::apart();
    world.configure(&rule("looks", ""));
    world.prefix = as_nobody();
    if is_root() {
        std::os::unix::fs::chown(world.dir.path(), Some(NOBODY), Some(NOBODY)).expect("ours to give");
        let mut runs = Command::new(&world.prefix[0]);
        runs.args(&world.prefix[1..]).arg(env!("CARGO_BIN_EXE_tidings"));
        // Built where only root may look: a copy will do.
        if !runs.arg("--version").output().expect("starts").status.success() {
            world.program = world.dir.path().join("tidings");
            std::fs::copy(env!("CARGO_BIN_EXE_tidings"), &world.program).expect("copied");
        }
    }
    world.open().await;
    let owner = std::fs::metadata(format!("/proc/{}", world.id())).expect("runs").uid();
    assert_ne!(owner, 0, "the server is root");
    let data = world.data();
    let code = format!(
        "import os\ndef main_handler(e, c):\n    return [os.path.exists({data:?}), \
         len([p for p in os.listdir('/proc') if p.isdigit()])]\n"
    );
    world.create("looks", &code, &[]).await;
    let ended = world.invoke("looks").await;
    assert_eq!(ended["status"], 200, "{ended}");
    let seen: Value = serde_json::from_str(ended["result"].as_str().expect("one")).expect("JSON");
    assert_eq!(seen[0], false, "it sees the data directory");
    assert!(seen[1].as_u64().is_some_and(|processes| processes < 8), "it sees others' processes: {seen}");
    assert_eq!(world.s3().create_bucket("bucket").await.expect("an answer").status, 200);
    world.put("one").await;
    world.until(&["target", "show", "function:looks"], |v| v["books"]["delivered"] == 1).await;
    // In the machine's network its sockets are known by who has them open: their user is the server's.
    let serves = "#!/usr/bin/python3\nimport os, socket\n\
                  s = socket.create_server(('127.0.0.1', int(os.environ['PORT'])))\nwhile True:\n \
                  c, _ = s.accept(); c.recv(65536)\n \
                  c.sendall(b'HTTP/1.1 200 ok\\r\\ncontent-length: 1\\r\\n\\r\\n1'); c.close()\n";
    world.create("serves", serves, &["--runtime", "custom", "--network", "all", "--timeout", "30"]).await;
    let ended = world.invoke("serves").await;
    assert_eq!((&ended["status"], &ended["result"]), (&json!(200), &json!("1")), "{ended}");
    assert!(world.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_bubblewrap_nothing_is_hosted_unless_somebody_says_so_and_all_is_told() {
    let mut world = World::apart();
    world.configure(&rule("hello", ""));
    world.prefix = without_bubblewrap(&world);
    world.open().await;
    assert_eq!(world.s3().create_bucket("bucket").await.expect("an answer").status, 200);
    let (code, said) = world.run(&["function", "create", "hello", "--text", GOOD]).await;
    assert!(code == 1 && said.contains("bubblewrap is not installed"), "{said}");
    assert!(said.contains("allow_unsandboxed"), "what to do next: {said}");
    assert_eq!(world.json(&["function", "ls"]).await, json!({ "functions": [] }));
    assert!(world.stop().await.success());
    world.configure(&format!("[functions]\nallow_unsandboxed = true\n{}", rule("hello", "")));
    world.open().await;
    let log = |world: &World| std::fs::read_to_string(world.dir.path().join("log")).expect("there");
    assert!(log(&world).contains("`functions.allow_unsandboxed` is set"), "{}", log(&world));
    world.create("hello", GOOD, &[]).await;
    assert!(world.stop().await.success());
}
