//! How much memory an instance holds: the resident pages of all its processes, and files without a name that
//! they have open, which are memory too; read from `/proc`.
//!
//! Looked at often while it starts and while an event runs, and now and then while it is idle, since nothing
//! tells a process that another one grows. Must never count the sandbox's own processes.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;

/// Processes that are looked at, at most: an instance may not have more.
const MAX_PROCESSES: usize = 512;
/// Descriptors of all of them that are looked at, at most.
const MAX_FILES: usize = 4_096;
/// What a link to an open file of no name begins with: `memfd_create`, and shared memory without a name.
const NAMELESS: [&str; 2] = ["/memfd:", "/dev/zero (deleted)"];
/// Bytes of a block, as `stat` counts.
const BLOCK: u64 = 512;

/// The processes of one instance, from the one that the server started.
#[derive(Debug, Clone)]
pub(super) struct Family {
    first: u32,
    /// How many generations belong to the sandbox: they are one process each.
    own: usize,
}

impl Family {
    /// `contained`: bubblewrap and its own first process stand before ours.
    pub(super) fn of(first: u32, contained: bool) -> Self {
        Self { first, own: if contained { 3 } else { 1 } }
    }

    /// Bytes that all processes of the code hold now. What seems to be more than `bound` is looked at more
    /// closely, which costs more: processes that were forked share pages.
    pub(super) fn bytes(&self, bound: u64) -> u64 {
        let processes = self.processes();
        let sum = |of: &dyn Fn(u32) -> u64| processes.iter().map(|process| of(*process)).sum::<u64>();
        let resident_all = match sum(&resident) {
            bytes if bytes > bound => sum(&|process| share(process).unwrap_or_else(|| resident(process))),
            bytes => bytes,
        };
        match nameless(&processes) {
            0 => resident_all,
            // What of it is mapped is resident, too.
            files => resident_all + files.saturating_sub(sum(&shared)),
        }
    }

    /// The processes of the code.
    fn processes(&self) -> Vec<u32> {
        let mut chain = self.first;
        // The first child of each generation is the next one of ours; what the code leaves behind becomes a
        // later child of the sandbox's first process, and is counted.
        let mut own = vec![chain];
        for _ in 1..self.own {
            match children(chain).first() {
                Some(child) => chain = *child,
                None => return Vec::new(),
            }
            own.push(chain);
        }
        let mut found = Vec::new();
        let mut open = own.clone();
        let mut seen = 0;
        while let Some(process) = open.pop() {
            seen += 1;
            if seen > MAX_PROCESSES {
                break;
            }
            let ours = own.contains(&process);
            if !ours {
                found.push(process);
            }
            open.extend(children(process).into_iter().filter(|child| !own.contains(child)));
        }
        found
    }
}

/// Bytes of all files of no name that these processes have open, each once.
fn nameless(processes: &[u32]) -> u64 {
    let open = processes.iter().filter_map(|process| fs::read_dir(format!("/proc/{process}/fd")).ok());
    let of_memory = |link: &fs::DirEntry| {
        let to = fs::read_link(link.path()).unwrap_or_default();
        NAMELESS.iter().any(|name| to.to_string_lossy().starts_with(name))
    };
    let files = open.flatten().flatten().take(MAX_FILES).filter(of_memory);
    let files = files.filter_map(|link| fs::metadata(link.path()).ok());
    let each: HashMap<_, _> = files.map(|file| ((file.dev(), file.ino()), file.blocks() * BLOCK)).collect();
    each.values().sum()
}

/// Resident bytes that are shared memory.
fn shared(process: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("RssShmem:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0) << 10
}

fn resident(process: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{process}/statm")).unwrap_or_default();
    let pages = text.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0);
    pages * rustix::param::page_size() as u64
}

/// Its pages, those that it shares by its share.
fn share(process: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{process}/smaps_rollup")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    Some(line.trim().trim_end_matches(" kB").parse::<u64>().ok()? << 10)
}

/// In the order in which they were made. Those of every thread: any of them may have forked.
pub(super) fn children(process: u32) -> Vec<u32> {
    let Ok(threads) = fs::read_dir(format!("/proc/{process}/task")) else { return Vec::new() };
    let lists =
        threads.flatten().filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    let mut found: Vec<u32> =
        lists.flat_map(|list| list.split(' ').filter_map(|id| id.parse().ok()).collect::<Vec<_>>()).collect();
    found.sort_unstable();
    found
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use super::*;

    #[test]
    fn children_are_counted_and_the_sandbox_is_not() {
        let mut child = std::process::Command::new("/bin/cat")
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .expect("there is a cat");
        // Once it answers it has loaded all that it will.
        let (mut to, mut from) = (child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
        to.write_all(b"x").expect("written");
        from.read_exact(&mut [0]).expect("answered");
        let me = std::process::id();
        assert!(children(me).contains(&child.id()));
        let family = Family { first: me, own: 1 };
        assert!(family.bytes(u64::MAX) >= resident(child.id()));
        assert!(resident(child.id()) > 0);
        // It shares its libraries with others.
        let shares = share(child.id()).expect("ours");
        assert!(0 < shares && shares < resident(child.id()), "{shares}");
        drop(to);
        child.wait().expect("ends");
        assert_eq!(Family { first: u32::MAX, own: 3 }.bytes(0), 0);
    }
}
