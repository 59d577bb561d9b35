//! A look at a Gitea or a Forgejo.

use fireactions_config::{Config, ForgeRef};
use fireactions_model::ForgeName;

use super::report::Report;

/// Looks at one Gitea or Forgejo as its pools need it.
///
/// # Errors
/// Always: this version cannot ask it for anything.
#[expect(clippy::unused_async, reason = "looking is asking over the network")]
pub(super) async fn look(
    _report: &mut Report,
    config: &Config,
    name: &ForgeName,
    forge: ForgeRef<'_>,
) -> anyhow::Result<()> {
    anyhow::bail!(
        "{}: '{name}' is a {}, which this version cannot look at",
        config.forge_key(name),
        forge.kind()
    )
}
