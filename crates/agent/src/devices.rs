//! Device nodes of drivers that the kernel loads when they are opened: without the node nobody can open it. kmod makes them in
//! other systems, by the same list (`kmod static-nodes`).

use std::path::Path;

use rustix::fs::{FileType, Mode, makedev, mknodat};

use crate::console::say;
use crate::module_tree;

/// What udev lets everybody open, by its rules. The others are root's alone, as with kmod.
const EVERYBODYS: [&str; 2] = ["fuse", "net/tun"];

/// Makes the nodes that the modules of the kernel want, such as `/dev/fuse` and `/dev/net/tun`. Those that are there, of
/// drivers that are built in, stay.
pub(crate) fn make() {
    let list = module_tree::home().join("modules.devname");
    for node in std::fs::read_to_string(list).unwrap_or_default().lines().filter_map(Node::parse) {
        if let Err(error) = node.make() {
            say(format_args!("cannot make /dev/{}: {error}", node.name));
        }
    }
    for name in EVERYBODYS {
        // A kernel without the driver has no node.
        let _ = rustix::fs::chmod(Path::new("/dev").join(name), Mode::from_raw_mode(0o666));
    }
}

/// A line of `modules.devname`: `fuse fuse c10:229`.
#[derive(Debug, PartialEq, Eq)]
struct Node<'a> {
    name: &'a str,
    kind: FileType,
    major: u32,
    minor: u32,
}

impl<'a> Node<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let mut words = line.split(' ');
        let (_, name, number) = (words.next()?, words.next()?, words.next()?);
        let inside = name.split('/').all(|part| !matches!(part, "" | "." | ".."));
        let kind = match number.get(..1)? {
            "c" => FileType::CharacterDevice,
            "b" => FileType::BlockDevice,
            _ => return None,
        };
        let (major, minor) = number.get(1..)?.split_once(':')?;
        let (major, minor) = (major.parse().ok()?, minor.parse().ok()?);
        (!line.starts_with('#') && inside).then_some(Self { name, kind, major, minor })
    }

    fn make(&self) -> std::io::Result<()> {
        let path = Path::new("/dev").join(self.name);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        let device = makedev(self.major, self.minor);
        match mknodat(rustix::fs::CWD, &path, self.kind, Mode::from_raw_mode(0o600), device) {
            Err(rustix::io::Errno::EXIST) | Ok(()) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_modules_devname_are_read_and_lead_nowhere_else() {
        let node = |name, minor| Some(Node { name, kind: FileType::CharacterDevice, major: 10, minor });
        assert_eq!(Node::parse("fuse fuse c10:229"), node("fuse", 229));
        assert_eq!(Node::parse("tun net/tun c10:200"), node("net/tun", 200));
        let odd = [
            "# Device nodes to trigger on-demand module loading.",
            "",
            "x ../etc/passwd c1:1",
            "x /etc c1:1",
            "x y p1:1",
            "x y c1",
            "x y",
        ];
        for line in odd {
            assert_eq!(Node::parse(line), None, "{line}");
        }
    }
}
