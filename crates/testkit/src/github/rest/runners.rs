//! Runners and their groups.

use jiff::SignedDuration;
use serde_json::json;

use crate::http::{Ask, Reply, random};

use super::super::known::accounts::ScopeId;
use super::super::known::groups::Group;
use super::super::known::runners::{Entry, Runner, RunnerFate};
use super::super::state::State;
use super::paths::path_by_id;

impl State {
    pub(super) fn runner_routes(&mut self, ask: &Ask, scope: ScopeId, rest: &[&str]) -> Result<Reply, Reply> {
        match (ask.method.as_str(), rest) {
            ("GET", []) => {
                let wanted = |runner: &&Runner| ask.param("name").is_none_or(|name| runner.name == name);
                let shown = self.runners.shown(scope, self.behind());
                let all = shown.filter(wanted).map(Runner::object).collect();
                let path = format!("{}/actions/runners", path_by_id(scope));
                Ok(self.page(ask, &path, Some("runners"), all, &[]))
            }
            ("POST", ["generate-jitconfig"]) => self.generate_jit(ask, scope),
            ("POST", [kind @ ("registration-token" | "remove-token")]) => {
                let expires =
                    self.clock.stamp().saturating_add(SignedDuration::from_hours(1)).unwrap_or_default();
                let token = format!("A{}", random(28).to_uppercase());
                if *kind == "registration-token" {
                    self.sets.registrations.insert(token.clone(), (scope, expires));
                }
                Ok(Reply::json(201, &json!({"token": token, "expires_at": expires})))
            }
            ("GET", [id]) => Ok(Reply::json(200, &self.runner_in(scope, id)?.public.object())),
            ("GET", [id, "labels"]) => {
                let labels = self.runner_in(scope, id)?.public.object()["labels"].clone();
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
        let groups = self.accounts.groups(scope);
        let unknown = || Reply::error(404, "Not Found");
        let path = format!("{}/actions/runner-groups", path_by_id(scope));
        let find = |id: &str| groups.iter().find(|group| group.id.to_string() == id).ok_or_else(unknown);
        match rest {
            [] => {
                let owner = &self.accounts.account(self.accounts.owner(scope)).login;
                let of = ask.param("visible_to_repository");
                let of = of.map(|name| self.accounts.repository_named(owner, name).map(|one| one.id));
                let visible = |group: &&Group| {
                    of.is_none_or(|of| of.is_some_and(|id| self.accounts.is_visible(group, id)))
                };
                let all = groups.iter().filter(visible).map(|group| self.group_object(scope, group));
                Ok(self.page(ask, &path, Some("runner_groups"), all.collect(), &[]))
            }
            [id] => Ok(Reply::json(200, &self.group_object(scope, find(id)?))),
            [id, "repositories"] => {
                let all = self.group_repositories(find(id)?);
                Ok(self.page(ask, &format!("{path}/{id}/repositories"), Some("repositories"), all, &[]))
            }
            _ => Err(unknown()),
        }
    }
}
