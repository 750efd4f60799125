//! Kafka as a Java process, from the jars that Maven fetches once per machine. Must never start anything that
//! stays but the broker itself.

use std::fs;
use std::hash::{DefaultHasher, Hasher};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::local::{Home, Recipe};
use super::wire;
use crate::packages::{self, Need};
use crate::{paths, process};

const POM: &str = include_str!("../../kafka/pom.xml");
const PROPERTIES: &str = include_str!("../../kafka/server.properties.in");
/// Certificates for 127.0.0.1 that all tests share, and whom they come from.
const CERTIFICATE: &str = include_str!("../../../connectors/http/tests/tls/server.pem");
const KEY: &str = include_str!("../../../connectors/http/tests/tls/server.key");
const TRUST: &str = include_str!("../../../connectors/http/tests/tls/ca.pem");
/// The one user of the listener that asks for one, as in the properties.
const SCRAM_USER: &str = "name=tidings,password=correct-horse";
const LOGGING: &str = include_str!("../../kafka/log4j2.properties");
/// Fetches what the pom names; pinned, so that the same run does the same tomorrow.
const COPY_JARS: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies";
/// Any 16 bytes in base64url do; a fixed id spares a Java start.
const CLUSTER: &str = "dGlkaW5ncy10ZXN0LTAwMQ";
/// The broker's main class; with the path of its properties behind it, what its process is found by.
const MAIN: &str = "kafka.Kafka";

/// How long Maven may take.
const FETCH_LIMIT: Duration = Duration::from_secs(600);
/// How long formatting the data directory may take.
const FORMAT_LIMIT: Duration = Duration::from_secs(60);

/// Where a broker stands.
pub(super) struct Place<'a> {
    /// The address that its listeners are bound to; they are reached at 127.0.0.1.
    pub(super) bind: &'a str,
    /// Its data directory, as it sees it.
    pub(super) data: String,
    /// The directory of its files, as it sees it.
    pub(super) dir: String,
}

/// A Kafka from the jars.
pub(super) struct Jars {
    /// As fast as it gets, however long the start takes.
    pub(super) fast: bool,
}

/// What a broker reads at its start, by name: its properties, for listeners on `port` and on others that
/// are free, and their certificates.
pub(super) fn files(place: &Place, port: u16) -> Result<[(&'static str, String); 3]> {
    let mut properties = PROPERTIES.replace("@PORT@", &port.to_string());
    let mut ports = vec![port];
    for name in ["@CONTROLLER@", "@SASL@", "@MUTUAL@", "@PROXIED@"] {
        let mut free = wire::free_port()?;
        while ports.contains(&free) {
            free = wire::free_port()?;
        }
        properties = properties.replace(name, &free.to_string());
        ports.push(free);
    }
    let Place { bind, data, dir } = place;
    let properties = properties
        .replace("@BIND@", bind)
        .replace("@DATA@", data)
        .replace("@KEYSTORE@", &format!("{dir}/keystore.pem"))
        .replace("@TRUST@", &format!("{dir}/trust.pem"));
    Ok([
        ("server.properties", properties),
        ("keystore.pem", [KEY, CERTIFICATE].concat()),
        ("trust.pem", TRUST.to_owned()),
    ])
}

/// The compose file of the broker whose files are in `dir`: its listeners published, its data formatted.
pub(super) fn composed(file: &str, dir: &Path) -> Result<String> {
    let mut file = file.replace("${CLUSTER}", CLUSTER).replace("${USER}", SCRAM_USER);
    for (name, address) in doors(dir)? {
        let (_, port) = address.rsplit_once(':').context("a listener without a port")?;
        let door = name.rsplit('_').next().unwrap_or(name);
        file = file.replace(&format!("${{{door}}}"), port);
    }
    Ok(file)
}

/// The addresses of the listeners that ask who one is, and where a proxy must stand for the last one, by the
/// variable in which tests look for them. Only a broker of ours has them.
pub(super) fn doors(dir: &Path) -> Result<Vec<(&'static str, String)>> {
    let Ok(properties) = fs::read_to_string(dir.join("server.properties")) else { return Ok(Vec::new()) };
    let listeners = properties.lines().find_map(|line| line.strip_prefix("advertised.listeners="));
    let listeners = listeners.context("server.properties advertises no listeners")?;
    let of = |scheme| listeners.split(',').find_map(|listener| listener.strip_prefix(scheme));
    let doors = [
        ("TIDINGS_TEST_KAFKA_SASL", of("SASL://")),
        ("TIDINGS_TEST_KAFKA_MUTUAL", of("MUTUAL://")),
        ("TIDINGS_TEST_KAFKA_PROXIED", of("PROXIED://")),
    ];
    Ok(doors.into_iter().filter_map(|(name, address)| Some((name, address?.to_owned()))).collect())
}

/// The directory of the jars: one per content of the pom, shared by all checkouts.
fn library() -> Result<PathBuf> {
    let mut hash = DefaultHasher::new();
    hash.write(POM.as_bytes());
    Ok(paths::cache()?.join(format!("kafka-{:016x}", hash.finish())))
}

/// Fetches the jars unless they are there. They appear under their name only when all of them are there.
fn fetch(java: &Path) -> Result<PathBuf> {
    let library = library()?;
    if library.is_dir() {
        return Ok(library);
    }
    println!("fetching Kafka's jars to {} (once)", library.display());
    let aside = library.with_extension(format!("{}.new", std::process::id()));
    fs::create_dir_all(&aside).with_context(|| format!("cannot make {}", aside.display()))?;
    let pom = aside.join("pom.xml");
    fs::write(&pom, POM).context("cannot write the pom")?;
    let mut maven = Command::new("mvn");
    // Maven looks for a Java by itself and might find another one, or none.
    if let Some(home) = java_home(java) {
        maven.env("JAVA_HOME", home);
    }
    maven
        .args(["-q", "-B", "-Dstyle.color=never", "-f"])
        .arg(&pom)
        .args([COPY_JARS, "-DincludeScope=runtime"])
        .arg(format!("-DoutputDirectory={}", aside.display()))
        .stdin(Stdio::null());
    let mut maven = maven.spawn().context("cannot start mvn")?;
    let ended = process::wait(&mut maven, FETCH_LIMIT)?;
    if ended.is_none_or(|status| !status.success()) {
        fs::remove_dir_all(&aside).context("cannot remove what Maven left")?;
        bail!("Maven could not fetch Kafka's jars; TIDINGS_TEST_KAFKA=host:port names a running broker");
    }
    match fs::rename(&aside, &library) {
        Ok(()) => Ok(library),
        // Another checkout was faster: its jars are the same.
        Err(_) if library.is_dir() => {
            fs::remove_dir_all(&aside).map(|()| library).context("cannot remove a copy")
        }
        Err(error) => Err(error).with_context(|| format!("cannot make {}", library.display())),
    }
}

/// The directory of the Java that this program belongs to, if it is laid out as one.
fn java_home(java: &Path) -> Option<PathBuf> {
    let home = java.canonicalize().ok()?.parent()?.parent()?.to_path_buf();
    home.join("lib/modules").is_file().then_some(home)
}

impl Recipe for Jars {
    fn needs(&self) -> Result<Vec<Need>> {
        Ok(if library()?.is_dir() { vec![Need::Java] } else { vec![Need::Java, Need::Maven] })
    }

    fn prepare(&self, home: &Home, port: u16) -> Result<Vec<String>> {
        let java = packages::java().context("no Java that is new enough")?;
        let library = fetch(&java)?;
        let dir = home.path("")?.trim_end_matches('/').to_owned();
        let place = Place { bind: "127.0.0.1", data: home.path("data")?, dir };
        for (name, text) in files(&place, port)? {
            home.write(name, text)?;
        }
        home.write("log4j2.properties", LOGGING)?;
        let java = java.to_str().context("a path to java that is not UTF-8")?;
        // Serial collector and first compiler only: it is up in half the time, and tests are not benchmarks.
        let compiler = if self.fast { "-XX:+TieredCompilation" } else { "-XX:TieredStopAtLevel=1" };
        let start = [
            java.to_owned(),
            "-Xms64m".into(),
            "-Xmx512m".into(),
            "-XX:+UseSerialGC".into(),
            compiler.into(),
            "-XX:-UsePerfData".into(),
            format!("-Dlog4j2.configurationFile={}", home.path("log4j2.properties")?),
            "-cp".into(),
            format!("{}/*", library.display()),
            MAIN.into(),
            home.path("server.properties")?,
        ];
        format_data(home, &start)?;
        Ok(start.into())
    }

    fn marks(&self, home: &Home) -> Result<Vec<String>> {
        Ok(vec![MAIN.into(), home.path("server.properties")?])
    }
}

fn format_data(home: &Home, start: &[String]) -> Result<()> {
    // Everything of the broker's own command but its main class and argument.
    let mut words = start[..start.len() - 2].to_vec();
    let fixed = ["kafka.tools.StorageTool", "format", "--cluster-id", CLUSTER, "--config"];
    words.extend(fixed.map(str::to_owned));
    words.push(home.path("server.properties")?);
    for mechanism in ["SCRAM-SHA-256", "SCRAM-SHA-512"] {
        words.extend(["--add-scram".to_owned(), format!("{mechanism}=[{SCRAM_USER}]")]);
    }
    let mut child = home.command(&words)?.spawn().context("cannot start java")?;
    match process::wait(&mut child, FORMAT_LIMIT)? {
        Some(status) if status.success() => Ok(()),
        _ => bail!("its data directory could not be formatted; its last words:\n{}", home.last_words()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_publishes_every_listener_that_its_properties_advertise() {
        let dir = std::env::temp_dir().join(format!("tidings-xtask-{}", std::process::id()));
        fs::create_dir_all(&dir).expect("a directory");
        let place = Place { bind: "0.0.0.0", data: "/data".into(), dir: "/tidings".into() };
        for (name, text) in files(&place, 19_092).expect("free ports") {
            fs::write(dir.join(name), text).expect("written");
        }
        let file = composed(include_str!("../../kafka/compose.yml"), &dir).expect("rendered");
        let file = file.replace("${PORT}", "19092").replace("${DIR}", "/somewhere");
        let doors = doors(&dir).expect("they are there");
        fs::remove_dir_all(&dir).expect("removed");
        assert_eq!(doors.len(), 3, "{doors:?}");
        for address in doors.iter().map(|(_, address)| address.as_str()).chain(["127.0.0.1:19092"]) {
            let (host, port) = address.rsplit_once(':').expect("an address");
            assert!(["127.0.0.1", "127.0.0.2"].contains(&host), "they are reached from here: {host}");
            assert!(file.contains(&format!("- \"127.0.0.1:{port}:{port}\"\n")), "{address}: {file}");
        }
        assert!(!file.contains("${"), "{file}");
        assert!(file.contains(CLUSTER) && file.contains(SCRAM_USER), "{file}");
    }
}
