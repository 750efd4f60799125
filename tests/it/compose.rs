//! `docker-compose.yml` and the `Dockerfile` against what they name: files, services, ports, topics and
//! versions.
//!
//! Must never need an engine: what only one can say is not said here.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use tidings::config;
use tokio::process::Command;
use yaml_rust2::{Yaml, YamlLoader};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

fn yaml(path: &str) -> Yaml {
    let mut documents = YamlLoader::load_from_str(&read(path)).unwrap_or_else(|e| panic!("{path}: {e}"));
    assert_eq!(documents.len(), 1, "{path}");
    documents.remove(0)
}

fn names(table: &Yaml) -> BTreeSet<String> {
    table.as_hash().into_iter().flatten().map(|(name, _)| name.as_str().expect("a name").to_owned()).collect()
}

/// The texts of a list, or of nothing.
fn list(yaml: &Yaml) -> Vec<String> {
    yaml.as_vec().into_iter().flatten().map(|item| item.as_str().expect("a text").to_owned()).collect()
}

/// What an engine would take, and what is used here of it: a typo is in neither.
const KEYS: [&str; 12] = [
    "build",
    "command",
    "depends_on",
    "environment",
    "healthcheck",
    "hostname",
    "image",
    "network_mode",
    "ports",
    "restart",
    "stop_grace_period",
    "volumes",
];

#[test]
fn services_are_pinned_and_mount_what_exists() {
    let compose = yaml("docker-compose.yml");
    let services = &compose["services"];
    assert_eq!(names(&compose), ["name", "services", "volumes"].map(str::to_owned).into());
    let (volumes, all) = (names(&compose["volumes"]), names(services));
    for service in ["tidings", "kafka", "nats", "rabbitmq", "prometheus", "grafana"] {
        assert!(all.contains(service), "no {service}");
    }
    let mut used = BTreeSet::new();
    for (name, service) in services.as_hash().expect("services") {
        let name = name.as_str().expect("a name");
        for key in names(service) {
            assert!(KEYS.contains(&key.as_str()), "{name}: `{key}`");
        }
        let image = service["image"].as_str().unwrap_or_else(|| panic!("{name} has no image"));
        let (_, tag) = image.rsplit_once(':').unwrap_or_else(|| panic!("{name}: {image} has no tag"));
        let pinned = tag.contains(|c: char| c.is_ascii_digit()) && tag != "latest";
        assert!(pinned || service["build"].as_str() == Some("."), "{name}: {image}");
        for mount in list(&service["volumes"]) {
            let (from, to) = mount.split_once(':').expect("from:to");
            assert!(to.starts_with('/'), "{name}: {mount}");
            match from.strip_prefix("./") {
                Some(path) => {
                    assert!(root().join(path).exists() && to.ends_with(":ro"), "{name}: {mount}");
                }
                None => assert!(volumes.contains(from) && used.insert(from.to_owned()), "{name}: {mount}"),
            }
        }
        for port in list(&service["ports"]) {
            assert!(port.starts_with("127.0.0.1:"), "{name}: {port} is open to the network");
        }
        for other in names(&service["depends_on"]) {
            assert!(all.contains(&other), "{name} depends on {other}");
            let test = &services[other.as_str()]["healthcheck"]["test"];
            assert_eq!(list(test).first().map(String::as_str), Some("CMD"), "{other} cannot become healthy");
        }
    }
    assert_eq!(used, volumes);
}

#[tokio::test]
async fn its_targets_are_services_that_have_what_they_name() {
    let compose = yaml("docker-compose.yml");
    let services = &compose["services"];
    let text = read("config/compose/tidings.toml");
    let table: toml::Table = text.parse().expect("TOML");
    let connector = |name: &str, kind: &str| table["target"][name]["connector"][kind].clone();
    let (kafka, nats, amqp) =
        (connector("kafka", "kafka"), connector("nats", "nats"), connector("rabbitmq", "amqp"));
    assert_eq!(kafka["brokers"][0].as_str(), Some("kafka:9092"));
    let environment = &services["kafka"]["environment"];
    assert_eq!(environment["KAFKA_ADVERTISED_LISTENERS"].as_str(), Some("PLAINTEXT://kafka:9092"));
    let has = |service: &str, value: &toml::Value| {
        list(&services[service]["command"]).contains(&value.as_str().expect("a text").to_owned())
    };
    assert!(has("kafka-topic", &kafka["topic"]) && has("kafka-topic", &kafka["brokers"][0]));
    assert_eq!(nats["servers"][0].as_str(), Some("nats://nats:4222"));
    assert!(has("nats-stream", &nats["stream"]) && has("nats-stream", &nats["servers"][0]));
    assert_eq!(amqp["url"].as_str(), Some("amqp://rabbitmq:5672/%2f"));
    let definitions: serde_json::Value =
        serde_json::from_str(&read("config/compose/rabbitmq.json")).expect("JSON");
    assert_eq!(definitions["exchanges"][0]["name"].as_str(), amqp["exchange"].as_str());
    assert_eq!(definitions["users"][0]["name"].as_str(), amqp["username"].as_str());
    let variable = amqp["password_env"].as_str().expect("a variable");
    let password = services["tidings"]["environment"][variable].as_str().expect("its value");

    let mut check = Command::new(env!("CARGO_BIN_EXE_tidings"));
    check
        .arg("check")
        .arg("--config")
        .arg(root().join("config/compose/tidings.toml"))
        .env(variable, password);
    let said = check.output().await.expect("starts");
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    assert!(String::from_utf8_lossy(&said.stdout).contains("3 target(s)"));
    let mounts = list(&services["tidings"]["volumes"]);
    let file = mounts.iter().find_map(|m| m.strip_prefix("./config/compose/tidings.toml:")).expect("mounted");
    let command = list(&services["tidings"]["command"]);
    assert_eq!(command, ["serve", "--config", file.trim_end_matches(":ro")]);
}

#[test]
fn what_is_looked_at_is_where_it_is_looked_for() {
    let compose = yaml("docker-compose.yml");
    let services = &compose["services"];
    // Prometheus scrapes the loopback address that the defaults serve, from within the same network.
    assert_eq!(services["prometheus"]["network_mode"].as_str(), Some("service:tidings"));
    let defaults = config::load(None, std::iter::empty()).unwrap_or_else(|e| panic!("{e}"));
    let scrape = yaml("config/prometheus/prometheus.yml");
    let target = &scrape["scrape_configs"][0]["static_configs"][0]["targets"][0];
    assert_eq!(target.as_str(), Some(defaults.admin.listen.to_string().as_str()));
    for file in list(&scrape["rule_files"]) {
        let mounted = format!("./config/prometheus/{file}:/etc/prometheus/{file}:ro");
        assert!(list(&services["prometheus"]["volumes"]).contains(&mounted), "{mounted}");
    }
    let source = yaml("config/grafana/provisioning/datasources/tidings.yml");
    assert_eq!(source["datasources"][0]["url"].as_str(), Some("http://tidings:9090"));
    let boards = yaml("config/grafana/provisioning/dashboards/tidings.yml");
    let folder = boards["providers"][0]["options"]["path"].as_str().expect("a folder");
    let mounted = format!("./config/grafana/tidings.json:{folder}/tidings.json:ro");
    assert!(list(&services["grafana"]["volumes"]).contains(&mounted), "{mounted}");
}

#[tokio::test]
async fn the_image_is_built_as_here_and_runs_as_nobody() {
    let file = read("Dockerfile");
    let toolchain: toml::Table = read("rust-toolchain.toml").parse().expect("TOML");
    let channel = toolchain["toolchain"]["channel"].as_str().expect("a channel");
    let from: Vec<_> = file.lines().filter_map(|line| line.strip_prefix("FROM ")).collect();
    assert_eq!(from.len(), 2, "one stage builds, one runs: {from:?}");
    assert!(from[0].starts_with(&format!("rust:{channel}-")), "{}", from[0]);
    assert!(file.contains(&format!("RUSTUP_TOOLCHAIN={channel} ")), "another toolchain would be fetched");
    assert!(from[1].contains(|c: char| c.is_ascii_digit()), "{}", from[1]);
    let user = file.lines().find_map(|line| line.strip_prefix("USER ")).expect("a user");
    assert!(user.split(':').all(|id| id.parse::<u32>().is_ok_and(|id| id > 0)), "{user}");
    // What it runs exists: the health check, the command, and the variables that it sets.
    let array = |word: &str| {
        let line = file.lines().find(|line| line.starts_with(word)).unwrap_or_else(|| panic!("no {word}"));
        let at = line.find('[').expect("an array");
        serde_json::from_str::<Vec<String>>(&line[at..]).expect("JSON")
    };
    assert_eq!(array("ENTRYPOINT"), ["tidings"]);
    for words in [&array("HEALTHCHECK")[1..], &array("CMD")[..]] {
        let help = Command::new(env!("CARGO_BIN_EXE_tidings")).args(words).arg("--help").output().await;
        assert!(help.expect("starts").status.success(), "{words:?}");
    }
    let variable = |name: &str| {
        let at = file.find(&format!("{name}=")).unwrap_or_else(|| panic!("no {name}"));
        let value = file[at + name.len() + 1..].split([' ', '\n']).next().expect("a value");
        (name.to_owned(), value.to_owned())
    };
    let variables = [variable("TIDINGS__SERVER__LISTEN"), variable("TIDINGS__SERVER__DATA")];
    let config = config::load(None, variables.into_iter()).unwrap_or_else(|e| panic!("{e}"));
    assert!(config.server.listen.ip().is_unspecified() && config.admin.listen.ip().is_loopback());
    let data = config.server.data.to_str().expect("UTF-8");
    assert_eq!(array("VOLUME"), [data]);
    let mounted = |m: &String| m.ends_with(&format!(":{data}"));
    assert!(list(&yaml("docker-compose.yml")["services"]["tidings"]["volumes"]).iter().any(mounted));
    let ignored = read(".dockerignore");
    for path in ["src", "connectors", "xtask", "benches", "config", "Cargo.lock"] {
        assert!(
            Path::new(&root().join(path)).exists() && !ignored.lines().any(|line| line == format!("/{path}"))
        );
    }
}
