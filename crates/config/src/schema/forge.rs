//! The forges, by their names: those of the sections `github:`, `gitea:` and `forgejo:`, and those of `forges:`.

use std::borrow::Cow;
use std::net::SocketAddr;

use fireactions_model::{self as model, ForgeName, GiteaRunner};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Deserialize;
use serde_json::json;

use super::{
    AbsolutePath, Config, Duration, GiteaConfig, GithubConfig, PoolConfig, RunnerConfig, WebhookConfig,
    exclusive,
};

/// A forge: its `kind`, and the keys of the section of that kind.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ForgeConfig {
    /// GitHub.com, a tenant of GHE.com or a GitHub Enterprise Server.
    Github(Box<GithubConfig>),
    /// A Gitea.
    Gitea(Box<GiteaConfig>),
    /// A Forgejo.
    Forgejo(Box<GiteaConfig>),
}

/// A declared forge's settings, by its kind.
#[derive(Debug, Clone, Copy)]
pub enum ForgeRef<'a> {
    /// GitHub.com, a tenant of GHE.com or a GitHub Enterprise Server.
    Github(&'a GithubConfig),
    /// A Gitea.
    Gitea(&'a GiteaConfig),
    /// A Forgejo.
    Forgejo(&'a GiteaConfig),
}

impl<'a> ForgeRef<'a> {
    /// The kind, as it is written for people.
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Github(_) => "GitHub",
            Self::Gitea(_) => "Gitea",
            Self::Forgejo(_) => "Forgejo",
        }
    }

    /// Its webhook.
    pub const fn webhook(self) -> Option<&'a WebhookConfig> {
        match self {
            Self::Github(github) => github.webhook.as_ref(),
            Self::Gitea(gitea) | Self::Forgejo(gitea) => gitea.webhook.as_ref(),
        }
    }

    /// The proxy on the way to it.
    pub(crate) const fn proxy(self) -> Option<&'a url::Url> {
        match self {
            Self::Github(github) => github.proxy.as_ref(),
            Self::Gitea(gitea) | Self::Forgejo(gitea) => gitea.proxy.as_ref(),
        }
    }

    /// How often the forge is polled for what no signal reported.
    pub const fn audit_interval(self) -> Duration {
        match self {
            Self::Github(github) => github.audit_interval,
            Self::Gitea(gitea) | Self::Forgejo(gitea) => gitea.audit_interval,
        }
    }

    /// Authorities that its certificate may be of, beside the usual ones.
    pub const fn ca_file(self) -> Option<&'a AbsolutePath> {
        match self {
            Self::Github(github) => github.ca_file.as_ref(),
            Self::Gitea(gitea) | Self::Forgejo(gitea) => gitea.ca_file.as_ref(),
        }
    }

    /// What a pool's machines are there; none if the pool does not say correctly where.
    fn runner(self, pool: &PoolConfig) -> Option<model::ForgeRunner> {
        let gitea = |gitea: &GiteaConfig| pool.gitea(gitea.api_token_file.is_none());
        Some(match self {
            Self::Github(_) => model::ForgeRunner::Github(pool.runner.github(&pool.name)?),
            Self::Gitea(settings) => model::ForgeRunner::Gitea(gitea(settings)?),
            Self::Forgejo(settings) => model::ForgeRunner::Forgejo(gitea(settings)?),
        })
    }
}

/// Why it is unclear which forge a pool's runners belong to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NoForge {
    /// It names one that is not declared.
    Unknown(ForgeName),
    /// None is declared.
    None,
    /// It names none of several.
    Several(Vec<ForgeName>),
}

impl Config {
    /// Every forge that is declared, each name once: first those of the sections of their kind, then those of `forges`.
    pub fn forges(&self) -> Vec<(ForgeName, ForgeRef<'_>)> {
        let of_sections = self.sections().into_iter().filter_map(|(name, forge)| Some((name, forge?)));
        let of_list = self.forges.iter().filter(|(name, _)| !self.is_section(name)).map(|(name, forge)| {
            let forge = match forge {
                ForgeConfig::Github(github) => ForgeRef::Github(github),
                ForgeConfig::Gitea(gitea) => ForgeRef::Gitea(gitea),
                ForgeConfig::Forgejo(forgejo) => ForgeRef::Forgejo(forgejo),
            };
            (name.clone(), forge)
        });
        of_sections.chain(of_list).collect()
    }

    /// The key below which a forge is declared, such as `github` or `forges.ghes`.
    pub fn forge_key(&self, name: &ForgeName) -> String {
        if self.is_section(name) { name.to_string() } else { format!("forges.{name}") }
    }

    /// The address that all forges deliver their webhooks to; nothing when none has one.
    pub fn webhook_listen(&self) -> Option<SocketAddr> {
        self.forges().iter().find_map(|(_, forge)| Some(forge.webhook()?.listen.0))
    }

    /// The path at which a forge's webhook deliveries are taken; nothing when it has no webhook.
    pub fn webhook_path(&self, name: &ForgeName) -> Option<Cow<'_, str>> {
        let (name, forge) = self.forges().into_iter().find(|(other, _)| other == name)?;
        Some(forge.webhook()?.path(&name))
    }

    /// The sections that are one forge each.
    fn sections(&self) -> [(ForgeName, Option<ForgeRef<'_>>); 3] {
        [
            (ForgeName::github(), self.github.as_ref().map(ForgeRef::Github)),
            (ForgeName::gitea(), self.gitea.as_ref().map(ForgeRef::Gitea)),
            (ForgeName::forgejo(), self.forgejo.as_ref().map(ForgeRef::Forgejo)),
        ]
    }

    /// Whether the forge has a section of its own.
    pub(crate) fn is_section(&self, name: &ForgeName) -> bool {
        self.sections().iter().any(|(section, forge)| section == name && forge.is_some())
    }

    /// The forge that a pool's runners belong to; nothing for the built-in queue.
    pub(crate) fn forge_of(
        &self,
        runner: &RunnerConfig,
    ) -> Result<Option<(ForgeName, ForgeRef<'_>)>, NoForge> {
        if !runner.is_hosted() {
            return Ok(None);
        }
        let forges = self.forges();
        let github = ForgeName::github();
        let name = match (&runner.forge, forges.as_slice()) {
            (Some(name), _) | (None, [(name, _)]) => name,
            (None, _) => &github,
        };
        if let Some(found) = forges.iter().find(|(other, _)| other == name) {
            return Ok(Some(found.clone()));
        }
        Err(match &runner.forge {
            Some(name) => NoForge::Unknown(name.clone()),
            None if forges.is_empty() => NoForge::None,
            None => NoForge::Several(forges.into_iter().map(|(name, _)| name).collect()),
        })
    }

    /// A pool's place at its forge. What is wrong with it was told when the file was checked.
    pub(super) fn place(&self, pool: &PoolConfig) -> Option<model::PoolForge> {
        let (name, forge) = self.forge_of(&pool.runner).ok()??;
        Some(model::PoolForge { name, runner: forge.runner(pool)? })
    }
}

impl PoolConfig {
    /// How many runners wait at a forge that cannot be asked for its queue.
    pub(crate) fn standing(&self) -> u32 {
        self.min().max(1)
    }

    fn gitea(&self, stand: bool) -> Option<GiteaRunner> {
        let runner = &self.runner;
        Some(GiteaRunner {
            scope: runner.gitea_scope()?.ok()?,
            prefix: runner.prefix(&self.name).to_owned(),
            labels: runner.labels.iter().map(|label| label.text().to_owned()).collect(),
            command: runner.command.clone(),
            standing: stand.then(|| self.standing()),
        })
    }
}

/// serde's derived code cannot say it: `kind` stands among the keys of the kind.
impl JsonSchema for ForgeConfig {
    fn schema_name() -> Cow<'static, str> {
        "ForgeConfig".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut of_forgejo = GiteaConfig::json_schema(generator);
        forgejo(&mut of_forgejo);
        let kinds = [
            ("github", GithubConfig::json_schema(generator)),
            ("gitea", GiteaConfig::json_schema(generator)),
            ("forgejo", of_forgejo),
        ];
        let variants = kinds.map(|(kind, schema)| {
            let mut schema = schema.to_value();
            schema["properties"]["kind"] = json!({"const": kind, "description": "The kind of the forge."});
            let mut required = vec![json!("kind")];
            required.extend(schema["required"].as_array().into_iter().flatten().cloned());
            schema["required"] = required.into();
            schema
        });
        schemars::json_schema!({"description": "A forge, by its kind.", "oneOf": variants})
    }
}

/// Makes a Gitea's schema a Forgejo's.
pub(super) fn forgejo(schema: &mut Schema) {
    schema.insert("not".to_owned(), exclusive::no_webhook());
}
