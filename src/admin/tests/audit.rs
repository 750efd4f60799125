//! The audit log: what it says, what it never holds, how it is bounded.
//!
//! Must never leave a change without its line untested.

use super::*;

#[tokio::test]
async fn every_change_is_announced_and_closed_in_the_audit_log() {
    let world = world();
    for (name, action, status) in [
        ("orders", "pause", StatusCode::OK),
        ("orders", "resume", StatusCode::OK),
        ("nobody", "pause", StatusCode::NOT_FOUND),
    ] {
        let path = format!("/v1/targets/{name}/{action}");
        let answer = world.ask(Ask { method: "POST", path: &path, ..GOOD }).await;
        assert_eq!(answer.status(), status);
        assert_eq!(world.fake.paused.load(Ordering::SeqCst), name == "orders" && action == "pause");
    }
    let lines = world.audit();
    let told: Vec<_> = lines
        .iter()
        .map(|l| ["action", "target", "result"].map(|f| l[f].as_str().expect("text").to_owned()).join(" "))
        .collect();
    let expected = [
        "target:pause orders begun",
        "target:pause orders done",
        "target:resume orders begun",
        "target:resume orders done",
        "target:pause nobody begun",
        "target:pause nobody no_such_target",
    ];
    assert_eq!(told, expected);
    for line in &lines {
        assert_eq!((&line["peer"], &line["who"]), (&LOCAL.into(), &"admin.token".into()));
        assert!(line["time"].as_str().is_some_and(|t| t.parse::<jiff::Timestamp>().is_ok()));
    }
    for route in ROUTES {
        let changes = route.method == Verb::Post && route.access != Access::Signed;
        assert_eq!(route.action.audited().is_some(), changes, "{}", route.path);
    }
}

#[tokio::test]
async fn without_an_audit_log_nothing_is_changed() {
    let mut world = world();
    let read_only = std::fs::File::open("/dev/null").expect("a file that cannot be written");
    let token = Token::parse(TOKEN).expect("a token");
    world.admin = Admin::new(world.fake.clone(), token, AuditLog::on(read_only));
    let answer = world.ask(Ask { method: "POST", path: "/v1/targets/orders/pause", ..GOOD }).await;
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(code(answer).await, "audit_unavailable");
    assert!(!world.fake.paused.load(Ordering::SeqCst));
}

#[tokio::test]
async fn a_line_cut_short_does_not_swallow_the_next() {
    let world = world();
    let path = world.data.path().join("audit.log");
    std::fs::write(&path, "{\"time\":\"2026").expect("written");
    let audit = AuditLog::open(world.data.path()).expect("opens");
    let admin = Admin::new(world.fake.clone(), Token::parse(TOKEN).expect("a token"), audit);
    let world = World { admin, ..world };
    world.ask(Ask { method: "POST", path: "/v1/targets/orders/pause", ..GOOD }).await;
    let text = std::fs::read_to_string(&path).expect("the audit log");
    let results: Vec<_> = text.lines().map(|l| serde_json::from_str::<Value>(l).is_ok()).collect();
    assert_eq!(results, [false, true, true]);
}

#[tokio::test]
async fn a_line_says_what_was_asked_for_and_neither_key_nor_token() {
    let world = world();
    *world.fake.dead.lock().expect("held briefly") = Some(dead::letters(world.data.path(), 1).await);
    let path = "/v1/targets/orders/dead-letters/purge?bucket=photos&key=private";
    world.ask(Ask { method: "POST", path, ..GOOD }).await;
    let path = format!("/v1/targets/orders/pause?token={TOKEN}");
    assert_eq!(
        world.ask(Ask { method: "POST", path: &path, ..GOOD }).await.status(),
        StatusCode::BAD_REQUEST
    );
    let lines = world.audit();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0]["asked"], "bucket=photos&key=…");
    let text = std::fs::read_to_string(world.data.path().join("audit.log")).expect("the audit log");
    assert!(!text.contains("private") && !text.contains(TOKEN), "{text}");
}

#[tokio::test]
async fn old_lines_move_aside_and_the_oldest_go() {
    let mut world = world();
    let token = || Token::parse(TOKEN).expect("a token");
    // One line fills a file, so that each line has a file of its own.
    let audit = AuditLog::bounded(world.data.path(), 1).expect("opens");
    world.admin = Admin::new(world.fake.clone(), token(), audit);
    let file = |name: &str| std::fs::read_to_string(world.data.path().join(name)).unwrap_or_default();
    for action in ["pause", "resume", "pause"] {
        let path = format!("/v1/targets/orders/{action}");
        assert_eq!(world.ask(Ask { method: "POST", path: &path, ..GOOD }).await.status(), StatusCode::OK);
    }
    let told = |name: &str| {
        let text = file(name);
        assert_eq!(text.lines().count(), 1, "{name}: {text}");
        let line: Value = serde_json::from_str(&text).expect("a JSON line");
        [&line["action"], &line["result"]].map(|v| v.as_str().expect("text").to_owned()).join(" ")
    };
    let names = ["audit.log", "audit.log.1", "audit.log.2", "audit.log.3", "audit.log.4"];
    let expected = ["target:pause done", "target:pause begun", "target:resume done", "target:resume begun"];
    assert_eq!(names.map(told)[..4], expected);
    assert_eq!(told("audit.log.4"), "target:pause done");
    assert_eq!(file("audit.log.5"), "");
    use std::os::unix::fs::PermissionsExt as _;
    for name in names {
        let mode = std::fs::metadata(world.data.path().join(name)).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    // Where no new file can be made, nothing is changed, and nothing that is kept is lost.
    std::fs::remove_file(world.data.path().join("audit.log.4")).expect("removed");
    std::fs::create_dir(world.data.path().join("audit.log.4")).expect("made");
    let answer = world.ask(Ask { method: "POST", path: "/v1/targets/orders/resume", ..GOOD }).await;
    assert_eq!(code(answer).await, "audit_unavailable");
    assert!(world.fake.paused.load(Ordering::SeqCst));
    assert_eq!(
        names.map(|name| if name == "audit.log.4" { String::new() } else { told(name) })[..4],
        expected
    );
    // Once there is room, it goes on.
    std::fs::remove_dir(world.data.path().join("audit.log.4")).expect("removed");
    let ask = Ask { method: "POST", path: "/v1/targets/orders/resume", ..GOOD };
    assert_eq!(world.ask(ask).await.status(), StatusCode::OK);
}
