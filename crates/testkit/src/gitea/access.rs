//! Who asks, and whether they may.

use crate::http::{Ask, Reply};

use super::state::State;

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Doer {
    pub(super) id: u64,
    pub(super) site_admin: bool,
}

impl State {
    /// Who asks, when their token may do this to things of the category (`admin`, `organization`, `repository`, `user`).
    pub(super) fn doer(&self, ask: &Ask, category: &str) -> Result<Doer, Reply> {
        let level = if ask.method == "GET" { "read" } else { "write" };
        let needed = format!("{level}:{category}");
        let given = ask.authorization("token").or_else(|| ask.authorization("bearer"));
        let given = given.ok_or_else(|| self.refusal(401, "token is required"))?;
        let token = self.accounts.api_tokens.get(given);
        let token = token.ok_or_else(|| self.refusal(401, "invalid username, password or token"))?;
        if !token.may(&needed) {
            let words = "token does not have at least one of required scope(s)";
            return Err(self.refusal(
                403,
                &if self.release.names_token_scope() {
                    format!("{words}, required=[{needed}], token scope={}", token.scopes.join(","))
                } else {
                    format!("{words}: [{needed}]")
                },
            ));
        }
        Ok(Doer { id: token.user, site_admin: self.accounts.account(token.user).site_admin })
    }

    pub(super) fn must_administrate(&self, doer: Doer) -> Result<(), Reply> {
        if doer.site_admin { Ok(()) } else { Err(self.refusal(403, "user should be the site admin")) }
    }

    /// An organization's owner, or on Gitea somebody who only reads and is a member: here all members are owners.
    pub(super) fn must_own(&self, doer: Doer, organization: u64, only_reads: bool) -> Result<(), Reply> {
        let owners = self.accounts.account(organization).owners.as_deref().unwrap_or_default();
        if doer.site_admin || owners.contains(&doer.id) {
            return Ok(());
        }
        let is = if only_reads && self.release.is_gitea() { "member" } else { "owner" };
        Err(self.refusal(403, &format!("Must be an organization {is}")))
    }

    /// The owner of a repository.
    pub(super) fn must_own_repository(&self, doer: Doer, repository: u64) -> Result<(), Reply> {
        let owner = self.accounts.account(self.accounts.repository(repository).owner);
        let owns = owner.id == doer.id || owner.owners.as_ref().is_some_and(|all| all.contains(&doer.id));
        if doer.site_admin || owns {
            return Ok(());
        }
        Err(self.refusal(403, "user should be the owner of the repo"))
    }
}
