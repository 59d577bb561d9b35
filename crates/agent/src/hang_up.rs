//! SIGHUP for a program of the image that runs already: it reads its configuration again.

use std::fs;
use std::path::Path;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Sends it to the process that the file names, if that is the program. Nothing is told of one that does not run: it will
/// read its configuration when it starts.
pub(crate) fn hang_up(pid_file: &Path, program: &str) {
    let Some(pid) = fs::read_to_string(pid_file).ok().and_then(|text| text.trim().parse::<i32>().ok()) else {
        return;
    };
    // The file may be an old one, and its number another's by now.
    let is_it = fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.trim_end() == program);
    if pid > 1 && is_it {
        let _ = kill(Pid::from_raw(pid), Signal::SIGHUP);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;

    use super::*;

    #[test]
    fn it_gets_the_signal_and_another_with_its_number_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("sleep.pid");
        let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
        for text in ["", "no number", "-1", "1"] {
            fs::write(&file, text).unwrap();
            hang_up(&file, "sleep");
        }
        fs::write(&file, format!("{}\n", child.id())).unwrap();
        hang_up(&file, "dockerd");
        assert!(child.try_wait().unwrap().is_none());
        hang_up(&file, "sleep");
        assert_eq!(child.wait().unwrap().signal(), Some(Signal::SIGHUP as i32));
    }
}
