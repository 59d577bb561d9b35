//! Lists of repositories.

use serde_json::{Value, json};

use super::super::auth::Who;
use super::super::known::accounts::{Repository, ScopeId};
use super::super::state::State;
use super::paths::path_by_id;
use crate::http::{Ask, Reply};

impl State {
    fn repositories_of(&self, account: u64, who: &Who) -> Vec<Value> {
        let seen = |one: &&Repository| one.owner == account && who.sees(one.id);
        let all = self.accounts.repositories.iter().filter(seen);
        all.map(|one| Value::Object(self.minimal_repository(one))).collect()
    }

    /// `GET /installation/repositories`.
    pub(super) fn installation_repositories(&self, ask: &Ask, who: &Who) -> Result<Reply, Reply> {
        let Who::Installation { account, repositories, .. } = who else {
            return Err(Reply::error(
                403,
                "You must authenticate with an installation access token in order to list repositories for an installation.",
            ));
        };
        let all = self.repositories_of(*account, who);
        let selection = if repositories.is_some() { "selected" } else { "all" };
        let more = [("repository_selection", json!(selection))];
        Ok(self.page(ask, "/installation/repositories", Some("repositories"), all, &more))
    }

    /// `GET /orgs/{org}/repos`.
    pub(super) fn organization_repositories(
        &self,
        ask: &Ask,
        who: &Who,
        scope: ScopeId,
    ) -> Result<Reply, Reply> {
        let ScopeId::Account(account) = scope else { return Err(Reply::error(404, "Not Found")) };
        match who {
            Who::Installation { account: own, .. } if *own != account => {
                return Err(Reply::error(404, "Not Found"));
            }
            Who::Nobody | Who::App(_) => return Err(Reply::error(401, "Requires authentication")),
            _ => {}
        }
        let path = format!("{}/repos", path_by_id(scope));
        Ok(self.page(ask, &path, None, self.repositories_of(account, who), &[]))
    }
}
