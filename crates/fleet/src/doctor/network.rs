//! What the machines' network needs.

use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::process::Stdio;
use std::time::Duration;

use fireactions_config::Config;
use rustix::process::geteuid;
use tokio::process::Command;

use super::Finding;

const DEADLINE: Duration = Duration::from_secs(10);

/// Taps are made through it.
pub(super) fn tun() -> Finding {
    let advice = "load it: `modprobe tun`; in a container, pass /dev/net/tun in";
    match fs::metadata("/dev/net/tun") {
        Ok(meta) if meta.file_type().is_char_device() => {
            match fs::File::options().read(true).write(true).open("/dev/net/tun") {
                Ok(_) => Finding::ok("tun", "/dev/net/tun opens"),
                Err(error) => Finding::error("tun", format!("/dev/net/tun does not open: {error}"), advice),
            }
        }
        Ok(_) => Finding::error("tun", "/dev/net/tun is not a device", advice),
        Err(error) => Finding::error("tun", format!("/dev/net/tun: {error}"), advice),
    }
}

pub(super) fn forwarding(config: &Config) -> Finding {
    if !config.network.nat {
        return Finding::ok("ip_forward", "not needed: network.nat is off");
    }
    let name = "/proc/sys/net/ipv4/ip_forward";
    match fs::read_to_string(name) {
        Ok(value) if value.trim() == "1" => Finding::ok("ip_forward", "on"),
        Ok(_) => Finding::warning(
            "ip_forward",
            "off",
            "the server switches it on when it starts; to keep it, `sysctl -w net.ipv4.ip_forward=1` and a file in /etc/sysctl.d",
        ),
        Err(error) => {
            Finding::error("ip_forward", format!("{name}: {error}"), "use a kernel with IPv4 forwarding")
        }
    }
}

/// Listing asks the kernel and changes nothing.
pub(super) async fn tables(config: &Config) -> Finding {
    if !geteuid().is_root() {
        return Finding::warning("nftables", "only root can ask the kernel", "run `sudo fireactions doctor`");
    }
    let output =
        Command::new("nft").args(["list", "tables"]).stdin(Stdio::null()).kill_on_drop(true).output();
    match tokio::time::timeout(DEADLINE, output).await {
        Ok(Ok(output)) if output.status.success() => {
            let text = String::from_utf8_lossy(&output.stdout);
            let foreign = text.lines().filter(|line| !line.contains("fireactions")).count();
            let bridge = &config.network.bridge;
            Finding::ok(
                "nftables",
                format!("works; {foreign} tables of others, bridge {bridge} will be ours"),
            )
        }
        Ok(Ok(output)) => {
            let why: String =
                String::from_utf8_lossy(&output.stderr).lines().next().unwrap_or_default().to_owned();
            Finding::error("nftables", format!("the kernel refuses: {why}"), "load it: `modprobe nf_tables`")
        }
        Ok(Err(error)) => {
            Finding::error("nftables", format!("nft cannot be started: {error}"), "install nftables")
        }
        Err(_) => Finding::error("nftables", "nft does not answer", "look for a stuck nft process"),
    }
}
