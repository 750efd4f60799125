//! The system packages that building and testing need: found out by using them, installed where that is
//! allowed. Must never install anything that is there, or without saying it.

use std::collections::BTreeSet;
use std::env;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

use anyhow::{Context, Result};

use crate::brokers;
use crate::fail::{MISSING, fail};
use crate::paths;

/// The oldest Java that the broker runs on.
const JAVA: u32 = 17;
/// Packages with such a Java, best first; a distribution has some of them.
const JAVA_PACKAGES: [&str; 3] =
    ["openjdk-17-jre-headless", "openjdk-21-jre-headless", "default-jre-headless"];

/// The oldest Go that fetches a newer one where a program asks for it.
const GO: (u32, u32) = (1, 21);
/// What a Debian system asks before it starts a service that was just installed.
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// Something that must be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    C,
    Cxx,
    Make,
    PkgConfig,
    Openssl,
    Zlib,
    Java,
    Maven,
    /// Something that makes a nats-server.
    Nats,
    Rabbitmq,
    /// Prometheus' tool, which tests the alert rules.
    Promtool,
    Python,
    /// The sandbox of functions.
    Bubblewrap,
    /// The Python and the Node.js of functions: the system's own, which the sandbox shows.
    SystemPython,
    SystemNode,
    /// A block device of a program's own as a file.
    Nbdfuse,
    Fuse,
    Ext4,
    /// A clock of a program's own.
    Faketime,
    Node,
}

/// What building tidings needs: librdkafka is built from source and links OpenSSL and zlib.
pub(crate) const BUILD: &[Need] =
    &[Need::C, Need::Cxx, Need::Make, Need::PkgConfig, Need::Openssl, Need::Zlib];

/// What the functions of the tests need.
pub(crate) const FUNCTIONS: &[Need] = &[Need::Bubblewrap, Need::SystemPython, Need::SystemNode];

/// What the live tests need besides brokers.
pub(crate) const LIVE: &[Need] = &[Need::Faketime];

/// What the clients of the tests need.
pub(crate) const CLIENTS: &[Need] = &[Need::Python, Need::Node];

impl Need {
    fn name(self) -> &'static str {
        match self {
            Need::C => "a C compiler (cc)",
            Need::Cxx => "a C++ compiler (c++)",
            Need::Make => "make",
            Need::PkgConfig => "pkg-config",
            Need::Openssl => "the OpenSSL headers",
            Need::Zlib => "the zlib headers",
            Need::Java => "Java 17 or newer",
            Need::Maven => "Maven (mvn)",
            Need::Nats => "Go 1.21 or newer, or nats-server",
            Need::Rabbitmq => "RabbitMQ",
            Need::Promtool => "promtool",
            Need::Python => "Python 3 with venv",
            Need::Bubblewrap => "bubblewrap (bwrap)",
            Need::SystemPython => "Python 3 in /usr/bin",
            Need::SystemNode => "Node.js in /usr/bin",
            Need::Nbdfuse => "nbdfuse",
            Need::Fuse => "fusermount3",
            Need::Ext4 => "mkfs.ext4",
            Need::Faketime => "libfaketime",
            Need::Node => "Node.js with npm",
        }
    }

    /// The Debian package that brings it; `java` is the one chosen for Java.
    fn package(self, java: &'static str) -> &'static str {
        match self {
            Need::C | Need::Cxx | Need::Make => "build-essential",
            Need::PkgConfig => "pkg-config",
            Need::Openssl => "libssl-dev",
            Need::Zlib => "zlib1g-dev",
            Need::Java => java,
            Need::Maven => "maven",
            // Debian's Go is too old to build the pinned server; its server does.
            Need::Nats => "nats-server",
            Need::Rabbitmq => "rabbitmq-server",
            Need::Promtool => "prometheus",
            Need::Python => "python3-venv",
            Need::Bubblewrap => "bubblewrap",
            Need::SystemPython => "python3",
            Need::SystemNode => "nodejs",
            Need::Nbdfuse => "libnbd-bin",
            Need::Fuse => "fuse3",
            Need::Ext4 => "e2fsprogs",
            Need::Faketime => "libfaketime",
            Need::Node => "npm",
        }
    }

    fn there(self) -> bool {
        match self {
            // A compiler without the C library's headers is of no use.
            Need::C => compiles("cc", "c", "stdio.h"),
            Need::Cxx => compiles("c++", "c++", "cstdio"),
            Need::Make => paths::program("make").is_some(),
            Need::PkgConfig => paths::program("pkg-config").is_some(),
            Need::Openssl => env::var_os("OPENSSL_DIR").is_some() || compiles("cc", "c", "openssl/ssl.h"),
            Need::Zlib => compiles("cc", "c", "zlib.h"),
            Need::Java => java().is_some(),
            Need::Maven => paths::program("mvn").is_some(),
            Need::Nats => go().is_some() || brokers::system_nats().is_some(),
            Need::Rabbitmq => Path::new(brokers::RABBITMQ).is_file(),
            Need::Promtool => paths::program("promtool").is_some(),
            Need::Python => venv(),
            Need::Bubblewrap => Path::new("/usr/bin/bwrap").is_file(),
            Need::SystemPython => Path::new("/usr/bin/python3").is_file(),
            Need::SystemNode => Path::new("/usr/bin/node").is_file(),
            Need::Nbdfuse => paths::program("nbdfuse").is_some(),
            Need::Fuse => paths::program("fusermount3").is_some(),
            Need::Ext4 => paths::program("mkfs.ext4").is_some(),
            Need::Faketime => faketime(),
            Need::Node => ["node", "npm"].iter().all(|name| paths::program(name).is_some()),
        }
    }
}

/// Makes sure that everything in `needs` is there. As root on a Debian system what is missing is installed;
/// otherwise the error names it, with the line that installs it.
pub(crate) fn ensure(needs: &[Need]) -> Result<()> {
    // Brokers start beside each other, and apt works for one at a time.
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock();
    let missing = missing(needs, Need::there);
    if missing.is_empty() {
        return Ok(());
    }
    println!("missing: {}", names(&missing));
    if paths::program("apt-get").is_none() {
        let sentence =
            format!("install {} with this system's package manager, then run this again", names(&missing));
        return Err(fail(MISSING, sentence));
    }
    if !root() {
        let line = install_line(&missing, choose_java(known_to_apt)).join(" ");
        return Err(fail(
            MISSING,
            format!("run this line as root, then this again:\n  apt-get update && {line}"),
        ));
    }
    let _quiet = Quiet::begin()?;
    apt(&["apt-get".into(), "update".into(), "-q".into()])?;
    apt(&install_line(&missing, choose_java(known_to_apt)))?;
    let still = self::missing(&missing, Need::there);
    if !still.is_empty() {
        return Err(fail(MISSING, format!("installed, and still missing: {}", names(&still))));
    }
    Ok(())
}

/// While it lives, no package that is installed is started as a service: its ports would be open to all, and
/// tests run their own.
struct Quiet {
    made: bool,
}

impl Quiet {
    fn begin() -> Result<Quiet> {
        // One that is there says for itself what may start.
        if Path::new(POLICY).exists() {
            return Ok(Quiet { made: false });
        }
        fs::write(POLICY, "#!/bin/sh\n# Made by `cargo xtask` for one installation.\nexit 101\n")
            .and_then(|()| fs::set_permissions(POLICY, Permissions::from_mode(0o755)))
            .with_context(|| format!("cannot write {POLICY}"))?;
        Ok(Quiet { made: true })
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        if self.made
            && let Err(error) = fs::remove_file(POLICY)
        {
            println!("note: cannot remove {POLICY}, which keeps services from being started: {error}");
        }
    }
}

fn missing(needs: &[Need], there: impl Fn(Need) -> bool) -> Vec<Need> {
    needs.iter().copied().filter(|need| !there(*need)).collect()
}

fn names(needs: &[Need]) -> String {
    needs.iter().map(|need| need.name()).collect::<Vec<_>>().join(", ")
}

fn install_line(missing: &[Need], java: &'static str) -> Vec<String> {
    let packages: BTreeSet<&str> = missing.iter().map(|need| need.package(java)).collect();
    let fixed = ["apt-get", "install", "-y", "-q", "--no-install-recommends"];
    fixed.into_iter().chain(packages).map(str::to_owned).collect()
}

fn choose_java(known: impl Fn(&str) -> bool) -> &'static str {
    // Where apt knows none of them, the last name gives apt's own, clear message.
    JAVA_PACKAGES.into_iter().find(|package| known(package)).unwrap_or(JAVA_PACKAGES[JAVA_PACKAGES.len() - 1])
}

fn known_to_apt(package: &str) -> bool {
    let asked =
        Command::new("apt-cache").args(["show", "--no-all-versions", package]).stderr(Stdio::null()).output();
    asked.is_ok_and(|answer| answer.status.success() && !answer.stdout.is_empty())
}

/// Whether this process may do everything.
pub(crate) fn root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|answer| answer.stdout.trim_ascii() == b"0")
}

fn apt(line: &[String]) -> Result<()> {
    println!("+ {}", line.join(" "));
    let status = Command::new(&line[0])
        .args(&line[1..])
        // Another apt may be at work; its end is awaited, within a bound.
        .args(["-o", "DPkg::Lock::Timeout=300"])
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .status()
        .context("cannot start apt-get")?;
    if !status.success() {
        return Err(fail(MISSING, format!("apt-get ended with {status}; see what it printed above")));
    }
    Ok(())
}

/// Whether `compiler` runs and finds `header`.
fn compiles(compiler: &str, language: &str, header: &str) -> bool {
    Command::new(compiler)
        .args(["-E", "-x", language, "-include", header, "/dev/null", "-o", "/dev/null"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

fn faketime() -> bool {
    let there = |entry: fs::DirEntry| entry.path().join("faketime/libfaketimeMT.so.1").is_file();
    fs::read_dir("/usr/lib").is_ok_and(|all| all.flatten().any(there))
}

/// Whether Python can make an environment of its own.
fn venv() -> bool {
    let asked = Command::new("python3").args(["-c", "import ensurepip, venv"]).stderr(Stdio::null()).status();
    asked.is_ok_and(|status| status.success())
}

/// A Java that is new enough: of `JAVA_HOME`, of `PATH`, or of those that are installed beside it.
pub(crate) fn java() -> Option<PathBuf> {
    let home = env::var_os("JAVA_HOME").map(|home| PathBuf::from(home).join("bin/java"));
    let installed = std::fs::read_dir("/usr/lib/jvm").into_iter().flatten().flatten();
    let installed = installed.map(|entry| entry.path().join("bin/java"));
    home.into_iter().chain(paths::program("java")).chain(installed).find(|java| {
        let answer = Command::new(java).arg("-version").output();
        let version = answer.ok().and_then(|answer| java_version(&String::from_utf8_lossy(&answer.stderr)));
        version.is_some_and(|version| version >= JAVA)
    })
}

/// The major version in what `java -version` prints, such as `openjdk version "17.0.15" 2025-04-15`.
fn java_version(printed: &str) -> Option<u32> {
    let version = printed.lines().find_map(|line| line.split_once("version \"")?.1.split('"').next())?;
    let mut parts = version.split(['.', '-', '+', '_']);
    match parts.next()?.parse().ok()? {
        // Up to Java 8 the major version came second.
        1 => parts.next()?.parse().ok(),
        major => Some(major),
    }
}

/// A Go that is new enough to build what asks for a newer one, which it then fetches.
pub(crate) fn go() -> Option<PathBuf> {
    let go = paths::program("go")?;
    let answer = Command::new(&go).arg("version").output().ok()?;
    (go_version(&String::from_utf8_lossy(&answer.stdout))? >= GO).then_some(go)
}

/// Major and minor version in what `go version` prints, such as `go version go1.26.8 linux/amd64`.
fn go_version(printed: &str) -> Option<(u32, u32)> {
    let version = printed.split_whitespace().find_map(|word| word.strip_prefix("go1."))?;
    let minor: String = version.chars().take_while(char::is_ascii_digit).collect();
    Some((1, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_missing_is_asked_for_and_each_package_once() {
        let gone = missing(BUILD, |need| matches!(need, Need::Make | Need::PkgConfig | Need::Zlib));
        assert_eq!(gone, [Need::C, Need::Cxx, Need::Openssl]);
        let line = install_line(&gone, "unused").join(" ");
        assert_eq!(line, "apt-get install -y -q --no-install-recommends build-essential libssl-dev");
        assert!(missing(BUILD, |_| true).is_empty());
    }

    #[test]
    fn java_comes_from_the_best_package_that_apt_knows() {
        assert_eq!(choose_java(|_| true), "openjdk-17-jre-headless");
        assert_eq!(choose_java(|package| package.contains("21")), "openjdk-21-jre-headless");
        assert_eq!(choose_java(|_| false), "default-jre-headless");
        assert_eq!(Need::Java.package("openjdk-21-jre-headless"), "openjdk-21-jre-headless");
    }

    #[test]
    fn java_versions_are_read_old_and_new() {
        assert_eq!(java_version("openjdk version \"17.0.15\" 2025-04-15\nOpenJDK Runtime"), Some(17));
        assert_eq!(
            java_version("Picked up JAVA_TOOL_OPTIONS: -X\nopenjdk version \"25\" 2025-09-16"),
            Some(25)
        );
        assert_eq!(java_version("java version \"1.8.0_402\""), Some(8));
        assert_eq!(java_version("openjdk version \"22-ea\" 2024-03-19"), Some(22));
        assert_eq!(java_version("java: not found"), None);
    }

    #[test]
    fn go_versions_are_read() {
        assert_eq!(go_version("go version go1.26.8 linux/amd64\n"), Some((1, 26)));
        assert_eq!(go_version("go version go1.21rc2 linux/arm64"), Some((1, 21)));
        assert_eq!(go_version("go: not found"), None);
    }

    #[test]
    fn a_header_is_found_only_where_there_is_one() {
        assert!(compiles("cc", "c", "stdio.h"));
        assert!(!compiles("cc", "c", "tidings/no_such_header.h"));
        assert!(!compiles("no-such-compiler", "c", "stdio.h"));
    }
}
