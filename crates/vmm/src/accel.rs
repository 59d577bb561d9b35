//! KVM or TCG.
//!
//! That `/dev/kvm` opens says little: on some nested hosts it opens, makes a virtual machine and a processor, and
//! the guest then spins for ever without one instruction done. So `auto` starts the very kernel that machines boot,
//! with nothing to mount, under KVM, as an unprivileged user: it prints its version, panics, and QEMU ends. That
//! takes under a second where KVM works. The answer holds until the host reboots or QEMU or the kernel changes.

use std::fs::Metadata;
use std::io::Write;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::io::AsyncReadExt;

use crate::boot::BootFiles;
use crate::console::printable;

/// What the configuration asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Accel {
    /// KVM if a probe shows that it runs a guest, else TCG.
    #[default]
    Auto,
    /// KVM, whatever a probe would say.
    Kvm,
    /// TCG: QEMU translates the guest's instructions; slow, works everywhere.
    Tcg,
}

/// What was decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choice {
    /// `Kvm` or `Tcg`, never `Auto`.
    pub accel: Accel,
    /// One sentence for the log and for `fireactions doctor`.
    pub why: String,
}

impl Choice {
    fn new(accel: Accel, why: impl Into<String>) -> Self {
        Self { accel, why: why.into() }
    }
}

const DEVICE: &str = "/dev/kvm";

/// How long a guest under KVM may take to print a line and panic: ten times what a slow host needs.
const PROBE_DEADLINE: Duration = Duration::from_secs(10);

/// "nobody", on every distribution: the probe runs with as little right as a machine.
const NOBODY: u32 = 65_534;

/// An answer on disk.
#[derive(Debug, Serialize, Deserialize, PartialEq, Eq)]
struct Remembered {
    /// What the answer depends on: the host's boot, QEMU, the guest kernel, the device's owner and mode.
    of: Vec<String>,
    choice: Choice,
}

/// Decides; with `Auto` by a probe whose answer is remembered in `cache_dir/accel.json`. Never fails: what
/// cannot be found out is a reason for TCG. `binary` is QEMU, a path or a name in `PATH`. Takes up to ten seconds
/// the first time.
pub async fn choose(want: Accel, binary: &Path, boot: &BootFiles, cache_dir: &Path) -> Choice {
    let device = std::fs::metadata(DEVICE).ok().filter(|meta| meta.file_type().is_char_device());
    let choice = match (want, device) {
        (Accel::Kvm, _) => Choice::new(Accel::Kvm, "KVM, because the configuration says so"),
        (Accel::Tcg, _) => Choice::new(Accel::Tcg, "TCG, because the configuration says so"),
        (Accel::Auto, None) => {
            Choice::new(Accel::Tcg, "TCG, because this host has no /dev/kvm; guests run several times slower")
        }
        (Accel::Auto, Some(device)) => ask(binary, boot, cache_dir, &device).await,
    };
    tracing::info!(accel = ?choice.accel, "{}", choice.why);
    choice
}

async fn ask(binary: &Path, boot: &BootFiles, cache_dir: &Path, device: &Metadata) -> Choice {
    let of = circumstances(binary, boot, device);
    let file = cache_dir.join("accel.json");
    if let Some(known) = recall(&file).filter(|known| known.of == of) {
        return known.choice;
    }
    let mut may_pass = false;
    let choice = if may_open_unprivileged(device) {
        let gid = device_group(Accel::Kvm).unwrap_or(NOBODY);
        match probe(binary, &boot.kernel, NOBODY, gid, PROBE_DEADLINE).await {
            Ok(took) => Choice::new(
                Accel::Kvm,
                format!("KVM, because a guest ran under it ({} ms)", took.as_millis()),
            ),
            Err(no) => {
                may_pass = no.may_pass;
                let why = no.why;
                Choice::new(Accel::Tcg, format!("TCG, because /dev/kvm is there but does not work: {why}"))
            }
        }
    } else {
        let mode = device.mode() & 0o777;
        let why = format!(
            "TCG, because only root may open /dev/kvm (mode {mode:04o}) and QEMU never runs as root; \
             'chgrp kvm /dev/kvm && chmod 0660 /dev/kvm' would change that"
        );
        Choice::new(Accel::Tcg, why)
    };
    // Kept, a "no" of one busy moment would make guests slow until the next boot of the host.
    if may_pass {
        return choice;
    }
    if let Err(error) = remember(&file, &Remembered { of, choice: choice.clone() }) {
        tracing::warn!(file = %file.display(), %error, "the answer is not saved and will be determined \
             again");
    }
    choice
}

/// The group that a VM's process needs for `/dev/kvm`: the device's own when that is what opens it to others than
/// root. Machines then share the group, and with it nothing but the device.
pub(crate) fn device_group(accel: Accel) -> Option<u32> {
    if accel != Accel::Kvm {
        return None;
    }
    let device = std::fs::metadata(DEVICE).ok()?;
    let by_group = device.mode() & 0o006 != 0o006 && device.mode() & 0o060 == 0o060 && device.gid() != 0;
    by_group.then_some(device.gid())
}

/// Whether the mode of `/dev/kvm` lets a process in that is not root, given the device's group if need be.
pub fn may_open_unprivileged(device: &Metadata) -> bool {
    device.mode() & 0o006 == 0o006 || (device.mode() & 0o060 == 0o060 && device.gid() != 0)
}

fn circumstances(binary: &Path, boot: &BootFiles, device: &Metadata) -> Vec<String> {
    let text = |path: &str| std::fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let program = locate(binary);
    let stamp = |path: &Path| match std::fs::metadata(path) {
        Ok(meta) => format!("{} {} {}", path.display(), meta.size(), meta.mtime()),
        Err(_) => path.display().to_string(),
    };
    vec![
        text("/proc/sys/kernel/random/boot_id"),
        text("/proc/sys/kernel/osrelease"),
        stamp(&program),
        stamp(&boot.kernel),
        format!("{:o} {}", device.mode(), device.gid()),
    ]
}

fn locate(binary: &Path) -> PathBuf {
    if binary.components().count() > 1 {
        return binary.to_owned();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|dir| dir.join(binary)).find(|file| file.is_file());
    found.unwrap_or_else(|| binary.to_owned())
}

fn recall(file: &Path) -> Option<Remembered> {
    serde_json::from_slice(&std::fs::read(file).ok()?).ok()
}

fn remember(file: &Path, answer: &Remembered) -> std::io::Result<()> {
    let dir = file.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(dir)?;
    let mut temporary = tempfile::NamedTempFile::new_in(dir)?;
    temporary.write_all(&serde_json::to_vec_pretty(answer)?)?;
    temporary.persist(file).map_err(|error| error.error)?;
    Ok(())
}

/// KVM does not work.
#[derive(Debug)]
struct No {
    /// In words.
    why: String,
    /// It may be otherwise in a moment: too late, killed, no memory, or another hypervisor at work.
    may_pass: bool,
}

impl No {
    fn now(why: String) -> Self {
        Self { why, may_pass: true }
    }
}

/// Starts the kernel under KVM and waits for it to speak and end.
async fn probe(binary: &Path, kernel: &Path, uid: u32, gid: u32, deadline: Duration) -> Result<Duration, No> {
    let started = Instant::now();
    let image =
        std::fs::File::open(kernel).map_err(|error| No::now(format!("{}: {error}", kernel.display())))?;
    let mut command = std::process::Command::new(binary);
    command
        .args(["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-msg", "timestamp=off"])
        .args(["-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"])
        .args(["-M", "microvm", "-accel", "kvm", "-cpu", "host", "-m", "128", "-serial", "stdio"])
        // The kernel comes as standard input: the user needs no right to its directory.
        .args(["-kernel", "/proc/self/fd/0", "-append", "console=ttyS0 reboot=t panic=-1"])
        .current_dir("/")
        .process_group(0)
        .stdin(image)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    if rustix::process::geteuid().is_root() {
        command.uid(uid).gid(gid);
    }
    let mut child = tokio::process::Command::from(command)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| No::now(format!("{} cannot be started: {error}", binary.display())))?;
    let (Some(console), Some(log)) = (child.stdout.take(), child.stderr.take()) else {
        return Err(No::now("QEMU's output cannot be read".to_owned()));
    };
    let mut said = (Vec::new(), Vec::new());
    let (mut console, mut log) = (console.take(256 << 10), log.take(16 << 10));
    let run = async {
        let _ = tokio::join!(console.read_to_end(&mut said.0), log.read_to_end(&mut said.1));
        child.wait().await
    };
    let ended = tokio::time::timeout(deadline, run).await;
    if ended.is_err() {
        // The broken device may hold the process inside the host's kernel, where SIGKILL waits; this does not.
        let _ = tokio::time::timeout(Duration::from_secs(1), child.kill()).await;
    }
    let spoke = printable(&said.0).contains("Linux version");
    match ended {
        Ok(Ok(status)) if status.success() && spoke => Ok(started.elapsed()),
        Ok(Ok(status)) => {
            let log = printable(&said.1);
            let last = log.lines().last().unwrap_or("it said nothing");
            // strerror(3) of EBUSY and ENOMEM.
            let may_pass = status.code().is_none()
                || ["resource busy", "allocate memory"].iter().any(|words| log.contains(words));
            Err(No { why: format!("QEMU ended with {status}: {last}"), may_pass })
        }
        Ok(Err(error)) => Err(No::now(error.to_string())),
        Err(_) if spoke => {
            Err(No::now(format!("the guest's kernel started but did not finish within {deadline:?}")))
        }
        Err(_) => Err(No::now(format!("the guest did not print one line within {deadline:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boot() -> BootFiles {
        let kernel = fireactions_testkit::guest::kernel().image;
        BootFiles { initrd: kernel.clone(), kernel, modules: None }
    }

    #[tokio::test]
    async fn what_is_configured_is_not_questioned() {
        let dir = tempfile::tempdir().unwrap();
        for want in [Accel::Kvm, Accel::Tcg] {
            let choice = choose(want, Path::new("/nonexistent"), &boot(), dir.path()).await;
            assert_eq!(choice.accel, want);
            assert!(choice.why.contains("configuration"));
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn auto_decides_and_remembers() {
        let dir = tempfile::tempdir().unwrap();
        let binary = Path::new("qemu-system-x86_64");
        let first = choose(Accel::Auto, binary, &boot(), dir.path()).await;
        assert_ne!(first.accel, Accel::Auto);
        if !Path::new(DEVICE).exists() {
            return assert!(first.why.contains("no /dev/kvm"), "{}", first.why);
        }
        // The second time the answer is read, not found: a spoiled file shows it.
        let file = dir.path().join("accel.json");
        let mut known = recall(&file).unwrap();
        known.choice.why = "from the file".to_owned();
        remember(&file, &known).unwrap();
        let again = choose(Accel::Auto, binary, &boot(), dir.path()).await;
        assert_eq!((again.accel, again.why.as_str()), (first.accel, "from the file"));
        known.of[0] = "another boot".to_owned();
        remember(&file, &known).unwrap();
        assert_eq!(choose(Accel::Auto, binary, &boot(), dir.path()).await.accel, first.accel);
        assert_ne!(recall(&file).unwrap().choice.why, "from the file");
    }

    #[tokio::test]
    async fn a_probe_ends_in_time_whatever_the_device_does() {
        // As root, so that a device which opens and then does not run the guest is met where there is one.
        let deadline = Duration::from_secs(4);
        let started = Instant::now();
        let answer = probe(Path::new("qemu-system-x86_64"), &boot().kernel, 0, 0, deadline).await;
        assert!(
            started.elapsed() < deadline + Duration::from_secs(60),
            "{answer:?} took {:?}",
            started.elapsed()
        );
        if let Err(no) = answer {
            assert!(!no.why.is_empty());
        }
    }

    #[tokio::test]
    async fn a_guest_that_spins_for_ever_is_given_up_and_killed() {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("qemu");
        let pid = dir.path().join("pid");
        let text = format!("#!/bin/sh\necho $$ > {}\nexec sleep 600\n", pid.display());
        fireactions_testkit::program::write(&program, &text);
        let started = Instant::now();
        let no = probe(&program, &boot().kernel, 0, 0, Duration::from_secs(1)).await.unwrap_err();
        assert_eq!((no.why.as_str(), no.may_pass), ("the guest did not print one line within 1s", true));
        assert!(started.elapsed() < Duration::from_secs(300), "it has not waited for the program");
        let pid = std::fs::read_to_string(pid).unwrap();
        assert!(!Path::new("/proc").join(pid.trim()).exists());
    }

    #[tokio::test]
    async fn what_may_be_otherwise_in_a_moment_is_found_out_again() {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("qemu");
        let says = |words: &str, end: &str| {
            let text = format!("#!/bin/sh\necho '{words}' >&2\n{end}\n");
            fireactions_testkit::program::write(&program, &text);
        };
        let asked =
            async || probe(&program, &boot().kernel, 0, 0, Duration::from_secs(20)).await.unwrap_err();
        for (words, end, may_pass) in [
            ("ioctl(KVM_CREATE_VM) failed: 16 Device or resource busy", "exit 1", true),
            ("kvm_init_vcpu failed: Cannot allocate memory", "exit 1", true),
            ("", "kill -9 $$", true),
            ("failed to initialize kvm: Operation not supported", "exit 1", false),
        ] {
            says(words, end);
            let no = asked().await;
            assert_eq!(no.may_pass, may_pass, "{no:?}");
        }
    }

    #[tokio::test]
    async fn a_program_that_says_nothing_is_no_kvm() {
        let why = probe(Path::new("sleep"), &boot().kernel, NOBODY, NOBODY, Duration::from_secs(2)).await;
        let no = why.unwrap_err();
        assert!(no.why.contains("QEMU ended with") && !no.may_pass, "it will say so again: {no:?}");
        let why =
            probe(Path::new("/nonexistent"), &boot().kernel, NOBODY, NOBODY, Duration::from_secs(2)).await;
        assert!(why.unwrap_err().why.contains("cannot be started"));
    }
}
