//! What the operating system says of processes and of this machine. Must never name a path or a host.

use std::fs;

use anyhow::{Context as _, Result};

/// Clock ticks of `/proc` in a second; Linux has shown no other number to programs for decades.
const TICKS: f64 = 100.0;

/// Processor time of a process so far, user and system, in seconds.
pub(crate) fn cpu_seconds(pid: u32) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).context("the process is gone")?;
    // The name may hold spaces and ends with the last parenthesis.
    let rest = stat.rsplit_once(')').context("an unknown form of /proc")?.1;
    let field = |n: usize| rest.split_whitespace().nth(n).and_then(|f| f.parse::<f64>().ok());
    let (user, system) = (field(11), field(12));
    Ok((user.context("no user time")? + system.context("no system time")?) / TICKS)
}

/// Processor time that this machine spent on anything so far, in seconds of one core.
pub(crate) fn busy_seconds() -> Result<f64> {
    let stat = fs::read_to_string("/proc/stat")?;
    let line = stat.lines().next().context("an unknown form of /proc/stat")?;
    let fields: Vec<f64> = line.split_whitespace().skip(1).filter_map(|f| f.parse().ok()).collect();
    // user, nice, system, then idle and waiting for the disk, then interrupts.
    let busy = [0, 1, 2, 5, 6].iter().filter_map(|n| fields.get(*n)).sum::<f64>();
    Ok(busy / TICKS)
}

/// How much of this machine is busy now, 0 to 1: measured for two seconds in which we do nothing.
pub(crate) fn busy_share() -> Result<f64> {
    let (before, time) = (busy_seconds()?, std::time::Duration::from_secs(2));
    pause(time);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    Ok((busy_seconds()? - before) / time.as_secs_f64() / cores as f64)
}

/// One line of `/proc/PID/status` in KiB: `VmRSS` now, `VmHWM` at most.
pub(crate) fn memory_kib(pid: u32, field: &str) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).context("the process is gone")?;
    let line = status.lines().find_map(|l| l.strip_prefix(field)?.strip_prefix(':'));
    let number = line.and_then(|l| l.split_whitespace().next()?.parse().ok());
    number.with_context(|| format!("no {field}"))
}

/// One number of `/proc/PID/io`: `syscw` calls that wrote to anything, `write_bytes` to a disk.
pub(crate) fn io(pid: u32, field: &str) -> Result<u64> {
    let io = fs::read_to_string(format!("/proc/{pid}/io")).context("the process is gone")?;
    let number = io.lines().find_map(|l| l.strip_prefix(field)?.strip_prefix(':')?.trim().parse().ok());
    number.with_context(|| format!("no {field}"))
}

/// Waits a little before a foreign process is looked at again.
#[expect(clippy::disallowed_methods, reason = "a foreign process announces nothing that could be awaited")]
pub(crate) fn pause(time: std::time::Duration) {
    std::thread::sleep(time);
}

/// This machine in one line.
pub(crate) fn describe() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpus = read("/proc/cpuinfo");
    let model =
        cpus.lines().find_map(|l| l.strip_prefix("model name")?.split_once(':')).map_or("", |m| m.1.trim());
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let memory = read("/proc/meminfo");
    let memory: f64 = memory
        .lines()
        .find_map(|l| l.strip_prefix("MemTotal:")?.split_whitespace().next()?.parse().ok())
        .unwrap_or(0.0);
    let kernel = read("/proc/sys/kernel/osrelease");
    format!("{model}, {cores} cores, {:.0} GiB, Linux {}", memory / 1024.0 / 1024.0, kernel.trim())
}
