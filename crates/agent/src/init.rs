//! PID 1, from the initramfs to the root.

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use crate::cmdline::{Cmdline, InitMode};
use crate::console::insist;
use crate::run::Root;
use crate::{
    enter, identity, module_tree, modules, mounts, port, power, renew, root, run, service, timer, units,
};

/// Never returns in a machine that works: PID 1 that ends is a kernel panic.
pub(crate) fn main() -> ExitCode {
    let boot_us = run::monotonic_us();
    let failed = match prepare() {
        Ok(cmdline) => match cmdline.init {
            InitMode::Agent => stay(cmdline, boot_us),
            InitMode::Image => {
                enter::root(&cmdline, false, &[]).map_or_else(|error| error, |_| hand_over(boot_us))
            }
        },
        Err(error) => error,
    };
    insist(format_args!("cannot boot: {failed}; powering off"));
    power::off(None)
}

/// What every machine of an image has in common.
fn prepare() -> Result<Cmdline, String> {
    mounts::early()?;
    // The host makes another machine at once; without this it would wait for this one's deadline.
    if let Some(why) = timer::missing() {
        return Err(why);
    }
    let cmdline = Cmdline::read()?;
    modules::load();
    root::mount_lower(&cmdline)?;
    module_tree::load(cmdline.modules.as_deref(), &cmdline.load)?;
    Ok(cmdline)
}

/// The agent is init. Returns only what went wrong.
///
/// It asks the host for an identity before it touches the scratch disk: a machine that is frozen here becomes many. So
/// nothing before that may read the kernel's boot id, which is made when it is first read, or keep randomness.
fn stay(cmdline: Cmdline, boot_us: u64) -> String {
    match port::open(&cmdline.host) {
        Ok(channel) => run::run(channel, run::Role::Init(Root::Waiting(cmdline)), boot_us),
        Err(error) => error,
    }
}

/// The image's own init takes PID 1; a second agent goes on beside it. Returns only what went wrong.
fn hand_over(boot_us: u64) -> String {
    identity::fresh_machine_id();
    units::fit();
    // argv[0] with '@': systemd's rule for what it must not kill before the very end of a shutdown.
    let started = Command::new("/proc/self/exe")
        .arg0("@fireactions-agent")
        .arg(service::VERB)
        .arg(boot_us.to_string())
        .args(renew::host_keys())
        .spawn();
    if let Err(error) = started {
        return format!("cannot start the agent next to the image's init: {error}");
    }
    let mut tried = Vec::new();
    for init in ["/sbin/init", "/etc/init", "/bin/init", "/lib/systemd/systemd"] {
        // No return from a success.
        let error = Command::new(init).exec();
        tried.push(format!("{init}: {error}"));
    }
    format!("init mode is 'image', but the image has no init that can be started ({})", tried.join("; "))
}
