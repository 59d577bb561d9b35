//! `/app` and installations.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::super::auth::Who;
use super::super::known::accounts::{Account, Kind, ScopeId};
use super::super::known::apps::{App, Installation, Permissions};
use super::super::objects::node;
use super::super::state::State;
use crate::http::{Ask, Reply};

impl State {
    pub(super) fn app_routes(&mut self, ask: &Ask, who: &Who, rest: &[&str]) -> Result<Reply, Reply> {
        let Who::App(app) = *who else {
            return Err(Reply::error(401, "A JSON web token could not be decoded"));
        };
        match (ask.method.as_str(), rest) {
            ("GET", []) => Ok(Reply::json(200, &self.app_object(self.apps.app(app)))),
            ("GET", ["installations"]) => {
                let own = self.apps.installations.iter().filter(|one| one.app == app);
                let all = own.map(|one| self.installation_object(one)).collect();
                Ok(self.page(ask, "/app/installations", None, all, &[]))
            }
            ("GET", ["installations", id]) => {
                Ok(Reply::json(200, &self.installation_object(self.installation(app, id)?)))
            }
            ("POST", ["installations", id, "access_tokens"]) => self.access_token(ask, app, id),
            _ => Err(Reply::error(404, "Not Found")),
        }
    }

    fn installation(&self, app: u64, id: &str) -> Result<&Installation, Reply> {
        let fits = |one: &&Installation| one.app == app && one.id.to_string() == id;
        self.apps.installations.iter().find(fits).ok_or_else(|| Reply::error(404, "Not Found"))
    }

    /// `GET …/installation`.
    pub(super) fn installation_of_scope(&self, who: &Who, scope: ScopeId) -> Result<Reply, Reply> {
        let Who::App(app) = *who else {
            return Err(Reply::error(401, "A JSON web token could not be decoded"));
        };
        let owner = self.accounts.owner(scope);
        let fits = |one: &&Installation| {
            let selected = match (&one.repositories, scope) {
                (Some(some), ScopeId::Repository(id)) => some.contains(&id),
                _ => true,
            };
            one.app == app && one.account == owner && selected
        };
        let found = self.apps.installations.iter().find(fits);
        let found = found.ok_or_else(|| Reply::error(404, "Not Found"))?;
        Ok(Reply::json(200, &self.installation_object(found)))
    }

    fn access_token(&mut self, ask: &Ask, app: u64, id: &str) -> Result<Reply, Reply> {
        let installation = self.installation(app, id)?;
        if installation.suspended {
            return Err(Reply::error(403, "This installation has been suspended"));
        }
        let asked = ask.json().unwrap_or(Value::Null);
        let mut permissions = installation.permissions.clone();
        if let Some(wanted) = asked["permissions"].as_object() {
            let wanted: Permissions = wanted
                .iter()
                .map(|(name, level)| (name.clone(), level.as_str().unwrap_or_default().to_owned()))
                .collect();
            let granted = |(name, level): (&String, &String)| {
                permissions.get(name).is_some_and(|has| has == level || has == "write" && level == "read")
            };
            if !wanted.iter().all(granted) {
                return Err(Reply::json(
                    422,
                    &json!({
                        "message": "The permissions requested are not granted to this installation.",
                        "documentation_url": "https://docs.github.com/rest",
                    }),
                ));
            }
            permissions = wanted;
        }
        let account = self.accounts.account(installation.account).login.clone();
        let mut repositories = installation.repositories.clone();
        if let Some(names) = asked["repositories"].as_array() {
            let find =
                |name: &Value| self.accounts.repository_named(&account, name.as_str()?).map(|found| found.id);
            let found: Option<BTreeSet<u64>> = names.iter().map(find).collect();
            let found = found.filter(|found| repositories.as_ref().is_none_or(|all| found.is_subset(all)));
            let unknown = || {
                Reply::json(
                    422,
                    &json!({
                        "message": "There is at least one repository that does not exist or is not accessible to the parent installation.",
                        "documentation_url": "https://docs.github.com/rest",
                    }),
                )
            };
            repositories = Some(found.ok_or_else(unknown)?);
        }
        let (id, selected) = (installation.id, repositories.is_some());
        let (token, expires) = self.mint(id, permissions.clone(), repositories);
        Ok(Reply::json(
            201,
            &json!({
                "token": token,
                "expires_at": expires,
                "permissions": permissions,
                "repository_selection": if selected { "selected" } else { "all" },
            }),
        ))
    }

    /// `DELETE /installation/token`.
    pub(super) fn revoke(&mut self, ask: &Ask, who: &Who) -> Result<Reply, Reply> {
        let token = ask.authorization("bearer").or_else(|| ask.authorization("token"));
        let (Who::Installation { .. }, Some(token)) = (who, token) else {
            return Err(Reply::error(401, "Bad credentials"));
        };
        self.apps.tokens.remove(token);
        Ok(Reply::empty(204))
    }

    fn account_object(&self, account: &Account) -> Value {
        match account.kind {
            Kind::Enterprise => self.enterprise_object(account),
            _ => self.simple_user(account),
        }
    }

    fn app_object(&self, app: &App) -> Value {
        let own: Vec<_> = self.apps.installations.iter().filter(|one| one.app == app.id).collect();
        let permissions: Permissions = own.iter().flat_map(|one| one.permissions.clone()).collect();
        let owner = own.first().map(|one| one.account).or(self.accounts.accounts.first().map(|one| one.id));
        let owner = owner.map(|owner| self.account_object(self.accounts.account(owner)));
        json!({
            "id": app.id,
            "slug": app.slug,
            "node_id": node("Integration", app.id),
            "client_id": app.client_id,
            "owner": owner,
            "name": app.slug,
            "description": null,
            "external_url": "https://example.com",
            "html_url": format!("{}/apps/{}", self.base, app.slug),
            "created_at": app.created,
            "updated_at": app.created,
            "permissions": permissions,
            "events": app.events,
            "installations_count": own.len(),
        })
    }

    fn installation_object(&self, one: &Installation) -> Value {
        let (app, account) = (self.apps.app(one.app), self.accounts.account(one.account));
        json!({
            "id": one.id,
            "account": self.account_object(account),
            "repository_selection": if one.repositories.is_some() { "selected" } else { "all" },
            "access_tokens_url": format!("{}/app/installations/{}/access_tokens", self.api(), one.id),
            "repositories_url": format!("{}/installation/repositories", self.api()),
            "html_url": format!("{}/organizations/{}/settings/installations/{}", self.base, account.login, one.id),
            "app_id": app.id,
            "client_id": app.client_id,
            "app_slug": app.slug,
            "target_id": account.id,
            "target_type": if account.kind == Kind::User { "User" } else { "Organization" },
            "permissions": one.permissions,
            "events": app.events,
            "created_at": one.created,
            "updated_at": one.created,
            "single_file_name": null,
            "suspended_by": null,
            "suspended_at": one.suspended.then_some(one.created),
        })
    }
}
