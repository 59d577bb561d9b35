//! From the configuration to the provider by which people log in.

use anyhow::{Context, anyhow};
use fireactions_api::{Oidc, Role};
use fireactions_config::{ApiRole, Config};
use fireactions_oidc::{Provider, Settings};

use super::forges;
use crate::credentials;

/// The provider, if there is one. Its files are read; it is not asked for anything yet.
pub(super) fn of(config: &Config) -> anyhow::Result<Option<Oidc>> {
    let Some(oidc) = &config.api_oidc else { return Ok(None) };
    let key = "api_oidc";
    let directory = credentials::directory();
    let secret = oidc.client_secret_file.as_ref().map(|file| file.read(directory.as_deref())).transpose();
    let settings = Settings {
        issuer: oidc.issuer.clone(),
        client_id: oidc.client_id.clone(),
        client_secret: secret.with_context(|| format!("{key}.client_secret_file"))?,
        scopes: oidc.scopes.clone(),
        groups_claim: oidc.groups_claim.clone(),
        redirect: Oidc::redirect(&oidc.url),
        ca_pem: forges::ca_pem(oidc.ca_file.as_ref(), key)?,
    };
    Ok(Some(Oidc {
        provider: Provider::new(settings).map_err(|error| anyhow!("{key}: {error}"))?,
        name: oidc.name.clone(),
        groups: oidc.groups.iter().map(|(group, of)| (group.clone(), role(*of))).collect(),
        page: oidc.url.clone(),
        identity: format!("{} {}", oidc.issuer, oidc.client_id),
    }))
}

/// The role of this name.
pub(super) const fn role(role: ApiRole) -> Role {
    match role {
        ApiRole::Viewer => Role::Viewer,
        ApiRole::Operator => Role::Operator,
        ApiRole::Admin => Role::Admin,
    }
}
