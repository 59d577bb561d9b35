//! Processors.

use std::fs;
use std::path::Path;

use super::checks::{SMT, VIRTUALIZATION, VULNERABILITIES};
use super::demand::{Demand, Need};
use super::{Finding, look};

pub(super) fn all(demand: &Demand) -> Vec<Finding> {
    let nested = ["kvm_intel", "kvm_amd"]
        .iter()
        .find_map(|module| look::text(format!("/sys/module/{module}/parameters/nested")));
    let cpuinfo = look::text("/proc/cpuinfo").unwrap_or_default();
    vec![
        virtualization(demand.kvm, &cpuinfo, nested.as_deref()),
        smt(look::text("/sys/devices/system/cpu/smt/active").as_deref()),
        vulnerabilities(&read_all(Path::new("/sys/devices/system/cpu/vulnerabilities"))),
    ]
}

/// `vmx` and `svm` are the two makers' virtualization; `hypervisor` is set inside of a virtual machine.
fn virtualization(need: Need, cpuinfo: &str, nested: Option<&str>) -> Finding {
    let flags: Vec<&str> = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("flags")?.split_once(':'))
        .map(|(_, flags)| flags.split_whitespace().collect())
        .unwrap_or_default();
    let kind = ["vmx", "svm"].into_iter().find(|kind| flags.contains(kind));
    let guest = flags.contains(&"hypervisor");
    let deeper = match nested {
        Some("Y" | "1") => "; KVM would also offer it to guests (nested=1)",
        _ => "",
    };
    match (kind, guest) {
        (Some(kind), false) => Finding::ok(&VIRTUALIZATION, format!("{kind}, on bare metal{deeper}")),
        (None, _) if need == Need::No => {
            Finding::ok(&VIRTUALIZATION, "none, and none is used (vmm.accel: tcg)")
        }
        (Some(kind), true) => Finding::warning(
            &VIRTUALIZATION,
            format!(
                "{kind}, but this host is a virtual machine itself: it works, with slower exits and one \
                 more hypervisor to trust{deeper}"
            ),
            "for production, use a bare-metal host (e.g. an EC2 .metal instance)",
        ),
        (None, true) => Finding::warning(
            &VIRTUALIZATION,
            "none: this host is a virtual machine whose hypervisor does not pass it on",
            "switch on nested virtualization on its host (KVM: kvm_intel.nested=1 and the processor model \
             host), or use a bare-metal host",
        ),
        (None, false) => Finding::warning(
            &VIRTUALIZATION,
            "none",
            "switch on VT-x or AMD-V (SVM) in the firmware's settings",
        ),
    }
}

fn smt(active: Option<&str>) -> Finding {
    match active {
        Some("1") => Finding::warning(
            &SMT,
            "on: guests that share a core can spy on each other through its caches",
            "`echo off > /sys/devices/system/cpu/smt/control`, or boot the host with `nosmt`; leave it on \
             if all jobs trust each other",
        ),
        Some(_) => Finding::ok(&SMT, "off"),
        None => Finding::ok(&SMT, "the kernel shows none"),
    }
}

/// Name and state of each fault that the kernel knows (Documentation/ABI/testing/sysfs-devices-system-cpu).
fn read_all(dir: &Path) -> Vec<(String, String)> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut all: Vec<_> = entries
        .filter_map(|entry| Some((entry.file_name().into_string().ok()?, look::text(entry.path())?)))
        .collect();
    all.sort();
    all
}

fn vulnerabilities(all: &[(String, String)]) -> Finding {
    if all.is_empty() {
        return Finding::warning(
            &VULNERABILITIES,
            "the kernel does not report them",
            "use a kernel with /sys/devices/system/cpu/vulnerabilities (4.15 or later)",
        );
    }
    // A mitigation that holds only without hyper-threads says so behind its name.
    let bad = |state: &str| state.starts_with("Vulnerable") || state.contains("SMT vulnerable");
    let open: Vec<&str> = all.iter().filter(|(_, state)| bad(state)).map(|(name, _)| name.as_str()).collect();
    if open.is_empty() {
        return Finding::ok(&VULNERABILITIES, format!("none of {} known ones affects this host", all.len()));
    }
    Finding::warning(
        &VULNERABILITIES,
        format!("open: {}", open.join(", ")),
        "update microcode and kernel, do not boot with mitigations=off, switch SMT off; `grep . /sys/devices/system/cpu/vulnerabilities/*` says more",
    )
}

#[cfg(test)]
mod tests {
    use super::super::Severity::{self, Ok, Warning};
    use super::*;

    fn of(need: Need, flags: &str, nested: Option<&str>) -> (Severity, String) {
        let finding =
            virtualization(need, &format!("processor : 0\nflags\t\t: fpu {flags}\nbugs : x\n"), nested);
        (finding.severity, finding.found)
    }

    #[test]
    fn metal_nested_and_none() {
        assert_eq!(of(Need::Must, "vmx", None), (Ok, "vmx, on bare metal".to_owned()));
        assert!(of(Need::Must, "svm", Some("1")).1.contains("nested=1"));
        let nested = of(Need::Must, "vmx hypervisor", Some("N"));
        assert!(nested.0 == Warning && nested.1.contains("virtual machine itself"), "{nested:?}");
        assert!(of(Need::Must, "hypervisor", None).1.contains("does not pass it on"));
        assert_eq!(of(Need::Should, "vmxnet", None).0, Warning);
        assert_eq!(of(Need::No, "", None).0, Ok);
    }

    #[test]
    fn hyper_threads_are_warned_of() {
        assert_eq!([smt(Some("1")), smt(Some("0")), smt(None)].map(|f| f.severity), [Warning, Ok, Ok]);
    }

    #[test]
    fn open_faults_are_named() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(vulnerabilities(&read_all(dir.path())).severity, Warning);
        let state = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
        state("meltdown", "Mitigation: PTI\n");
        state("spectre_v2", "Not affected\n");
        assert_eq!(vulnerabilities(&read_all(dir.path())).found, "none of 2 known ones affects this host");
        state("mds", "Mitigation: Clear CPU buffers; SMT vulnerable\n");
        state("l1tf", "Vulnerable\n");
        assert_eq!(vulnerabilities(&read_all(dir.path())).found, "open: l1tf, mds");
    }
}
