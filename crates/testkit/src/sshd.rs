//! A host to deploy to: a real OpenSSH server on an address of the loopback network, in a mount namespace of its own, where the
//! kernel's files say what the test wants of memory and disks. `make setup` unpacks the server for tests.

// Only tests link this crate, and there a failed setup is a failed test.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// The password of root there.
pub const PASSWORD: &str = "correct horse";
/// Its hash, by `openssl passwd -6`.
const SHADOW: &str = "root:$6$fleettest$5fM6woqu7mYVNvLVrL.ePoRqJrz9hKv61KfQHcI6m0umimINi.bTO4bCMjFyOficlk.424sDJY/a/Azmh1FL3/:19000::::::\n";
/// Where it listens.
pub const PORT: u16 = 2299;
/// Where the system listens that was installed over it.
pub const NEW_PORT: u16 = 2298;

/// What the host looks like.
#[derive(Debug, Clone)]
pub struct Looks<'a> {
    /// Its memory.
    pub mem_mib: u64,
    /// Its disks, with their sizes in GiB.
    pub disks: &'a [(&'a str, u64)],
    /// Whether it is another machine than this one.
    pub elsewhere: bool,
    /// What it runs at each login instead of what was asked for.
    pub forced: Option<&'a str>,
}

impl Default for Looks<'_> {
    fn default() -> Self {
        Self { mem_mib: 4096, disks: &[("sda", 80), ("sdb", 500)], elsewhere: true, forced: None }
    }
}

/// A host that runs until it is dropped.
#[derive(Debug)]
pub struct Sshd {
    dir: TempDir,
    address: String,
    port: u16,
    server: Child,
}

impl Sshd {
    /// Starts it.
    ///
    /// # Panics
    ///
    /// When there is no sshd, or it does not start.
    pub fn start(looks: &Looks<'_>) -> Self {
        // One that nobody else has: there are sixteen million.
        let addresses = std::iter::repeat_with(|| {
            let random = fs::read_to_string("/proc/sys/kernel/random/uuid").unwrap();
            let byte = |at: usize| u8::from_str_radix(&random[at..at + 2], 16).unwrap();
            format!("127.{}.{}.{}", 1 + byte(0) % 250, byte(2), byte(4))
        });
        Self::start_at(looks, PORT, addresses.take(3))
    }

    /// The system that was installed over it: at the same address, with keys of its own, at [`NEW_PORT`].
    ///
    /// # Panics
    ///
    /// When it does not start.
    #[must_use]
    pub fn installed(&self) -> Self {
        Self::start_at(&Looks::default(), NEW_PORT, std::iter::once(self.address.clone()))
    }

    fn start_at(looks: &Looks<'_>, port: u16, addresses: impl Iterator<Item = String>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for key in ["host-key", "key"] {
            let made = Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-C", key, "-f"])
                .arg(at(key))
                .status();
            assert!(made.expect("openssh-client is needed: run scripts/setup --test").success());
        }
        let forced = looks.forced.map(|command| format!("command=\"{command}\" ")).unwrap_or_default();
        fs::write(at("authorized"), forced + &fs::read_to_string(at("key.pub")).unwrap()).unwrap();
        fs::write(at("passwd"), "root:x:0:0:root:/:/bin/sh\nsshd:x:65533:65534::/:/bin/false\n").unwrap();
        fs::write(at("shadow"), SHADOW).unwrap();
        fs::write(at("meminfo"), format!("MemTotal: {} kB\n", looks.mem_mib * 1024)).unwrap();
        fs::write(at("boot_id"), "01234567-89ab-cdef-0123-456789abcdef\n").unwrap();
        let mut mounts = String::from(
            "set -e\nmount -t tmpfs none /run; mkdir /run/sshd\nmount -t tmpfs none /sys/block\n",
        );
        for (disk, gib) in looks.disks {
            let _ = writeln!(mounts, "mkdir /sys/block/{disk}; echo {} >/sys/block/{disk}/size", gib << 21);
        }
        mounts.push_str("for file in passwd shadow; do mount --bind $0/$file /etc/$file; done\nmount --bind $0/meminfo /proc/meminfo\n");
        if looks.elsewhere {
            mounts.push_str("mount --bind $0/boot_id /proc/sys/kernel/random/boot_id\n");
        }
        for address in addresses {
            if let Some(server) = serve(dir.path(), &mounts, &address, port) {
                return Self { dir, address, port, server };
            }
        }
        panic!("sshd does not start:\n{}", fs::read_to_string(dir.path().join("log")).unwrap_or_default());
    }

    /// Where it is.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Its host key, `ssh-ed25519 BASE64`.
    pub fn host_key(&self) -> String {
        let text = fs::read_to_string(self.path("host-key.pub")).unwrap();
        text.rsplit_once(' ').unwrap().0.to_owned()
    }

    /// Its private host key.
    pub fn host_key_file(&self) -> PathBuf {
        self.path("host-key")
    }

    /// What `ssh -o` needs to reach it, without this machine's own keys.
    pub fn options(&self) -> Vec<String> {
        vec![
            format!("Port={}", self.port),
            format!("IdentityFile={}", self.path("key").display()),
            "IdentitiesOnly=yes".to_owned(),
            format!("UserKnownHostsFile={}", self.path("known").display()),
        ]
    }

    /// The same for a program that has no arguments for it: a directory for the beginning of `PATH`, with an `ssh` that starts
    /// the real one.
    pub fn ssh_in_path(&self) -> PathBuf {
        let bin = self.path("bin");
        fs::create_dir_all(&bin).unwrap();
        let config = self.path("ssh_config");
        fs::write(&config, self.options().join("\n") + "\n").unwrap();
        crate::program::write(
            &bin.join("ssh"),
            &format!("#!/bin/sh\nexec /usr/bin/ssh -F {} \"$@\"\n", config.display()),
        );
        bin
    }

    /// A file of its directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// What it said so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

fn program() -> (PathBuf, String) {
    let cache = std::env::var("FIREACTIONS_CACHE").unwrap_or_else(|_| "/var/cache/fireactions".to_owned());
    let tools = Path::new(&cache).join("tools/usr");
    let unpacked = tools.join("sbin/sshd");
    if unpacked.exists() {
        let libraries = format!("{0}/lib/x86_64-linux-gnu:{0}/lib/aarch64-linux-gnu", tools.display());
        return (unpacked, libraries);
    }
    (PathBuf::from("/usr/sbin/sshd"), String::new())
}

fn serve(dir: &Path, mounts: &str, address: &str, port: u16) -> Option<Child> {
    let (program, libraries) = program();
    let mut config = format!(
        "Port {port}\nListenAddress {address}\nHostKey {0}/host-key\nAuthorizedKeysFile {0}/authorized\nStrictModes no\n\
         UsePAM no\nPidFile none\nPermitRootLogin yes\nPasswordAuthentication yes\n",
        dir.display()
    );
    // Since OpenSSH 9.8 sshd has helpers, which are where it is.
    let lib = program.parent().unwrap().join("../lib/openssh");
    for (option, helper) in [("SshdSessionPath", "sshd-session"), ("SshdAuthPath", "sshd-auth")] {
        if lib.join(helper).exists() {
            let _ = writeln!(config, "{option} {}", lib.join(helper).display());
        }
    }
    fs::write(dir.join("sshd_config"), config).unwrap();
    let log = File::create(dir.join("log")).unwrap();
    let script = format!("{mounts}exec \"$1\" -D -e -f $0/sshd_config");
    let mut server = Command::new("unshare")
        .args(["--mount", "setpriv", "--pdeathsig", "KILL", "sh", "-c", &script])
        .arg(dir)
        .arg(&program)
        .env("LD_LIBRARY_PATH", libraries)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("unshare (util-linux) is needed");
    let begin = Instant::now();
    while server.try_wait().unwrap().is_none() {
        if fs::read_to_string(dir.join("log")).unwrap_or_default().contains("Server listening") {
            return Some(server);
        }
        assert!(begin.elapsed() < Duration::from_secs(30), "sshd hangs: {}", dir.display());
        std::thread::sleep(Duration::from_millis(5));
    }
    None
}
