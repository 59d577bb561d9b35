//! `fireactions version`.

use std::process::ExitCode;
use std::time::Duration;

use fireactions_api::Version;
use serde::Serialize;

use super::{Connection, Ended, show};

/// Until the server counts as absent.
const PATIENCE: Duration = Duration::from_secs(3);

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    format: show::Format,
}

#[derive(Serialize)]
struct Versions {
    client: &'static str,
    server: Option<Version>,
    /// Why there is no server's version.
    unreachable: Option<String>,
}

pub(crate) async fn run(connection: &Connection, args: &Args) -> Ended {
    let asked = async { anyhow::Ok(connection.open()?.version().await?) };
    let (server, unreachable) = match tokio::time::timeout(PATIENCE, asked).await {
        Ok(Ok(version)) => (Some(version), None),
        Ok(Err(error)) => (None, Some(format!("{error:#}"))),
        Err(_) => (None, Some("the server did not answer in time".to_owned())),
    };
    let versions = Versions { client: env!("CARGO_PKG_VERSION"), server, unreachable };
    show::write(args.format, &versions, render)?;
    Ok(ExitCode::SUCCESS)
}

fn render(versions: &Versions) -> String {
    let server = match (&versions.server, &versions.unreachable) {
        (Some(server), _) => {
            let vmm = format!("{} {}", server.vmm, server.vmm_version);
            format!("{} (process {}; {}; {})", server.version, server.pid, vmm.trim_end(), server.accel)
        }
        (None, why) => why.clone().unwrap_or_default(),
    };
    show::rows(&[("fireactions", versions.client.to_owned()), ("server", server)])
}
