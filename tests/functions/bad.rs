//! What goes wrong with code: each is a clear status in the run log, and neither the server nor another
//! function notices.
//!
//! Must never judge by how long something took.

use serde_json::{Value, json};

use crate::world::{World, rule};

/// Creating these is refused, with the reason, and nothing is left.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_a_function_is_refused_when_it_is_made() {
    let world = World::start("").await;
    let code = world.file("good.py", "def main_handler(event, context): return 1\n");
    let folder = world.file("link/index.py", "");
    std::os::unix::fs::symlink("/etc/passwd", format!("{}.link", folder)).expect("made");
    let folder = folder.trim_end_matches("/index.py").to_owned();
    for (arguments, why) in [
        (vec!["f1", "--code", &code, "--runtime", "php7"], "there is no runtime"),
        (vec!["f1", "--code", &code, "--handler", "main_handler"], "is no handler"),
        (vec!["f1", "--code", &code, "--handler", "../x.y"], "is no handler"),
        (vec!["f1", "--code", &code, "--memory", "1"], "memory_mb"),
        (vec!["f1", "--code", &code, "--timeout", "901"], "timeout_s"),
        (vec!["f1", "--code", &code, "--env", "LD_PRELOAD=x"], "LD_PRELOAD"),
        (vec!["f1", "--code", &code, "--network", "some"], "it is `none` or `all`"),
        (vec!["f1"], "needs code"),
        (vec!["f1", "--from", "nothing"], "no function template"),
        (vec!["f1", "--code", &folder], "neither a file nor a folder"),
        (vec!["1f", "--code", &code], "not a function's name"),
    ] {
        let (exit, said) = world.run(&[&["function", "create"][..], &arguments].concat()).await;
        assert!(exit > 0 && said.contains(why), "{arguments:?}: {said}");
    }
    // Zip files that nobody packs by accident.
    let python = "import sys,zipfile,io\nout=zipfile.ZipFile(sys.argv[1],'w',zipfile.ZIP_DEFLATED)\n";
    for (name, write, why) in [
        ("outside", "out.writestr('index.py','')\nout.writestr('../../evil','x')\n", "leaves its folder"),
        ("absolute", "out.writestr('index.py','')\nout.writestr('/evil','x')\n", "must be relative"),
        ("bomb", "out.writestr('index.py',b'0'*(300<<20))\n", "larger than a function"),
        ("empty", "out.writestr('other.py','')\n", "has no `index.py`"),
    ] {
        let script = world.file("pack.py", format!("{python}{write}out.close()\n"));
        let zip = world.file(name, "");
        let packed = std::process::Command::new("python3").args([&script, &zip]).status().expect("starts");
        assert!(packed.success());
        let (exit, said) = world.run(&["function", "create", "f1", "--code", &zip]).await;
        assert!(exit == 1 && said.contains(why), "{name}: {said}");
    }
    assert_eq!(world.json(&["function", "ls"]).await, json!({ "functions": [] }));
    let left = std::fs::read_dir(world.data().join("functions/code")).expect("listed").count();
    assert_eq!(left, 0, "code of functions that are not there");
    assert_eq!(world.json(&["target", "ls"]).await["targets"], json!([]));
}

/// A handler in `handlers`, what it is made with, and the status that it ends with.
type Row = (&'static str, &'static [&'static str], u16);

const HANDLERS: &[Row] = &[
    ("raises", &[], 430),
    ("loops", &["--timeout", "1"], 433),
    ("sleeps", &["--timeout", "1"], 433),
    ("leaks", &["--memory", "64", "--timeout", "30"], 434),
    ("leaks-at-start", &["--memory", "64"], 434),
    ("leaks-nameless", &["--memory", "64", "--timeout", "30"], 434),
    ("leaks-elsewhere", &["--memory", "64", "--timeout", "30"], 434),
    ("exits", &[], 439),
    ("quits", &[], 439),
    ("crashes", &[], 439),
    ("prints", &["--timeout", "60"], 200),
    ("forks", &["--timeout", "60", "--memory", "1024"], 200),
    ("large", &[], 407),
    ("unwritable", &[], 430),
    ("no-handler", &[], 437),
    ("no-code", &[], 437),
    ("no-syntax", &[], 437),
    ("exits-at-start", &[], 446),
    ("starts-slowly", &["--start-timeout", "1"], 446),
    ("looks-around", &[], 200),
    ("writes", &[], 430),
    ("calls-out", &[], 430),
];

/// Programs of one's own.
const PROGRAMS: &[Row] = &[
    ("not-started", &[], 437),
    ("not-listening", &["--start-timeout", "1"], 446),
    ("ending", &[], 446),
    ("garbage", &[], 430),
    ("hanging-up", &[], 430),
    ("closing", &["--timeout", "10"], 430),
    ("failing", &[], 430),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_code_does_is_a_status_and_harms_nobody() {
    let world = World::start("").await;
    world.create("good", "def main_handler(e, c): return 1", &[]).await;
    let of = |runtime, ending| move |row: &Row| (runtime, ending, *row);
    let all = HANDLERS.iter().map(of("python3", "py")).chain(PROGRAMS.iter().map(of("custom", "program")));
    for (runtime, ending, (name, more, status)) in all {
        let file = format!("{}/tests/functions/handlers/{name}.{ending}", env!("CARGO_MANIFEST_DIR"));
        let code = std::fs::read_to_string(file).expect("there");
        world.create(name, &code, &[&["--runtime", runtime], more].concat()).await;
        let ended = world.invoke(name).await;
        assert_eq!(ended["status"], status, "{name}: {ended}");
        judge(name, &ended);
        assert_eq!(world.invoke("good").await["status"], 200, "after {name}");
        let log = world.json(&["function", "logs", name]).await;
        assert_eq!(log["runs"][0]["status"], status, "{name}: {log}");
        let failed = world.json(&["function", "logs", name, "--status", "failed"]).await;
        assert_eq!(failed["runs"].as_array().map(Vec::len), Some(usize::from(status != 200)), "{name}");
    }
    let ready = world.json(&["ready"]).await;
    assert_eq!(ready["ready"], true);
}

/// What an instance holds while it does nothing counts, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_that_grows_while_it_is_idle_is_ended() {
    let world = World::start("").await;
    let code = "import threading, time\nkept, n = [], 0\n\
                def grow():\n while True: kept.append(bytearray(1 << 20)); time.sleep(.02)\n\
                def main_handler(e, c):\n global n\n n += 1\n threading.Thread(target=grow).start()\n \
                return n\n";
    world.create("grows", code, &["--memory", "64", "--timeout", "30"]).await;
    assert_eq!(world.invoke("grows").await["result"], "1");
    let ended = async {
        let said = || std::fs::read_to_string(world.dir.path().join("log")).expect("there");
        while !said().contains("ended while it does nothing") {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(crate::world::WAIT, ended).await.expect("it grows for ever");
    assert_eq!(world.invoke("grows").await["result"], "1", "the next one begins anew");
}

fn judge(name: &str, ended: &Value) {
    let (log, message) = (ended["log"].as_str().expect("text"), ended["message"].as_str().expect("text"));
    match name {
        "raises" => assert!(message.contains("ValueError: no") && log.contains("Traceback"), "{ended}"),
        "prints" => assert!(log.ends_with("xlast\n") && log.len() <= 4_096, "{} bytes", log.len()),
        "forks" => assert_eq!(ended["result"], "true"),
        "exits" => assert!(message.contains("exit code 3"), "{ended}"),
        "no-code" => assert!(log.contains("nothing_of_this_name"), "{ended}"),
        "looks-around" => {
            let result = ended["result"].as_str().expect("text");
            assert!(result.starts_with("[true, false, [], true, ["), "{ended}");
            assert!(!result.contains("CARGO"), "inherited variables: {result}");
        }
        "writes" => assert!(message.contains("Read-only"), "{ended}"),
        _ => {}
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_fails_is_tried_again_or_a_dead_letter_by_policy() {
    let world = World::start(&(rule("forever", "a/") + &rule("once", "a/") + &rule("good", ""))).await;
    let fails = "def main_handler(e, c): raise ValueError('no')";
    world.create("forever", fails, &[]).await;
    world.create("once", fails, &["--max-retries", "1"]).await;
    world.create("good", "def main_handler(e, c): return 1", &[]).await;
    world.put("a/one").await;
    world.put("b/two").await;
    let letters = world.until(&["dlq", "ls", "function:once"], |v| v["total"] == 1).await;
    let letter = &letters["dead_letters"][0];
    assert_eq!((&letter["key"], &letter["attempts"]), (&json!("a/one"), &json!(2)), "{letter}");
    assert!(letter["message"].as_str().expect("text").contains("430"), "{letter}");
    let retried = |v: &Value| v["runs"].as_array().is_some_and(|runs| runs.len() >= 3);
    let runs = world.until(&["function", "logs", "forever"], retried).await;
    let retries: Vec<_> = runs["runs"].as_array().expect("a list").iter().map(|run| &run["retry"]).collect();
    assert_eq!(retries[..3], [&json!(0), &json!(1), &json!(2)]);
    let target = world.json(&["target", "show", "function:forever"]).await;
    assert_eq!((&target["books"]["delivered"], &target["dead_letters"]), (&json!(0), &json!(0)), "{target}");
    // Mended, it gets what waited; what is a dead letter is sent again when somebody says so.
    for name in ["forever", "once"] {
        let text = "def main_handler(e, c): return 1";
        world.json(&["function", "update", name, "--text", text]).await;
    }
    world.json(&["dlq", "replay", "function:once", "--all", "--wait"]).await;
    for (name, matched) in [("forever", 1), ("once", 1), ("good", 2)] {
        let whole = |v: &Value| v["books"]["delivered"] == matched && v["books_imbalance"] == 0;
        world.until(&["target", "show", &format!("function:{name}")], whole).await;
    }
}
