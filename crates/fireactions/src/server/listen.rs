//! The API's listeners.

use std::path::PathBuf;

use anyhow::{Context, anyhow};
use fireactions_api::{Api, Auth, Token, listen};
use fireactions_config::Config;
use tokio::task::JoinHandle;

/// Running listeners.
pub(super) struct Listeners {
    tasks: Vec<JoinHandle<std::io::Result<()>>>,
    socket: PathBuf,
}

impl Listeners {
    /// Waits until every listener has ended (after `Api::close`), then removes the socket file.
    pub(super) async fn ended(self) {
        for task in self.tasks {
            if let Ok(Err(error)) = task.await {
                tracing::warn!(%error, "an API listener ended badly");
            }
        }
        let _ = std::fs::remove_file(&self.socket);
    }
}

pub(super) async fn start(config: &Config, api: &Api) -> anyhow::Result<Listeners> {
    let path = config.api_socket.to_path_buf();
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)
            .with_context(|| format!("directory {} could not be made", parent.display()))?;
    }
    let group = config.api_socket_group.as_ref().map(fireactions_config::GroupName::as_str);
    let socket = listen::bind_unix(&path, config.api_socket_mode.0, group).await?;
    let mut tasks =
        vec![tokio::spawn(listen::serve(socket, api.router(Auth::Socket), api.clone()))];
    if let Some(address) = &config.bind_address {
        let token = match &config.api_token_file {
            Some(file) => {
                let directory = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
                let secret = file.read(directory.as_deref()).context("api_token_file")?;
                Some(Token::new(secret.expose()).map_err(|e| anyhow!("api_token_file: {e}"))?)
            }
            None => None,
        };
        let (tcp, auth) = listen::bind_tcp(address.0, token).await?;
        tasks.push(tokio::spawn(listen::serve(tcp, api.router(auth), api.clone())));
    }
    if config.metrics.enabled {
        let address = config.metrics.address.0;
        let tcp = tokio::net::TcpListener::bind(address)
            .await
            .with_context(|| format!("metrics.address {address} could not be bound"))?;
        tasks.push(tokio::spawn(listen::serve(tcp, api.metrics_router(), api.clone())));
    }
    Ok(Listeners { tasks, socket: path })
}
