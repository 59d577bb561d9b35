//! What is kept of a machine that is given up.

use std::time::Duration;

use fireactions_model::{Autopsy, MachineView};
use fireactions_vmm::Vm;
use tokio::time::timeout;

use crate::console;

/// A VMM whose end is known answers at once; one that runs is not waited for.
const KNOWN: Duration = Duration::from_millis(500);

/// Looks at a machine before anything of it is undone.
pub(crate) async fn autopsy(view: &MachineView, vm: Option<&Vm>) -> Autopsy {
    let mut autopsy =
        Autopsy { state: view.state, step: view.step, vmm: None, oom_kills: 0, console_tail: String::new() };
    let Some(vm) = vm else { return autopsy };
    if let Ok(exit) = timeout(KNOWN, vm.exited()).await {
        autopsy.vmm = Some(exit.to_string());
        autopsy.oom_kills = exit.oom_kills;
        autopsy.console_tail = exit.console_tail;
    } else {
        autopsy.vmm = vm.diagnose().await;
        autopsy.console_tail = console::tail_text(&vm.console()).await;
    }
    autopsy
}
