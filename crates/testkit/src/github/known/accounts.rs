//! Accounts and their repositories.

use super::groups::Group;

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
pub(in super::super) enum ScopeId {
    Account(u64),
    Repository(u64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Kind {
    Organization,
    User,
    Enterprise,
}

#[derive(Debug, Clone)]
pub(in super::super) struct Account {
    pub(in super::super) id: u64,
    pub(in super::super) kind: Kind,
    pub(in super::super) login: String,
    pub(in super::super) former: Vec<String>,
    pub(in super::super) enterprise: Option<u64>,
    /// Its runner groups, the default one among them.
    pub(in super::super) groups: Vec<Group>,
}

#[derive(Debug, Clone)]
pub(in super::super) struct Repository {
    pub(in super::super) id: u64,
    pub(in super::super) owner: u64,
    pub(in super::super) name: String,
    pub(in super::super) public: bool,
}

#[derive(Debug, Default)]
pub(in super::super) struct Accounts {
    pub(in super::super) accounts: Vec<Account>,
    pub(in super::super) repositories: Vec<Repository>,
}

impl Accounts {
    pub(in super::super) fn account(&self, id: u64) -> &Account {
        self.accounts.iter().find(|account| account.id == id).expect("accounts stay")
    }

    pub(in super::super) fn repository(&self, id: u64) -> &Repository {
        self.repositories.iter().find(|repository| repository.id == id).expect("repositories stay")
    }

    /// By login or slug, whatever its case.
    pub(in super::super) fn named(&self, name: &str, enterprise: bool) -> Option<&Account> {
        let fits = |account: &&Account| {
            (account.kind == Kind::Enterprise) == enterprise && account.login.eq_ignore_ascii_case(name)
        };
        self.accounts.iter().find(fits)
    }

    /// The account that had this name.
    pub(in super::super) fn formerly(&self, name: &str) -> Option<&Account> {
        let had = |account: &&Account| account.former.iter().any(|former| former.eq_ignore_ascii_case(name));
        self.accounts.iter().find(had)
    }

    pub(in super::super) fn repository_named(&self, owner: &str, name: &str) -> Option<&Repository> {
        let owner = self.named(owner, false)?.id;
        let fits = |repository: &&Repository| {
            repository.owner == owner && repository.name.eq_ignore_ascii_case(name)
        };
        self.repositories.iter().find(fits)
    }

    pub(in super::super) fn full_name(&self, repository: &Repository) -> String {
        format!("{}/{}", self.account(repository.owner).login, repository.name)
    }

    pub(in super::super) fn find(&self, scope: &Scope) -> Option<ScopeId> {
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
    pub(in super::super) fn covers(&self, scope: ScopeId, repository: u64) -> bool {
        let owner = self.repository(repository).owner;
        match scope {
            ScopeId::Repository(id) => id == repository,
            ScopeId::Account(id) => id == owner || self.account(owner).enterprise == Some(id),
        }
    }

    /// The account that a scope is or belongs to.
    pub(in super::super) fn owner(&self, scope: ScopeId) -> u64 {
        match scope {
            ScopeId::Account(id) => id,
            ScopeId::Repository(id) => self.repository(id).owner,
        }
    }

    /// The scope's path in the REST API.
    pub(in super::super) fn path(&self, scope: ScopeId) -> String {
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
