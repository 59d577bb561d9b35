//! `generate-jitconfig`.

use serde_json::json;

use super::super::known::accounts::ScopeId;
use super::super::state::State;
use crate::http::{Ask, Reply};

/// The longest name of a runner.
const NAME: usize = 64;
/// The most labels of a runner.
const LABELS: usize = 100;

impl State {
    pub(super) fn generate_jit(&mut self, ask: &Ask, scope: ScopeId) -> Result<Reply, Reply> {
        let body = ask.json().ok_or_else(|| Reply::error(400, "Problems parsing JSON"))?;
        let mut errors = Vec::new();
        let name = body["name"].as_str().unwrap_or_default().to_owned();
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.is_empty() || name.len() > NAME || !name.chars().all(allowed) {
            errors.push(format!("name must have 1 to {NAME} characters, letters, digits, '-', '_' and '.'"));
        }
        let labels = body["labels"].as_array().cloned().unwrap_or_default();
        let labels: Vec<String> =
            labels.iter().filter_map(|label| label.as_str()).map(ToOwned::to_owned).collect();
        if labels.is_empty()
            || labels.len() > LABELS
            || labels.iter().any(|label| label.is_empty() || label.len() > 256)
        {
            errors.push(format!("labels must be 1 to {LABELS} names"));
        }
        let Some(group) = body["runner_group_id"].as_u64() else {
            errors.push("runner_group_id is missing".into());
            return Err(Reply::invalid(&errors));
        };
        if !errors.is_empty() {
            return Err(Reply::invalid(&errors));
        }
        if !self.accounts.groups(scope).iter().any(|known| known.id == group) {
            return Err(Reply::error(404, "Not Found"));
        }
        if self.runners.named(scope, &name).is_some() {
            return Err(Reply::error(
                409,
                &format!("Already exists - A runner with the name {name} already exists."),
            ));
        }
        let work = body["work_folder"].as_str().unwrap_or("_work").to_owned();
        let (id, config) = self.mint_runner(scope, &name, group, labels, None, &work);
        let runner = self.runners.entries[&id].public.object();
        Ok(Reply::json(201, &json!({"runner": runner, "encoded_jit_config": config})))
    }
}
