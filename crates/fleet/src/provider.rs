//! What kinds of hosts there are, which disk each has, and which of the flake's systems it gets.

use std::fmt;
use std::str::FromStr;

use fireactions_config::nearest_name;

/// Where a host runs, as far as an installation cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provider {
    /// DigitalOcean.
    Do,
    /// Hetzner Cloud.
    Hetzner,
    /// A virtual machine with virtio disks.
    Generic,
    /// NVMe disks.
    Nvme,
    /// SATA or SCSI disks.
    Baremetal,
}

impl Provider {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Do, Self::Hetzner, Self::Generic, Self::Nvme, Self::Baremetal];

    /// As the registry has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Do => "do",
            Self::Hetzner => "hetzner",
            Self::Generic => "generic",
            Self::Nvme => "nvme",
            Self::Baremetal => "baremetal",
        }
    }

    /// The disk that the system is installed on.
    pub const fn disk(self) -> &'static str {
        match self {
            Self::Do | Self::Generic => "vda",
            Self::Hetzner | Self::Baremetal => "sda",
            Self::Nvme => "nvme0n1",
        }
    }

    /// The flake's system for a new host.
    pub const fn target(self, arch: Arch) -> &'static str {
        match (arch, self) {
            (Arch::X86_64, Self::Do) => "fireactions-node-do",
            (Arch::X86_64, Self::Generic) => "fireactions-node-vda",
            (Arch::X86_64, Self::Nvme) => "fireactions-node-nvme",
            (Arch::X86_64, Self::Hetzner | Self::Baremetal) => "fireactions-node",
            (Arch::Aarch64, Self::Do | Self::Generic) => "fireactions-node-arm-vda",
            (Arch::Aarch64, Self::Nvme) => "fireactions-node-arm-nvme",
            (Arch::Aarch64, Self::Hetzner | Self::Baremetal) => "fireactions-node-arm",
        }
    }

    /// Whether such hosts exist.
    ///
    /// # Errors
    /// When the provider has no hosts of this architecture.
    pub const fn offers(self, arch: Arch) -> Result<(), NoSuchHosts> {
        match (self, arch) {
            (Self::Do, Arch::Aarch64) => Err(NoSuchHosts),
            _ => Ok(()),
        }
    }
}

/// DigitalOcean rents x86_64 alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("DigitalOcean has no aarch64 hosts: use --arch x86_64, or another --provider")]
pub struct NoSuchHosts;

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that no provider, or no architecture, is called.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("known are {known}{}", did_you_mean(.nearest.as_deref()))]
pub struct UnknownWord {
    known: String,
    nearest: Option<String>,
}

fn did_you_mean(nearest: Option<&str>) -> String {
    nearest.map(|name| format!("; did you mean '{name}'?")).unwrap_or_default()
}

impl UnknownWord {
    fn new(wrong: &str, known: &[&str]) -> Self {
        Self { known: known.join(", "), nearest: nearest_name(wrong, known).map(str::to_owned) }
    }
}

impl FromStr for Provider {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        match text {
            "digitalocean" => return Ok(Self::Do),
            "vda" => return Ok(Self::Generic),
            _ => {}
        }
        let known = Self::ALL.into_iter().find(|provider| provider.as_str() == text);
        known.ok_or_else(|| UnknownWord::new(text, &Self::ALL.map(Self::as_str)))
    }
}

/// What is asked for at a deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProviderChoice {
    /// This one.
    Given(Provider),
    /// The one that the host looks like; its hardware is written down too.
    Auto,
}

impl FromStr for ProviderChoice {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        if text == "auto" {
            return Ok(Self::Auto);
        }
        text.parse().map(Self::Given).map_err(|_| {
            let mut known = Provider::ALL.map(Provider::as_str).to_vec();
            known.push("auto");
            UnknownWord::new(text, &known)
        })
    }
}

/// A processor architecture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arch {
    /// AMD's and Intel's.
    X86_64,
    /// 64-bit Arm.
    Aarch64,
}

impl Arch {
    /// As `uname -m` says it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "aarch64",
        }
    }

    /// As Nix and the registry have it.
    pub const fn system(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64-linux",
            Self::Aarch64 => "aarch64-linux",
        }
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Arch {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        let known = [Self::X86_64, Self::Aarch64];
        let found = known.into_iter().find(|arch| text == arch.as_str() || text == arch.system());
        found.ok_or_else(|| UnknownWord::new(text, &known.map(Self::as_str)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_before_and_wrong_ones() {
        for (word, provider) in [
            ("do", Provider::Do),
            ("digitalocean", Provider::Do),
            ("vda", Provider::Generic),
            ("nvme", Provider::Nvme),
        ] {
            assert_eq!(word.parse(), Ok(provider));
        }
        assert_eq!("auto".parse(), Ok(ProviderChoice::Auto));
        let told = "hetzer".parse::<ProviderChoice>().unwrap_err().to_string();
        assert_eq!(told, "known are do, hetzner, generic, nvme, baremetal, auto; did you mean 'hetzner'?");
        assert_eq!(
            "".parse::<Provider>().unwrap_err().to_string(),
            "known are do, hetzner, generic, nvme, baremetal"
        );
        assert_eq!("arm64".parse::<Arch>().unwrap_err().to_string(), "known are x86_64, aarch64");
        assert_eq!("aarch64-linux".parse(), Ok(Arch::Aarch64));
    }

    #[test]
    fn each_host_has_a_system_of_the_flake() {
        let targets = |arch| Provider::ALL.map(|provider| provider.target(arch));
        assert_eq!(
            targets(Arch::X86_64),
            [
                "fireactions-node-do",
                "fireactions-node",
                "fireactions-node-vda",
                "fireactions-node-nvme",
                "fireactions-node"
            ]
        );
        assert_eq!(
            targets(Arch::Aarch64)[1..],
            [
                "fireactions-node-arm",
                "fireactions-node-arm-vda",
                "fireactions-node-arm-nvme",
                "fireactions-node-arm"
            ]
        );
        assert_eq!(Provider::Do.offers(Arch::Aarch64), Err(NoSuchHosts));
        assert_eq!(Provider::Hetzner.offers(Arch::Aarch64), Ok(()));
    }
}
