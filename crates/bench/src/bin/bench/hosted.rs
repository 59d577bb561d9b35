//! What the measurements of hosted forges share: a fake GitHub, files that only their owner reads, and waiting.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::ensure;
use fireactions_api::Client;
use fireactions_model::MachineView;
use fireactions_testkit::github::FakeGithub;

/// Forges in this process are reached over the loopback device, which a new network namespace has down.
pub(crate) fn loopback_up() -> anyhow::Result<()> {
    let up = std::process::Command::new("ip").args(["link", "set", "lo", "up"]).status()?;
    ensure!(up.success(), "the loopback device cannot be set up");
    Ok(())
}

/// A fake GitHub at this port with the repository `acme/widgets`, and the number of an app that may do everything there,
/// whose key is `key.pem` among the `files`.
pub(crate) fn github(files: &Path, port: u16) -> anyhow::Result<(FakeGithub, u64)> {
    let fake = FakeGithub::new();
    fake.set_url(&format!("http://127.0.0.1:{port}"));
    fake.start(std::net::TcpListener::bind(("0.0.0.0", port))?);
    fake.repository("acme/widgets");
    let app = fake.app("runners");
    fake.install_fully(app.id, "acme");
    private(&files.join("key.pem"), &app.pkcs8)?;
    Ok((fake, app.id))
}

pub(crate) fn private(path: &Path, text: &str) -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(path, text)?;
    Ok(std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?)
}

/// Asks again and again until there is an answer.
pub(crate) async fn until<T>(
    within: Duration,
    what: &str,
    mut ask: impl AsyncFnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let end = Instant::now() + within;
    loop {
        if let Some(answer) = ask().await? {
            return Ok(answer);
        }
        ensure!(Instant::now() < end, "waited {within:?} in vain for {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub(crate) async fn machines_of(client: &Client, pool: &str) -> anyhow::Result<Vec<MachineView>> {
    let mut machines = client.machines().await?;
    machines.retain(|machine| machine.pool.as_str() == pool);
    Ok(machines)
}
