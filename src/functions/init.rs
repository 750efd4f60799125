//! The first process of an instance: it sets the limits, becomes nobody, starts the code, and ends with it.
//!
//! It is this program again, inside the sandbox, so that nothing else need be installed there. It also
//! carries connections from the instance's socket to the port of a runtime that serves TCP. Its standard
//! input is a pipe from the server: when that closes, the server is gone, and so is the code. Must never read
//! the data directory or a configuration.

use std::fs;
use std::io::{self, Read as _, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process_group, setrlimit};

use super::listener::{Owner, free_port};
use super::role::{S3, VARIABLES};

/// Bytes of one file that the code may write.
const FILE_BYTES: u64 = 512 << 20;
/// Files that one of its processes may have open.
const FILES: u64 = 1_024;
/// Processes and threads that its user may have: the user is this instance's alone.
const PROCESSES: u64 = 256;
/// What one process may hold above the instance's bound before the kernel says no: the bound itself is
/// watched from outside.
const MEMORY_SLACK: u64 = 512 << 20;
/// How long between two looks for the port of a starting runtime.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Connections to S3 that the code may have open.
const CONNECTIONS: usize = 64;
/// What this exits with if the code cannot be started.
const FAILED: u8 = 126;

/// What an instance is started with.
#[derive(Debug, clap::Args)]
pub struct Init {
    /// The user that the code runs as; without it, who started this.
    #[arg(long)]
    user: Option<u32>,
    /// MiB that the instance may hold.
    #[arg(long)]
    memory: u64,
    /// The port on which the code serves, if it is not the socket. 0: a free one, in a network where others
    /// are.
    #[arg(long)]
    port: Option<u16>,
    /// Offer S3, which is behind a socket of the server's, on a port.
    #[arg(long)]
    s3: bool,
    /// The folder of the sockets.
    #[arg(long)]
    sockets: PathBuf,
    /// This is the second process, which has become nobody: it sets the limits and becomes the program.
    #[arg(long)]
    last: bool,
    /// The program and its arguments.
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

impl Init {
    /// Runs until the code ends or the server is gone. The exit code is the code's, or 128 and its signal.
    pub fn run(self) -> ExitCode {
        match self.start() {
            Ok(code) => ExitCode::from(code),
            Err(error) => {
                let _ = writeln!(io::stderr(), "the instance cannot be started: {error}");
                ExitCode::from(FAILED)
            }
        }
    }

    fn start(&self) -> io::Result<u8> {
        if self.last {
            return self.become_the_program();
        }
        let relay = match self.port {
            Some(0) => Some((UnixListener::bind(self.sockets.join("s"))?, free_port()?)),
            Some(port) => Some((UnixListener::bind(self.sockets.join("s"))?, port)),
            None => None,
        };
        // This program once more: limits would count for the first process too, which is another user.
        let mut command = Command::new("/proc/self/exe");
        command.args(["function-init", "--last", "--memory", &self.memory.to_string()]);
        command.arg("--sockets").arg(&self.sockets).arg("--").args(&self.command);
        command.stdin(Stdio::null()).process_group(0);
        if let Some(user) = self.user {
            command.uid(user).gid(user);
        }
        if let Some((_, port)) = &relay {
            command.env("PORT", port.to_string());
        }
        if self.s3 {
            offer_s3(&mut command, &self.sockets)?;
        }
        let mut child = command.spawn()?;
        let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        thread::spawn(move || end_with_the_server(group));
        if let Some((listener, port)) = relay {
            let sockets = self.sockets.clone();
            let owner = match self.user {
                _ if self.port != Some(0) => Owner::Alone,
                Some(user) => Owner::User(user),
                None => Owner::Process(child.id()),
            };
            thread::spawn(move || carry(&listener, (port, owner), &sockets));
        }
        let code = wait(&mut child)?;
        // What it forked ends with it.
        let _ = group.map(|group| kill_process_group(group, Signal::KILL));
        Ok(code)
    }

    fn become_the_program(&self) -> io::Result<u8> {
        let Some((program, arguments)) = self.command.split_first() else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        self.limit()?;
        Err(Command::new(program).args(arguments).exec())
    }

    fn limit(&self) -> io::Result<()> {
        // Where the machine's memory ends, the code ends first. Whoever may not say so goes on without.
        let _ = fs::write("/proc/self/oom_score_adj", "1000");
        let set = |resource, most: u64| {
            let had = rustix::process::getrlimit(resource).maximum;
            let most = had.map_or(most, |had| had.min(most));
            setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })
        };
        set(Resource::Core, 0)?;
        set(Resource::Fsize, FILE_BYTES)?;
        set(Resource::Nofile, FILES)?;
        set(Resource::Data, (self.memory << 20) + MEMORY_SLACK)?;
        if counted_alone() {
            set(Resource::Nproc, PROCESSES)?;
        }
        Ok(())
    }
}

/// True if the processes of this user are this instance's alone: it is a user that only we use, or one in a
/// namespace of its own.
fn counted_alone() -> bool {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let alone = map.split_whitespace().nth(2).is_some_and(|count| count == "1");
    alone || rustix::process::getuid().as_raw() >= super::sandbox::FIRST_USER
}

fn wait(child: &mut Child) -> io::Result<u8> {
    let status = child.wait()?;
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    Ok(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(FAILED))
}

fn end_with_the_server(group: Option<Pid>) {
    let mut rest = [0; 64];
    while io::stdin().read(&mut rest).is_ok_and(|read| read > 0) {}
    // Whoever waits for the code then ends this process too.
    let _ = group.map(|group| kill_process_group(group, Signal::KILL));
}

/// Tells the server once the code answers on its port, then joins every connection to it.
#[expect(clippy::disallowed_methods, reason = "nothing tells a process that another one listens on a port")]
fn carry(listener: &UnixListener, (port, owner): (u16, Owner), sockets: &std::path::Path) {
    let at = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut told = false;
    loop {
        if TcpStream::connect(at).is_ok() {
            if owner.has(port) {
                break;
            }
            if !told {
                let _ = writeln!(io::stderr(), "somebody else listens on port {port}, which is the code's");
            }
            told = true;
        }
        thread::sleep(LOOK_EVERY);
    }
    drop(UnixStream::connect(sockets.join("ready")));
    for server in listener.incoming().flatten() {
        thread::spawn(move || {
            // Asked after the connection: whoever has it listens by then.
            if let Ok(code) = TcpStream::connect(at)
                && owner.has(port)
            {
                let _ = join(&server, &code);
            }
        });
    }
}

/// Carries connections to S3 from a port of this machine, or of the sandbox's own network, to the server's
/// socket, and tells the code which port.
fn offer_s3(command: &mut Command, sockets: &std::path::Path) -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let url = format!("http://{}", listener.local_addr()?);
    for name in &VARIABLES[6..] {
        command.env(name, &url);
    }
    let (server, open) = (sockets.join(S3), Arc::new(()));
    thread::spawn(move || {
        for code in listener.incoming().flatten() {
            let one = Arc::clone(&open);
            // Beyond the bound it is closed at once.
            if Arc::strong_count(&one) > CONNECTIONS + 1 {
                continue;
            }
            let server = server.clone();
            thread::spawn(move || {
                if let Ok(server) = UnixStream::connect(server) {
                    let _ = join(&server, &code);
                }
                drop(one);
            });
        }
    });
    Ok(())
}

fn join(server: &UnixStream, code: &TcpStream) -> io::Result<()> {
    let (mut to, mut from) = (code.try_clone()?, server.try_clone()?);
    let there = thread::spawn(move || {
        let _ = io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    });
    let _ = io::copy(&mut &*code, &mut &*server);
    server.shutdown(Shutdown::Both)?;
    let _ = there.join();
    Ok(())
}
