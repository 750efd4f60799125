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

/// A Kafka from the jars.
pub(super) struct Jars {
    /// As fast as it gets, however long the start takes.
    pub(super) fast: bool,
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
        let mut controller = wire::free_port()?;
        while controller == port {
            controller = wire::free_port()?;
        }
        let properties = PROPERTIES
            .replace("@PORT@", &port.to_string())
            .replace("@CONTROLLER@", &controller.to_string())
            .replace("@DATA@", &home.path("data")?);
        home.write("server.properties", properties)?;
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
    let mut child = home.command(&words)?.spawn().context("cannot start java")?;
    match process::wait(&mut child, FORMAT_LIMIT)? {
        Some(status) if status.success() => Ok(()),
        _ => bail!("its data directory could not be formatted; its last words:\n{}", home.last_words()),
    }
}
