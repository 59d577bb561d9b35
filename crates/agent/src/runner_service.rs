//! The service of an image that was made for hostinger's fireactions: it starts the runner, and starts again every few seconds while
//! the metadata service has no credential yet, which is so in a machine that is to be frozen or waits for a job.
//!
//! Its unit has `SuccessAction=reboot`. Before version 254, systemd takes a service that it starts again for one that has succeeded
//! (<https://github.com/systemd/systemd/issues/27722>), so the guest would restart, which ends the machine. The action is not needed:
//! the host is told of the runner's end anyway.

use std::io;
use std::path::Path;

use crate::console::say;
use crate::inside;
use crate::replace::replace;

/// Where images have the unit.
const UNITS: [&str; 4] = [
    "/etc/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];
const NAME: &str = "fireactions.service";
/// Not in `/run`: whether there is a `/run/systemd/system` is how programs know that systemd runs.
const DROP_IN: &str = "/etc/systemd/system/fireactions.service.d/90-fireactions-agent.conf";
const TEXT: &str = "# The machine ends with its runner without this, and would end before it has one with it.\n\
    [Unit]\nSuccessAction=none\n";

/// Before systemd has read its units. What went wrong is said, and harms no image without such a service.
pub(crate) fn wait_for_its_credential() {
    if let Err(error) = put_below(Path::new("/")) {
        say(format_args!("cannot make {DROP_IN}, so {NAME} may restart the machine: {error}"));
    }
}

fn put_below(root: &Path) -> io::Result<()> {
    let inside = |path: &str| root.join(path.trim_start_matches('/'));
    if !UNITS.iter().any(|dir| inside::has_file(root, &Path::new(dir).join(NAME))) {
        return Ok(());
    }
    replace(&inside(DROP_IN), TEXT)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn only_an_image_with_the_service_gets_the_drop_in() {
        let root = tempfile::tempdir().unwrap();
        put_below(root.path()).unwrap();
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
        fs::create_dir_all(root.path().join("usr/lib/systemd/system")).unwrap();
        fs::write(root.path().join("usr/lib/systemd/system").join(NAME), "[Service]\n").unwrap();
        put_below(root.path()).unwrap();
        let text = fs::read_to_string(root.path().join(&DROP_IN[1..])).unwrap();
        assert!(text.ends_with("[Unit]\nSuccessAction=none\n"), "{text}");
    }
}
