//! Rules of buckets on a whole tidings: triggers from the command line, the bucket's notification
//! configuration as the other view of them, and targets that come and go.
//!
//! Must never reach into the process: it reads what operators, clients and the far side read.

use serde_json::{Value, json};

use crate::console::{Console, configure};
use crate::targets::world::{Receiver, World};

const CREATED: &str = "cos:ObjectCreated:*";

/// A target without rules of its own.
fn bare(name: &str, url: &str) -> String {
    format!("[target.{name}]\nbackoff_min = \"10ms\"\n[target.{name}.connector.http]\nurl = {url:?}\n")
}

async fn configuration(world: &World) -> String {
    let query = [("notification", "")];
    let answer = world.s3().request(http::Method::GET, "/bucket", &query, &[], Default::default()).await;
    String::from_utf8(answer.expect("an answer").body.to_vec()).expect("UTF-8")
}

fn ids(list: &Value) -> Vec<&str> {
    let all = list["triggers"].as_array().expect("a list");
    all.iter().map(|trigger| trigger["id"].as_str().expect("a text")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trigger_is_added_shown_switched_and_removed_from_the_command_line() {
    let far = Receiver::start(true).await;
    let console = Console::start(&(bare("resize", &far.url) + &bare("other", &far.url))).await;
    let add = ["trigger", "add", "resize", "--bucket", "bucket", "--event", CREATED];
    let one = console.json(&[&add[..], &["--prefix", "in/a b", "--suffix", ".jpg"]].concat()).await;
    assert_eq!(
        (&one["target"], &one["active"], &one["form"]),
        (&json!("resize"), &json!(true), &json!("function"))
    );
    let id = one["id"].as_str().expect("a text");
    for key in ["in/a b/1.jpg", "in/a b/1.png", "out/1.jpg", "in/a b/2.jpg"] {
        console.put(key).await;
    }
    let keys = |came: Vec<(String, String)>| came.into_iter().map(|(key, _)| key).collect::<Vec<_>>();
    assert_eq!(keys(far.wait_for(2).await), ["in/a+b/1.jpg", "in/a+b/2.jpg"]);

    // COS's conflicts, and its other limits, with an exit code and a next step.
    let other = ["trigger", "add", "other", "--bucket", "bucket", "--event"];
    for (words, says) in [
        (vec![CREATED, "--prefix", "in/"], "NotifyRulePrefixConflict"),
        (vec![CREATED], "NotifyRulePrefixConflict"),
        (vec!["s3:ObjectCreated:Put", "--prefix", "in/a b", "--suffix", ".jpg"], "NotifyRuleEventConflict"),
        (vec![CREATED, "--suffix", "jpg"], "must begin with `.`"),
        (vec!["cos:ObjectGone:*"], "not supported"),
    ] {
        let (code, said) = console.run(&[&other[..], &words].concat()).await;
        assert_eq!((code, said.contains(says)), (Some(1), true), "{words:?}: {said}");
    }
    let (_, said) =
        console.run(&["trigger", "add", "nobody", "--bucket", "bucket", "--event", CREATED]).await;
    assert!(said.contains("names no target"), "{said}");
    let (_, said) =
        console.run(&["trigger", "add", "resize", "--bucket", "nobody", "--event", CREATED]).await;
    assert!(said.contains("no bucket has this name"), "{said}");
    let both = console.json(&[&other[..], &[CREATED, "--allow-overlap"]].concat()).await;
    assert_eq!(both["allow_overlap"], true);
    console.put("in/a b/3.jpg").await;
    assert_eq!(far.wait_for(4).await.len(), 4, "both get it");

    // Off, on, gone. Repeating changes nothing.
    let off = console.json(&["trigger", "disable", id]).await;
    assert_eq!((&off["enabled"], &off["active"]), (&json!(false), &json!(false)));
    console.json(&["trigger", "rm", both["id"].as_str().expect("a text")]).await;
    console.put("in/a b/4.jpg").await;
    let again = console.json(&[&add[..], &["--prefix", "in/a b", "--suffix", ".jpg"]].concat()).await;
    assert_eq!((again["id"].as_str(), &again["enabled"]), (Some(id), &json!(false)), "it is there already");
    let (code, table) = console.run_as(&["trigger", "ls"]).await;
    assert_eq!((code, table.lines().count(), table.contains("disabled")), (Some(0), 2, true), "{table}");
    console.json(&["trigger", "enable", id]).await;
    console.put("in/a b/5.jpg").await;
    assert_eq!(keys(far.wait_for(5).await)[4], "in/a+b/5.jpg", "nothing of the time when it was off");
    let listed = console.json(&["trigger", "ls", "--function", "resize"]).await;
    assert_eq!(ids(&listed), [id]);
    console.json(&["trigger", "rm", id]).await;
    assert_eq!(console.run(&["trigger", "rm", id]).await.0, Some(1), "it is gone");
    assert_eq!(ids(&console.json(&["trigger", "ls", "--bucket", "bucket"]).await), Vec::<&str>::new());
    console.stop().await;
}

/// What one view makes, the other shows, and a kill in between changes neither.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn triggers_and_the_notification_configuration_are_two_views_of_one_list() {
    let far = Receiver::start(true).await;
    let mut world = World::start(&(bare("resize", &far.url) + &bare("log", &far.url))).await;
    let (status, one) = world
        .admin("POST", "/v1/triggers?function=resize&bucket=bucket&event=s3:ObjectCreated:*&prefix=a%2Bb/")
        .await;
    assert_eq!(status, 200, "{one}");
    let id = one["id"].as_str().expect("a text");
    let shown = configuration(&world).await;
    for part in [
        "<CloudFunction>arn:tidings:lambda:ap-guangzhou:1250000000:function:resize</CloudFunction>",
        "<Event>s3:ObjectCreated:*</Event>",
        "<Name>Prefix</Name><Value>a%2Bb/</Value>",
        &format!("<Id>{id}</Id>"),
    ] {
        assert!(shown.contains(part), "{part} is not in {shown}");
    }
    world.admin("POST", &format!("/v1/triggers/disable?id={id}")).await;
    // Put back with one more, by a client that never heard of switching off.
    let more = "<CloudFunctionConfiguration><Event>s3:ObjectRemoved:*</Event><Id>mine</Id>\
                <CloudFunction>arn:aws:lambda:ap-guangzhou:123456789012:function:log</CloudFunction>\
                </CloudFunctionConfiguration></NotificationConfiguration>";
    let body = configuration(&world).await.replace("</NotificationConfiguration>", more);
    let query = [("notification", "")];
    let put = world.s3().request(http::Method::PUT, "/bucket", &query, &[], body.into()).await;
    assert_eq!(put.expect("an answer").status, 200);
    world.stop().await;
    world.open(&[]).await.expect("starts");
    let (_, listed) = world.admin("GET", "/v1/triggers").await;
    assert_eq!(ids(&listed), [id, "mine"]);
    assert_eq!(
        (&listed["triggers"][0]["enabled"], &listed["triggers"][1]["enabled"]),
        (&json!(false), &json!(true))
    );
    assert_eq!(listed["triggers"][1]["arn"], "arn:aws:lambda:ap-guangzhou:123456789012:function:log");
    world.put("a+b/1", "body").await;
    world.s3().delete("bucket", "a+b/1").await.expect("an answer");
    assert_eq!(far.wait_for(1).await.len(), 1, "the removal alone");
    world.settled("resize").await;
    world.settled("log").await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rules_of_a_target_that_vanished_are_kept_told_and_match_again_when_it_returns() {
    let far = Receiver::start(true).await;
    let (hook, other) = (bare("hook", &far.url), bare("other", &far.url));
    let mut world = World::start(&format!("{hook}{other}")).await;
    let (_, made) =
        world.admin("POST", "/v1/triggers?function=hook&bucket=bucket&event=s3:ObjectCreated:*").await;
    world.reload(&other).await;
    world.put("lost-on-nobody", "body").await;
    for life in 0..2 {
        let (_, rules) = world.admin("GET", "/v1/rules?target=hook").await;
        let rule = &rules["rules"][0];
        assert_eq!(
            (&rule["id"], &rule["active"], &rule["enabled"]),
            (&made["id"], &json!(false), &json!(true))
        );
        let (_, ready) = world.admin("GET", "/readyz").await;
        let note = ready["notes"][0].as_str().expect("a note");
        assert!(note.contains("1 rule(s) of buckets name `hook`"), "life {life}: {ready}");
        assert!(configuration(&world).await.contains("function:hook"), "it is shown");
        world.stop().await;
        world.open(&[]).await.expect("starts");
    }
    world.reload(&format!("{hook}{other}")).await;
    assert_eq!(world.admin("GET", "/readyz").await.1["notes"], json!([]));
    world.put("seen", "body").await;
    assert_eq!(far.wait_for(1).await[0].0, "seen");
    // The bucket goes, and its rules with it.
    for key in ["lost-on-nobody", "seen"] {
        world.s3().delete("bucket", key).await.expect("an answer");
    }
    world.s3().delete_bucket("bucket").await.expect("an answer");
    assert_eq!(world.admin("GET", "/v1/triggers").await.1["triggers"], json!([]));
    world.reload(&other).await;
    assert_eq!(world.admin("GET", "/readyz").await.1["notes"], json!([]));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_says_which_rules_of_a_running_server_would_lose_their_target() {
    let far = Receiver::start(true).await;
    let console = Console::start(&(bare("hook", &far.url) + &bare("other", &far.url))).await;
    console.json(&["trigger", "add", "hook", "--bucket", "bucket", "--event", CREATED]).await;
    let finding = |said: &Value| said["findings"].to_string().contains("name `hook`");
    assert!(!finding(&console.json(&["check"]).await));
    configure(&console.dir, &bare("other", &far.url));
    let said = console.json(&["check"]).await;
    assert!(finding(&said) && said["errors"] == 0, "{said}");
    console.stop().await;
}

/// Ten triggers for each function, in all buckets together.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_function_has_ten_triggers_and_a_full_budget_refuses_nothing_for_their_sake() {
    let far = Receiver::start(false).await;
    let table = bare("hook", &far.url).replace("[target.hook]\n", "[target.hook]\nmax_backlog = \"1MiB\"\n");
    let mut world = World::start(&table).await;
    world.s3().create_bucket("more").await.expect("an answer");
    let add = |n: usize| {
        let bucket = if n.is_multiple_of(2) { "bucket" } else { "more" };
        format!("/v1/triggers?function=hook&bucket={bucket}&event=s3:ObjectCreated:*&prefix={n}/")
    };
    for n in 0..10 {
        assert_eq!(world.admin("POST", &add(n)).await.0, 200, "{n}");
    }
    let (status, said) = world.admin("POST", &add(10)).await;
    assert_eq!((status, &said["error"]["code"]), (409, &json!("conflict")), "{said}");
    assert_eq!(world.admin("POST", &add(4)).await.0, 200, "it is there already");
    // The policy of the target is `refuse`; the budget is full after about a thousand.
    for n in 0..1_100 {
        let key = format!("0/{n:0>998}");
        assert_eq!(world.put(&key, "body").await.status, 200, "{n}");
    }
    let books = world.target("hook").await["books"].clone();
    assert!(books["shed"].as_u64() > Some(50) && books["matched"].as_u64() < Some(1_050), "{books}");
    world.stop().await;
}
