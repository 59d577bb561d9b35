//! Who and what there is, as tests set it up.

use crate::http::random;

use super::FakeGitea;
use super::known::accounts::{Account, ApiToken, Repository, Scope};
use super::state::State;

impl State {
    fn add_account(&mut self, name: &str, site_admin: bool, owners: Option<Vec<u64>>) {
        if self.accounts.named(name).is_some() {
            return;
        }
        let id = self.accounts.all.len() as u64 + 1;
        let created = self.now();
        self.accounts.all.push(Account { id, name: name.to_owned(), site_admin, owners, created });
    }

    fn id_of(&self, name: &str) -> u64 {
        self.accounts.named(name).unwrap_or_else(|| panic!("there is no '{name}'")).id
    }
}

impl FakeGitea {
    /// A user. The first one begins the runs that tests queue.
    pub fn user(&self, name: &str) {
        self.shared.with(|state| state.add_account(name, false, None));
    }

    /// A site administrator.
    pub fn site_admin(&self, name: &str) {
        self.shared.with(|state| state.add_account(name, true, None));
    }

    /// An organization with one owner.
    ///
    /// # Panics
    ///
    /// When the owner is not set up.
    pub fn organization(&self, name: &str, owner: &str) {
        self.shared.with(|state| {
            let owner = state.id_of(owner);
            state.add_account(name, false, Some(vec![owner]));
        });
    }

    /// A repository `owner/name`.
    ///
    /// # Panics
    ///
    /// When the owner is not set up.
    pub fn repository(&self, full_name: &str) {
        let (owner, name) = full_name.split_once('/').expect("owner/name");
        self.shared.with(|state| {
            let owner = state.id_of(owner);
            let id = state.accounts.repositories.len() as u64 + 1;
            let created = state.now();
            state.accounts.repositories.push(Repository { id, owner, name: name.to_owned(), created });
        });
    }

    /// A token of a user for the API, with scopes such as `write:organization`; `all` is all.
    ///
    /// # Panics
    ///
    /// When the user is not set up.
    pub fn token(&self, user: &str, scopes: &[&str]) -> String {
        self.shared.with(|state| {
            let user = state.id_of(user);
            let token = crate::kept::hex(random(20).as_bytes());
            let scopes = scopes.iter().map(|&scope| scope.to_owned()).collect();
            state.accounts.api_tokens.insert(token.clone(), ApiToken { user, scopes });
            token
        })
    }

    /// A token is no longer one.
    pub fn revoke(&self, token: &str) {
        self.shared.with(|state| state.accounts.api_tokens.remove(token));
    }

    /// The token that registers runners there, as the server's pages show it.
    ///
    /// # Panics
    ///
    /// When what owns it is not set up.
    pub fn registration_token(&self, scope: &Scope) -> String {
        self.shared.with(|state| {
            let owner = state.accounts.owner(scope);
            state.accounts.registration.entry(owner).or_insert_with(|| random(40)).clone()
        })
    }
}
