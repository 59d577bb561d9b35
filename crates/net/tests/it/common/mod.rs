//! A small world for the tests: network namespaces without names (they vanish with their last file), a host, an
//! "internet" behind it, and guests that drive the real tap by its own descriptor.

#![allow(dead_code, reason = "each test file uses its own part")]

mod tap;

use std::fs::File;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use fireactions_model::{MachineId, NetworkPolicy};
use fireactions_net::{NetConfig, Network, Port};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, setns, unshare};
pub(crate) use tap::open_tap;

/// A fresh network namespace with `lo` up.
#[derive(Clone)]
pub(crate) struct NetNs(Arc<File>);

impl NetNs {
    pub(crate) fn new() -> Self {
        let file = thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).expect("unshare the network namespace (run the tests as root)");
            File::open("/proc/thread-self/ns/net").expect("open the namespace")
        });
        let ns = Self(Arc::new(file.join().expect("namespace thread")));
        ns.sh("ip link set lo up");
        ns
    }

    /// Runs `work` on a thread inside. Sockets made there stay there.
    pub(crate) fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let inside = scope.spawn(|| {
                setns(self.0.as_fd(), CloneFlags::CLONE_NEWNET).expect("enter the namespace");
                work()
            });
            match inside.join() {
                Ok(value) => value,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    /// Runs a future inside, on a runtime whose every thread is inside.
    pub(crate) fn block_on<T: Send, F: Future<Output = T>>(&self, work: impl FnOnce() -> F + Send) -> T {
        self.run(|| {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
            runtime.block_on(work())
        })
    }

    /// Runs shell commands inside; their output, without what they complain of (`ip` does when a link's other end is in a namespace that
    /// it cannot name). Fails the test if one of them fails.
    pub(crate) fn sh(&self, script: &str) -> String {
        let output = self.run_sh(script);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let complaints = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "`{script}` failed: {text}{complaints}");
        text
    }

    fn run_sh(&self, script: &str) -> Output {
        self.run(|| Command::new("sh").args(["-ec", script]).output().expect("run sh"))
    }

    /// Runs shell commands inside: whether they succeeded, and all that they print.
    pub(crate) fn try_sh(&self, script: &str) -> (bool, String) {
        let output = self.run_sh(script);
        let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.push_str(&String::from_utf8_lossy(&output.stderr));
        (output.status.success(), text)
    }

    /// A path that `ip link … netns` takes.
    fn path(&self) -> String {
        use std::os::fd::AsRawFd;
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd())
    }
}

pub(crate) const INTERNET: Ipv4Addr = Ipv4Addr::new(9, 9, 9, 9);
pub(crate) const HOST_PUBLIC: Ipv4Addr = Ipv4Addr::new(9, 9, 9, 1);
pub(crate) const HOST_LAN: Ipv4Addr = Ipv4Addr::new(192, 168, 77, 1);
pub(crate) const PRIVATE: Ipv4Addr = Ipv4Addr::new(10, 1, 2, 3);
pub(crate) const METADATA: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);
pub(crate) const CGNAT: Ipv4Addr = Ipv4Addr::new(100, 64, 0, 1);
pub(crate) const BENCHMARK: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
pub(crate) const DNS: Ipv4Addr = Ipv4Addr::new(192, 168, 5, 5);

/// The host under test, and one namespace behind its uplink that has all the foreign addresses above.
pub(crate) struct World {
    pub(crate) host: NetNs,
    pub(crate) internet: NetNs,
    pub(crate) network: Network,
}

pub(crate) fn config() -> NetConfig {
    NetConfig { dns: vec![DNS], ..NetConfig::default() }
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(config())
    }

    pub(crate) fn with(config: NetConfig) -> Self {
        let (host, internet) = (NetNs::new(), NetNs::new());
        host.sh(&format!(
            "ip link add up0 type veth peer name net0; ip link set net0 netns {}",
            internet.path()
        ));
        host.sh(
            "ip address add 9.9.9.1/24 dev up0; ip address add 192.168.77.1/24 dev up0; ip link set up0 up",
        );
        internet.sh("ip address add 9.9.9.9/24 dev net0; ip link set net0 up");
        for foreign in [PRIVATE, METADATA, CGNAT, BENCHMARK, DNS] {
            internet.sh(&format!("ip address add {foreign}/32 dev net0"));
            host.sh(&format!("ip route add {foreign}/32 via 9.9.9.9"));
        }
        let network = host.block_on(|| Network::ensure(config)).expect("ensure");
        Self { host, internet, network }
    }

    pub(crate) fn port(&self, slot: u32, policy: NetworkPolicy) -> Port {
        let machine = machine(slot);
        Port {
            tap: Network::tap_name(&machine),
            machine,
            address: self.network.address(slot).expect("a slot of the subnet"),
            address6: self.network.address6(slot),
            mac: Network::mac(slot),
            owner_uid: 0,
            policy,
        }
    }

    pub(crate) fn attach(&self, port: &Port) {
        self.host.block_on(|| self.network.attach(port)).expect("attach");
    }

    /// A port that is attached, and its tap's descriptor as a VMM would have it.
    pub(crate) fn raw(&self, slot: u32, policy: NetworkPolicy) -> (Port, OwnedFd) {
        let port = self.port(slot, policy);
        let fd = self.opened(&port);
        (port, fd)
    }

    fn opened(&self, port: &Port) -> OwnedFd {
        self.attach(port);
        let fd = self.host.run(|| open_tap(&port.tap));
        self.await_carrier(&port.tap);
        fd
    }

    /// A bridge port forwards only some time after its tap was opened: the kernel tells the bridge of the
    /// carrier from a work queue.
    pub(crate) fn await_carrier(&self, tap: &str) {
        for _ in 0..200 {
            if self.host.sh(&format!("bridge link show dev {tap}")).contains("state forwarding") {
                return;
            }
            thread::sleep(Duration::from_millis(50));
        }
        panic!("{tap} does not forward after 10 s");
    }

    pub(crate) fn guest(&self, slot: u32, policy: NetworkPolicy) -> Guest {
        self.guest_of(self.port(slot, policy))
    }

    pub(crate) fn guest_of(&self, port: Port) -> Guest {
        let tap = self.opened(&port);
        Guest::new(port, tap, &self.network)
    }
}

pub(crate) fn machine(slot: u32) -> MachineId {
    MachineId::from_random((u64::from(slot) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes())
}

/// A guest: its own namespace with a real TCP/IP stack, whose only link is pumped, frame by frame, through the
/// descriptor of the host's tap. What QEMU does with a virtio-net queue, this does with a second tap.
pub(crate) struct Guest {
    pub(crate) ns: NetNs,
    pub(crate) port: Port,
    stop: Arc<AtomicBool>,
    pump: Option<JoinHandle<()>>,
}

impl Guest {
    fn new(port: Port, tap: OwnedFd, network: &Network) -> Self {
        let (gateway, prefix, gateway6) = (network.gateway(), network.prefix(), network.gateway6());
        let ns = NetNs::new();
        let mac = port.mac.map(|byte| format!("{byte:02x}")).join(":");
        ns.sh(&format!("ip tuntap add eth0 mode tap; ip link set eth0 address {mac}"));
        let inner = ns.run(|| open_tap("eth0"));
        ns.sh(&format!(
            "ip link set eth0 up; ip address add {}/{prefix} dev eth0; ip route add default via {gateway}",
            port.address
        ));
        if let Some((address, (gateway, prefix))) = port.address6.zip(gateway6) {
            ns.sh(&format!(
                "ip address add {address}/{prefix} dev eth0 nodad; ip route add default via {gateway}"
            ));
        }
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        let pump = thread::spawn(move || pump(&File::from(tap), &File::from(inner), &seen));
        Self { ns, port, stop, pump: Some(pump) }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(pump) = self.pump.take() {
            let _ = pump.join();
        }
    }
}

fn pump(a: &File, b: &File, stop: &AtomicBool) {
    let mut frame = vec![0; 70_000];
    while !stop.load(Ordering::Relaxed) {
        let mut ready =
            [PollFd::new(a.as_fd(), PollFlags::POLLIN), PollFd::new(b.as_fd(), PollFlags::POLLIN)];
        if poll(&mut ready, PollTimeout::from(50_u8)).is_err() {
            continue;
        }
        for (mut from, mut to) in [(a, b), (b, a)] {
            for _ in 0..64 {
                let Ok(length) = from.read(&mut frame) else { break };
                let _ = to.write(&frame[..length]);
            }
        }
    }
}

/// A TCP service that tells each caller which address it sees, and whose connections stay open.
pub(crate) fn serve(ns: &NetNs, address: impl Into<IpAddr>, port: u16) {
    let address = address.into();
    let listener = ns.run(|| TcpListener::bind((address, port))).expect("listen");
    thread::spawn(move || {
        let mut open = Vec::new();
        while let Ok((mut stream, peer)) = listener.accept() {
            let _ = stream.write_all(format!("{}\n", peer.ip()).as_bytes());
            open.push(stream);
        }
    });
}

/// Connects from `ns` and returns the address that the service sees; none if nothing answers in time.
pub(crate) fn call(ns: &NetNs, address: impl Into<IpAddr>, port: u16) -> Option<String> {
    open(ns, address, port, Duration::from_secs(5)).map(|(seen, _)| seen)
}

/// True if a connection gets no answer at all: dropped, not refused.
pub(crate) fn dropped(ns: &NetNs, address: impl Into<IpAddr>, port: u16) -> bool {
    let target = SocketAddr::new(address.into(), port);
    let answer = ns.run(|| TcpStream::connect_timeout(&target, Duration::from_millis(1200)));
    matches!(answer, Err(error) if error.kind() == std::io::ErrorKind::TimedOut)
}

pub(crate) fn open(
    ns: &NetNs,
    address: impl Into<IpAddr>,
    port: u16,
    wait: Duration,
) -> Option<(String, TcpStream)> {
    let target = SocketAddr::new(address.into(), port);
    let mut stream = ns.run(|| TcpStream::connect_timeout(&target, wait)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    let mut text = [0; 64];
    let length = stream.read(&mut text).ok()?;
    Some((String::from_utf8_lossy(&text[..length]).trim().to_owned(), stream))
}

/// A UDP socket that waits at most `wait` for a datagram.
pub(crate) fn udp(ns: &NetNs, address: Ipv4Addr, port: u16, wait: Duration) -> UdpSocket {
    let socket = ns.run(|| UdpSocket::bind((address, port))).expect("bind");
    socket.set_read_timeout(Some(wait)).expect("timeout");
    socket
}
