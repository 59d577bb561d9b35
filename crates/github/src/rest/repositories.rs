//! The repositories of a scope.

use serde::Deserialize;

use crate::address::{path, url};
use crate::caller::Call;
use crate::{Error, Github, Repository, Scope};

#[derive(Deserialize)]
struct Installed {
    repositories: Vec<WireRepository>,
}

#[derive(Deserialize)]
struct WireRepository {
    full_name: String,
    /// Not every GitHub says; what is not said to be public is taken to be private.
    #[serde(default = "yes")]
    private: bool,
    #[serde(default)]
    archived: bool,
    #[serde(default)]
    disabled: bool,
}

fn yes() -> bool {
    true
}

/// A repository in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedRepository {
    /// Which.
    pub repository: Repository,
    /// Whether everybody may see it.
    pub public: bool,
}

impl Github {
    /// The repositories whose jobs may run in a scope: of an organization those that the credential sees, without
    /// archived ones.
    ///
    /// # Errors
    ///
    /// See [`Error`]; [`Error::Unsupported`] for an enterprise.
    pub async fn repositories(&self, scope: &Scope) -> Result<Vec<ListedRepository>, Error> {
        let doing = format!("list the repositories of {scope}");
        let owner = match scope {
            Scope::Repository { owner, name } => {
                let named = format!("{owner}/{name}").parse::<Repository>();
                return named
                    .map(|repository| vec![ListedRepository { repository, public: false }])
                    .map_err(|e| Error::Unexpected { doing, why: e.to_string() });
            }
            Scope::Enterprise(_) => {
                let why = "an enterprise's jobs cannot be polled; use a scale set".to_owned();
                return Err(Error::Unsupported { doing, why });
            }
            Scope::Organization(owner) => owner,
        };
        let authorized = self.auth().authorize(scope, self.caller().deadline()).await?;
        let wire = if authorized.is_app() {
            let call = Call::get(doing, "repositories", url(self.api(), &["installation", "repositories"]));
            self.list(scope, call.conditional(), |page: Installed| page.repositories).await?
        } else {
            let mut at = path(scope);
            at.push("repos");
            let call = Call::get(doing, "repositories", url(self.api(), &at));
            self.list(scope, call.conditional(), |page: Vec<WireRepository>| page).await?
        };
        let listed = |wire: WireRepository| {
            Some(ListedRepository { repository: wire.full_name.parse().ok()?, public: !wire.private })
        };
        let all: Vec<ListedRepository> = wire
            .into_iter()
            .filter(|repository| !repository.archived && !repository.disabled)
            .filter_map(listed)
            .filter(|listed| listed.repository.owner().eq_ignore_ascii_case(owner))
            .collect();
        // They need not be looked up one by one.
        self.auth().serves(&authorized, all.iter().map(|listed| listed.repository.scope()));
        Ok(all)
    }
}
