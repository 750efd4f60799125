//! How an instance is started, and what its exit says: its sockets, its command, its environment.
//!
//! Must never hand on a variable of the server's own.

use std::fs;
use std::io;
use std::time::Duration;

use tidings_function::{Ended, Status};
use tokio::net::UnixListener;
use tokio::process::Command;
use tokio::time::{Instant, interval, sleep_until};

use super::host::{Deployed, Host};
use super::instance::{Instance, LOOK_EVERY};
use super::role::Role;
use super::sandbox::{Sandbox, Start};
use super::spec::{NAMESPACE, Runtime};
use super::wire::{Caller, Sockets};

/// How long the end of a process may take that was told to end.
pub(super) const END_WAIT: Duration = Duration::from_secs(2);
/// How long after its connection a process may end, and count as ended.
pub(super) const EXIT_WAIT: Duration = Duration::from_millis(200);
/// What our runners exit with if there is no such handler …
const NO_HANDLER: i32 = 90;
/// … and if the code failed while it was loaded.
const FAILED_AT_START: i32 = 91;
/// What the first process exits with if it cannot start the program.
const NOT_STARTED: i32 = 126;

/// Why an instance ended before it listened.
pub(super) fn not_listening(code: Option<i32>, runtime: Runtime) -> (Status, String) {
    match code {
        Some(NO_HANDLER) => (Status::Handler, "its code has no such handler".to_owned()),
        Some(FAILED_AT_START) => (Status::Handler, "its code failed while it was loaded".to_owned()),
        Some(NOT_STARTED) if runtime == Runtime::Custom => {
            (Status::Handler, "its `bootstrap` cannot be started".to_owned())
        }
        code => (Status::Port, format!("it ended before it listened ({})", exit(code))),
    }
}

pub(super) fn exit(code: Option<i32>) -> String {
    match code {
        Some(code @ 129..) => format!("signal {}", code - 128),
        Some(code) => format!("exit code {code}"),
        None => "killed".to_owned(),
    }
}

pub(super) fn make_sockets(host: &Host, slot: u32) -> io::Result<Sockets> {
    use std::os::unix::fs::PermissionsExt as _;
    let path = host.sockets_dir().join(slot.to_string());
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path)?;
    // The folder around it is the server's alone; inside the sandbox there is one user.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o777))?;
    Sockets::open(path)
}

pub(super) fn command(
    host: &Host,
    sandbox: &Sandbox,
    deployed: &Deployed,
    (start, role): (&Start<'_>, Option<&Role>),
) -> Command {
    let words = sandbox.command(start);
    let mut words = words.into_iter();
    let mut command = Command::new(words.next().unwrap_or_default());
    command.args(words).env_clear();
    for (name, value) in [
        ("PATH", "/usr/local/bin:/usr/bin:/bin"),
        ("HOME", "/tmp"),
        ("LANG", "C.UTF-8"),
        ("SCF_FUNCTIONNAME", &*deployed.name),
        ("SCF_FUNCTIONVERSION", &*deployed.version.to_string()),
        ("SCF_NAMESPACE", NAMESPACE),
        ("SCF_RUNTIME", deployed.settings.runtime.name()),
        ("TENCENTCLOUD_RUNENV", "SCF"),
        ("TENCENTCLOUD_REGION", host.region()),
        ("TENCENTCLOUD_APPID", host.appid()),
        ("USER_CODE_ROOT", "/var/user/"),
    ] {
        command.env(name, value);
    }
    for (name, value) in &deployed.settings.environment {
        command.env(name, value);
    }
    for (name, value) in role.into_iter().flat_map(|role| role.variables(host.region())) {
        command.env(name, value);
    }
    if !sandbox.contains() {
        command.current_dir(&deployed.code);
    }
    command
}

/// Who calls the instances of a function.
pub(super) fn caller(host: &Host, deployed: &Deployed) -> Caller {
    Caller {
        name: deployed.name.clone(),
        version: deployed.version,
        memory_mb: deployed.settings.memory_mb,
        timeout_s: deployed.settings.timeout_s,
        namespace: NAMESPACE,
        region: host.region().clone(),
        appid: host.appid().clone(),
    }
}

impl Instance {
    /// Waits until it listens.
    pub(super) async fn listens(&mut self, listener: UnixListener) -> Result<(), Ended> {
        let began = Instant::now();
        let late = sleep_until(began + self.deployed.settings.start_timeout());
        tokio::pin!(late);
        let mut looks = interval(LOOK_EVERY);
        let failed =
            |status, why: String| Err(Ended { duration: began.elapsed(), ..Ended::without_run(status, why) });
        loop {
            tokio::select! {
                biased;
                accepted = listener.accept() => match accepted {
                    Ok(_) => return Ok(()),
                    Err(e) => return failed(Status::Internal, e.to_string()),
                },
                ended = self.child.wait() => {
                    let code = ended.ok().and_then(|status| status.code());
                    let (status, why) = not_listening(code, self.deployed.settings.runtime);
                    return failed(status, why);
                }
                () = &mut late => {
                    let bound = self.deployed.settings.start_timeout();
                    return failed(Status::Port, format!("it does not listen after {bound:?}"));
                }
                _ = looks.tick() => if let Some(why) = self.grown().err() {
                    return failed(Status::Memory, why);
                },
                () = self.output.more() => {}
            }
        }
    }
}
