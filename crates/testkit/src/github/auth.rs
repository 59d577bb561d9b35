//! Who asks, and whether they may.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use super::known::accounts::{Kind, ScopeId};
use super::known::apps::Permissions;
use super::state::State;
use crate::http::{Ask, Reply};

/// Whoever a request comes from.
#[derive(Debug, Clone)]
pub(super) enum Who {
    App(u64),
    Installation { id: u64, account: u64, permissions: Permissions, repositories: Option<BTreeSet<u64>> },
    Person { token: String, scopes: Vec<String> },
    Nobody,
}

/// What a request needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    ReadRunners,
    WriteRunners,
    ReadActions,
    /// Every installation may.
    ReadMetadata,
}

impl Who {
    /// Whose rate limit this counts against.
    pub(super) fn payer(&self) -> String {
        match self {
            Self::App(id) => format!("app ID {id}"),
            Self::Installation { id, .. } => format!("installation ID {id}"),
            Self::Person { token, .. } => format!("user of {}", &token[..8.min(token.len())]),
            Self::Nobody => "127.0.0.1".into(),
        }
    }

    /// Whether this installation was given a repository.
    pub(super) fn sees(&self, repository: u64) -> bool {
        match self {
            Self::Installation { repositories: Some(some), .. } => some.contains(&repository),
            _ => true,
        }
    }
}

impl State {
    /// Who asks; the answer when they are not who they say they are.
    pub(super) fn who(&self, ask: &Ask) -> Result<Who, Reply> {
        let Some(token) = ask.authorization("bearer").or_else(|| ask.authorization("token")) else {
            return if ask.header("authorization").is_some() { Err(bad()) } else { Ok(Who::Nobody) };
        };
        if let Some(scopes) = self.apps.personal.get(token) {
            return Ok(Who::Person { token: token.to_owned(), scopes: scopes.clone() });
        }
        if let Some(known) = self.apps.tokens.get(token) {
            if known.expires <= self.clock.now() {
                return Err(bad());
            }
            let installation = self.apps.installations.iter().find(|one| one.id == known.installation);
            let installation = installation.ok_or_else(bad)?;
            if installation.suspended {
                return Err(Reply::error(403, "This installation has been suspended"));
            }
            return Ok(Who::Installation {
                id: installation.id,
                account: installation.account,
                permissions: known.permissions.clone(),
                repositories: known.repositories.clone(),
            });
        }
        if token.split('.').count() == 3 { self.app_of(token).map(Who::App) } else { Err(bad()) }
    }

    /// The app that made a JWT.
    fn app_of(&self, jwt: &str) -> Result<u64, Reply> {
        let undecodable = || Reply::error(401, "A JSON web token could not be decoded");
        let (signed, signature) = jwt.rsplit_once('.').ok_or_else(undecodable)?;
        let (header, claims) = signed.split_once('.').ok_or_else(undecodable)?;
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| undecodable());
        let parse = |part: &str| serde_json::from_slice::<Value>(&decode(part)?).map_err(|_| undecodable());
        let (header, claims) = (parse(header)?, parse(claims)?);
        if header["alg"] != "RS256" {
            return Err(undecodable());
        }
        let issuer = match &claims["iss"] {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            _ => String::new(),
        };
        let app = self.apps.known.iter().find(|app| app.id.to_string() == issuer || app.client_id == issuer);
        let app = app.ok_or_else(|| Reply::error(401, "'Issuer' claim ('iss') must be an Integer"))?;
        if !app.key.signed(signed.as_bytes(), &decode(signature)?) {
            return Err(undecodable());
        }
        let now = self.clock.now().as_second();
        let Some(issued) = claims["iat"].as_i64().filter(|issued| *issued <= now) else {
            let message = "'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued";
            return Err(Reply::error(401, message));
        };
        let Some(expires) = claims["exp"].as_i64().filter(|expires| *expires > now && *expires > issued)
        else {
            let message = "'Expiration time' claim ('exp') must be a numeric value representing the future time at which the assertion expires";
            return Err(Reply::error(401, message));
        };
        if expires > now + 600 {
            return Err(Reply::error(401, "'Expiration time' claim ('exp') is too far in the future"));
        }
        Ok(app.id)
    }

    /// The answer to those who may not.
    pub(super) fn allow(&self, who: &Who, scope: ScopeId, need: Need) -> Result<(), Reply> {
        let owner = self.accounts.owner(scope);
        let enterprise = self.accounts.account(owner).kind == Kind::Enterprise;
        match who {
            Who::Nobody | Who::App(_) => Err(Reply::error(401, "Requires authentication")),
            Who::Installation { account, permissions, .. } => {
                let seen = match scope {
                    ScopeId::Repository(id) => who.sees(id),
                    ScopeId::Account(_) => true,
                };
                if *account != owner || !seen {
                    return Err(Reply::error(404, "Not Found"));
                }
                let name = match (need, scope) {
                    (Need::ReadMetadata, _) => return Ok(()),
                    (Need::ReadActions, _) => "actions",
                    (_, ScopeId::Account(_)) => "organization_self_hosted_runners",
                    (_, ScopeId::Repository(_)) => "administration",
                };
                let has = permissions.get(name).map(String::as_str);
                let enough = match need {
                    Need::WriteRunners => has == Some("write"),
                    Need::ReadRunners | Need::ReadActions | Need::ReadMetadata => has.is_some(),
                };
                if enough { Ok(()) } else { Err(Reply::error(403, "Resource not accessible by integration")) }
            }
            Who::Person { scopes, .. } => {
                let any: &[&str] = match scope {
                    ScopeId::Account(_) if enterprise => &["manage_runners:enterprise", "admin:enterprise"],
                    ScopeId::Account(_) => &["admin:org"],
                    ScopeId::Repository(_) => &["repo"],
                };
                if scopes.iter().any(|scope| any.contains(&scope.as_str())) {
                    Ok(())
                } else {
                    Err(Reply::error(403, "Must have admin rights to Repository."))
                }
            }
        }
    }
}

fn bad() -> Reply {
    Reply::error(401, "Bad credentials")
}
