//! Runner groups, and whose jobs their runners get.

use serde_json::{Value, json};

use super::FakeGithub;
use super::known::accounts::{Accounts, Scope, ScopeId};
use super::known::groups::{DEFAULT_GROUP, Group};
use super::state::State;

impl Accounts {
    /// The groups of a scope; of a repository, which has none, the one that its runners are in.
    pub(super) fn groups(&self, scope: ScopeId) -> Vec<Group> {
        match scope {
            ScopeId::Account(id) => self.account(id).groups.clone(),
            ScopeId::Repository(_) => vec![Group::default_one()],
        }
    }

    /// Whether runners of this scope and group get the repository's jobs.
    pub(super) fn serves(&self, scope: ScopeId, group: u64, repository: u64) -> bool {
        if !self.covers(scope, repository) {
            return false;
        }
        let ScopeId::Account(account) = scope else { return true };
        let group = self.account(account).groups.iter().find(|known| known.id == group);
        group.is_some_and(|group| self.is_visible(group, repository))
    }

    /// Whether a group is for a repository.
    pub(super) fn is_visible(&self, group: &Group, repository: u64) -> bool {
        let selected = group.selected.as_ref().is_none_or(|some| some.contains(&repository));
        selected && (group.public || !self.repository(repository).public)
    }

    fn group_mut(&mut self, owner: u64, id: u64) -> &mut Group {
        let account = self.accounts.iter_mut().find(|account| account.id == owner).expect("accounts stay");
        account.groups.iter_mut().find(|group| group.id == id).expect("a runner group")
    }
}

impl State {
    /// A group, as the REST API has it.
    pub(super) fn group_object(&self, scope: ScopeId, group: &Group) -> Value {
        let path = self.accounts.path(scope);
        let url = format!("{}{path}/actions/runner-groups/{}", self.api(), group.id);
        let mut object = json!({
            "id": group.id,
            "name": group.name,
            "visibility": if group.selected.is_some() { "selected" } else { "all" },
            "default": group.id == DEFAULT_GROUP,
            "runners_url": format!("{url}/runners"),
            "allows_public_repositories": group.public,
            "restricted_to_workflows": false,
            "selected_workflows": [],
            "workflow_restrictions_read_only": false,
        });
        if path.starts_with("/orgs/") {
            object["inherited"] = false.into();
            if group.selected.is_some() {
                object["selected_repositories_url"] = format!("{url}/repositories").into();
            }
        }
        object
    }

    /// The repositories that were selected for a group.
    pub(super) fn group_repositories(&self, group: &Group) -> Vec<Value> {
        let all = group.selected.iter().flatten().map(|id| self.accounts.repository(*id));
        all.map(|one| Value::Object(self.minimal_repository(one))).collect()
    }
}

impl FakeGithub {
    /// Sets up a runner group of an organisation or enterprise and gives its id. `Default`, with the id 1, is always
    /// there. It serves all repositories but public ones.
    ///
    /// # Panics
    ///
    /// When the scope is not set up.
    pub fn runner_group(&self, scope: &Scope, name: &str) -> u64 {
        self.shared.with(|state| {
            let owner = state.accounts.owner(state.scope(scope));
            let id = state.id();
            let account = state.accounts.accounts.iter_mut().find(|account| account.id == owner).unwrap();
            account.groups.push(Group::new(id, name));
            id
        })
    }

    /// A runner group serves these repositories (`owner/name`) only.
    ///
    /// # Panics
    ///
    /// When the scope, the group or a repository is not set up.
    pub fn select_group_repositories(&self, scope: &Scope, group: u64, repositories: &[&str]) {
        self.shared.with(|state| {
            let id = |name: &&str| match state.scope(&Scope::Repository((*name).to_owned())) {
                ScopeId::Repository(id) => id,
                ScopeId::Account(_) => unreachable!(),
            };
            let selected = repositories.iter().map(id).collect();
            let owner = state.accounts.owner(state.scope(scope));
            state.accounts.group_mut(owner, group).selected = Some(selected);
            state.touch();
        });
    }

    /// A runner group serves public repositories too.
    ///
    /// # Panics
    ///
    /// When the scope or the group is not set up.
    pub fn allow_public_repositories(&self, scope: &Scope, group: u64) {
        self.shared.with(|state| {
            let owner = state.accounts.owner(state.scope(scope));
            state.accounts.group_mut(owner, group).public = true;
            state.touch();
        });
    }

    /// Makes a repository public.
    ///
    /// # Panics
    ///
    /// When it is not set up.
    pub fn publish(&self, full_name: &str) {
        self.shared.with(|state| {
            let scope = state.scope(&Scope::Repository(full_name.to_owned()));
            let ScopeId::Repository(id) = scope else { unreachable!() };
            let mut all = state.accounts.repositories.iter_mut();
            all.find(|one| one.id == id).expect("repositories stay").public = true;
            state.touch();
        });
    }
}
