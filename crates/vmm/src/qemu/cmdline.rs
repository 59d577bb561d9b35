//! QEMU's command line and the guest kernel's.
//!
//! No argument names a file: what QEMU needs it gets as open descriptors, and its user needs no right to any
//! directory. [`Fd`] lists which number is what.

use std::fmt::Write;

use fireactions_model::{DiskLimits, MachineId};

use crate::accel::Accel;
use crate::{Start, VmSpec, spec};

/// Name of the virtio-serial port the agent opens.
pub(crate) const AGENT_PORT: &str = "org.fireactions.agent.0";

/// Descriptor numbers inside QEMU.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fd;

impl Fd {
    pub(crate) const KERNEL: i32 = 3;
    pub(crate) const INITRD: i32 = 4;
    pub(crate) const QMP: i32 = 5;
    pub(crate) const CONSOLE: i32 = 6;
    pub(crate) const AGENT: i32 = 7;
    // At most as many of each as `spec::check` lets through.
    const DRIVES: usize = 10;
    const READERS: usize = 30;
    const NICS: usize = 50;
    pub(crate) const MEMORY: i32 = 60;

    pub(crate) fn drive(index: usize) -> i32 {
        i32::try_from(Self::DRIVES + index).unwrap_or(i32::MAX)
    }

    /// QEMU looks at a writable drive through a descriptor that only reads before it opens it for writing.
    pub(crate) fn drive_reader(index: usize) -> i32 {
        i32::try_from(Self::READERS + index).unwrap_or(i32::MAX)
    }

    pub(crate) fn nic(index: usize) -> i32 {
        i32::try_from(Self::NICS + index).unwrap_or(i32::MAX)
    }
}

/// The mark by which a process is known to be this machine's, whoever started it.
pub(crate) fn mark(id: &MachineId) -> String {
    format!("guest=fireactions-{id},debug-threads=on")
}

/// The machine whose mark is among a process's arguments.
pub(crate) fn marked(arguments: &[Vec<u8>]) -> Option<MachineId> {
    arguments.windows(2).find_map(|pair| {
        let name = (pair[0] == b"-name").then(|| std::str::from_utf8(&pair[1]).ok()).flatten()?;
        let id = name.strip_prefix("guest=fireactions-")?.strip_suffix(",debug-threads=on")?;
        MachineId::new(id).ok()
    })
}

/// The guest kernel's command line.
pub(crate) fn kernel_line(spec: &VmSpec, accel: Accel, tsc_khz: Option<u32>) -> Result<String, String> {
    // A panic reboots by triple fault, and QEMU runs with -no-reboot: every end of the guest ends the process.
    // The machine has no PCI bus; looking for one costs time and prints an error.
    let mut line = String::from("console=ttyS0 reboot=t panic=-1 quiet pci=off");
    if accel != Accel::Kvm {
        // The processor that mitigations would guard is QEMU's translation of it.
        line.push_str(" mitigations=off");
        // Tests of the kernel's ciphers: a fifth of the way to the agent.
        line.push_str(" cryptomgr.notests");
        if let Some(khz) = tsc_khz {
            // All of the guest's processors read the host's own, which the host's kernel found constant. Left to itself
            // the guest distrusts it for the second CPU (see `cpus`), and counts timer interrupts instead: its clock then
            // runs as wrong as it has measured its timer, and loses what a busy host does not deliver.
            let _ = write!(line, " tsc_early_khz={khz} tsc=reliable");
        }
    }
    spec::finish_kernel_line(line, spec, &format!("port={AGENT_PORT}"), 0)
}

/// The number of CPUs. Under emulation there is always room for a second one, which never comes: where there can be
/// only one, QEMU translates `lock addl`, which is Linux's memory barrier, to a plain load, add and store (seen in its
/// `-d op` in 11.1), although its devices run beside that CPU in another thread. A virtio device and its driver may
/// then each miss what the other wrote, and the guest waits for ever for an interrupt that was not sent.
fn cpus(vcpus: u8, accel: Accel) -> String {
    match accel {
        Accel::Kvm => vcpus.to_string(),
        Accel::Auto | Accel::Tcg => format!("cpus={vcpus},maxcpus={}", vcpus.max(2)),
    }
}

/// The machine. Under emulation it has no 8259: the kernel, told by ACPI that there is no old hardware, neither masks it nor
/// gives it vectors, and the PIT's first tick, left waiting by a firmware that was fast, would come to the kernel as interrupt
/// 0: a division by zero. KVM's own 8259 is not QEMU's to leave out.
fn machine(accel: Accel) -> &'static str {
    match accel {
        Accel::Kvm => "microvm",
        Accel::Auto | Accel::Tcg => "microvm,pic=off",
    }
}

/// All arguments of QEMU.
pub(crate) fn arguments(spec: &VmSpec, accel: Accel, kernel_line: &str) -> Vec<String> {
    let mut line = Line(Vec::new());
    line.push("-name", mark(&spec.id));
    line.0.extend(["-nodefaults", "-no-user-config", "-no-reboot"].map(str::to_owned));
    line.push("-display", "none");
    line.push("-msg", "timestamp=off");
    line.push("-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny");
    let machine = machine(accel);
    match &spec.start {
        Start::Boot => line.push("-M", machine),
        Start::Template(_) => line.memory(machine, spec.memory_mib, "on"),
        Start::Restore(_) => {
            line.memory(machine, spec.memory_mib, "off");
            line.push("-incoming", "defer");
        }
    }
    let (accelerator, cpu) = match accel {
        Accel::Kvm => ("kvm", "host"),
        // 64 MiB of translated code; the default would take an eighth of the host's memory for it.
        Accel::Auto | Accel::Tcg => ("tcg,thread=multi,tb-size=64", "max"),
    };
    line.push("-accel", accelerator);
    line.push("-cpu", cpu);
    line.push("-smp", cpus(spec.vcpus, accel));
    line.push("-m", spec.memory_mib.to_string());
    line.push("-kernel", format!("/proc/self/fd/{}", Fd::KERNEL));
    line.push("-initrd", format!("/proc/self/fd/{}", Fd::INITRD));
    line.push("-append", kernel_line);
    line.push("-chardev", format!("socket,id=qmp,fd={},server=on,wait=off", Fd::QMP));
    line.push("-mon", "chardev=qmp,mode=control");
    // The server has connected before QEMU starts, so waiting for it takes no time and loses no output.
    line.push("-chardev", format!("socket,id=console,fd={},server=on,wait=on", Fd::CONSOLE));
    line.push("-serial", "chardev:console");
    line.push("-chardev", format!("socket,id=agent,fd={},server=on,wait=off", Fd::AGENT));
    line.push("-device", "virtio-serial-device");
    line.push("-device", format!("virtserialport,chardev=agent,name={AGENT_PORT}"));
    for (index, drive) in spec.drives.iter().enumerate() {
        let mode = if drive.read_only { "readonly=on" } else { "readonly=off,cache=unsafe,discard=unmap" };
        line.push("-add-fd", format!("fd={},set={}", Fd::drive(index), index + 1));
        if !drive.read_only {
            line.push("-add-fd", format!("fd={},set={}", Fd::drive_reader(index), index + 1));
        }
        let limits = if drive.read_only { String::new() } else { throttling(spec.hardware.disk_limits) };
        line.push(
            "-drive",
            format!(
                "id={},file=/dev/fdset/{},format=raw,if=none,aio=threads,file.locking=off,{mode}{limits}",
                drive.id,
                index + 1
            ),
        );
        line.push("-device", format!("virtio-blk-device,drive={}", drive.id));
    }
    for (index, nic) in spec.nics.iter().enumerate() {
        let mac: Vec<String> = nic.mac.iter().map(|byte| format!("{byte:02x}")).collect();
        line.push("-netdev", format!("tap,id=net{index},fd={}", Fd::nic(index)));
        line.push("-device", format!("virtio-net-device,netdev=net{index},mac={}", mac.join(":")));
    }
    // From the host's generator: a guest that waits for randomness has no other source that fills up soon.
    line.push("-object", "rng-builtin,id=rng");
    line.push("-device", "virtio-rng-device,rng=rng,max-bytes=4096,period=100");
    // Not where the memory is a file: QEMU gives pages back by a hole in it, which a template's sealed memory refuses,
    // and what an idle clone has of its own is little.
    if spec.start == Start::Boot {
        // What was taken from a guest that waits is its own again when it has no other memory left, whatever became of
        // the request to give it back.
        line.push("-device", "virtio-balloon-device,free-page-reporting=on,deflate-on-oom=on");
    }
    line.0
}

/// Limits of a drive, reads and writes together.
fn throttling(limits: DiskLimits) -> String {
    let mut text = String::new();
    if let Some(mib) = limits.mib_per_second {
        let _ = write!(text, ",throttling.bps-total={}", u64::from(mib) << 20);
    }
    if let Some(iops) = limits.iops {
        let _ = write!(text, ",throttling.iops-total={iops}");
    }
    text
}

struct Line(Vec<String>);

impl Line {
    fn push(&mut self, option: &str, value: impl Into<String>) {
        self.0.push(option.to_owned());
        self.0.push(value.into());
    }

    /// The guest's memory in a file of its own, which everybody who maps it sees change, or nobody.
    fn memory(&mut self, machine: &str, mib: u32, share: &str) {
        let file = format!("/proc/self/fd/{}", Fd::MEMORY);
        self.push("-object", format!("memory-backend-file,id=mem,size={mib}M,mem-path={file},share={share}"));
        self.push("-M", format!("{machine},memory-backend=mem"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::tests::spec;

    #[test]
    fn no_path_and_no_tap_name_is_on_the_command_line() {
        let line = arguments(&spec(), Accel::Tcg, "x").join(" ");
        assert!(!line.contains("secret") && !line.contains("tap0") && !line.contains("/k "), "{line}");
        assert!(line.contains("mac=02:00:00:00:00:0a") && line.contains("file=/dev/fdset/2,"), "{line}");
    }

    #[test]
    fn an_emulated_machine_has_no_8259_however_it_starts() {
        let mut spec = spec();
        for start in [Start::Boot, Start::Template("/t".into()), Start::Restore("/t".into())] {
            spec.start = start;
            for (accel, without) in [(Accel::Tcg, true), (Accel::Kvm, false)] {
                let line = arguments(&spec, accel, "x");
                let machine = line.iter().find(|word| word.starts_with("microvm")).unwrap();
                assert_eq!(machine.contains(",pic=off"), without, "{machine}");
            }
        }
    }

    #[test]
    fn the_scratch_disk_alone_is_limited() {
        let mut spec = spec();
        spec.hardware.disk_limits = DiskLimits { mib_per_second: Some(3), iops: Some(500) };
        let line = arguments(&spec, Accel::Tcg, "x");
        let drives: Vec<&String> = line.iter().filter(|word| word.starts_with("id=")).collect();
        assert!(!drives[0].contains("throttling"), "{drives:?}");
        assert!(drives[1].ends_with(",throttling.bps-total=3145728,throttling.iops-total=500"), "{drives:?}");
    }

    #[test]
    fn a_mark_is_read_as_it_was_written() {
        let split = |line: &[&str]| line.iter().map(|word| word.as_bytes().to_vec()).collect::<Vec<_>>();
        let spec = spec();
        let line = arguments(&spec, Accel::Tcg, "x");
        let words: Vec<&str> = line.iter().map(String::as_str).collect();
        assert_eq!(marked(&split(&words)), Some(spec.id.clone()));
        assert_eq!(marked(&split(&["grep", &mark(&spec.id)])), None, "a mention is no mark");
        assert_eq!(marked(&split(&["-name", "guest=fireactions-../..,debug-threads=on"])), None);
        assert_eq!(marked(&split(&["-name"])), None);
    }

    #[test]
    fn what_emulation_makes_slow_is_told_only_without_kvm() {
        let line = kernel_line(&spec(), Accel::Tcg, Some(2_000_000)).unwrap();
        assert_eq!(
            line,
            "console=ttyS0 reboot=t panic=-1 quiet pci=off mitigations=off cryptomgr.notests tsc_early_khz=2000000 tsc=reliable \
             fireactions.init=agent fireactions.root=/dev/vda fireactions.scratch=/dev/vdb fireactions.port=org.fireactions.agent.0"
        );
        let line = kernel_line(&spec(), Accel::Kvm, Some(2_000_000)).unwrap();
        assert!(!["tsc", "mitigations", "notests"].iter().any(|word| line.contains(word)), "{line}");
    }
}
