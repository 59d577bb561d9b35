//! Which machine a user means.

use fireactions_api::Client;
use fireactions_model::{MachineId, MachineView};

use super::edge::advise;

/// The machine named by its id, the beginning of it, or the job that it runs.
pub(crate) async fn find(client: &Client, text: &str) -> anyhow::Result<MachineId> {
    if let Ok(id) = MachineId::new(text) {
        return Ok(id);
    }
    let machines = client.machines().await?;
    let found: Vec<&MachineView> = machines.iter().filter(|machine| is_meant(machine, text)).collect();
    match found.as_slice() {
        [machine] => Ok(machine.id.clone()),
        [] => Err(advise(format!("there is no machine '{text}'"), "`fireactions ps` lists them")),
        many => Err(advise(
            format!("'{text}' is the beginning of {} machines' ids", many.len()),
            "write more of the id",
        )),
    }
}

fn is_meant(machine: &MachineView, text: &str) -> bool {
    !text.is_empty()
        && (machine.id.as_str().starts_with(text)
            || machine.job.as_ref().is_some_and(|job| job.as_str() == text))
}
