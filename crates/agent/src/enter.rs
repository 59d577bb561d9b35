//! From the initramfs to the machine's own root. The agent that is init and the one that hands over both do it.

use std::os::fd::OwnedFd;

use fireactions_guest_proto::StickyDisk;

use crate::cmdline::Cmdline;
use crate::sticky::Sticky;
use crate::{data, devices, module_tree, mounts, root, swap};

/// What this machine has alone: its scratch disk above the image, as `/`, and in it the disks that outlive it. Returns the scratch
/// disk's directory.
///
/// All threads of a process have one root and working directory, so it does not matter which of them calls this.
/// `keep_run`: see [`mounts::late`].
pub(crate) fn root(
    cmdline: &Cmdline,
    keep_run: bool,
    disks: &[StickyDisk],
) -> Result<(OwnedFd, Sticky), String> {
    let scratch = root::assemble(cmdline.scratch.as_deref())?;
    if cmdline.swap_mib > 0 {
        swap::add(cmdline.swap_mib)?;
    }
    let (sticky, places) = Sticky::mount(disks);
    data::place(&cmdline.data, cmdline.work.as_deref(), places)?;
    if cmdline.modules.is_some() {
        module_tree::place()?;
    }
    root::switch()?;
    mounts::late(keep_run);
    devices::make();
    mounts::share();
    mounts::prevent_thrashing();
    mounts::open_ping();
    Ok((scratch, sticky))
}
