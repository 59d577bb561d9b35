//! In the place of Firecracker's jailer (version 1.17): the same arguments, refused for the same reasons; the same
//! directories and files with the same owners and modes. It does not change the root directory, for the stand-in
//! Firecracker needs the host's QEMU: the jail is only its working directory.

mod arguments;
mod jail;

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};

use arguments::Arguments;

/// Runs the jailed program in this process's place.
pub(crate) fn main(given: &[String]) -> ExitCode {
    if given.iter().any(|word| word == "--version") {
        println!("Jailer v{}\n", crate::firecracker::VERSION);
        return ExitCode::SUCCESS;
    }
    let error = match Arguments::parse(given).and_then(|arguments| run(&arguments)) {
        Ok(()) => return ExitCode::SUCCESS,
        Err(error) => error,
    };
    eprintln!("{error}");
    ExitCode::FAILURE
}

fn run(arguments: &Arguments) -> Result<(), String> {
    let name = jail::make(arguments)?;
    let mut command = Command::new(format!("./{name}"));
    command
        .args(["--id", &arguments.id, "--start-time-us", "1", "--start-time-cpu-us", "1"])
        .args(["--parent-cpu-time-us", "1"])
        .args(&arguments.extra)
        .env_clear()
        .uid(arguments.uid)
        .gid(arguments.gid);
    if arguments.daemonize {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    }
    let failed = |error: std::io::Error| format!("Failed to exec into Firecracker: {error}");
    if arguments.new_pid_ns || arguments.daemonize {
        if arguments.new_pid_ns {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWPID)
                .map_err(|error| format!("Failed cloning into a new child process: {error}"))?;
        }
        // The first child is the first process of the namespace; it outlives this one.
        let child = command.spawn().map_err(failed)?;
        return jail::write_pid(&name, child.id());
    }
    jail::write_pid(&name, std::process::id())?;
    Err(failed(command.exec()))
}
