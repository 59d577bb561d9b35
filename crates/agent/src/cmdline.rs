//! The agent's part of the kernel command line, the only configuration that exists before the host can be reached.

use std::path::PathBuf;

/// Who stays PID 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum InitMode {
    /// The agent.
    Agent,
    /// The image's own init, with the agent beside it.
    Image,
}

/// How the host is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum HostPort {
    /// The virtio-serial port of this name.
    Serial(String),
    /// This vsock port of the host (context id 2).
    Vsock(u32),
}

/// `fireactions.*` of `/proc/cmdline`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cmdline {
    /// `fireactions.init=agent|image`.
    pub(crate) init: InitMode,
    /// `fireactions.root=DEVICE`: the read-only root image.
    pub(crate) root: PathBuf,
    /// `fireactions.scratch=DEVICE`: the writable layer; in memory when absent.
    pub(crate) scratch: Option<PathBuf>,
    /// `fireactions.modules=DEVICE`: all modules of the kernel.
    pub(crate) modules: Option<PathBuf>,
    /// `fireactions.load=NAME`, once for each: modules to load, in this order.
    pub(crate) load: Vec<String>,
    /// `fireactions.data=DIRECTORY`, once for each: what lies on the scratch disk itself.
    pub(crate) data: Vec<PathBuf>,
    /// `fireactions.work=DIRECTORY`: where a forge's runner works, which lies there, too.
    pub(crate) work: Option<PathBuf>,
    /// `fireactions.swap=MIB`: how much of the scratch disk is swap.
    pub(crate) swap_mib: u32,
    /// `fireactions.port=NAME` or `fireactions.vsock=PORT`.
    pub(crate) host: HostPort,
}

impl Default for Cmdline {
    fn default() -> Self {
        Self {
            init: InitMode::Agent,
            root: PathBuf::from("/dev/vda"),
            scratch: None,
            modules: None,
            load: Vec::new(),
            data: Vec::new(),
            work: None,
            swap_mib: 0,
            host: HostPort::Serial("org.fireactions.agent.0".to_owned()),
        }
    }
}

impl Cmdline {
    /// Reads `/proc/cmdline`.
    pub(crate) fn read() -> Result<Self, String> {
        let text = std::fs::read_to_string("/proc/cmdline")
            .map_err(|error| format!("cannot read the kernel command line from /proc/cmdline: {error}"))?;
        Self::parse(&text)
    }

    /// Picks the agent's words out of a kernel command line; of a kind that can be there once, the last one
    /// counts, as with the kernel's.
    fn parse(text: &str) -> Result<Self, String> {
        let mut found = Self::default();
        for word in text.split_ascii_whitespace() {
            let Some((key, value)) = word.strip_prefix("fireactions.").and_then(|word| word.split_once('='))
            else {
                continue;
            };
            let bad = |rule: &str| format!("kernel command line: '{word}' is not understood: {rule}");
            match key {
                "init" => {
                    found.init = match value {
                        "agent" => InitMode::Agent,
                        "image" => InitMode::Image,
                        _ => return Err(bad("use fireactions.init=agent or fireactions.init=image")),
                    };
                }
                "root" if value.starts_with("/dev/") => found.root = PathBuf::from(value),
                "scratch" if value.starts_with("/dev/") => found.scratch = Some(PathBuf::from(value)),
                "modules" if value.starts_with("/dev/") => found.modules = Some(PathBuf::from(value)),
                "load" if !value.is_empty() => found.load.push(value.to_owned()),
                "load" => return Err(bad("name a kernel module")),
                "data" if value.starts_with('/') => found.data.push(PathBuf::from(value)),
                "data" => return Err(bad("name an absolute directory")),
                "work" if !value.is_empty() => found.work = Some(PathBuf::from(value)),
                "work" => return Err(bad("name a directory")),
                "swap" => found.swap_mib = value.parse().map_err(|_| bad("use a number of MiB"))?,
                "root" | "scratch" | "modules" => return Err(bad("name a device under /dev/")),
                "port" if !value.is_empty() => found.host = HostPort::Serial(value.to_owned()),
                "port" => return Err(bad("name a virtio-serial port")),
                "vsock" => {
                    let port = value.parse().map_err(|_| bad("use a port number"))?;
                    found.host = HostPort::Vsock(port);
                }
                // A newer host may say more than this agent knows.
                _ => {
                    crate::console::say(format_args!("kernel command line: '{word}' is unknown and ignored"));
                }
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_among_the_kernels_own() {
        let text = "console=ttyS0 fireactions.init=image fireactions.root=/dev/vda fireactions.scratch=/dev/vdb \
                    fireactions.modules=/dev/vdc fireactions.load=veth fireactions.load=ip_vs fireactions.data=/srv/x \
                    fireactions.work=_work \
                    fireactions.swap=64 \
                    fireactions.port=a.b.0 quiet panic=-1\n";
        let expected = Cmdline {
            init: InitMode::Image,
            root: "/dev/vda".into(),
            scratch: Some("/dev/vdb".into()),
            modules: Some("/dev/vdc".into()),
            load: vec!["veth".to_owned(), "ip_vs".to_owned()],
            data: vec!["/srv/x".into()],
            work: Some("_work".into()),
            swap_mib: 64,
            host: HostPort::Serial("a.b.0".to_owned()),
        };
        assert_eq!(Cmdline::parse(text).unwrap(), expected);
    }

    #[test]
    fn absent_words_have_defaults_and_unknown_ones_are_left() {
        assert_eq!(Cmdline::parse("quiet fireactions.new=1").unwrap(), Cmdline::default());
    }

    #[test]
    fn impossible_values_name_the_word() {
        for word in [
            "fireactions.init=x",
            "fireactions.root=vda",
            "fireactions.vsock=-1",
            "fireactions.port=",
            "fireactions.data=x",
            "fireactions.swap=much",
        ] {
            let error = Cmdline::parse(word).unwrap_err();
            assert!(error.contains(word), "{error}");
        }
        assert_eq!(Cmdline::parse("fireactions.vsock=52").unwrap().host, HostPort::Vsock(52));
    }
}
