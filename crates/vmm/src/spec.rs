//! What every driver requires of a machine's specification, and the kernel arguments of every guest.

use std::fmt::Write;

use fireactions_model::InitMode;

use crate::{Drive, VmSpec};

/// Most drives and network cards of a machine.
pub(crate) const DRIVES_MAX: usize = 8;
pub(crate) const NICS_MAX: usize = 4;

/// What x86 kernels accept (`COMMAND_LINE_SIZE`), less the final zero.
const KERNEL_LINE_MAX: usize = 2047;

/// Refuses what cannot be run, in words.
pub(crate) fn check(spec: &VmSpec) -> Result<(), String> {
    if spec.vcpus == 0 {
        return Err("it has no virtual CPU; give it at least 1".to_owned());
    }
    if spec.memory_mib < 64 {
        return Err(format!(
            "{} MiB of memory is too little for a kernel; give it at least 64",
            spec.memory_mib
        ));
    }
    if spec.drives.len() > DRIVES_MAX || spec.nics.len() > NICS_MAX {
        return Err(format!("more than {DRIVES_MAX} drives or {NICS_MAX} network cards"));
    }
    for (index, Drive { id, .. }) in spec.drives.iter().enumerate() {
        let tail = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let fine =
            id.len() <= 32 && id.starts_with(|c: char| c.is_ascii_alphabetic()) && id.chars().all(tail);
        if !fine || spec.drives[..index].iter().any(|other| other.id == *id) {
            return Err(format!("'{id}' is not a usable drive id or is used twice"));
        }
    }
    let words = spec.guest.modules_load.iter().chain(&spec.guest.data_dirs).chain(&spec.guest.work_folder);
    if let Some(odd) = words.into_iter().find(|word| !word.chars().all(|c| c.is_ascii_graphic())) {
        return Err(format!(
            "'{odd}' cannot stand on the kernel command line: use printable ASCII without spaces"
        ));
    }
    if !spec.cmdline_extra.chars().all(|c| c == ' ' || c.is_ascii_graphic()) {
        return Err("the kernel arguments contain something other than printable ASCII".to_owned());
    }
    Ok(())
}

/// Adds the agent's words and the configured ones. `channel` is how the agent reaches the host; the VMM itself adds
/// `room` bytes later.
pub(crate) fn finish_kernel_line(
    mut line: String,
    spec: &VmSpec,
    channel: &str,
    room: usize,
) -> Result<String, String> {
    line.push_str(match spec.init {
        InitMode::Agent => " fireactions.init=agent",
        InitMode::Image => " fireactions.init=image",
    });
    for (letter, drive) in ('a'..).zip(&spec.drives) {
        // Others are told with the machine's identity.
        if let id @ ("root" | "scratch" | "modules") = drive.id.as_str() {
            let _ = write!(line, " fireactions.{id}=/dev/vd{letter}");
        }
    }
    let _ = write!(line, " fireactions.{channel}");
    for (word, values) in [("load", &spec.guest.modules_load), ("data", &spec.guest.data_dirs)] {
        for value in values {
            let _ = write!(line, " fireactions.{word}={value}");
        }
    }
    if let Some(folder) = &spec.guest.work_folder {
        let _ = write!(line, " fireactions.work={folder}");
    }
    if spec.guest.swap_mib > 0 {
        let _ = write!(line, " fireactions.swap={}", spec.guest.swap_mib);
    }
    if !spec.cmdline_extra.is_empty() {
        line.push(' ');
        line.push_str(&spec.cmdline_extra);
    }
    if line.len() + room > KERNEL_LINE_MAX {
        return Err(format!(
            "the kernel command line has {} bytes, of which {} are configured arguments; the kernel takes {KERNEL_LINE_MAX}",
            line.len() + room,
            spec.cmdline_extra.len()
        ));
    }
    Ok(line)
}

#[cfg(test)]
pub(crate) mod tests {
    use fireactions_model::MachineId;

    use super::*;
    use crate::Nic;
    use crate::boot::BootFiles;

    /// A machine with root and scratch disk and a network card.
    pub(crate) fn spec() -> VmSpec {
        let drive = |id: &str, read_only| Drive { id: id.to_owned(), path: "/secret/path".into(), read_only };
        VmSpec {
            id: MachineId::from_random([7; 8]),
            boot: BootFiles { kernel: "/k".into(), initrd: "/i".into(), modules: None },
            cmdline_extra: String::new(),
            vcpus: 2,
            memory_mib: 512,
            drives: vec![drive("root", true), drive("scratch", false)],
            nics: vec![Nic { tap: "tap0".to_owned(), mac: [2, 0, 0, 0, 0, 10], bandwidth_mbit: None }],
            run_dir: "/run".into(),
            uid: 1000,
            gid: 1000,
            console_max: 4096,
            init: InitMode::Agent,
            start: crate::Start::Boot,
            hardware: fireactions_model::Hardware::default(),
            guest: fireactions_model::GuestSetup::default(),
            metadata: None,
        }
    }

    #[test]
    fn impossible_machines_are_refused_in_words() {
        type Spoil = fn(&mut VmSpec);
        let cases: [(Spoil, &str); 6] = [
            (|spec| spec.vcpus = 0, "virtual CPU"),
            (|spec| spec.memory_mib = 8, "8 MiB"),
            (|spec| spec.drives[0].id = "root,readonly=off".to_owned(), "not a usable drive id"),
            (|spec| spec.drives[1].id = "root".to_owned(), "used twice"),
            (|spec| spec.cmdline_extra = "a\nb".to_owned(), "printable"),
            (|spec| spec.guest.data_dirs = vec!["/srv/a b".to_owned()], "'/srv/a b' cannot stand"),
        ];
        for (spoil, word) in cases {
            let mut spec = spec();
            spoil(&mut spec);
            let reason = check(&spec).unwrap_err();
            assert!(reason.contains(word), "{reason}");
        }
        let long = VmSpec { cmdline_extra: "x".repeat(2000), ..spec() };
        assert!(
            finish_kernel_line(String::new(), &long, "vsock=1024", 0)
                .unwrap_err()
                .contains("2000 are configured")
        );
    }
}
