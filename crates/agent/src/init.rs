//! PID 1, from the initramfs to the root.

use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use crate::cmdline::{Cmdline, InitMode};
use crate::console::say;
use crate::{identity, modules, mounts, port, power, root, run, service};

/// Never returns in a machine that works: PID 1 that ends is a kernel panic.
pub(crate) fn main() -> ExitCode {
    let boot_us = run::monotonic_us();
    let failed = match prepare() {
        Ok((cmdline, scratch)) => match cmdline.init {
            InitMode::Agent => stay(&cmdline, scratch, boot_us),
            InitMode::Image => hand_over(boot_us),
        },
        Err(error) => error,
    };
    say(format_args!("cannot boot: {failed}; powering off"));
    power::off(None)
}

fn prepare() -> Result<(Cmdline, OwnedFd), String> {
    mounts::early()?;
    let cmdline = Cmdline::read()?;
    modules::load();
    let scratch = root::assemble(&cmdline)?;
    root::switch()?;
    mounts::late(cmdline.init == InitMode::Agent);
    mounts::prevent_thrashing();
    Ok((cmdline, scratch))
}

/// The agent is init. Returns only what went wrong.
fn stay(cmdline: &Cmdline, scratch: OwnedFd, boot_us: u64) -> String {
    match port::open(&cmdline.host) {
        Ok(channel) => run::run(channel, run::Role::Init { scratch }, boot_us),
        Err(error) => error,
    }
}

/// The image's own init takes PID 1; a second agent goes on beside it. Returns only what went wrong.
fn hand_over(boot_us: u64) -> String {
    identity::fresh_machine_id();
    // argv[0] with '@': systemd's rule for what it must not kill before the very end of a shutdown.
    let started = Command::new("/proc/self/exe")
        .arg0("@fireactions-agent")
        .arg(service::VERB)
        .arg(boot_us.to_string())
        .spawn();
    if let Err(error) = started {
        return format!("cannot start the agent beside the image's init: {error}");
    }
    let mut tried = Vec::new();
    for init in ["/sbin/init", "/etc/init", "/bin/init", "/lib/systemd/systemd"] {
        // No return from a success.
        let error = Command::new(init).exec();
        tried.push(format!("{init}: {error}"));
    }
    format!("init mode is 'image', but the image has no init that starts ({})", tried.join("; "))
}
