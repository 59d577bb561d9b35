//! Organisations, users, enterprises and their repositories.

use super::FakeGithub;
use super::known::accounts::{Account, Kind, Repository, Scope, ScopeId};
use super::known::groups::Group;
use super::state::State;

impl State {
    fn account_of(&mut self, login: &str, kind: Kind) -> u64 {
        if let Some(account) = self.accounts.named(login, kind == Kind::Enterprise) {
            return account.id;
        }
        let id = self.id();
        let (login, groups) = (login.to_owned(), vec![Group::default_one()]);
        let account = Account { id, kind, login, former: Vec::new(), enterprise: None, groups };
        self.accounts.accounts.push(account);
        id
    }

    pub(super) fn scope(&self, scope: &Scope) -> ScopeId {
        self.accounts.find(scope).unwrap_or_else(|| panic!("{scope:?} is not set up"))
    }
}

impl FakeGithub {
    /// Sets up an organisation.
    pub fn organization(&self, login: &str) {
        self.shared.with(|state| state.account_of(login, Kind::Organization));
    }

    /// Sets up a personal account.
    pub fn user(&self, login: &str) {
        self.shared.with(|state| state.account_of(login, Kind::User));
    }

    /// Sets up an enterprise with these organisations.
    pub fn enterprise(&self, slug: &str, organizations: &[&str]) {
        self.shared.with(|state| {
            let enterprise = state.account_of(slug, Kind::Enterprise);
            for login in organizations {
                let id = state.account_of(login, Kind::Organization);
                let account = state.accounts.accounts.iter_mut().find(|account| account.id == id).unwrap();
                account.enterprise = Some(enterprise);
            }
        });
    }

    /// Sets up the repository `owner/name`; its owner becomes an organisation unless it is set up already.
    pub fn repository(&self, full_name: &str) {
        let (owner, name) = full_name.split_once('/').expect("owner/name");
        self.shared.with(|state| {
            if state.accounts.repository_named(owner, name).is_none() {
                let owner = state.account_of(owner, Kind::Organization);
                let id = state.id();
                state.accounts.repositories.push(Repository {
                    id,
                    owner,
                    name: name.to_owned(),
                    public: false,
                });
            }
        });
    }

    /// Gives an organisation another name. Requests with the old one are answered with 301 to the path by id, as
    /// GitHub does.
    ///
    /// # Panics
    ///
    /// When there is no such organisation.
    pub fn rename_organization(&self, old: &str, new: &str) {
        self.shared.with(|state| {
            let id = state.accounts.named(old, false).expect("an organisation").id;
            let account = state.accounts.accounts.iter_mut().find(|account| account.id == id).unwrap();
            account.former.push(std::mem::replace(&mut account.login, new.to_owned()));
        });
    }
}
