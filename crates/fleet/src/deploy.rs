//! What a deployment will do, from what is wished and what the host is. Pure: nothing is asked, and nothing is changed.

use std::path::Path;

use crate::facts::{Disk, Facts};
use crate::host::{Address, HostName};
use crate::provider::{Arch, NoSuchHosts, Provider, ProviderChoice};

/// What is wished.
#[derive(Debug, Clone)]
pub struct Wish {
    /// The host's name from then on.
    pub name: HostName,
    /// Where it is.
    pub address: Address,
    /// Where it runs.
    pub provider: ProviderChoice,
    /// Its architecture.
    pub arch: Arch,
    /// Who logs in now; root afterwards.
    pub user: String,
    /// Whether the password in `SSHPASS` is used.
    pub password: bool,
    /// Whether the installer is started from the running system; else it is the running system.
    pub kexec: bool,
    /// `KEY=VALUE`, for all connections.
    pub ssh_options: Vec<String>,
    /// The port of the installer that replaces the running system, and of the new system.
    pub new_port: u16,
    /// More arguments for nixos-anywhere.
    pub more: Vec<String>,
}

impl Wish {
    /// The port that the options name for the system that runs now: of several, the first one, as ssh has it.
    fn port(&self) -> Option<&str> {
        self.ssh_options.iter().find_map(|option| port_of(option))
    }

    /// What ssh is told once the new system runs, which may listen elsewhere. Where no port was named, ssh's own configuration counts
    /// before and after.
    pub fn later_ssh_options(&self) -> Vec<String> {
        let others = self.ssh_options.iter().filter(|option| port_of(option).is_none()).cloned();
        let port = (self.port().is_some() || self.new_port != SSH).then(|| format!("Port={}", self.new_port));
        port.into_iter().chain(others).collect()
    }
}

/// Where sshd listens unless it is told otherwise.
pub const SSH: u16 = 22;

/// The port of `Port=22` or `port 22`; names of options have no case, ssh_config(5).
fn port_of(option: &str) -> Option<&str> {
    let (name, value) = option.trim().split_once(['=', ' ', '\t'])?;
    name.eq_ignore_ascii_case("port").then(|| value.trim_start_matches(['=', ' ', '\t']))
}

/// What will be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Where the host runs, as the registry will have it.
    pub provider: Provider,
    /// The disk that is erased.
    pub disk: Disk,
    /// The disks that are left alone.
    pub others: Vec<Disk>,
}

/// Why this host is not deployed to like this.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The operator's own machine.
    #[error("{0} is the machine that you work on: it would be erased")]
    Here(Address),
    /// Another processor than wished.
    #[error("the host is {is}, and {wished} was asked for")]
    Arch {
        /// What it is.
        is: String,
        /// What was asked for.
        wished: Arch,
    },
    /// The provider has none of these.
    #[error(transparent)]
    NoSuchHosts(#[from] NoSuchHosts),
    /// Too little for the installer, which runs in memory.
    #[error("the droplet has {mib} MiB of memory, and an installation takes a droplet of 2 GB or more")]
    Memory {
        /// What it has.
        mib: u64,
    },
    /// The disk of the provider's hosts is not there.
    #[error("the host has no /dev/{}, where provider '{provider}' installs: it has {has}", provider.disk())]
    Disk {
        /// The provider.
        provider: Provider,
        /// What the host has.
        has: String,
    },
    /// No provider's disk is there.
    #[error("no provider fits this host: it has {has}, and none of sda, vda, nvme0n1")]
    NoProvider {
        /// What the host has.
        has: String,
    },
}

impl Refusal {
    /// What to do about it.
    pub fn advice(&self) -> String {
        match self {
            Self::Here(_) => "give another host's address".to_owned(),
            Self::Arch { is, .. } => match is.parse::<Arch>() {
                Ok(arch) => format!("use --arch {arch}"),
                Err(_) => "use a host with an x86_64 or aarch64 processor".to_owned(),
            },
            Self::NoSuchHosts(_) => "see `fireactions host deploy --help`".to_owned(),
            Self::Memory { .. } => "resize the droplet, and deploy again".to_owned(),
            Self::Disk { .. } => "use the --provider whose disk it has, or --provider auto".to_owned(),
            Self::NoProvider { .. } => {
                "write a disk layout of your own, and run nixos-anywhere yourself".to_owned()
            }
        }
    }
}

/// A droplet of 2 GB, less what firmware and kernel keep for themselves.
const DROPLET_MIB: u64 = 1800;

/// Looks at wish and facts. `here` is this machine's boot id.
///
/// # Errors
/// When it cannot be as wished.
pub fn plan(wish: &Wish, facts: &Facts, here: &str) -> Result<Plan, Refusal> {
    if !here.is_empty() && facts.get("boot_id") == here {
        return Err(Refusal::Here(wish.address.clone()));
    }
    let arch = facts.get("arch");
    if arch != wish.arch.as_str() {
        return Err(Refusal::Arch { is: arch.to_owned(), wished: wish.arch });
    }
    let disks = facts.disks();
    let provider = match wish.provider {
        ProviderChoice::Given(provider) => provider,
        ProviderChoice::Auto => recognize(facts.get("vendor"), &disks)
            .ok_or_else(|| Refusal::NoProvider { has: names(&disks) })?,
    };
    provider.offers(wish.arch)?;
    let mib = facts.number("mem_mib").unwrap_or(0);
    if provider == Provider::Do && mib < DROPLET_MIB {
        return Err(Refusal::Memory { mib });
    }
    let (erased, others): (Vec<Disk>, Vec<Disk>) =
        disks.iter().cloned().partition(|disk| disk.name == provider.disk());
    let disk = erased.into_iter().next().ok_or_else(|| Refusal::Disk { provider, has: names(&disks) })?;
    Ok(Plan { provider, disk, others })
}

/// By the firmware's vendor, else by the disk.
fn recognize(vendor: &str, disks: &[Disk]) -> Option<Provider> {
    let has = |provider: &Provider| disks.iter().any(|disk| disk.name == provider.disk());
    let by_vendor = match vendor {
        "DigitalOcean" => Some(Provider::Do),
        "Hetzner" => Some(Provider::Hetzner),
        _ => None,
    };
    by_vendor
        .filter(has)
        .or_else(|| [Provider::Nvme, Provider::Generic, Provider::Baremetal].into_iter().find(has))
}

fn names(disks: &[Disk]) -> String {
    let names: Vec<String> = disks.iter().map(|disk| format!("{} ({} GiB)", disk.name, disk.gib)).collect();
    if names.is_empty() { "no disk that can be seen".to_owned() } else { names.join(", ") }
}

/// nixos-anywhere's arguments. `flake` is the flake's directory; `files` has what is copied into the new system.
pub fn arguments(wish: &Wish, plan: &Plan, flake: &str, files: Option<&Path>) -> Vec<String> {
    let mut all: Vec<String> = vec![
        "--flake".to_owned(),
        format!("{flake}#{}", plan.provider.target(wish.arch)),
        "--target-host".to_owned(),
        format!("{}@{}", wish.user, wish.address),
    ];
    all.extend(["--build-on", "remote", "--option", "accept-flake-config", "true"].map(str::to_owned));
    if wish.password {
        all.push("--env-password".to_owned());
    }
    if !wish.kexec {
        all.extend(["--phases", "disko,install,reboot"].map(str::to_owned));
    }
    if wish.provider == ProviderChoice::Auto {
        let file = format!("{flake}/hardware-configuration.nix");
        all.extend(["--generate-hardware-config".to_owned(), "nixos-generate-config".to_owned(), file]);
    }
    if let Some(files) = files {
        all.extend(["--extra-files".to_owned(), files.display().to_string()]);
    }
    // An option is for all connections of nixos-anywhere's; the port that it has as a port is for those before its installer runs.
    for option in wish.ssh_options.iter().filter(|option| port_of(option).is_none()) {
        all.extend(["--ssh-option".to_owned(), option.clone()]);
    }
    if let Some(port) = wish.port() {
        all.extend(["--ssh-port".to_owned(), port.to_owned()]);
    }
    if wish.new_port != SSH {
        all.extend(["--post-kexec-ssh-port".to_owned(), wish.new_port.to_string()]);
    }
    all.extend(wish.more.iter().cloned());
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(provider: &str, arch: Arch) -> Wish {
        Wish {
            name: "runner-1".parse().unwrap(),
            address: "203.0.113.50".parse().unwrap(),
            provider: provider.parse().unwrap(),
            arch,
            user: "root".to_owned(),
            password: false,
            kexec: true,
            ssh_options: Vec::new(),
            new_port: SSH,
            more: Vec::new(),
        }
    }

    fn facts() -> Facts {
        Facts::of([
            ("arch", "x86_64"),
            ("boot_id", "there"),
            ("mem_mib", "1963"),
            ("disks", "sda:40,vda:80,nvme0n1:500"),
            ("vendor", "DigitalOcean"),
        ])
    }

    #[test]
    fn the_disk_of_the_provider_is_erased_and_no_other() {
        let plan = plan(&wish("hetzner", Arch::X86_64), &facts(), "here").unwrap();
        assert_eq!((plan.provider, plan.disk.name.as_str()), (Provider::Hetzner, "sda"));
        assert_eq!(names(&plan.others), "vda (80 GiB), nvme0n1 (500 GiB)");
    }

    #[test]
    fn refusals_say_what_to_do() {
        let refused = |provider: &str, arch, facts: &Facts, here: &str| {
            let error = plan(&wish(provider, arch), facts, here).unwrap_err();
            format!("{error} → {}", error.advice())
        };
        let x86 = Arch::X86_64;
        assert_eq!(
            refused("do", x86, &facts(), "there"),
            "203.0.113.50 is the machine that you work on: it would be erased → give another host's address"
        );
        assert_eq!(
            refused("nvme", Arch::Aarch64, &facts(), ""),
            "the host is x86_64, and aarch64 was asked for → use --arch x86_64"
        );
        let arm = facts().with("arch", "aarch64");
        assert!(refused("do", Arch::Aarch64, &arm, "").starts_with("DigitalOcean has no aarch64 hosts"));
        assert!(refused("auto", Arch::Aarch64, &arm, "").starts_with("DigitalOcean has no aarch64 hosts"));
        let small = facts().with("mem_mib", "981");
        assert_eq!(
            refused("do", x86, &small, ""),
            "the droplet has 981 MiB of memory, and an installation takes a droplet of 2 GB or more → resize the droplet, and deploy again"
        );
        assert!(plan(&wish("hetzner", x86), &small, "").is_ok(), "that is the provider's own rule");
        let virtio = facts().with("disks", "vda:80");
        assert_eq!(
            refused("baremetal", x86, &virtio, ""),
            "the host has no /dev/sda, where provider 'baremetal' installs: it has vda (80 GiB) → use the --provider whose disk it has, or --provider auto"
        );
        let none = facts().with("disks", "");
        assert!(refused("auto", x86, &none, "").contains("it has no disk that can be seen"));
        assert!(refused("nvme", x86, &Facts::default(), "").starts_with("the host is , and"));
    }

    #[test]
    fn a_host_is_recognized() {
        let auto = |vendor: &str, disks: &str| {
            let facts = facts().with("vendor", vendor).with("disks", disks);
            plan(&wish("auto", Arch::X86_64), &facts, "").unwrap().provider
        };
        assert_eq!(auto("DigitalOcean", "vda:80"), Provider::Do);
        assert_eq!(auto("Hetzner", "sda:80"), Provider::Hetzner);
        assert_eq!(auto("Hetzner", "nvme0n1:512,nvme1n1:512"), Provider::Nvme, "its bare metal");
        assert_eq!(auto("QEMU", "sda:1,vda:80"), Provider::Generic);
        assert_eq!(auto("", "sda:80"), Provider::Baremetal);
    }

    #[test]
    fn what_nixos_anywhere_is_told() {
        let mut wish = wish("do", Arch::X86_64);
        let plan = plan(&wish, &facts(), "").unwrap();
        assert_eq!(
            arguments(&wish, &plan, ".", None).join(" "),
            "--flake .#fireactions-node-do --target-host root@203.0.113.50 --build-on remote --option accept-flake-config true"
        );
        wish.provider = ProviderChoice::Auto;
        (wish.password, wish.kexec, wish.user) = (true, false, "nixos".to_owned());
        wish.ssh_options = ["Port=2222", "ProxyJump=bastion", "Port=2223"].map(str::to_owned).to_vec();
        wish.more = vec!["--debug".to_owned()];
        assert_eq!(
            arguments(&wish, &plan, "/flake", Some(Path::new("/files"))).join(" "),
            "--flake /flake#fireactions-node-do --target-host nixos@203.0.113.50 --build-on remote --option accept-flake-config true \
             --env-password --phases disko,install,reboot \
             --generate-hardware-config nixos-generate-config /flake/hardware-configuration.nix --extra-files /files --ssh-option ProxyJump=bastion --ssh-port 2222 --debug"
        );
        assert_eq!(wish.later_ssh_options(), ["Port=22", "ProxyJump=bastion"]);
        wish.new_port = 2022;
        let told = arguments(&wish, &plan, ".", None).join(" ");
        assert!(told.ends_with("--ssh-port 2222 --post-kexec-ssh-port 2022 --debug"), "{told}");
        assert_eq!(wish.later_ssh_options(), ["Port=2022", "ProxyJump=bastion"]);
    }

    #[test]
    fn a_port_is_found_as_ssh_finds_it() {
        let port = |option| port_of(option);
        for option in ["Port=2222", "port 2222", " PORT = 2222", "Port\t2222"] {
            assert_eq!(port(option), Some("2222"), "{option}");
        }
        for option in ["Port", "PortForwarding=no", "ProxyJump=bastion:2222", "ProxyCommand=nc -p 1 Port=2"] {
            assert_eq!(port(option), None, "{option}");
        }
        let mut wish = wish("do", Arch::X86_64);
        wish.ssh_options = vec!["ProxyJump=bastion".to_owned()];
        assert_eq!(wish.later_ssh_options(), ["ProxyJump=bastion"], "ssh's own configuration counts");
    }
}
