//! Limits of processes.

use std::fs;
use std::path::Path;

use super::checks::{FILES, MAPS, TASKS};
use super::demand::Demand;
use super::{Finding, look};

/// Descriptors of the server beside its machines': its listeners hold up to 1,200 connections (docs/api.md, Limits), and there
/// are its database, logs that are followed, uploads and pulls.
const FILES_OF_SERVER: u64 = 2048;
/// Of each machine: sockets, console, log, two disks when it starts.
const FILES_OF_MACHINE: u64 = 16;

/// Processes and threads that the rest of the host may have.
const TASKS_OF_OTHERS: u64 = 2048;

/// The kernel's own default.
const MAPS_USUAL: u64 = 65_530;

pub(super) fn all(demand: &Demand) -> Vec<Finding> {
    let kernel = |name: &str| look::number(Path::new("/proc/sys").join(name)).unwrap_or(0);
    let server = server_limits(Path::new("/proc"));
    let own = look::text("/proc/self/limits").unwrap_or_default();
    vec![
        open_files(demand, server.as_deref(), &own),
        tasks(demand, kernel("kernel/pid_max"), kernel("kernel/threads-max")),
        maps(kernel("vm/max_map_count")),
    ]
}

/// The limits of a server that runs.
fn server_limits(proc: &Path) -> Option<String> {
    fs::read_dir(proc).ok()?.flatten().find_map(|entry| {
        let dir = entry.path();
        entry.file_name().to_str()?.parse::<u32>().ok()?;
        let line = fs::read(dir.join("cmdline")).ok()?;
        let mut words = line.split(|byte| *byte == 0);
        let program = words.next()?.rsplit(|byte| *byte == b'/').next()?;
        let is_server = program == b"fireactions" && words.any(|word| word == b"server");
        is_server.then(|| look::text(dir.join("limits"))).flatten()
    })
}

/// `Max open files  1024  1048576  files`: soft, then hard (proc_pid_limits(5)). The hard one counts: a server raises its soft
/// one to it.
fn most_files(limits: &str) -> Option<u64> {
    let rest = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    match rest.split_whitespace().nth(1)? {
        "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    }
}

fn open_files(demand: &Demand, server: Option<&str>, own: &str) -> Finding {
    let (whose, text) = server.map_or(("this process", own), |limits| ("the running server", limits));
    let need = FILES_OF_SERVER + demand.machines * FILES_OF_MACHINE;
    let advice = format!(
        "`LimitNOFILE={}` in the service's unit (`systemctl edit fireactions`), or `ulimit -Hn` before the server",
        need.next_power_of_two().max(65_536)
    );
    match most_files(text) {
        Some(limit) if limit >= need => Finding::ok(
            &FILES,
            format!("{whose} may have {limit}; {} machines take up to {need}", demand.machines),
        ),
        Some(limit) => {
            let found =
                format!("{whose} may have {limit}, but {} machines take up to {need}", demand.machines);
            Finding::warning(&FILES, found, advice)
        }
        None => Finding::warning(&FILES, format!("the limits of {whose} cannot be read"), advice),
    }
}

fn tasks(demand: &Demand, pid_max: u64, threads_max: u64) -> Finding {
    let need = demand.threads + demand.machines + TASKS_OF_OTHERS;
    let found =
        format!("pid_max {pid_max}, threads-max {threads_max}; all machines take up to {}", demand.threads);
    if pid_max.min(threads_max) >= need {
        return Finding::ok(&TASKS, found);
    }
    let advice = format!(
        "`sysctl -w kernel.pid_max={0} kernel.threads-max={0}`, and a file in /etc/sysctl.d",
        need.next_power_of_two()
    );
    Finding::warning(&TASKS, found, advice)
}

fn maps(count: u64) -> Finding {
    let found = format!("vm.max_map_count is {count}");
    if count >= MAPS_USUAL {
        return Finding::ok(&MAPS, found);
    }
    Finding::warning(
        &MAPS,
        found,
        format!("`sysctl -w vm.max_map_count={MAPS_USUAL}`: databases need as many, VMMs a few hundred"),
    )
}

#[cfg(test)]
mod tests {
    use fireactions_config::Driver;

    use super::super::Severity::{Ok as Fine, Warning};
    use super::super::demand::Need;
    use super::*;

    const LIMITS: &str = "Limit                     Soft Limit           Hard Limit           Units\n\
        Max processes             unlimited            unlimited            processes\n\
        Max open files            1024                 1048576              files\n";

    #[test]
    fn the_servers_limit_counts_before_ours() {
        let mut demand = Demand::some(Driver::Qemu, Need::Should);
        // The soft limit is the server's to raise.
        assert_eq!(open_files(&demand, None, LIMITS).severity, Fine);
        let few = LIMITS.replace("1048576", "4096");
        assert_eq!(open_files(&demand, None, &few).severity, Fine);
        demand.machines = 200;
        let finding = open_files(&demand, None, &few);
        assert!(
            finding.severity == Warning && finding.found.starts_with("this process may have 4096"),
            "{finding:?}"
        );
        assert!(finding.advice.unwrap().contains("LimitNOFILE=65536"));
        let more = LIMITS.replace("1048576", "65536");
        assert!(
            open_files(&demand, Some(&more), &few).found.starts_with("the running server may have 65536")
        );
        assert_eq!(open_files(&demand, None, "").severity, Warning);
        demand.machines = 10_000;
        assert!(open_files(&demand, None, &few).advice.unwrap().contains("LimitNOFILE=262144"));
    }

    #[test]
    fn a_running_server_is_found_by_its_command_line() {
        let dir = tempfile::tempdir().unwrap();
        let process = |pid: &str, line: &str| {
            fs::create_dir(dir.path().join(pid)).unwrap();
            fs::write(dir.path().join(pid).join("cmdline"), line.replace(' ', "\0")).unwrap();
            fs::write(dir.path().join(pid).join("limits"), pid).unwrap();
        };
        process("12", "fireactions doctor");
        process("self", "fireactions server");
        assert_eq!(server_limits(dir.path()), None);
        process("77", "/usr/local/bin/fireactions server --config x");
        assert_eq!(server_limits(dir.path()).as_deref(), Some("77"));
    }

    #[test]
    fn threads_and_mappings() {
        let demand = Demand::some(Driver::Qemu, Need::Should);
        assert_eq!(tasks(&demand, 32_768, 30_000).severity, Fine);
        let few = tasks(&demand, 1000, 30_000);
        assert!(few.severity == Warning && few.advice.unwrap().contains("kernel.pid_max=4096"));
        assert_eq!([maps(65_530).severity, maps(1000).severity], [Fine, Warning]);
    }
}
