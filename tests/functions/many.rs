//! A thousand functions on one server: an upload runs the one that it is for, and the others cost nothing
//! while nothing happens to their objects.
//!
//! Must never judge by how long something took.

use serde_json::json;

use crate::world::World;

const MANY: usize = 1_000;
/// Files of its own that each function's target keeps open: the two slots of its row.
const FILES_EACH: usize = 2;

/// What a process takes of the machine, in counts.
#[derive(Debug)]
struct Taken {
    threads: usize,
    files: usize,
    /// Ticks of processors, 10 ms each, and how often a thread woke up, while a function slept for 2 s.
    ticks: u64,
    wakes: u64,
}

impl Taken {
    /// Of a server that does nothing but wait for one function, which does nothing.
    async fn by(world: &World) -> Self {
        world.invoke("waits").await;
        let before = (ticks(world), wakes(world));
        let ended = world.invoke("waits").await;
        assert_eq!(ended["status"], 200, "{ended}");
        let list = |what: &str| {
            let entries = std::fs::read_dir(format!("/proc/{}/{what}", world.id())).expect("listed");
            entries.count()
        };
        let (ticks, wakes) = (ticks(world) - before.0, wakes(world).saturating_sub(before.1));
        Self { threads: list("task"), files: list("fd"), ticks, wakes }
    }
}

fn ticks(world: &World) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", world.id())).expect("there");
    let fields = stat.rsplit(')').next().expect("fields").split_whitespace();
    fields.skip(11).take(2).map(|field| field.parse::<u64>().expect("a number")).sum()
}

/// How often the threads of now gave up a processor of their own will.
fn wakes(world: &World) -> u64 {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", world.id())).expect("listed").flatten();
    let of = |status: String| {
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
        line.trim().parse::<u64>().ok()
    };
    // A thread may end meanwhile.
    tasks.filter_map(|task| of(std::fs::read_to_string(task.path().join("status")).ok()?)).sum()
}

fn name(n: usize) -> String {
    format!("f{n:04}")
}

/// Every function that ran, and how often.
async fn ran(world: &World) -> Vec<(usize, usize)> {
    let mut ran = Vec::new();
    for n in 0..MANY {
        let log = world.admin("GET", &format!("/v1/functions/{}/logs?limit=1000", name(n)), None).await;
        let runs = log["runs"].as_array().map_or(0, Vec::len);
        if runs > 0 {
            ran.push((n, runs));
        }
    }
    ran
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_among_a_thousand_functions_runs_the_one_it_is_for_and_the_others_cost_nothing() {
    let mut world = World::start("").await;
    let waits = "import time\ndef main_handler(e, c): time.sleep(2)";
    world.create("waits", waits, &["--timeout", "30"]).await;
    let alone = Taken::by(&world).await;
    for n in 0..MANY {
        let text = format!("def main_handler(e, c): return 'by {n}'\n");
        let body = json!({ "runtime": "python3", "code": { "text": text } });
        world.admin("POST", &format!("/v1/functions/{}/create", name(n)), Some(body)).await;
        let event = "event=cos:ObjectCreated:*";
        let add = format!("/v1/triggers?function={}&bucket=bucket&{event}&prefix=p{n:04}%2F", name(n));
        world.admin("POST", &add, None).await;
    }
    world.put("p0417/photo").await;
    world.put("p9999/photo").await;
    let one = |v: &serde_json::Value| v["runs"].as_array().map(Vec::len) == Some(1);
    let log = world.until(&["function", "logs", &name(417)], one).await;
    let run = &log["runs"][0];
    assert_eq!((&run["status"], &run["object"]), (&json!(200), &json!("bucket/p0417/photo")), "{run}");
    assert_eq!(ran(&world).await, [(417, 1)]);
    let targets = world.json(&["target", "ls"]).await;
    for target in targets["targets"].as_array().expect("a list") {
        let matched = u64::from(target["name"] == "function:f0417");
        let books = &target["books"];
        assert_eq!((&books["matched"], &books["delivered"]), (&json!(matched), &json!(matched)), "{target}");
    }
    let among = Taken::by(&world).await;
    // A few threads for what blocks come and go.
    assert!(among.threads < alone.threads + 20, "{among:?}, alone {alone:?}");
    assert!(among.files <= alone.files + FILES_EACH * MANY + 20, "{among:?}, alone {alone:?}");
    assert!(among.wakes < alone.wakes + MANY as u64 / 4, "they wake up: {among:?}, alone {alone:?}");
    assert!(among.ticks < alone.ticks + 100, "they compute: {among:?}, alone {alone:?}");
    // As many again after a restart, and one fewer is nobody else's business.
    assert!(world.stop().await.success());
    world.open().await;
    world.json(&["function", "rm", &name(3)]).await;
    world.put("p0003/photo").await;
    world.put("p0999/photo").await;
    world.until(&["function", "logs", &name(999)], one).await;
    world.create(&name(3), "def main_handler(e, c): return 1", &[]).await;
    assert_eq!(ran(&world).await, [(417, 1), (999, 1)]);
}
