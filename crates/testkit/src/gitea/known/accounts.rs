//! Users, organizations, repositories, and tokens of the API.

use std::collections::BTreeMap;

use jiff::Timestamp;

/// Who owns a runner or a webhook.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// The whole server.
    Instance,
    /// The user with this name.
    User(String),
    /// The organization with this name.
    Organization(String),
    /// The repository `owner/name`.
    Repository(String),
}

/// A scope as the forges keep it: both zero is the whole server, and never are both set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(in super::super) struct Owner {
    pub(in super::super) owner: u64,
    pub(in super::super) repository: u64,
}

/// A user or an organization: they share their ids and names.
#[derive(Debug, Clone)]
pub(in super::super) struct Account {
    pub(in super::super) id: u64,
    pub(in super::super) name: String,
    pub(in super::super) site_admin: bool,
    /// Of an organization, its owners.
    pub(in super::super) owners: Option<Vec<u64>>,
    pub(in super::super) created: Timestamp,
}

#[derive(Debug, Clone)]
pub(in super::super) struct Repository {
    pub(in super::super) id: u64,
    pub(in super::super) owner: u64,
    pub(in super::super) name: String,
    pub(in super::super) created: Timestamp,
}

/// A token of the API.
#[derive(Debug, Clone)]
pub(in super::super) struct ApiToken {
    pub(in super::super) user: u64,
    /// Such as `write:organization`, or `all`.
    pub(in super::super) scopes: Vec<String>,
}

impl ApiToken {
    /// Whether it may do what needs `read:CATEGORY` or `write:CATEGORY`.
    pub(in super::super) fn may(&self, needed: &str) -> bool {
        let write = needed.replacen("read:", "write:", 1);
        self.scopes.iter().any(|scope| scope == "all" || scope == needed || *scope == write)
    }
}

#[derive(Debug, Default)]
pub(in super::super) struct Accounts {
    pub(in super::super) all: Vec<Account>,
    pub(in super::super) repositories: Vec<Repository>,
    pub(in super::super) api_tokens: BTreeMap<String, ApiToken>,
    /// The one that registers runners, of each owner that was asked for it.
    pub(in super::super) registration: BTreeMap<Owner, String>,
}

impl Accounts {
    pub(in super::super) fn account(&self, id: u64) -> &Account {
        self.all.iter().find(|account| account.id == id).expect("accounts stay")
    }

    pub(in super::super) fn repository(&self, id: u64) -> &Repository {
        self.repositories.iter().find(|repository| repository.id == id).expect("repositories stay")
    }

    /// Names are found in any case.
    pub(in super::super) fn named(&self, name: &str) -> Option<&Account> {
        self.all.iter().find(|account| account.name.eq_ignore_ascii_case(name))
    }

    pub(in super::super) fn organization(&self, name: &str) -> Option<&Account> {
        self.named(name).filter(|account| account.owners.is_some())
    }

    pub(in super::super) fn repository_named(&self, owner: &str, name: &str) -> Option<&Repository> {
        let owner = self.named(owner)?.id;
        let fits = |of: &&Repository| of.owner == owner && of.name.eq_ignore_ascii_case(name);
        self.repositories.iter().find(fits)
    }

    /// `owner/name`.
    pub(in super::super) fn full_name(&self, id: u64) -> String {
        let repository = self.repository(id);
        format!("{}/{}", self.account(repository.owner).name, repository.name)
    }

    /// # Panics
    ///
    /// When it was not set up.
    pub(in super::super) fn owner(&self, scope: &Scope) -> Owner {
        match scope {
            Scope::Instance => Owner::default(),
            Scope::User(name) | Scope::Organization(name) => {
                let account = self.named(name).unwrap_or_else(|| panic!("there is no '{name}'"));
                Owner { owner: account.id, repository: 0 }
            }
            Scope::Repository(full) => {
                let (owner, name) = full.split_once('/').expect("owner/name");
                let found = self.repository_named(owner, name);
                let found = found.unwrap_or_else(|| panic!("there is no repository '{full}'"));
                Owner { owner: 0, repository: found.id }
            }
        }
    }

    /// Whether what this owner has is of use to the repository.
    pub(in super::super) fn serves(&self, owner: Owner, repository: u64) -> bool {
        match owner {
            Owner { owner: 0, repository: 0 } => true,
            Owner { owner: 0, repository: own } => own == repository,
            Owner { owner, .. } => self.repository(repository).owner == owner,
        }
    }
}
