//! A guest that a real QEMU emulates, with the same kernel, initrd, drives and taps.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use rustix::io::FdFlags;
use serde_json::{Value, json};

use super::config::{Drive, RateLimiter};
use super::inside::host_path;
use super::kernel_line::{self, PORT};
use super::mmds::{self, Card, Service, Stack};
use super::monitor::Monitor;
use super::relay::Relay;
use super::resources::Resources;
use super::{memory, vsock};

/// Between this process and QEMU, in the machine's own directory, before there is a guest.
const MIGRATION_SOCKET: &str = "qemu-migration.sock";

/// The agent's port of this process's QEMU: an abstract socket, for no file can be made any more when a guest starts.
fn agent_socket() -> String {
    format!("fireactions-standin-{}", std::process::id())
}

/// A running QEMU.
pub(crate) struct Emulated {
    /// It is killed by the kernel when this process's main thread ends.
    _child: Child,
    monitor: Monitor,
    memory: File,
    size: u64,
    relay: Option<Relay>,
}

impl Emulated {
    /// Starts QEMU with the kernel.
    pub(crate) fn boot(resources: &Resources) -> Result<Self, String> {
        let size = (resources.config.machine.mem_size_mib as u64) << 20;
        let memory = memory::anonymous(size).map_err(|error| format!("guest memory: {error}"))?;
        Self::start(resources, memory, size, false)
    }

    /// Starts QEMU with a copy of the memory and the state, paused.
    pub(crate) fn restore(
        resources: &Resources,
        port_open: bool,
        mut state: File,
        memory_file: &Path,
    ) -> Result<Self, String> {
        let size = (resources.config.machine.mem_size_mib as u64) << 20;
        let failed = |error: io::Error| format!("Failed to load guest memory: {error}");
        let from = File::open(memory_file).map_err(failed)?;
        if from.metadata().map_err(failed)?.len() != size {
            return Err(format!("Failed to load guest memory: the file has not {size} bytes"));
        }
        let memory = memory::anonymous(size).map_err(failed)?;
        memory::copy(&from, &memory, size).map_err(failed)?;
        let mut emulated = Self::start(resources, memory, size, true)?;
        emulated.ignore_shared()?;
        emulated.ask("migrate-incoming", &json!({"uri": format!("unix:{MIGRATION_SOCKET}")}))?;
        let mut sent = || -> io::Result<()> {
            let mut stream = UnixStream::connect(MIGRATION_SOCKET)?;
            io::copy(&mut state, &mut stream).map(drop)
        };
        sent().map_err(|error| format!("the state: {error}"))?;
        emulated.monitor.migrated()?;
        let _ = fs::remove_file(MIGRATION_SOCKET);
        if let Some(relay) = &emulated.relay {
            relay.set_open(port_open);
        }
        Ok(emulated)
    }

    fn start(resources: &Resources, memory: File, size: u64, incoming: bool) -> Result<Self, String> {
        let (own, theirs) = UnixStream::pair().map_err(|error| format!("a socket: {error}"))?;
        let cards = cards(resources).map_err(|error| format!("a network card: {error}"))?;
        let mut line = command_line(resources, &cards, memory.as_fd(), theirs.as_fd(), incoming);
        let networks = resources.taps.iter().zip(&cards).map(|(tap, card)| match card {
            Some(card) => card.as_fd(),
            None => tap.as_fd(),
        });
        for descriptor in [memory.as_fd(), theirs.as_fd()].into_iter().chain(networks) {
            rustix::io::fcntl_setfd(descriptor, FdFlags::empty()).map_err(|error| error.to_string())?;
        }
        let program = ["/usr/local/bin/qemu-system-x86_64", "/usr/bin/qemu-system-x86_64"];
        let program =
            program.into_iter().find(|path| Path::new(path).exists()).unwrap_or("qemu-system-x86_64");
        line.splice(..0, [std::process::id().to_string(), program.to_owned()]);
        let child = Command::new("/proc/self/exe")
            .arg0(crate::LAUNCHER)
            .args(&line)
            .stdin(Stdio::null())
            .spawn()
            .map_err(|error| format!("cannot start QEMU: {error}"))?;
        drop((theirs, cards));

        let boot = resources.config.boot.as_ref().and_then(|boot| boot.boot_args.as_deref());
        let port = vsock::agent_port(boot.unwrap_or_default());
        let relay = match (&resources.config.vsock, port) {
            (Some(vsock), Some(port)) => {
                let host = vsock::host_port(&vsock.uds_path, port);
                let relay = Relay::start(agent_socket(), host, false);
                Some(relay.map_err(|error| format!("no thread for the agent: {error}"))?)
            }
            _ => None,
        };
        let told = relay.clone();
        let monitor =
            Monitor::start(own, move |event| handle(event, told.as_ref()), || std::process::exit(1))?;
        Ok(Self { _child: child, monitor, memory, size, relay })
    }

    pub(crate) fn ask(&mut self, command: &str, arguments: &Value) -> Result<Value, String> {
        self.monitor.ask(command, arguments)
    }

    /// Gives the drive of this number other limits.
    pub(crate) fn throttle(&mut self, index: usize, limiter: Option<&RateLimiter>) -> Result<(), String> {
        let (bytes, operations) = limiter.map_or((None, None), rates);
        let arguments = json!({
            "device": format!("drive{index}"),
            "bps": bytes.unwrap_or(0), "bps_rd": 0, "bps_wr": 0,
            "iops": operations.unwrap_or(0), "iops_rd": 0, "iops_wr": 0,
        });
        self.ask("block_set_io_throttle", &arguments).map(drop)
    }

    pub(crate) fn pause(&mut self) -> Result<(), String> {
        self.ask("stop", &Value::Null).map(drop)
    }

    pub(crate) fn resume(&mut self) -> Result<(), String> {
        self.ask("cont", &Value::Null).map(drop)
    }

    pub(crate) fn port_open(&self) -> bool {
        self.relay.as_ref().is_some_and(Relay::is_open)
    }

    /// Memory that is shared with this process is not part of QEMU's own state.
    fn ignore_shared(&mut self) -> Result<(), String> {
        let capability = json!({"capability": "x-ignore-shared", "state": true});
        self.ask("migrate-set-capabilities", &json!({ "capabilities": [capability] })).map(drop)
    }

    /// Writes the state and the memory of the paused guest.
    pub(crate) fn save(&mut self, mut state: File, to: &File) -> Result<(), String> {
        self.ignore_shared()?;
        let listener = UnixListener::bind(MIGRATION_SOCKET).map_err(|error| format!("a socket: {error}"))?;
        let written = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept()?;
            io::copy(&mut stream, &mut state)
        });
        self.ask("migrate", &json!({"uri": format!("unix:{MIGRATION_SOCKET}")}))?;
        let migrated = self.monitor.migrated();
        let _ = fs::remove_file(MIGRATION_SOCKET);
        migrated?;
        let written = written.join().map_err(|_| "writing the state failed".to_owned())?;
        written.map_err(|error| format!("the state: {error}"))?;
        memory::copy(&self.memory, to, self.size).map_err(|error| format!("its memory: {error}"))
    }
}

/// A restart of the guest ends Firecracker. A power-off does not: the processors stand still from then on.
fn handle(event: &Value, relay: Option<&Relay>) {
    match event["event"].as_str() {
        Some("SHUTDOWN") if event["data"]["reason"] != "guest-shutdown" => std::process::exit(0),
        Some("VSERPORT_CHANGE") => {
            if let (Some(relay), Some(open)) = (relay, event["data"]["open"].as_bool()) {
                relay.set_open(open);
            }
        }
        _ => {}
    }
}

/// For each network card that leads to the metadata service what is between QEMU and the tap; the others get the tap itself.
fn cards(resources: &Resources) -> io::Result<Vec<Option<Card>>> {
    let service = resources.config.mmds.as_ref().map(|config| {
        let service = Arc::new(Service::new(config, resources.metadata.clone()));
        (config, service)
    });
    let nics = resources.config.nics.iter().zip(&resources.taps);
    let cards = nics.map(|(nic, tap)| match &service {
        Some((config, service)) if config.network_interfaces.contains(&nic.iface_id) => {
            let address = config.ipv4_address.unwrap_or(mmds::ADDRESS);
            Card::start(tap.try_clone()?, Stack::new(address, service.clone())).map(Some)
        }
        _ => Ok(None),
    });
    cards.collect()
}

fn command_line(
    resources: &Resources,
    cards: &[Option<Card>],
    memory: BorrowedFd<'_>,
    monitor: BorrowedFd<'_>,
    incoming: bool,
) -> Vec<String> {
    let config = &resources.config;
    let mut line: Vec<String> = Vec::new();
    let mut add = |option: &str, value: String| line.extend([option.to_owned(), value]);
    let mib = config.machine.mem_size_mib;
    let vcpus = config.machine.vcpu_count;
    add("-M", "microvm,pic=off,memory-backend=memory".to_owned());
    add("-accel", "tcg,thread=multi,tb-size=64".to_owned());
    add("-cpu", "max".to_owned());
    // No 8259, and room for one more processor: why, the QEMU driver says.
    add("-smp", format!("cpus={vcpus},maxcpus={}", vcpus.max(2)));
    add("-m", mib.to_string());
    let path = format!("/proc/self/fd/{}", memory.as_raw_fd());
    add("-object", format!("memory-backend-file,id=memory,mem-path={path},size={mib}M,share=on"));
    add("-object", "main-loop,id=main,thread-pool-max=4".to_owned());
    add("-action", "reboot=shutdown,shutdown=pause".to_owned());
    add("-display", "none".to_owned());
    add("-chardev", format!("socket,id=qmp,fd={}", monitor.as_raw_fd()));
    add("-mon", "chardev=qmp,mode=control".to_owned());
    add("-chardev", "stdio,id=console,signal=off".to_owned());
    add("-serial", "chardev:console".to_owned());
    if incoming {
        add("-incoming", "defer".to_owned());
    } else if let Some(boot) = &config.boot {
        add("-kernel", escaped(&boot.kernel_image_path));
        if let Some(initrd) = &boot.initrd_path {
            add("-initrd", escaped(initrd));
        }
        let root = config.drives.iter().find(|drive| drive.is_root_device);
        let root =
            root.map(
                |drive| {
                    if drive.is_read_only == Some(true) { "root=/dev/vda ro" } else { "root=/dev/vda rw" }
                },
            );
        let args = boot.boot_args.as_deref().unwrap_or_default();
        add("-append", kernel_line::rewrite(args, root, kernel_line::host_tsc_khz()));
    }
    add("-chardev", format!("socket,id=agent,path={},abstract=on,server=on,wait=off", agent_socket()));
    add("-device", "virtio-serial-device".to_owned());
    add("-device", format!("virtserialport,chardev=agent,id=agent,name={PORT}"));
    for (index, drive) in config.drives.iter().enumerate() {
        add("-drive", drive_option(index, drive));
        add("-device", format!("virtio-blk-device,drive=drive{index}"));
    }
    for (index, ((nic, tap), card)) in config.nics.iter().zip(&resources.taps).zip(cards).enumerate() {
        let network = match card {
            Some(card) => format!("dgram,id=net{index},local.type=fd,local.str={}", card.as_fd().as_raw_fd()),
            None => format!("tap,id=net{index},fd={}", tap.as_raw_fd()),
        };
        add("-netdev", network);
        let mac = nic.guest_mac.clone().map(|mac| format!(",mac={}", String::from(mac))).unwrap_or_default();
        add("-device", format!("virtio-net-device,netdev=net{index}{mac}"));
    }
    if config.entropy.is_some() {
        add("-device", "virtio-rng-device".to_owned());
    }
    if let Some(balloon) = &config.balloon {
        let reporting = if balloon.free_page_reporting { "on" } else { "off" };
        let deflate = if balloon.deflate_on_oom { "on" } else { "off" };
        let options = format!("id=balloon,free-page-reporting={reporting},deflate-on-oom={deflate}");
        add("-device", format!("virtio-balloon-device,{options}"));
    }
    line.extend(["-nodefaults", "-no-user-config"].map(str::to_owned));
    line
}

/// A path as QEMU's options take it.
fn escaped(path: &str) -> String {
    host_path(path).to_string_lossy().replace(',', ",,")
}

fn drive_option(index: usize, drive: &Drive) -> String {
    let mode = if drive.is_read_only == Some(true) {
        "readonly=on"
    } else {
        "readonly=off,cache=unsafe,discard=unmap"
    };
    let path = escaped(drive.path_on_host.as_deref().unwrap_or_default());
    let limits = drive.rate_limiter.as_ref().map(throttling).unwrap_or_default();
    format!("id=drive{index},file={path},format=raw,if=none,aio=threads,file.locking=off,{mode}{limits}")
}

/// Bytes and operations a second of token buckets.
fn rates(limiter: &RateLimiter) -> (Option<u64>, Option<u64>) {
    let rate = |bucket: super::config::TokenBucket| {
        bucket.size.saturating_mul(1000).checked_div(bucket.refill_time).filter(|rate| *rate > 0)
    };
    (limiter.bandwidth.and_then(rate), limiter.ops.and_then(rate))
}

/// Token buckets as QEMU's throttling.
fn throttling(limiter: &RateLimiter) -> String {
    let (bytes, operations) = rates(limiter);
    let bytes = bytes.map(|rate| format!(",throttling.bps-total={rate}"));
    let operations = operations.map(|rate| format!(",throttling.iops-total={rate}"));
    bytes.unwrap_or_default() + &operations.unwrap_or_default()
}
