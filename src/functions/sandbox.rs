//! The command that starts an instance: bubblewrap around our own first process around the code.
//!
//! Inside there is a read-only view of the system's programs and libraries, the code, a folder for two
//! sockets and an empty `/tmp`; the data directory, other functions, other processes and, unless it is
//! allowed, the network are not there. Must never put a value of an environment on a command line, which
//! everybody on the machine can read.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use super::spec::{Network, Runtime, Settings};

/// Where bubblewrap is looked for.
const BWRAP: &[&str] = &["/usr/bin/bwrap", "/usr/local/bin/bwrap", "/bin/bwrap"];
/// Folders of the system that are shown, as far as they are there.
const SYSTEM: &[&str] = &["/usr", "/bin", "/sbin", "/lib", "/lib64", "/lib32"];
/// What programs of the system read.
const SETTINGS: &[&str] = &[
    "/etc/alternatives",
    "/etc/ca-certificates",
    "/etc/hosts",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/etc/mime.types",
    "/etc/nsswitch.conf",
    "/etc/resolv.conf",
    "/etc/ssl",
];
/// Bytes of `/tmp`, and of shared memory.
const SCRATCH: &str = "268435456";
/// Where the code is, as in SCF.
pub(super) const CODE: &str = "/var/user";
const SOCKETS: &str = "/run/tidings";
const INIT: &str = "/run/init";
const RUNNER: &str = "/run/runner";
/// The port of a custom runtime.
const PORT: u16 = 9000;
/// Instances run as these users, one each, if the server is root: a user that nobody else is.
pub(super) const FIRST_USER: u32 = 1_900_000_000;

/// How instances are contained on this machine.
#[derive(Debug, Clone)]
pub(super) struct Sandbox {
    /// None: they are not, and the configuration allows it.
    bwrap: Option<PathBuf>,
    /// This program.
    program: PathBuf,
    root: bool,
    data: PathBuf,
}

/// What is to be started.
pub(super) struct Start<'a> {
    pub(super) settings: &'a Settings,
    pub(super) code: &'a Path,
    /// The folder of its sockets, made for it.
    pub(super) sockets: &'a Path,
    /// Its runner, for runtimes that have one.
    pub(super) runner: &'a Path,
    /// The interpreter, for runtimes that have one.
    pub(super) interpreter: &'a Path,
    /// Module and function of the handler.
    pub(super) handler: (&'a str, &'a str),
    /// Which of all instances: no two that live have the same.
    pub(super) slot: u32,
}

impl Sandbox {
    /// Looks for bubblewrap.
    ///
    /// # Errors
    /// It is missing and must not be.
    pub(super) fn find(program: PathBuf, data: &Path, allow_unsandboxed: bool) -> Result<Self, String> {
        let bwrap = BWRAP.iter().map(PathBuf::from).find(|path| is_program(path));
        if bwrap.is_none() && !allow_unsandboxed {
            return Err("bubblewrap is not installed, and without it code could read the data directory: \
                        `apt-get install bubblewrap`, or set `functions.allow_unsandboxed = true`"
                .to_owned());
        }
        let data = fs::canonicalize(data).map_err(|e| format!("{}: {e}", data.display()))?;
        Ok(Self { bwrap, program, root: rustix::process::geteuid().is_root(), data })
    }

    /// True if code sees no more than it should.
    pub(super) fn contains(&self) -> bool {
        self.bwrap.is_some()
    }

    /// The user of an instance, if it is another than the server's.
    pub(super) fn user(&self, slot: u32) -> Option<u32> {
        self.root.then_some(FIRST_USER + slot)
    }

    /// The command, without its environment.
    pub(super) fn command(&self, start: &Start<'_>) -> Vec<OsString> {
        let mut words: Vec<OsString> = Vec::new();
        let (mut sockets, mut init, mut runner) = (start.sockets, self.program.as_path(), start.runner);
        let mut code = start.code;
        if let Some(bwrap) = &self.bwrap {
            words.push(bwrap.into());
            self.contain(start, &mut words);
            (sockets, init, runner, code) =
                (Path::new(SOCKETS), Path::new(INIT), Path::new(RUNNER), Path::new(CODE));
        }
        words.push(init.into());
        words.push("function-init".into());
        let mut option = |name: &str, value: OsString| words.extend([name.into(), value]);
        option("--memory", start.settings.memory_mb.to_string().into());
        option("--sockets", sockets.into());
        if let Some(user) = self.user(start.slot) {
            option("--user", user.to_string().into());
        }
        if start.settings.runtime == Runtime::Custom {
            option("--port", self.port(start).to_string().into());
        }
        if !start.settings.role.is_empty() {
            words.push("--s3".into());
        }
        words.push("--".into());
        let (module, function) = start.handler;
        match start.settings.runtime {
            Runtime::Custom => words.push(code.join("bootstrap").into()),
            runtime => {
                words.push(start.interpreter.into());
                if runtime == Runtime::Python3 {
                    words.extend(["-u", "-B"].map(OsString::from));
                }
                words.push(runner.into());
                words.extend([sockets.into(), module.into(), function.into()]);
            }
        }
        words
    }

    /// The port that a custom runtime is told: its own network has every port free. In the machine's its
    /// first process looks for one, hence 0.
    fn port(&self, start: &Start<'_>) -> u16 {
        let own = self.bwrap.is_some() && start.settings.network == Network::None;
        if own { PORT } else { 0 }
    }

    fn contain(&self, start: &Start<'_>, words: &mut Vec<OsString>) {
        let mut add = |more: &[&str]| words.extend(more.iter().map(OsString::from));
        add(&["--unshare-ipc", "--unshare-pid", "--unshare-uts", "--unshare-cgroup-try"]);
        add(&["--die-with-parent", "--new-session", "--cap-drop", "ALL"]);
        match self.root {
            // Until the first process has become nobody.
            true => add(&["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID", "--cap-add", "CAP_KILL"]),
            false => add(&["--unshare-user"]),
        }
        if start.settings.network == Network::None {
            add(&["--unshare-net"]);
        }
        for folder in SYSTEM {
            match fs::read_link(folder) {
                Ok(to) => add(&["--symlink", &to.to_string_lossy(), folder]),
                Err(_) => add(&["--ro-bind-try", folder, folder]),
            }
        }
        for folder in ["/etc", "/run", "/var"] {
            add(&["--perms", "0755", "--dir", folder]);
        }
        for file in SETTINGS {
            add(&["--ro-bind-try", file, file]);
        }
        add(&["--proc", "/proc", "--dev", "/dev"]);
        for scratch in ["/tmp", "/dev/shm"] {
            add(&["--size", SCRATCH, "--perms", "1777", "--tmpfs", scratch]);
        }
        if SYSTEM.iter().any(|shown| self.data.starts_with(shown)) {
            add(&["--tmpfs", &self.data.to_string_lossy()]);
        }
        let mut bind = |how: &str, from: &Path, to: &str| {
            words.extend([how.into(), from.as_os_str().to_owned(), to.into()]);
        };
        bind("--ro-bind", start.code, CODE);
        bind("--bind", start.sockets, SOCKETS);
        bind("--ro-bind", &self.program, INIT);
        if start.settings.runtime != Runtime::Custom {
            bind("--ro-bind", start.runner, RUNNER);
        }
        words.extend(["--chdir", CODE, "--"].map(OsString::from));
    }
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    fs::metadata(path).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(bwrap: bool, settings: &Settings) -> String {
        let sandbox = Sandbox {
            bwrap: bwrap.then(|| "/usr/bin/bwrap".into()),
            program: "/usr/bin/tidings".into(),
            root: true,
            data: "/usr/share/data".into(),
        };
        let start = Start {
            settings,
            code: Path::new("/data/code"),
            sockets: Path::new("/data/run/1"),
            runner: Path::new("/data/runner.py"),
            interpreter: Path::new("/usr/bin/python3"),
            handler: ("index", "main_handler"),
            slot: 7,
        };
        let words = sandbox.command(&start);
        words.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_sandbox_shows_no_data_and_no_variable() {
        let mut settings = Settings::default();
        settings.environment.insert("TOKEN".into(), "hunter2".into());
        let said = command(true, &settings);
        assert!(!said.contains("hunter2") && !said.contains("--bind / "), "{said}");
        assert!(said.contains("--unshare-net") && said.contains("--unshare-pid"), "{said}");
        assert!(said.contains("--tmpfs /usr/share/data"), "{said}");
        assert!(said.contains("--user 1900000007"), "{said}");
        settings.network = Network::All;
        assert!(!command(true, &settings).contains("--unshare-net"));
        assert!(command(false, &settings).starts_with("/usr/bin/tidings function-init"));
    }
}
