//! A name that resolves to nothing, then to an address where nobody is, then to the right one: every kind of
//! target waits for it and goes on by itself.
//!
//! Must never change the machine's own names: the server has a view of them of its own.

use std::fs;
use std::path::PathBuf;

use async_trait::async_trait;
use http::Method;
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

use crate::checker::Delivery;
use crate::consumer::Topic;
use crate::far::{FarSide, Fault};
use crate::finish::conclude_all;
use crate::load::Load;
use crate::nats::{self, Stream};
use crate::network::{ASK_EVERY, KINDS, PATIENCE, PLAN};
use crate::rabbitmq::{self, Queue};
use crate::receiver::Receiver;
use crate::server::{Ready, Server};
use crate::stuck::acknowledged;
use crate::{broker, seed, turn};

/// Nobody else has it.
const NAME: &str = "far.tidings.test";
/// Nobody listens there.
const WRONG: &str = "127.0.0.9";
const CHANGES: u64 = 300;

/// A far side that is reached by its name.
struct Named {
    far: Box<dyn FarSide>,
    connector: String,
}

impl Named {
    fn new(far: Box<dyn FarSide>, address: &str) -> Self {
        let (_, port) = address.rsplit_once(':').expect("host and port");
        let connector = far.connector().replace(address, &format!("{NAME}:{port}"));
        assert!(connector.contains(NAME), "{address} does not stand in it");
        let connector = format!(
            "[target.live]\nbackoff_min = \"100ms\"\nbackoff_max = \"500ms\"\n{connector}\
             connect_timeout = \"3s\"\n"
        );
        Self { far, connector }
    }
}

#[async_trait]
impl FarSide for Named {
    fn connector(&self) -> String {
        self.connector.clone()
    }
    async fn read_all(&self) -> Vec<Delivery> {
        self.far.read_all().await
    }
    async fn kill(&self) -> Fault {
        unreachable!("its name is what fails here")
    }
    async fn stop(&self) -> Fault {
        unreachable!("its name is what fails here")
    }
}

/// What the server takes for the machine's names.
struct Hosts {
    dir: TempDir,
}

impl Hosts {
    fn new() -> Self {
        let hosts = Self { dir: TempDir::new().expect("a directory") };
        fs::write(hosts.file("nsswitch.conf"), "hosts: files\n").expect("written");
        hosts.lead_to(None);
        hosts
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The name leads there from now on. Written in place: the server has the file itself.
    fn lead_to(&self, address: Option<&str>) {
        let ours = address.map(|address| format!("{address} {NAME}\n")).unwrap_or_default();
        fs::write(self.file("hosts"), format!("127.0.0.1 localhost\n{ours}")).expect("written");
    }

    /// What a shell does before it becomes the server.
    fn script(&self) -> String {
        let bind = |name: &str| format!("mount --bind {:?} /etc/{name}", self.file(name));
        format!("{} && {}", bind("hosts"), bind("nsswitch.conf"))
    }
}

/// The last failure of every target says something of this kind.
async fn all_say(server: &Server, ready: &Ready, what: &[&str]) {
    let bearer = format!("Bearer {}", server.token());
    for name in KINDS {
        let mut view = Value::Null;
        let said = async {
            loop {
                let headers = [("authorization", bearer.as_str())];
                let path = format!("/v1/targets/{name}");
                let answer = ready.admin.send(Method::GET, &path, &headers, "").await.expect("an answer");
                view = serde_json::from_slice(&answer.body).expect("JSON");
                let class = view["last_failure"]["class"].as_str().unwrap_or_default();
                if what.contains(&class) {
                    return;
                }
                sleep(ASK_EVERY).await;
            }
        };
        let said = timeout(PATIENCE, said).await;
        println!("names: {name} {} {}", view["state"], view["last_failure"]);
        assert!(said.is_ok(), "{name} does not say {what:?}: {view}");
        assert_eq!(view["dead_letters"], 0, "{view}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_resolves_to_nothing_or_elsewhere_is_asked_again_until_it_is_right() {
    let _turn = turn().await;
    let test = "names";
    let (hosts, receiver) = (Hosts::new(), Receiver::start().await);
    let at = receiver.address().to_string();
    let far = [
        Named::new(Box::new(Topic::create(test).await), &broker::address()),
        Named::new(Box::new(Stream::create(test).await), &nats::address()),
        Named::new(Queue::create(test, "quorum").await, &rabbitmq::address()),
        Named::new(Box::new(receiver), &at),
    ];
    let targets: Vec<_> =
        KINDS.into_iter().zip(&far).map(|(name, far)| (name, far as &dyn FarSide, "live-*")).collect();
    let mut server = Server::with(&targets, "");
    server.surround(&hosts.script());
    let ready = server.start().await;
    crate::stuck::bucket(&ready, "live-names").await;
    let load = Load::start("live-names", crate::load::Plan { seed: seed(test), ..PLAN });
    load.serve(Some(ready.s3.clone()));
    acknowledged(&load, CHANGES).await;
    all_say(&server, &ready, &["dns", "connect"]).await;
    hosts.lead_to(Some(WRONG));
    acknowledged(&load, 2 * CHANGES).await;
    all_say(&server, &ready, &["connect", "timeout"]).await;
    hosts.lead_to(Some("127.0.0.1"));
    acknowledged(&load, 3 * CHANGES).await;
    load.stop();
    let shared = load.finished().await;
    let judged: Vec<_> =
        KINDS.into_iter().zip(&far).map(|(name, far)| (name, far as &dyn FarSide, 0)).collect();
    conclude_all(test, &mut server, &ready, &shared, &judged).await;
}
