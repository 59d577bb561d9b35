//! Units of systemd that an image brings and that do not fit into a machine as they are: drop-ins beside them, before systemd has read them.

use std::io;
use std::path::Path;

use crate::console::say;
use crate::inside;
use crate::replace::replace;

/// Where images have their units.
const UNITS: [&str; 4] = [
    "/etc/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];
/// Drop-ins go there. Not to `/run`: whether there is a `/run/systemd/system` is how programs know that systemd runs.
const DROP_INS: &str = "/etc/systemd/system";
const DROP_IN: &str = "90-fireactions-agent.conf";

/// The service of images that were made for hostinger's fireactions. It starts the runner, and starts again every few seconds while
/// the metadata service has no credential: in a machine that is to be frozen, that waits for a job, or whose runner the agent starts.
/// `SuccessAction=reboot` would end such a machine if systemd took a service that it starts again for one that has succeeded, as it did
/// for `OnSuccess=` before version 254 (<https://github.com/systemd/systemd/issues/27722>). A precaution: Debian's 252 was not seen to
/// do so. The action is not needed: the host is told of the runner's end anyway.
const RUNNER: Fit = Fit {
    unit: "fireactions.service",
    program: None,
    text: "# The machine ends with its runner without this, and would end before it has one with it.\n\
           [Unit]\nSuccessAction=none\n",
};

/// Starts where there are modules, and the host brings these to every image. Where there is no kmod it would fail, and systemd would never
/// be up without a failure. The devices that it makes, the agent and the kernel make, too.
const STATIC_NODES: Fit = Fit {
    unit: "kmod-static-nodes.service",
    program: Some("kmod"),
    text: "# The modules are the host's; the image has no kmod for them.\n[Unit]\nConditionPathExists=/usr/bin/kmod\n",
};

/// A drop-in, and where it is needed.
struct Fit {
    /// In images that have this unit,
    unit: &'static str,
    /// and not this program.
    program: Option<&'static str>,
    text: &'static str,
}

/// What went wrong is said, and harms no image that has none of them.
pub(crate) fn fit() {
    for one in [RUNNER, STATIC_NODES] {
        if let Err(error) = one.put(Path::new("/")) {
            say(format_args!("cannot change how {} runs: {error}", one.unit));
        }
    }
}

impl Fit {
    fn put(&self, root: &Path) -> io::Result<()> {
        let has = |dir: &str, name: &str| inside::has_file(root, &Path::new(dir).join(name));
        let works =
            self.program.is_some_and(|name| ["/usr/bin", "/bin"].into_iter().any(|dir| has(dir, name)));
        if works || !UNITS.iter().any(|dir| has(dir, self.unit)) {
            return Ok(());
        }
        let path = format!("{DROP_INS}/{}.d/{DROP_IN}", self.unit);
        replace(&root.join(path.trim_start_matches('/')), self.text)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// The drop-in in an image with these files.
    fn put(one: &Fit, files: &[&str]) -> Option<String> {
        let root = tempfile::tempdir().unwrap();
        for path in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        one.put(root.path()).unwrap();
        fs::read_to_string(root.path().join(format!("etc/systemd/system/{}.d/{DROP_IN}", one.unit))).ok()
    }

    #[test]
    fn only_an_image_with_the_unit_gets_the_drop_in() {
        assert_eq!(put(&RUNNER, &["usr/bin/fireactions"]), None);
        for dir in ["etc/systemd/system", "usr/lib/systemd/system"] {
            let text = put(&RUNNER, &[&format!("{dir}/fireactions.service")]).unwrap();
            assert!(text.ends_with("[Unit]\nSuccessAction=none\n"), "{text}");
        }
    }

    #[test]
    fn what_works_stays_as_it_is() {
        let unit = "lib/systemd/system/kmod-static-nodes.service";
        assert_eq!(put(&STATIC_NODES, &[unit, "bin/kmod"]), None);
        assert_eq!(put(&STATIC_NODES, &[unit, "usr/bin/kmod"]), None);
        assert!(put(&STATIC_NODES, &[unit]).unwrap().contains("ConditionPathExists=/usr/bin/kmod"));
    }
}
