//! Firecracker's command line, the jailer's and the guest kernel's.

use std::ffi::OsString;
use std::path::Path;

use fireactions_model::MachineId;

use super::names::{AGENT_PORT, API_SOCKET, LOG, METRICS};
use crate::child::User;
use crate::{VmSpec, spec};

/// What Firecracker adds to the kernel's line: ` virtio_mmio.device=4K@0xc0001000:5` for each device.
const DEVICE_ROOM: usize = 40;

/// Devices beside drives and network cards: vsock, entropy, balloon.
const OTHER_DEVICES: usize = 3;

/// The guest kernel's command line.
pub(crate) fn kernel_line(spec: &VmSpec) -> Result<String, String> {
    // Every end of the guest is a reset through the keyboard controller, which ends Firecracker; so is a panic. The
    // controller has nothing else, so nothing else is looked for, and there is no PCI bus.
    let mut line = String::from("reboot=k panic=-1 quiet pci=off i8042.noaux i8042.nomux i8042.dumbkbd");
    line.push_str(if spec.hardware.console { " console=ttyS0" } else { " 8250.nr_uarts=0" });
    let devices = spec.drives.len() + spec.nics.len() + OTHER_DEVICES;
    spec::finish_kernel_line(line, spec, &format!("vsock={AGENT_PORT}"), devices * DEVICE_ROOM)
}

/// Firecracker's arguments, but for `--id`, which the jailer adds itself.
///
/// Levels below Warning would put requests, and with them kernel arguments, into the log.
pub(crate) const FIRECRACKER: [&str; 9] = [
    "--api-sock",
    API_SOCKET,
    "--log-path",
    LOG,
    "--level",
    "Warning",
    "--show-level",
    "--metrics-path",
    METRICS,
];

/// The jailer's arguments.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Jailed<'a> {
    pub(crate) id: &'a MachineId,
    pub(crate) binary: &'a Path,
    pub(crate) user: User,
    pub(crate) run_dir: &'a Path,
    /// Name of the cgroup below which the machine's is, on a host that has version 2 only.
    pub(crate) unified_parent: Option<&'a str>,
    pub(crate) largest_file: u64,
    pub(crate) open_files: u64,
}

impl Jailed<'_> {
    /// The jailer's arguments, with Firecracker's behind `--`.
    pub(crate) fn arguments(&self) -> Vec<OsString> {
        let mut line: Vec<OsString> = Vec::new();
        let mut add = |option: &str, value: OsString| line.extend([option.into(), value]);
        add("--id", self.id.as_str().into());
        add("--exec-file", self.binary.into());
        add("--uid", self.user.uid.to_string().into());
        add("--gid", self.user.gid.to_string().into());
        add("--chroot-base-dir", self.run_dir.into());
        match self.unified_parent {
            // Without a parent the jailer would move itself out of our cgroup into one named after Firecracker, where
            // somebody has made that.
            Some(parent) => {
                add("--cgroup-version", "2".into());
                add("--parent-cgroup", format!("{parent}/{}", self.id).into());
            }
            // And without version 2 it would look for it. It is in its cgroups already.
            None => add("--cgroup-version", "1".into()),
        }
        add("--resource-limit", format!("fsize={}", self.largest_file).into());
        add("--resource-limit", format!("no-file={}", self.open_files).into());
        line.extend(["--new-pid-ns", "--"].map(OsString::from));
        line.extend(FIRECRACKER.map(OsString::from));
        line
    }
}

/// The machine whose Firecracker, or jailer on the way to it, has these arguments. Firecrackers of others have other
/// arguments.
pub(crate) fn marked(arguments: &[Vec<u8>]) -> Option<MachineId> {
    let has = |pair: [&str; 2]| {
        arguments.windows(2).any(|words| words[0] == pair[0].as_bytes() && words[1] == pair[1].as_bytes())
    };
    if !has(["--api-sock", API_SOCKET]) || !has(["--log-path", LOG]) || !has(["--metrics-path", METRICS]) {
        return None;
    }
    let id = arguments.windows(2).find(|words| words[0] == b"--id")?;
    MachineId::new(std::str::from_utf8(&id[1]).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::tests::spec;

    fn jailed(id: &MachineId) -> Jailed<'_> {
        Jailed {
            id,
            binary: Path::new("/usr/bin/firecracker"),
            user: User { uid: 20_007, gid: 20_007 },
            run_dir: Path::new("/run/m"),
            unified_parent: None,
            largest_file: 1 << 30,
            open_files: 512,
        }
    }

    fn words(line: &[OsString]) -> Vec<Vec<u8>> {
        line.iter().map(|word| word.clone().into_encoded_bytes()).collect()
    }

    #[test]
    fn the_jailer_is_told_everything_that_it_limits() {
        let spec = spec();
        let line = |jailed: Jailed| {
            let line: Vec<_> =
                jailed.arguments().iter().map(|word| word.to_string_lossy().into_owned()).collect();
            line.join(" ")
        };
        assert_eq!(
            line(jailed(&spec.id)),
            format!(
                "--id {} --exec-file /usr/bin/firecracker --uid 20007 --gid 20007 --chroot-base-dir /run/m --cgroup-version 1 \
                 --resource-limit fsize=1073741824 --resource-limit no-file=512 --new-pid-ns -- --api-sock api.sock \
                 --log-path log --level Warning --show-level --metrics-path metrics",
                spec.id
            )
        );
        let other = Jailed { unified_parent: Some("f"), ..jailed(&spec.id) };
        let line = line(other);
        assert!(line.contains(&format!("--cgroup-version 2 --parent-cgroup f/{} ", spec.id)), "{line}");
    }

    #[test]
    fn a_mark_is_read_from_the_jailer_and_from_firecracker() {
        let id = spec().id;
        let jailer = words(&jailed(&id).arguments());
        assert_eq!(marked(&jailer), Some(id.clone()));
        let mut firecracker = vec![b"/firecracker".to_vec(), b"--id".to_vec(), id.as_str().into()];
        assert_eq!(marked(&firecracker), None, "another's Firecracker");
        firecracker.extend(FIRECRACKER.map(|word| word.as_bytes().to_vec()));
        assert_eq!(marked(&firecracker), Some(id));
        firecracker[2] = b"../..".to_vec();
        assert_eq!(marked(&firecracker), None);
        assert_eq!(marked(&[]), None);
    }

    #[test]
    fn the_kernel_has_a_serial_port_only_when_asked_for() {
        let mut spec = spec();
        let quiet = kernel_line(&spec).unwrap();
        assert_eq!(
            quiet,
            "reboot=k panic=-1 quiet pci=off i8042.noaux i8042.nomux i8042.dumbkbd 8250.nr_uarts=0 fireactions.init=agent \
             fireactions.root=/dev/vda fireactions.scratch=/dev/vdb fireactions.vsock=1024"
        );
        spec.hardware.console = true;
        let line = kernel_line(&spec).unwrap();
        assert!(line.contains(" console=ttyS0 ") && !line.contains("nr_uarts"), "{line}");
        spec.cmdline_extra = "x".repeat(1700);
        assert!(
            kernel_line(&spec).unwrap_err().contains("the kernel takes 2047"),
            "Firecracker's part counts"
        );
    }
}
