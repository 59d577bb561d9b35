//! What container engines that run without root need: Docker and podman find it where a login and `useradd` would have made
//! it. Only in images that have `newuidmap`, without which none of them works.

use std::fmt::Write as _;
use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, chown};
use std::path::{Path, PathBuf};

use crate::users::{self, User};
use crate::{inside, replace};

/// Most bytes of a file that is looked into.
const MOST: u64 = 1024 * 1024;
/// Ids of a user's containers, beside its own: as `useradd` gives.
const IDS: u32 = 65_536;
/// The first of them that anybody has.
const FIRST_ID: u32 = 100_000;
/// Accounts of people, by Debian's rules and most others'.
const PEOPLE: std::ops::Range<u32> = 1000..60_000;
/// Homes with a place on the disk; images have one such user.
const MOST_HOMES: usize = 8;
/// Where Docker and podman keep layers below a home.
const LAYERS: [&str; 2] = [".local/share/containers", ".local/share/docker"];
/// `overlayfs`, by its magic number (linux/magic.h): it cannot hold the layers of another one.
const OVERLAYFS: u64 = 0x794c_7630;

/// podman's own choice is to copy all layers for each container.
const STORAGE: &str = "[storage]\ndriver = \"overlay\"\n";
/// Without systemd podman takes no part in control groups, and passes over limits such as `--memory` in silence. This way it makes
/// its groups below the one that it is in, the job's.
const CONTAINERS: &str = "[containers]\ncgroups = \"split\"\n";

/// Directories of an image's users that are to lie on the disk, for an image below `root`.
pub(crate) fn places(root: &Path) -> Vec<PathBuf> {
    if !is_possible(root) {
        return Vec::new();
    }
    let passwd = inside::text(root, Path::new("/etc/passwd"), MOST).unwrap_or_default();
    let homes = users::homes(&passwd, PEOPLE)
        .into_iter()
        .map(PathBuf::from)
        .filter(|home| home.is_absolute() && inside::find(root, home).is_ok_and(|found| found.is_some()));
    homes.take(MOST_HOMES).flat_map(|home| LAYERS.map(|layers| home.join(layers))).collect()
}

/// What takes root: ids for the user's containers, its control group, and its runtime directory, which is returned.
pub(crate) fn prepare(user: &User, cgroup: Option<&Path>) -> Option<PathBuf> {
    if user.uid == 0 || !is_possible(Path::new("/")) {
        return None;
    }
    for file in ["/etc/subuid", "/etc/subgid"] {
        let path = Path::new(file);
        let text = inside::text(Path::new("/"), path, MOST).unwrap_or_default();
        if let Some(more) = granted(&text, user) {
            // Without it the engine says what it lacks.
            let _ = replace::replace(path, &more);
        }
    }
    // What its limits are stays root's.
    for name in ["", "cgroup.procs", "cgroup.threads", "cgroup.subtree_control"] {
        let _ = cgroup.map(|dir| chown(dir.join(name), Some(user.uid), Some(user.gid)));
    }
    runtime_dir(user).ok()
}

/// What the user itself would write into its home, where neither it nor the image has said anything. As that user.
pub(crate) fn configure(user: &User, cgroup: Option<&Path>) {
    let home = Path::new(&user.home);
    let config = home.join(".config/containers");
    let says = |name: &str| {
        ["/etc/containers", "/usr/share/containers"].map(|dir| Path::new(dir).join(name).exists())
    };
    let on_disk =
        rustix::fs::statfs(home.join(LAYERS[0])).is_ok_and(|fs| fs.f_type.unsigned_abs() != OVERLAYFS);
    if on_disk && says("storage.conf") == [false, false] {
        let _ = write_new(&config.join("storage.conf"), STORAGE);
    }
    // The one below /usr/share is all comments.
    if cgroup.is_some() && !says("containers.conf")[0] {
        let _ = write_new(&config.join("containers.conf"), CONTAINERS);
    }
}

fn is_possible(root: &Path) -> bool {
    inside::has_file(root, Path::new("/usr/bin/newuidmap"))
}

/// The text of a file like `/etc/subuid`, with ids for the user behind all others'; nothing when it has some, or no name.
fn granted(text: &str, user: &User) -> Option<String> {
    let name = user.name.as_ref()?;
    let mut next = FIRST_ID;
    for line in text.lines() {
        let mut fields = line.split(':');
        let owner = fields.next()?;
        if owner == name || owner == user.uid.to_string() {
            return None;
        }
        let mut number = || fields.next()?.trim().parse::<u32>().ok();
        if let (Some(start), Some(count)) = (number(), number()) {
            next = next.max(start.checked_add(count)?);
        }
    }
    next.checked_add(IDS)?;
    let mut text = text.trim_end().to_owned();
    if !text.is_empty() {
        text.push('\n');
    }
    let _ = writeln!(text, "{name}:{next}:{IDS}");
    Some(text)
}

/// `/run/user/UID`, as logind makes it at a login.
fn runtime_dir(user: &User) -> io::Result<PathBuf> {
    let dir = Path::new("/run/user").join(user.uid.to_string());
    DirBuilder::new().recursive(true).mode(0o755).create("/run/user")?;
    match DirBuilder::new().mode(0o700).create(&dir) {
        Ok(()) => chown(&dir, Some(user.uid), Some(user.gid))?,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    let found = std::fs::symlink_metadata(&dir)?;
    if !found.is_dir() || found.uid() != user.uid {
        return Err(io::Error::other("it is somebody else's"));
    }
    Ok(dir)
}

fn write_new(path: &Path, text: &str) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    OpenOptions::new().write(true).create_new(true).mode(0o644).open(path)?.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runner() -> User {
        users::resolve("runner", "runner:x:1000:1000::/home/runner:/bin/sh\n", "").unwrap()
    }

    #[test]
    fn ids_are_given_once_and_behind_those_of_others() {
        let user = runner();
        for (before, after) in [
            ("", Some("runner:100000:65536\n")),
            ("other:100000:65536", Some("other:100000:65536\nrunner:165536:65536\n")),
            ("low:10:5\nodd\n", Some("low:10:5\nodd\nrunner:100000:65536\n")),
            ("runner:5:6\n", None),
            ("1000:100000:65536\n", None),
            // No room behind it.
            ("other:4294901760:65535\n", None),
            ("other:4294901760:65536\n", None),
        ] {
            assert_eq!(granted(before, &user).as_deref(), after, "{before}");
        }
        let nameless = users::resolve("4242", "", "").unwrap();
        assert_eq!(granted("", &nameless), None, "newuidmap asks for a name");
    }

    #[test]
    fn only_homes_that_an_image_with_newuidmap_has_lie_on_the_disk() {
        let image = tempfile::tempdir().unwrap();
        let root = image.path();
        let passwd = "root:x:0:0::/root:/bin/sh\nrunner:x:1000:1000::/home/runner:\ngone:x:1001:1::/home/gone:\n\
                      nobody:x:65534:65534::/root:\n";
        for dir in ["etc", "root", "home/runner", "usr/bin"] {
            std::fs::create_dir_all(root.join(dir)).unwrap();
        }
        std::fs::write(root.join("etc/passwd"), passwd).unwrap();
        assert_eq!(places(root), Vec::<PathBuf>::new());
        std::fs::write(root.join("usr/bin/newuidmap"), "").unwrap();
        let home = Path::new("/home/runner");
        assert_eq!(places(root), LAYERS.map(|layers| home.join(layers)));
    }
}
