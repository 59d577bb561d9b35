//! How the command line reaches the server.

use std::path::PathBuf;

use anyhow::Context;
use fireactions_api::{Client, Target};

use super::edge::advise;

/// Where a server listens by default.
const DEFAULT_SOCKET: &str = "/run/fireactions/api.sock";
/// All hosts of the cluster; no host can have this name.
const ALL: &str = "all";
/// A token file that is larger is something else.
const MAX_TOKEN: u64 = 4096;

/// How to reach the server.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Connection")]
pub(crate) struct Connection {
    /// Unix socket of the server
    #[arg(long, global = true, value_name = "PATH", env = "FIREACTIONS_SOCKET", hide_env_values = true, default_value = DEFAULT_SOCKET)]
    pub(crate) socket: PathBuf,
    /// URL of the server, instead of a socket
    #[arg(
        long,
        alias = "endpoint",
        global = true,
        value_name = "URL",
        env = "FIREACTIONS_URL",
        hide_env_values = true
    )]
    pub(crate) url: Option<String>,
    /// File with the bearer token for --url
    #[arg(long, global = true, value_name = "FILE", env = "FIREACTIONS_TOKEN_FILE", hide_env_values = true)]
    pub(crate) token_file: Option<PathBuf>,
    /// Have another host of the cluster answer; `all`: each of them, where something is listed
    #[arg(long, global = true, value_name = "HOST", env = "FIREACTIONS_ON", hide_env_values = true)]
    pub(crate) on: Option<String>,
}

impl Connection {
    /// Makes the client. Nothing is sent yet.
    pub(crate) fn open(&self) -> anyhow::Result<Client> {
        let target = match &self.url {
            // As `host:port`, it is an endpoint of other programs of this name.
            Some(url) if !url.contains("://") => Target::Url(format!("http://{url}")),
            Some(url) => Target::Url(url.clone()),
            None => Target::Socket(self.socket.clone()),
        };
        let token = self.token_file.as_ref().map(read_token).transpose()?;
        let client = Client::new(target, token.as_deref())?;
        Ok(match self.on.as_deref() {
            Some(ALL) => {
                return Err(advise(
                    "`--on all` is for what is listed: ps, jobs list and pools list, without --json",
                    "name one host; `fireactions cluster status` shows them",
                ));
            }
            Some(host) => client.on(host),
            None => client,
        })
    }

    /// Whether all hosts of the cluster are to answer.
    pub(crate) fn is_of_all(&self) -> bool {
        self.on.as_deref() == Some(ALL)
    }

    /// The same for one host, or for the server itself.
    pub(crate) fn of(&self, host: Option<&str>) -> Self {
        Self { on: host.map(str::to_owned), ..self.clone() }
    }
}

fn read_token(path: &PathBuf) -> anyhow::Result<String> {
    use std::io::Read;
    let mut text = String::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(MAX_TOKEN).read_to_string(&mut text))
        .with_context(|| format!("cannot read the token file {}", path.display()))?;
    Ok(text)
}
