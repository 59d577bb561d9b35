//! The file `.runner`, by which a runner program knows itself.

use fireactions_model::Secret;
use serde_json::json;

use crate::Registered;

/// The `.runner` of act_runner. `address` is the server's as the runner is to call it; `labels` are with their scheme
/// (`NAME:host`). With `ephemeral` the program ends after one job.
pub fn act_runner(
    runner: &Registered,
    name: &str,
    address: &str,
    labels: &[String],
    ephemeral: bool,
) -> Secret {
    let mut file = known(runner, name, address, labels);
    file["ephemeral"] = ephemeral.into();
    Secret::new(file.to_string())
}

/// The `.runner` of forgejo-runner up to 12. Whether it gets one job only is the server's matter, and `one-job`'s.
pub fn forgejo_runner(runner: &Registered, name: &str, address: &str, labels: &[String]) -> Secret {
    Secret::new(known(runner, name, address, labels).to_string())
}

fn known(runner: &Registered, name: &str, address: &str, labels: &[String]) -> serde_json::Value {
    json!({
        "id": runner.id.get(),
        "uuid": runner.uuid,
        "name": name,
        "token": runner.token.expose(),
        "address": address,
        "labels": labels,
    })
}
