//! What the machines' network needs.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;

use fireactions_config::{Config, Driver};
use rustix::process::geteuid;

use super::checks::{BRIDGE_FILTER, CONNTRACK, FORGET, FORWARD, NFTABLES, TUN};
use super::demand::Demand;
use super::{Finding, firewall, look};

pub(super) async fn all(config: &Config, demand: &Demand) -> Vec<Finding> {
    let mut findings = vec![tun(config), forwarding(look::text("/proc/sys/net/ipv4/ip_forward").as_deref())];
    findings.extend(tables(config).await);
    findings.push(bridge_filter(look::text("/proc/sys/net/bridge/bridge-nf-call-iptables").as_deref()));
    findings.push(conntrack(demand, look::number("/proc/sys/net/netfilter/nf_conntrack_max")));
    findings.push(match tokio::task::spawn_blocking(fireactions_net::can_forget).await {
        Ok(answer) => forgetting(geteuid().is_root(), answer),
        Err(error) => forgetting(true, Err(io::Error::other(error))),
    });
    findings
}

/// Taps are made through it.
fn tun(config: &Config) -> Finding {
    let advice = "load it: `modprobe tun`; in a container, pass /dev/net/tun in";
    match fs::metadata("/dev/net/tun") {
        Ok(meta) if meta.file_type().is_char_device() => {
            match fs::File::options().read(true).write(true).open("/dev/net/tun") {
                Ok(_) => opened(meta.permissions().mode(), opens_itself(config)),
                Err(error) if !geteuid().is_root() => Finding::warning(
                    &TUN,
                    format!("/dev/net/tun exists, but this user cannot open it: {error}"),
                    "run `sudo fireactions doctor`",
                ),
                Err(error) => Finding::error(&TUN, format!("/dev/net/tun cannot be opened: {error}"), advice),
            }
        }
        Ok(_) => Finding::error(&TUN, "/dev/net/tun is not a device", advice),
        Err(error) => Finding::error(&TUN, format!("/dev/net/tun: {error}"), advice),
    }
}

/// Whether the machines' own users have to open it. QEMU gets its tap open, and a jail has a node of its own.
fn opens_itself(config: &Config) -> bool {
    config.vmm.driver == Driver::Firecracker && !config.vmm.jailer
}

fn opened(mode: u32, by_everybody: bool) -> Finding {
    if by_everybody && mode & 0o006 != 0o006 {
        return Finding::error(
            &TUN,
            format!(
                "/dev/net/tun has the mode {:o}: Firecracker without its jailer runs as a user of its own, and cannot open it",
                mode & 0o777
            ),
            "`chmod 0666 /dev/net/tun`, as udev has it, or 'vmm.jailer: true'",
        );
    }
    Finding::ok(&TUN, "/dev/net/tun opens")
}

/// The guests' packets are routed, under the host's address (`network.nat`) or their own.
fn forwarding(value: Option<&str>) -> Finding {
    match value {
        Some("1") => Finding::ok(&FORWARD, "on"),
        Some(_) => Finding::warning(
            &FORWARD,
            "off",
            "the server switches it on when it starts; to keep it, `sysctl -w net.ipv4.ip_forward=1` and a file in /etc/sysctl.d",
        ),
        None => Finding::error(
            &FORWARD,
            "/proc/sys/net/ipv4/ip_forward cannot be read",
            "use a kernel with IPv4; in a container, mount /proc",
        ),
    }
}

/// Listing asks the kernel and changes nothing.
async fn tables(config: &Config) -> Vec<Finding> {
    if !geteuid().is_root() {
        let advice = "run `sudo fireactions doctor`";
        return vec![Finding::warning(&NFTABLES, "only root can ask the kernel", advice)];
    }
    match look::ask(Path::new("nft"), &["list", "chains"], look::DEADLINE).await {
        Ok(answer) if answer.status.success() => {
            let others = firewall::chains(&answer.stdout);
            let tables: std::collections::BTreeSet<_> = others.iter().map(|chain| &chain.table).collect();
            let bridge = &config.network.bridge;
            let found =
                format!("works; {} tables of other programs, bridge {bridge} will be ours", tables.len());
            vec![Finding::ok(&NFTABLES, found), firewall::look(config, &others).await]
        }
        Ok(answer) => {
            let found = format!("the kernel refuses: {}", answer.first_line());
            vec![Finding::error(&NFTABLES, found, "load it: `modprobe nf_tables`")]
        }
        Err(why) => {
            vec![Finding::warning(&NFTABLES, why, "`apt-get install nftables`; look for a stuck nft process")]
        }
    }
}

/// Our rules filter bridged frames in the bridge family and need none of this (net.bridge of br_netfilter).
fn bridge_filter(call: Option<&str>) -> Finding {
    match call {
        None => Finding::ok(&BRIDGE_FILTER, "br_netfilter is not loaded"),
        Some("0") => Finding::ok(&BRIDGE_FILTER, "br_netfilter is loaded, and off"),
        Some(_) => Finding::warning(
            &BRIDGE_FILTER,
            "on: each frame on a bridge also goes through the host's iptables rules, which costs time and may drop it",
            "`sysctl -w net.bridge.bridge-nf-call-iptables=0`, unless Docker's or Kubernetes' rules between containers need it",
        ),
    }
}

fn conntrack(demand: &Demand, max: Option<u64>) -> Finding {
    let need = demand.connections;
    if !demand.unbounded.is_empty() {
        return Finding::warning(
            &CONNTRACK,
            format!(
                "one machine of {} can fill the host's table; then new connections fail, of the host and \
                 of all machines",
                demand.unbounded.join(", ")
            ),
            "give these pools `network.max_connections` other than 0",
        );
    }
    match max {
        None => Finding::ok(&CONNTRACK, "not loaded yet; our rules load it"),
        Some(max) if max >= need => {
            Finding::ok(&CONNTRACK, format!("{max} connections; all machines may have {need}"))
        }
        Some(max) => Finding::warning(
            &CONNTRACK,
            format!(
                "{max} connections, but all machines together may have {need}; when the table is full, new \
                 connections fail, those of the host too"
            ),
            format!(
                "`sysctl -w net.netfilter.nf_conntrack_max={}`, or lower max_connections of the pools",
                need.next_power_of_two()
            ),
        ),
    }
}

/// An address that one machine had is given to the next: its connections must not be.
fn forgetting(root: bool, answer: io::Result<()>) -> Finding {
    match answer {
        Ok(()) => Finding::ok(&FORGET, "works"),
        Err(error) if !root => Finding::warning(
            &FORGET,
            format!("only root can ask the kernel: {error}"),
            "run `sudo fireactions doctor`",
        ),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Finding::error(
            &FORGET,
            format!("root may not ask the kernel here: {error}"),
            "give the container or service CAP_NET_ADMIN",
        ),
        Err(error) => Finding::error(
            &FORGET,
            format!("the kernel does not do it, and no machine would get its network: {error}"),
            "load it: `modprobe nf_conntrack_netlink`, and `echo nf_conntrack_netlink >/etc/modules-load.d/fireactions.conf`; \
             where there is no such module, install the rest of your kernel's (Ubuntu: linux-modules-extra)",
        ),
    }
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::super::Severity::{Error, Ok as Fine, Warning};
    use super::super::demand::Need;
    use super::*;

    #[test]
    fn who_opens_the_tap_s_device_must_be_allowed_to() {
        let of = |mode, by_everybody| opened(mode, by_everybody).severity;
        assert_eq!([of(0o20600, false), of(0o20666, true), of(0o20600, true)], [Fine, Fine, Error]);
        assert!(opened(0o20660, true).found.contains("660"));
    }

    #[test]
    fn forwarding_and_bridge_filter() {
        let of = |value| forwarding(value).severity;
        assert_eq!([of(Some("1")), of(Some("0")), of(None)], [Fine, Warning, Error]);
        let of = |call| bridge_filter(call).severity;
        assert_eq!([of(None), of(Some("0")), of(Some("1"))], [Fine, Fine, Warning]);
    }

    #[test]
    fn a_kernel_that_forgets_no_connections_is_named_with_its_module() {
        let of = |root, errno: Errno| forgetting(root, Err(errno.into()));
        let missing = of(true, Errno::INVAL);
        assert!(
            missing.severity == Error && missing.advice.unwrap().contains("modprobe nf_conntrack_netlink")
        );
        let confined = of(true, Errno::PERM);
        assert!(confined.severity == Error && confined.advice.unwrap().contains("CAP_NET_ADMIN"));
        assert_eq!(of(false, Errno::PERM).severity, Warning);
        assert_eq!(forgetting(true, Ok(())).severity, Fine);
    }

    #[test]
    fn room_for_connections() {
        let demand = Demand::some(Driver::Qemu, Need::Should);
        let of = |max| conntrack(&demand, max).severity;
        assert_eq!([of(None), of(Some(65_536)), of(Some(4096))], [Fine, Fine, Warning]);
        assert!(conntrack(&demand, Some(1)).advice.unwrap().contains("nf_conntrack_max=16384"));
        // However large the table is, one machine without a bound fills it.
        let unbounded = Demand { unbounded: vec!["ci".into()], ..demand };
        let finding = conntrack(&unbounded, Some(1 << 30));
        assert!(finding.severity == Warning && finding.found.contains("machine of ci"), "{finding:?}");
    }
}
