//! The routes of functions: what reaches the backend, and what does not.
//!
//! Must never run code.

use bytes::Bytes;

use super::*;
use crate::functions::{
    FunctionChange, FunctionView, Invoked, Network, Retry, Run, RunQuery, Runs, Runtime, TemplateView,
    Templates, VersionView,
};

fn view(name: &str) -> FunctionView {
    let version = VersionView { number: 1, hash: "ab".into(), bytes: 3, time: "1970-01-01T00:00:01Z".into() };
    FunctionView {
        name: name.into(),
        namespace: "default",
        target: format!("function:{name}"),
        description: String::new(),
        runtime: Runtime::Python3,
        handler: "index.main_handler".into(),
        memory_mb: 128,
        timeout_s: 3,
        start_timeout_s: 30,
        concurrency: 4,
        environment: vec!["TOKEN".into()],
        network: Network::None,
        url: Some("https://example.com".into()),
        preset: Some(crate::functions::Preset::Webhook),
        role: vec!["write:thumbs-*".parse().expect("a role")],
        retry: Retry::ScfDefault,
        max_retries: Some(2),
        retry_interval_s: None,
        dead_letters: Some("letters".into()),
        dead_letters_problem: None,
        version: 1,
        versions: vec![version],
        templates: vec!["mine".into()],
        created: "1970-01-01T00:00:01Z".into(),
        updated: "1970-01-01T00:00:01Z".into(),
        problem: Some("bubblewrap is missing".into()),
    }
}

#[async_trait]
impl FunctionBackend for Fake {
    fn list(&self) -> Vec<FunctionView> {
        vec![view("hello")]
    }

    fn show(&self, name: &str) -> Result<FunctionView, ChangeError> {
        if name == "hello" { Ok(view(name)) } else { Err(ChangeError::NoSuchFunction) }
    }

    async fn create(&self, name: &str, change: FunctionChange) -> Result<FunctionView, ChangeError> {
        let made = FunctionView { timeout_s: change.timeout_s.unwrap_or(3), ..view(name) };
        *self.made.lock().expect("held briefly") = Some(change);
        Ok(made)
    }

    async fn update(&self, name: &str, change: FunctionChange) -> Result<FunctionView, ChangeError> {
        *self.made.lock().expect("held briefly") = Some(change);
        self.show(name)
    }

    async fn remove(&self, name: &str, _: bool) -> Result<Removed, ChangeError> {
        Ok(Removed { name: name.into() })
    }

    async fn invoke(&self, _: &str, template: Option<&str>, event: Bytes) -> Result<Invoked, ChangeError> {
        Ok(Invoked {
            request_id: "r".into(),
            version: 1,
            status: 200,
            outcome: "ok",
            result: Some(template.map_or_else(|| event.len().to_string(), str::to_owned)),
            message: String::new(),
            duration_ms: 1,
            memory_bytes: 1,
            log: "said".into(),
        })
    }

    async fn runs(&self, name: &str, query: RunQuery) -> Result<Runs, ChangeError> {
        let run = Run {
            seq: 7,
            request_id: query.request_id.unwrap_or_default(),
            function: name.into(),
            version: 1,
            event_id: None,
            object: Some("bucket/key".into()),
            start: Some("1970-01-01T00:00:01Z".into()),
            duration_ms: 1,
            memory_bytes: 1,
            status: if query.failed { 430 } else { 200 },
            outcome: "ok".into(),
            retry: 0,
            message: String::new(),
            log: String::new(),
        };
        Ok(Runs { runs: vec![run], next: query.after.unwrap_or(7) })
    }

    fn templates(&self) -> Templates {
        let one = |name: &str| vec![TemplateView { name: name.into(), description: "d".into() }];
        Templates { events: one("cos-put"), functions: one("hello") }
    }
}

#[tokio::test]
async fn a_body_is_a_function_or_refused_without_being_quoted() {
    let world = world();
    let ask = Ask { method: "POST", path: "/v1/functions/hello/create", ..GOOD };
    let of = async |body: &str| world.ask_on(true, ask, Body::from(body.to_owned())).await;
    let made = json(of(r#"{"timeout_s": 9, "environment": {"TOKEN": "hunter2"}}"#).await).await;
    assert_eq!(made["timeout_s"], 9);
    for bad in [
        "{",
        "hunter2",
        r#"{"environment": "hunter2"}"#,
        r#"{"timeout_s": "hunter2"}"#,
        r#"{"network": "hunter2"}"#,
    ] {
        let answer = of(bad).await;
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{bad}");
        assert!(!json(answer).await.to_string().contains("hunter2"), "{bad}");
    }
    let told = json(of(r#"{"timeuot_s": 9}"#).await).await.to_string();
    assert!(told.contains("unknown field `timeuot_s`"), "{told}");
    let log = std::fs::read_to_string(world.data.path().join("audit.log")).expect("there");
    assert!(log.contains("function:create") && !log.contains("hunter2"), "{log}");
}

#[tokio::test]
async fn names_and_numbers_of_functions_are_looked_at_before_anybody_is_asked() {
    let world = world();
    for path in ["/v1/functions/other", "/v1/functions/1x", "/v1/functions/x", "/v1/functions/%2e%2e"] {
        let answer = world.ask(Ask { path, ..GOOD }).await;
        assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{path}");
        assert_eq!(code(answer).await, "no_such_function", "{path}");
    }
    for query in ["limit=0", "limit=1001", "limit=x", "after=-1", "status=good", "since=1"] {
        let path = format!("/v1/functions/hello/logs?{query}");
        let answer = world.ask(Ask { path: &path, ..GOOD }).await;
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{query}");
    }
    // A function's target is a target.
    for (name, status) in
        [("function:Hello", "no_such_target"), ("function:", "no_such_target"), ("Hello", "no_such_target")]
    {
        let path = format!("/v1/targets/{name}");
        assert_eq!(code(world.ask(Ask { path: &path, ..GOOD }).await).await, status);
    }
    // An event travels whole; other routes throw their bodies away.
    let ask = Ask { method: "POST", path: "/v1/functions/hello/invoke", ..GOOD };
    let large = world.ask_on(true, ask, Body::from(vec![b'x'; 1 << 20])).await;
    assert_eq!(json(large).await["result"], (1 << 20).to_string());
    let too_large = world.ask_on(true, ask, Body::from(vec![b'x'; (6 << 20) + 1])).await;
    assert_eq!(code(too_large).await, "body_too_large");
}
