//! Runners and their groups.

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::super::accounts::{DEFAULT_GROUP, ScopeId};
use super::super::http::{Ask, Reply};
use super::super::runners::{Entry, RunnerFate};
use super::super::state::{self, State};
use super::path_by_id;

impl State {
    pub(super) fn runner_routes(&mut self, ask: &Ask, scope: ScopeId, rest: &[&str]) -> Result<Reply, Reply> {
        match (ask.method.as_str(), rest) {
            ("GET", []) => {
                let wanted = |entry: &&Entry| ask.param("name").is_none_or(|name| entry.public.name == name);
                let all = self.runners.of(scope).filter(wanted).map(Entry::object).collect();
                let path = format!("{}/actions/runners", path_by_id(scope));
                Ok(self.page(ask, &path, Some("runners"), all, &[]))
            }
            ("POST", ["generate-jitconfig"]) => self.generate_jit(ask, scope),
            ("POST", [kind @ ("registration-token" | "remove-token")]) => {
                let expires =
                    self.clock.stamp().saturating_add(SignedDuration::from_hours(1)).unwrap_or_default();
                let token = format!("A{}", state::random(28).to_uppercase());
                if *kind == "registration-token" {
                    self.sets.registrations.insert(token.clone(), (scope, expires));
                }
                Ok(Reply::json(201, &json!({"token": token, "expires_at": expires})))
            }
            ("GET", [id]) => Ok(Reply::json(200, &self.runner_in(scope, id)?.object())),
            ("GET", [id, "labels"]) => {
                let labels = self.runner_in(scope, id)?.object()["labels"].clone();
                let count = labels.as_array().map_or(0, Vec::len);
                Ok(Reply::json(200, &json!({"total_count": count, "labels": labels})))
            }
            ("DELETE", [id]) => {
                let entry = self.runner_in(scope, id)?;
                let (id, busy) = (entry.public.id, entry.public.job.is_some());
                if busy {
                    let message =
                        format!("Bad request - Runner \"{}\" is still running a job\"", entry.public.name);
                    return Err(Reply::json(
                        422,
                        &json!({
                            "message": message,
                            "documentation_url": "https://docs.github.com/rest",
                        }),
                    ));
                }
                self.remove_runner(id, RunnerFate::Deleted);
                Ok(Reply::empty(204))
            }
            _ => Err(Reply::error(404, "Not Found")),
        }
    }

    fn runner_in(&self, scope: ScopeId, id: &str) -> Result<&Entry, Reply> {
        self.runners
            .of(scope)
            .find(|entry| entry.public.id.to_string() == id)
            .ok_or_else(|| Reply::error(404, "Not Found"))
    }

    pub(super) fn group_routes(&mut self, ask: &Ask, scope: ScopeId, rest: &[&str]) -> Result<Reply, Reply> {
        let account = self.accounts.account(self.accounts.owner(scope));
        let groups = account.groups();
        match rest {
            [] => {
                let all = groups.iter().map(|(id, name)| self.group_object(scope, *id, name)).collect();
                let path = format!("{}/actions/runner-groups", path_by_id(scope));
                Ok(self.page(ask, &path, Some("runner_groups"), all, &[]))
            }
            [wanted] => {
                let found = groups.iter().find(|(id, _)| id.to_string() == *wanted);
                let (id, name) = found.ok_or_else(|| Reply::error(404, "Not Found"))?;
                Ok(Reply::json(200, &self.group_object(scope, *id, name)))
            }
            _ => Err(Reply::error(404, "Not Found")),
        }
    }

    fn group_object(&self, scope: ScopeId, id: u64, name: &str) -> Value {
        let path = self.accounts.path(scope);
        let url = format!("{}{path}/actions/runner-groups/{id}", self.api());
        let mut group = json!({
            "id": id,
            "name": name,
            "visibility": "all",
            "default": id == DEFAULT_GROUP,
            "runners_url": format!("{url}/runners"),
            "allows_public_repositories": false,
            "restricted_to_workflows": false,
            "selected_workflows": [],
            "workflow_restrictions_read_only": false,
        });
        if path.starts_with("/orgs/") {
            group["inherited"] = false.into();
        }
        group
    }
}
