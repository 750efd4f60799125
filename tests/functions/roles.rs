//! Roles: what a function may do with objects, by which key pair, for how long, and how a loop ends.
//!
//! Must never look into the process: what is judged is what S3 answers, to the function and to others.

use std::path::Path;

use http::StatusCode;
use serde_json::{Value, json};
use tidings::client::Client;

use crate::world::{World, rule};

const S3: &str = include_str!("handlers/s3.py");

fn result(ended: &Value) -> Value {
    assert_eq!(ended["status"], 200, "{ended}");
    serde_json::from_str(ended["result"].as_str().expect("one")).expect("JSON")
}

async fn made(world: &World, bucket: &str) {
    let made = world.s3().create_bucket(bucket).await.expect("an answer");
    assert_eq!(made.status, 200, "{made:?}");
}

/// Everything that the data directory holds.
fn holds(dir: &Path, secret: &str) -> bool {
    std::fs::read_dir(dir).expect("listed").flatten().any(|entry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => holds(&entry.path(), secret),
        Ok(kind) if kind.is_file() => {
            let bytes = std::fs::read(entry.path()).unwrap_or_default();
            bytes.windows(secret.len()).any(|window| window == secret.as_bytes())
        }
        _ => false,
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_function_that_triggers_itself_stops_at_eight() {
    let world = World::start(&rule("again", "loop/")).await;
    let code = format!(
        "{S3}\ndef main_handler(event, context):\n    \
         key = event['Records'][0]['cos']['cosObject']['key'].split('/', 3)[3]\n    \
         return s3('PUT', 'bucket', key + '+', b'again')\n"
    );
    world.create("again", &code, &["--role", "write:bucket", "--timeout", "30"]).await;
    world.put("loop/a").await;
    let ninth = |v: &Value| v["books"]["dead_lettered"] == 1;
    let target = world.until(&["target", "show", "function:again"], ninth).await;
    let books = &target["books"];
    assert_eq!(
        (&books["matched"], &books["delivered"], &books["backlog"]),
        (&json!(9), &json!(8), &json!(0))
    );
    assert_eq!(target["books_imbalance"], 0);
    let letters = world.json(&["dlq", "ls", "function:again"]).await.to_string();
    assert!(letters.contains("\"loop\"") && letters.contains("8 runs of functions led to"), "{letters}");
    let logged = world.json(&["function", "logs", "again", "--limit", "50"]).await;
    let runs = logged["runs"].as_array().expect("a list");
    assert_eq!(runs.iter().filter(|run| run["status"] == 200).count(), 8, "{logged}");
    // Whoever wrote the object may still be at work when its event is given up.
    let given_up: Vec<_> = runs.iter().filter(|run| run["status"] == 508).collect();
    assert_eq!(given_up.len(), 1, "{logged}");
    assert_eq!(given_up[0]["object"], "bucket/loop/a++++++++");
    // Whoever writes with a key of his own begins anew.
    world.put("loop/b").await;
    world.until(&["target", "show", "function:again"], |v| v["books"]["delivered"] == 16).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_gives_what_it_says_and_nothing_more() {
    let world = World::start("").await;
    made(&world, "others").await;
    world.put("in").await;
    let code = format!(
        "{S3}\ndef main_handler(event, context):\n    \
         asked = [('GET', 'bucket', 'in'), ('PUT', 'bucket', 'x'), ('PUT', 'others', 'x'), \
         ('GET', 'others', 'x'), ('DELETE', 'others', 'x'), ('PUT', 'third', 'x'), \
         ('PUT', 'others', '')]\n    \
         return [s3(*one)[0] for one in asked]\n"
    );
    let roles = ["--role", "read:bucket", "--role", "write:others,o-*", "--timeout", "30"];
    let shown = world.create("limited", &code, &roles).await;
    let scopes = json!([
        { "scope": "read", "buckets": ["bucket"] },
        { "scope": "write", "buckets": ["others", "o-*"] }
    ]);
    assert_eq!(shown["role"], scopes);
    let got = result(&world.invoke("limited").await);
    assert_eq!(got, json!([200, 403, 200, 200, 204, 403, 403]));
    // With a network of the machine's own it is the same.
    world.json(&["function", "update", "limited", "--network", "all"]).await;
    assert_eq!(result(&world.invoke("limited").await), got);
    for wrong in ["admin:bucket", "write", "write:Bucket", "bucket"] {
        let (code, said) = world.run(&["function", "update", "limited", "--role", wrong]).await;
        assert_ne!(code, 0, "{wrong}: {said}");
    }
    let set = ["function", "update", "limited", "--env", "AWS_ACCESS_KEY_ID=mine"];
    let (code, said) = world.run(&set).await;
    assert!(code == 1 && said.contains("set by the function's role"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_role_there_is_no_secret_and_with_it_only_the_instance_has_it() {
    let world = World::start("").await;
    let code = "import os\ndef main_handler(event, context):\n    \
                words = ('SECRET', 'AWS', 'ENDPOINT')\n    \
                mine = {k: v for k, v in os.environ.items() if any(w in k for w in words)}\n    \
                print('mine', mine)\n    return mine\n";
    world.create("asks", code, &[]).await;
    assert_eq!(result(&world.invoke("asks").await), json!({}));
    world.json(&["function", "update", "asks", "--role", "write:bucket"]).await;
    let ended = world.invoke("asks").await;
    let mine = result(&ended);
    let of = |name: &str| mine[name].as_str().expect(name).to_owned();
    let (key, secret) = (of("AWS_ACCESS_KEY_ID"), of("AWS_SECRET_ACCESS_KEY"));
    assert_eq!((of("TENCENTCLOUD_SECRETID"), of("TENCENTCLOUD_SECRETKEY")), (key.clone(), secret.clone()));
    assert_eq!(of("AWS_ENDPOINT_URL"), of("TIDINGS_ENDPOINT"));
    // Shown nowhere, and nowhere on the disk.
    let log = ended["log"].as_str().expect("one");
    assert!(log.contains("[secret]") && !log.contains(&secret), "{log}");
    let shown = world.json(&["function", "show", "asks"]).await.to_string();
    assert!(!shown.contains(&secret) && !shown.contains(&key), "{shown}");
    assert!(!holds(world.dir.path(), &secret));
    // The pair works for whoever has it, until its function is another one, or gone.
    let put = async |key: &str, secret: &str| {
        let client = Client::new(&world.s3_address(), "ap-guangzhou", key, secret).expect("an address");
        client.put("bucket", "by-role", "body").await.expect("an answer").status
    };
    assert_eq!(put(&key, &secret).await, 200);
    world.json(&["function", "update", "asks", "--role", "read:bucket"]).await;
    assert_eq!(put(&key, &secret).await, 403);
    let mine = result(&world.invoke("asks").await);
    let of = |name: &str| mine[name].as_str().expect(name).to_owned();
    let (key, secret) = (of("AWS_ACCESS_KEY_ID"), of("AWS_SECRET_ACCESS_KEY"));
    let client = Client::new(&world.s3_address(), "ap-guangzhou", &key, &secret).expect("an address");
    let got = async || client.get("bucket", "by-role").await.expect("an answer").status;
    assert_eq!((got().await, put(&key, &secret).await), (StatusCode::OK, StatusCode::FORBIDDEN));
    world.json(&["function", "rm", "asks"]).await;
    assert_eq!(got().await, 403);
}
