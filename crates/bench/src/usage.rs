//! What processes used.

use std::time::Duration;

use anyhow::Context;
use nix::sys::resource::{Usage, UsageWho, getrusage};
use nix::sys::time::TimeVal;
use nix::time::clock_getcpuclockid;
use nix::unistd::Pid;

/// Processor time of this process and of its children that have ended.
pub fn cpu() -> anyhow::Result<Duration> {
    let (own, children) = cpu_apart()?;
    Ok(own + children)
}

/// The same, of each.
pub fn cpu_apart() -> anyhow::Result<(Duration, Duration)> {
    let (own, children) = (getrusage(UsageWho::RUSAGE_SELF)?, getrusage(UsageWho::RUSAGE_CHILDREN)?);
    Ok((cpu_of(&own), cpu_of(&children)))
}

fn cpu_of(usage: &Usage) -> Duration {
    let time = |value: TimeVal| {
        Duration::from_secs(value.tv_sec().unsigned_abs())
            + Duration::from_micros(value.tv_usec().unsigned_abs())
    };
    time(usage.user_time()) + time(usage.system_time())
}

/// Processor time of another process, and of its children that have ended: theirs to ten milliseconds.
pub fn cpu_of_process(pid: u32) -> anyhow::Result<Duration> {
    let own = clock_getcpuclockid(Pid::from_raw(pid.try_into()?))?.now()?;
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name in field 2 may hold spaces: fields 16 and 17 are counted from its end.
    let fields = text.rsplit_once(')').context("no name in stat")?.1.split_whitespace().skip(13).take(2);
    let ticks: u64 = fields.map(str::parse::<u64>).sum::<Result<u64, _>>()?;
    // The unit of /proc/PID/stat is fixed at a hundredth of a second on x86-64.
    Ok(Duration::from(own) + Duration::from_millis(ticks * 10))
}

/// Most resident memory in MiB: this process's, and that of its largest child that has ended.
#[allow(clippy::cast_precision_loss, reason = "sizes of processes are far below 2^52")]
pub fn peaks() -> anyhow::Result<(f64, f64)> {
    let mib = |who| anyhow::Ok(getrusage(who)?.max_rss() as f64 / 1024.0);
    Ok((mib(UsageWho::RUSAGE_SELF)?, mib(UsageWho::RUSAGE_CHILDREN)?))
}

/// Resident memory of a process now, in MiB.
pub fn resident(pid: u32) -> anyhow::Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kib: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib / 1024.0)
}

/// A process's part of the host's memory in MiB: its own pages, and its share of those that others map too.
pub fn proportional(pid: u32) -> anyhow::Result<f64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:")).context("no Pss")?;
    let kib: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib / 1024.0)
}
