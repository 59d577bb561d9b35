//! The host itself: rights and memory.

use fireactions_config::Host;
use rustix::process::geteuid;

use super::checks::{HUGE_PAGES, KSM, ROOT, SIZE, SWAP};
use super::demand::Demand;
use super::{Finding, look};

pub(super) fn all(demand: &Demand) -> Vec<Finding> {
    vec![
        root(),
        size(Host::detect()),
        swap(look::text("/proc/swaps").as_deref()),
        ksm(look::text("/sys/kernel/mm/ksm/run").as_deref()),
        huge_pages(demand, look::text("/proc/meminfo").as_deref().unwrap_or_default()),
    ]
}

fn root() -> Finding {
    if geteuid().is_root() {
        return Finding::ok(&ROOT, "running as root");
    }
    Finding::warning(
        &ROOT,
        format!("running as uid {}", geteuid().as_raw()),
        "the server needs root, and without root some checks say less: run `sudo fireactions doctor`",
    )
}

fn size(host: Host) -> Finding {
    let cpus = host.vcpus.map_or_else(|| "unknown".to_owned(), |cpus| cpus.to_string());
    match host.memory_mib {
        Some(mib) if mib < 1024 => Finding::warning(
            &SIZE,
            format!("{cpus} CPUs, {mib} MiB memory"),
            "add memory: a machine needs its own memory and about 64 MiB more, so expect one or two at once",
        ),
        Some(mib) => Finding::ok(&SIZE, format!("{cpus} CPUs, {mib} MiB memory")),
        None => Finding::warning(
            &SIZE,
            "/proc/meminfo cannot be read",
            "set host.memory_mib in the configuration",
        ),
    }
}

/// A line of /proc/swaps for each area in use, below a heading (proc_swaps(5)).
fn swap(swaps: Option<&str>) -> Finding {
    let areas: Vec<&str> =
        swaps.unwrap_or_default().lines().skip(1).filter_map(|line| line.split_whitespace().next()).collect();
    if areas.is_empty() {
        return Finding::ok(&SWAP, "none");
    }
    Finding::warning(
        &SWAP,
        format!(
            "in use: {}; guests' memory can be written to it, and a host that swaps stalls every guest",
            areas.join(", ")
        ),
        "`swapoff -a`, and remove swap from /etc/fstab; or encrypt it with a new key at each boot",
    )
}

/// 0 stopped, 1 running, 2 stopped and undone (Documentation/admin-guide/mm/ksm.rst).
fn ksm(run: Option<&str>) -> Finding {
    match run {
        None => Finding::ok(&KSM, "this kernel has none"),
        Some("0" | "2") => Finding::ok(&KSM, "off"),
        Some(_) => Finding::warning(
            &KSM,
            "on: the duration of a write tells a guest that another has the same page",
            "`echo 2 > /sys/kernel/mm/ksm/run`, and disable ksm.service and ksmtuned.service",
        ),
    }
}

fn huge_pages(demand: &Demand, meminfo: &str) -> Finding {
    let field = |name: &str| -> u64 {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
    };
    let (one, all) = demand.huge_mib;
    let (reserved, page_kib) = (field("HugePages_Total"), field("Hugepagesize"));
    if one == 0 {
        return Finding::ok(&HUGE_PAGES, format!("no pool asks for hugetlbfs; {reserved} reserved"));
    }
    let usable = if page_kib == 2048 { reserved * 2 } else { 0 };
    let found = format!("{reserved} pages of {page_kib} KiB reserved; the pools want {all} MiB");
    let advice = format!(
        "`sysctl -w vm.nr_hugepages={}` early after boot, and a file in /etc/sysctl.d",
        all.div_ceil(2)
    );
    match usable {
        mib if mib < one => Finding::error(&HUGE_PAGES, format!("{found}: no machine starts"), advice),
        mib if mib < all => Finding::warning(&HUGE_PAGES, found, advice),
        _ => Finding::ok(&HUGE_PAGES, found),
    }
}

#[cfg(test)]
mod tests {
    use fireactions_config::Driver;

    use super::super::Severity::{Error, Ok, Warning};
    use super::super::demand::Need;
    use super::*;

    #[test]
    fn little_memory_is_said() {
        let of = |memory_mib| size(Host { vcpus: Some(2), memory_mib }).severity;
        assert_eq!([of(Some(512)), of(Some(4096)), of(None)], [Warning, Ok, Warning]);
    }

    #[test]
    fn swap_areas_are_named() {
        let heading = "Filename\tType\tSize\tUsed\tPriority\n";
        assert_eq!([swap(None).severity, swap(Some(heading)).severity], [Ok, Ok]);
        let found = swap(Some(&format!("{heading}/dev/sda2 partition 1 0 -2\n/swap file 1 0 -3\n")));
        assert!(found.severity == Warning && found.found.contains("/dev/sda2, /swap"), "{found:?}");
    }

    #[test]
    fn merging_is_off_or_warned_of() {
        let of = |run| ksm(run).severity;
        assert_eq!([of(None), of(Some("0")), of(Some("1")), of(Some("2"))], [Ok, Ok, Warning, Ok]);
    }

    #[test]
    fn huge_pages_must_do_for_one_and_should_for_all() {
        let mut demand = Demand::some(Driver::Firecracker, Need::Must);
        let of = |demand: &Demand, pages: u64| {
            huge_pages(demand, &format!("MemTotal: 1 kB\nHugePages_Total: {pages}\nHugepagesize: 2048 kB\n"))
        };
        assert_eq!(of(&demand, 0).severity, Ok);
        demand.huge_mib = (1024, 4096);
        assert_eq!(
            [0, 511, 512, 2047, 2048].map(|pages| of(&demand, pages).severity),
            [Error, Error, Warning, Warning, Ok]
        );
        assert!(of(&demand, 0).advice.unwrap().contains("vm.nr_hugepages=2048"));
        let gigantic = huge_pages(&demand, "HugePages_Total: 16\nHugepagesize: 1048576 kB\n");
        assert_eq!(gigantic.severity, Error, "the VMMs take pages of 2 MiB only");
    }
}
