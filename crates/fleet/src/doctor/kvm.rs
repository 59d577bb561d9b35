//! KVM: who may open it, and does it run a guest?

use std::fs::{self, Metadata};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::time::Duration;

use fireactions_probe::kvm::Ran;
use fireactions_vmm::accel::may_open_unprivileged;
use rustix::process::geteuid;

use super::checks::{Check, KVM_DEVICE, KVM_RUNS};
use super::demand::{Demand, Need};
use super::{Finding, Subject, look};

const DEVICE: &str = "/dev/kvm";

/// Until the guest of a few instructions must have ended: a thousand times what it takes.
const DEADLINE: Duration = Duration::from_secs(5);

/// Any processor of the last fifteen years does ten times more instructions a second, with all that may disturb it,
/// and an interpreter ten times fewer.
const INTERPRETED: u64 = 50_000_000;

/// What is known of the device.
enum Device {
    Absent,
    /// Mode bits and group, and whether others than root may come in.
    There {
        mode: u32,
        gid: u32,
        others: bool,
    },
}

impl Device {
    fn of(meta: Option<&Metadata>) -> Self {
        match meta.filter(|meta| meta.file_type().is_char_device()) {
            Some(meta) => Self::There {
                mode: meta.mode() & 0o777,
                gid: meta.gid(),
                others: may_open_unprivileged(meta),
            },
            None => Self::Absent,
        }
    }
}

/// `jailed`: each machine has a device file of its own.
pub(super) async fn all(subject: &Subject, demand: &Demand, jailed: bool) -> Vec<Finding> {
    let device = Device::of(fs::metadata(DEVICE).ok().as_ref());
    let mut findings = vec![access(demand.kvm, &device, jailed)];
    if matches!(device, Device::There { .. }) {
        findings.push(runs(demand.kvm, &try_guest(&subject.program).await));
    }
    findings
}

/// As bad as the need for KVM makes it.
fn bad(need: Need, check: &'static Check, found: String, advice: &str) -> Finding {
    match need {
        Need::Must => Finding::error(check, found, advice),
        Need::Should => Finding::warning(check, found, advice),
        Need::No => Finding::ok(check, format!("{found}; not used (vmm.accel: tcg)")),
    }
}

fn access(need: Need, device: &Device, jailed: bool) -> Finding {
    match device {
        Device::Absent => bad(
            need,
            &KVM_DEVICE,
            format!("there is no {DEVICE}"),
            "`modprobe kvm_intel` or `modprobe kvm_amd`; in a container, pass /dev/kvm in; in a virtual \
             machine, switch on nested virtualization on its host",
        ),
        Device::There { mode, others: true, .. } => {
            Finding::ok(&KVM_DEVICE, format!("exists, mode {mode:04o}, for machines' users too"))
        }
        Device::There { mode, .. } if jailed => Finding::ok(
            &KVM_DEVICE,
            format!(
                "exists, mode {mode:04o}; the jailer makes one for each \
                 machine"
            ),
        ),
        Device::There { mode, gid, .. } => bad(
            need,
            &KVM_DEVICE,
            format!("exists, but only for root (mode {mode:04o}, group {gid}), and no machine runs as root"),
            "`chgrp kvm /dev/kvm && chmod 0660 /dev/kvm`, and a udev rule: KERNEL==\"kvm\", GROUP=\"kvm\", MODE=\"0660\"",
        ),
    }
}

/// By another process, which is given up when it does not answer.
async fn try_guest(program: &Path) -> Result<Ran, String> {
    let answer = look::ask(program, &["doctor", "--probe-kvm"], DEADLINE).await.map_err(|why| {
        if why.contains("did not answer") {
            format!("a guest of ten instructions did not end within {} s", DEADLINE.as_secs())
        } else {
            why
        }
    })?;
    if answer.status.success() {
        serde_json::from_str(&answer.stdout)
            .map_err(|error| format!("the probe's output is not readable: {error}"))
    } else {
        Err(answer.stderr.lines().next().unwrap_or("the probe died without output").to_owned())
    }
}

fn runs(need: Need, result: &Result<Ran, String>) -> Finding {
    match result {
        Ok(ran) if ran.rate() >= INTERPRETED => Finding::ok(
            &KVM_RUNS,
            format!(
                "a guest ran after {} µs, a million instructions of its kernel take {} µs",
                ran.first_us, ran.us
            ),
        ),
        Ok(ran) => bad(
            need,
            &KVM_RUNS,
            format!(
                "a guest ran, but KVM interprets guests' instructions here, {} thousand instructions a \
                 second: unusable for real work",
                ran.rate() / 1000
            ),
            "use a bare-metal host or one with real nested virtualization; on this one set vmm.driver to \
             qemu and vmm.accel to tcg (or auto)",
        ),
        Err(why) if !geteuid().is_root() && why.contains("does not open") => {
            Finding::warning(&KVM_RUNS, format!("not tried: {why}"), "run `sudo fireactions doctor`")
        }
        Err(why) => bad(
            need,
            &KVM_RUNS,
            format!("no guest runs: {why}"),
            "look into `dmesg | grep -i kvm`; load the module for this processor, or use another host (on this one, vmm.driver: qemu with vmm.accel: tcg)",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Severity::{Error, Ok as Fine, Warning};
    use super::*;

    #[test]
    fn absence_is_as_bad_as_the_need() {
        let of = |need| access(need, &Device::Absent, true).severity;
        assert_eq!([of(Need::Must), of(Need::Should), of(Need::No)], [Error, Warning, Fine]);
    }

    #[test]
    fn a_device_for_root_alone_is_enough_for_the_jailer() {
        let device = |mode, others| Device::There { mode, gid: 0, others };
        let of = |device, jailed| access(Need::Must, &device, jailed).severity;
        assert_eq!(of(device(0o666, true), false), Fine);
        assert_eq!(of(device(0o600, false), true), Fine);
        assert_eq!(of(device(0o600, false), false), Error);
    }

    #[test]
    fn a_device_is_a_character_device() {
        assert!(matches!(
            Device::of(fs::metadata("/dev/null").ok().as_ref()),
            Device::There { others: true, .. }
        ));
        assert!(matches!(Device::of(fs::metadata("/").ok().as_ref()), Device::Absent));
        assert!(matches!(Device::of(None), Device::Absent));
    }

    #[test]
    fn interpretation_is_told_from_a_processor() {
        let ran = |us| Ok(Ran { first_us: 500, instructions: 1_000_000, us });
        assert_eq!(runs(Need::Must, &ran(400)).severity, Fine);
        let slow = runs(Need::Must, &ran(610_529));
        assert!(
            slow.severity == Error
                && slow.found.contains(
                    "interprets guests' instructions here, 1637 \
                 thousand"
                ),
            "{slow:?}"
        );
        assert_eq!(runs(Need::Should, &ran(610_529)).severity, Warning);
        let dead = runs(Need::Must, &Err("a guest of ten instructions did not end within 5 s".to_owned()));
        assert!(
            dead.severity == Error && dead.found.starts_with("no guest runs: a guest of ten"),
            "{dead:?}"
        );
        assert_eq!(runs(Need::No, &Err("x".to_owned())).severity, Fine);
    }

    #[tokio::test]
    async fn what_the_probe_says_is_read_and_what_it_does_not_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let program = |name: &str, script: &str| {
            let path = dir.path().join(name);
            fireactions_testkit::program::write(&path, &format!("#!/bin/sh\n{script}\n"));
            path
        };
        let good = program("good", r#"echo '{"first_us": 1, "instructions": 2, "us": 3}'"#);
        assert_eq!(try_guest(&good).await, Ok(Ran { first_us: 1, instructions: 2, us: 3 }));
        let bad = program("bad", "echo 'the guest does not run' >&2; exit 1");
        assert_eq!(try_guest(&bad).await, Err("the guest does not run".to_owned()));
        let mute = program("mute", "true");
        assert!(try_guest(&mute).await.unwrap_err().contains("is not readable"));
        let hung = program("hung", "exec sleep 60");
        assert_eq!(try_guest(&hung).await.unwrap_err(), "a guest of ten instructions did not end within 5 s");
    }
}
