//! Organisations, users, enterprises and their repositories.

use super::FakeGithub;
use super::groups::Group;
use super::state::State;

/// Where runners are registered.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// By its login.
    Organization(String),
    /// By `owner/name`.
    Repository(String),
    /// By its slug.
    Enterprise(String),
}

/// The same by what stays when names change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ScopeId {
    Account(u64),
    Repository(u64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Organization,
    User,
    Enterprise,
}

#[derive(Debug, Clone)]
pub(super) struct Account {
    pub(super) id: u64,
    pub(super) kind: Kind,
    pub(super) login: String,
    former: Vec<String>,
    pub(super) enterprise: Option<u64>,
    /// Its runner groups, the default one among them.
    pub(super) groups: Vec<Group>,
}

#[derive(Debug, Clone)]
pub(super) struct Repository {
    pub(super) id: u64,
    pub(super) owner: u64,
    pub(super) name: String,
    pub(super) public: bool,
}

#[derive(Debug, Default)]
pub(super) struct Accounts {
    pub(super) accounts: Vec<Account>,
    pub(super) repositories: Vec<Repository>,
}

impl Accounts {
    pub(super) fn account(&self, id: u64) -> &Account {
        self.accounts.iter().find(|account| account.id == id).expect("accounts stay")
    }

    pub(super) fn repository(&self, id: u64) -> &Repository {
        self.repositories.iter().find(|repository| repository.id == id).expect("repositories stay")
    }

    /// By login or slug, whatever its case.
    pub(super) fn named(&self, name: &str, enterprise: bool) -> Option<&Account> {
        let fits = |account: &&Account| {
            (account.kind == Kind::Enterprise) == enterprise && account.login.eq_ignore_ascii_case(name)
        };
        self.accounts.iter().find(fits)
    }

    /// The account that had this name.
    pub(super) fn formerly(&self, name: &str) -> Option<&Account> {
        let had = |account: &&Account| account.former.iter().any(|former| former.eq_ignore_ascii_case(name));
        self.accounts.iter().find(had)
    }

    pub(super) fn repository_named(&self, owner: &str, name: &str) -> Option<&Repository> {
        let owner = self.named(owner, false)?.id;
        let fits = |repository: &&Repository| {
            repository.owner == owner && repository.name.eq_ignore_ascii_case(name)
        };
        self.repositories.iter().find(fits)
    }

    pub(super) fn full_name(&self, repository: &Repository) -> String {
        format!("{}/{}", self.account(repository.owner).login, repository.name)
    }

    pub(super) fn find(&self, scope: &Scope) -> Option<ScopeId> {
        match scope {
            Scope::Organization(login) => {
                self.named(login, false).map(|account| ScopeId::Account(account.id))
            }
            Scope::Enterprise(slug) => self.named(slug, true).map(|account| ScopeId::Account(account.id)),
            Scope::Repository(name) => {
                let (owner, name) = name.split_once('/')?;
                self.repository_named(owner, name).map(|repository| ScopeId::Repository(repository.id))
            }
        }
    }

    /// Whether runners of this scope run the repository's jobs.
    pub(super) fn covers(&self, scope: ScopeId, repository: u64) -> bool {
        let owner = self.repository(repository).owner;
        match scope {
            ScopeId::Repository(id) => id == repository,
            ScopeId::Account(id) => id == owner || self.account(owner).enterprise == Some(id),
        }
    }

    /// The account that a scope is or belongs to.
    pub(super) fn owner(&self, scope: ScopeId) -> u64 {
        match scope {
            ScopeId::Account(id) => id,
            ScopeId::Repository(id) => self.repository(id).owner,
        }
    }

    /// The scope's path in the REST API.
    pub(super) fn path(&self, scope: ScopeId) -> String {
        match scope {
            ScopeId::Repository(id) => format!("/repos/{}", self.full_name(self.repository(id))),
            ScopeId::Account(id) => {
                let account = self.account(id);
                let kind = if account.kind == Kind::Enterprise { "enterprises" } else { "orgs" };
                format!("/{kind}/{}", account.login)
            }
        }
    }
}

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
