//! Whose a port is on which the code serves, where its network is the machine's: others may listen there
//! first, and would answer in its place.
//!
//! Must never call a listener the code's that may be anybody else's.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, TcpListener};

use super::memory::children;

/// What the kernel shows of sockets.
const TABLES: [&str; 2] = ["/proc/net/tcp", "/proc/net/tcp6"];
/// The state of a socket that listens.
const LISTENS: &str = "0A";
/// Processes of the code that are looked at, at most.
const MAX_PROCESSES: usize = 512;

/// How the code's sockets are known from others.
#[derive(Debug, Clone, Copy)]
pub(super) enum Owner {
    /// Its network is its own: nobody else is there.
    Alone,
    /// Its user is nobody else's.
    User(u32),
    /// They belong to this process, or to what came of it.
    Process(u32),
}

/// A port of this machine that nobody uses now.
pub(super) fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

impl Owner {
    /// True if whoever connects to this port of the loopback address reaches the code, and can reach nobody
    /// else there.
    pub(super) fn has(self, port: u16) -> bool {
        if matches!(self, Self::Alone) {
            return true;
        }
        let found: Vec<_> = TABLES
            .into_iter()
            .flat_map(|table| listeners(&fs::read_to_string(table).unwrap_or_default(), port))
            .collect();
        let sockets = match self {
            Self::Process(first) => sockets_of(first),
            _ => HashSet::new(),
        };
        let ours = |(user, inode): &(u32, u64)| match self {
            Self::User(own) => *user == own,
            _ => sockets.contains(inode),
        };
        !found.is_empty() && found.iter().all(ours)
    }
}

/// User and inode of every socket of a table that gets connections to a port of the loopback address.
fn listeners(table: &str, port: u16) -> Vec<(u32, u64)> {
    let (any, loopback) = (format!("{:08X}", 0), format!("{:08X}", u32::from_ne_bytes([127, 0, 0, 1])));
    let mapped = format!("{any}{any}{:08X}{loopback}", u32::from_ne_bytes([0, 0, 0xff, 0xff]));
    let reached = [&any, &loopback, &any.repeat(4), &mapped].map(|address| format!("{address}:{port:04X}"));
    let of = |line: &str| {
        let fields: Vec<_> = line.split_ascii_whitespace().collect();
        let [_, local, _, LISTENS, _, _, _, user, _, inode, ..] = fields[..] else { return None };
        let is_reached = reached.iter().any(|address| address == local);
        is_reached.then(|| Some((user.parse().ok()?, inode.parse().ok()?)))?
    };
    table.lines().filter_map(of).collect()
}

/// The inodes of all sockets that a process and what came of it have open.
fn sockets_of(first: u32) -> HashSet<u64> {
    let (mut found, mut open, mut seen) = (HashSet::new(), vec![first], 0);
    while let Some(process) = open.pop() {
        seen += 1;
        if seen > MAX_PROCESSES {
            break;
        }
        let files = fs::read_dir(format!("/proc/{process}/fd")).into_iter().flatten().flatten();
        let links = files.filter_map(|file| fs::read_link(file.path()).ok());
        found.extend(links.filter_map(|link| {
            link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse::<u64>().ok()
        }));
        open.extend(children(process));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_belongs_to_who_opened_it() {
        let me = std::process::id();
        let user = rustix::process::getuid().as_raw();
        let child = std::process::Command::new("/bin/cat").stdin(std::process::Stdio::piped()).spawn();
        let mut child = child.expect("there is a cat");
        for address in ["127.0.0.1:0", "0.0.0.0:0", "[::]:0"] {
            let Ok(listener) = TcpListener::bind(address) else { continue };
            let port = listener.local_addr().expect("bound").port();
            assert!(Owner::User(user).has(port) && Owner::Process(me).has(port), "{address}");
            assert!(!Owner::User(user + 1).has(port) && !Owner::Process(child.id()).has(port), "{address}");
            drop(listener);
            assert!(!Owner::User(user).has(port) && !Owner::Process(me).has(port), "{address}");
        }
        drop(child.stdin.take());
        child.wait().expect("ends");
        // A port that is free for everybody is free for the code.
        let port = free_port().expect("one");
        assert!(TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok());
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn who_listens_elsewhere_or_only_speaks_does_not_count() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt uid\n\
             0: 0100007F:1F90 00000000:0000 0A 0:0 00:0 00000000  1001 0 11 1 0 100 0\n\
             1: 0200007F:1F90 00000000:0000 0A 0:0 00:0 00000000  1002 0 12 1 0 100 0\n\
             2: 0100007F:1F90 0100007F:0016 01 0:0 00:0 00000000  1003 0 13 1 0 100 0\n\
             3: 0100007F:1F91 00000000:0000 0A 0:0 00:0 00000000  1004 0 14 1 0 100 0\n\
             4: 00000000:1F90 00000000:0000 0A 0:0 00:0 00000000  1005 0 15 1 0 100 0\n\
             5: torn";
        assert_eq!(listeners(table, 0x1f90), [(1001, 11), (1005, 15)]);
        let mapped = "0: 0000000000000000FFFF00000100007F:1F90 0:0 0A 0:0 0:0 0 1006 0 16 1";
        assert_eq!(listeners(mapped, 0x1f90), [(1006, 16)]);
    }
}
