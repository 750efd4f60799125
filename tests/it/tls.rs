//! The whole program over TLS: both listeners, the command line, a certificate that is renewed, and one
//! that is broken.
//!
//! Must never use a certificate outside `connectors/http/tests/tls`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tidings::app::{App, Source};
use tidings::config;
use tokio::process::Command;

use crate::targets::world::WAIT;

fn pem(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("connectors/http/tests/tls").join(name)
}

struct World {
    dir: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let world = Self { dir: tempfile::tempdir().expect("a directory") };
        world.put("server");
        let (data, cert, key) = (world.path("data"), world.path("cert.pem"), world.path("key.pem"));
        let tls = format!("listen = \"127.0.0.1:0\"\ntls_cert = {cert:?}\ntls_key = {key:?}\n");
        let text = format!("[server]\ndata = {data:?}\n{tls}[admin]\n{tls}");
        fs::write(world.path("tidings.toml"), text).expect("written");
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn put(&self, name: &str) {
        for (from, to) in [(format!("{name}.pem"), "cert.pem"), (format!("{name}.key"), "key.pem")] {
            fs::copy(pem(&from), self.path(to)).expect("copied");
            fs::set_permissions(self.path(to), fs::Permissions::from_mode(0o600)).expect("mode set");
        }
    }

    async fn start(&self) -> App {
        let file = self.path("tidings.toml");
        let source: Source = Arc::new(move || config::load(Some(&file), std::iter::empty()));
        let config = source().unwrap_or_else(|e| panic!("{e}"));
        App::start_with(config, Some(source), &[]).await.expect("starts")
    }

    async fn run(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidings"));
        command.args(arguments).arg("--config").arg(self.path("tidings.toml"));
        let output = command.output().await.expect("starts");
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(said).expect("UTF-8"))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn both_listeners_speak_tls_and_the_commands_do_too() {
    let world = World::new();
    let app = world.start().await;
    assert!(app.s3_url().starts_with("https://127.0.0.1:"), "{}", app.s3_url());
    let ca = reqwest::Certificate::from_pem(&fs::read(pem("ca.pem")).expect("there")).expect("PEM");
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([ca]).build().expect("a client");
    let answer = client.get(app.s3_url()).send().await.expect("trusted");
    assert_eq!(answer.status().as_u16(), 403);
    assert!(answer.text().await.expect("whole").contains("<Code>AccessDenied</Code>"));
    let plain = client.get(app.s3_url().replace("https", "http")).send().await;
    assert!(plain.is_err(), "nothing is answered without TLS: {plain:?}");

    let (admin, ca) = (app.admin_url(), pem("ca.pem"));
    let ca = ca.to_str().expect("UTF-8");
    let ready = async { while world.run(&["ready", "--admin", &admin, "--ca", ca]).await.0 != Some(0) {} };
    tokio::time::timeout(WAIT, ready).await.expect("ready in time");
    // Without a scheme the configuration says which.
    let bare = admin.replace("https://", "");
    let (code, said) = world.run(&["target", "ls", "--admin", &bare, "--ca", ca]).await;
    assert_eq!(code, Some(0), "{said}");
    let other = pem("other-ca.pem");
    let other = other.to_str().expect("UTF-8");
    for (arguments, says) in [
        (&["ready", "--admin", &admin, "--ca", other][..], "no server answers"),
        (&["ready", "--admin", &admin], "no server answers"),
        (&["ready", "--admin", &admin, "--ca", "/nowhere"], "cannot be read"),
    ] {
        let (code, said) = world.run(arguments).await;
        assert!(code == Some(1) && said.contains(says), "{arguments:?}: {said}");
    }

    // A reload takes a renewed pair, and keeps the old one where the new one does not work.
    world.put("wrong-name");
    assert_eq!(world.run(&["reload", "--admin", &admin, "--ca", ca]).await.0, Some(0));
    assert_eq!(
        world.run(&["ready", "--admin", &admin, "--ca", ca]).await.0,
        Some(1),
        "it names another host"
    );
    world.put("server");
    app.reload().await;
    fs::write(world.path("key.pem"), "nothing").expect("written");
    let (code, said) = world.run(&["reload", "--admin", &admin, "--ca", ca]).await;
    assert!(code == Some(0) && said.contains("the old certificate stays in force"), "{said}");
    assert_eq!(world.run(&["ready", "--admin", &admin, "--ca", ca]).await.0, Some(0));
    let (code, said) = world.run(&["check"]).await;
    assert!(code == Some(3) && said.contains("server.listen: ") && said.contains("no private key"), "{said}");
    app.stop().await.expect("stops in order");
}

#[tokio::test]
async fn nothing_starts_without_a_pair_that_works() {
    let world = World::new();
    let (code, said) = world.run(&["check"]).await;
    assert!(code == Some(0) && said.contains("certificate and key fit"), "{said}");
    fs::set_permissions(world.path("key.pem"), fs::Permissions::from_mode(0o644)).expect("mode set");
    let (code, said) = world.run(&["serve"]).await;
    assert!(code != Some(0) && said.contains("chmod 600") && !said.contains("listening"), "{code:?} {said}");
    let text = fs::read_to_string(world.path("tidings.toml")).expect("there");
    let (first, second) = text.split_once("tls_key").expect("both");
    let (_, rest) = second.split_once('\n').expect("a line");
    fs::write(world.path("tidings.toml"), format!("{first}{rest}")).expect("written");
    let (code, said) = world.run(&["check"]).await;
    assert!(code == Some(2) && said.contains("`tls_cert` needs `tls_key`"), "{said}");
}
