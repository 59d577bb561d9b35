//! `fireactions doctor`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use comfy_table::{Attribute, Cell, Color};
use fireactions_config::{Config, Host, load_for};
use fireactions_fleet::doctor::{Report, Severity, Subject, examine, probe_kvm};
use fireactions_fleet::host::user_name;
use fireactions_fleet::prerequisites;
use fireactions_fleet::registry::Registry;
use fireactions_fleet::ssh::Ssh;

use super::{Ended, show};

/// Where the server looks by default.
const USUAL_CONFIG: &str = "/etc/fireactions/config.yaml";

/// Arguments.
///
/// Exits with 0 when all is well, 1 with warnings, 2 with errors.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Configuration to check the host for [default: /etc/fireactions/config.yaml if it is there]
    #[arg(long, value_name = "FILE", env = "FIREACTIONS_CONFIG", hide_env_values = true)]
    config: Option<PathBuf>,
    /// Check another host, over SSH, for what a deployment needs: a name of the registry, or an address
    #[arg(long, value_name = "HOST", conflicts_with = "config")]
    remote: Option<String>,
    /// User who logs in there
    #[arg(short, long, value_name = "USER", default_value = "root", value_parser = user_name, requires = "remote")]
    user: String,
    /// Option for ssh, as after `ssh -o`; can be given several times
    #[arg(long = "ssh-option", value_name = "KEY=VALUE", requires = "remote")]
    ssh_options: Vec<String>,
    /// Directory of your flake, whose hosts/registry.json has the name
    #[arg(long, value_name = "DIR", env = "FIREACTIONS_FLAKE", hide_env_values = true, default_value = ".")]
    flake: PathBuf,
    #[command(flatten)]
    format: show::Format,
    /// Run a guest under KVM in this process and say what it did; the doctor starts itself with this.
    #[arg(long, hide = true)]
    probe_kvm: bool,
}

pub(crate) async fn run(args: &Args) -> Ended {
    if args.probe_kvm {
        return probe();
    }
    let usual = || Some(PathBuf::from(USUAL_CONFIG)).filter(|path| path.exists());
    let report = match &args.remote {
        Some(host) => remote(args, host).await?,
        None => report(args.config.clone().or_else(usual)).await?,
    };
    show::write(args.format, &report, render)?;
    Ok(match report.worst() {
        Severity::Ok => ExitCode::SUCCESS,
        Severity::Warning => ExitCode::from(1),
        Severity::Error => ExitCode::from(2),
    })
}

fn probe() -> Ended {
    match probe_kvm() {
        Ok(json) => {
            show::line(&json)?;
            Ok(ExitCode::SUCCESS)
        }
        Err(why) => {
            // For the doctor, which reads the first line as the reason.
            eprintln!("{why}");
            Ok(ExitCode::FAILURE)
        }
    }
}

/// The registry is only asked for a name: what cannot be read there is no reason not to look at an address.
async fn remote(args: &Args, host: &str) -> anyhow::Result<Report> {
    let registry = Registry::new(&args.flake.join("hosts/registry.json"));
    let registered = registry.read().ok().and_then(|hosts| hosts.get(host).map(|host| host.hostname.clone()));
    let address = registered.as_deref().unwrap_or(host);
    let address = address.parse().with_context(|| format!("--remote '{address}'"))?;
    let asked = Ssh::new(&args.user, &address, &args.ssh_options, false);
    let facts = match asked {
        Ok(ssh) => ssh.facts().await,
        Err(error) => Err(error),
    };
    Ok(match facts {
        Ok(facts) => prerequisites::judge(&facts),
        Err(error) => prerequisites::unreachable(&error),
    })
}

async fn report(file: Option<PathBuf>) -> anyhow::Result<Report> {
    let config = match &file {
        None => Config::default(),
        Some(path) => match load_for(path, &Host::detect()) {
            Ok(loaded) => loaded.config,
            Err(mistakes) => return Ok(Report::unusable(path, mistakes.errors.len())),
        },
    };
    let program = std::env::current_exe().context("this program's own file cannot be found")?;
    let agent = config.agent_beside(&program);
    Ok(examine(&Subject { config, file, agent, program }).await)
}

pub(super) fn render(report: &Report) -> String {
    let mut table = show::table(["CHECK", "RESULT", "FOUND"]);
    let mut group = None;
    for finding in &report.findings {
        if group.replace(finding.group) != Some(finding.group) {
            table.add_row([show::cell(finding.group.as_str()).add_attribute(Attribute::Bold)]);
        }
        let colour = match finding.severity {
            Severity::Ok => Color::Green,
            Severity::Warning => Color::Yellow,
            Severity::Error => Color::Red,
        };
        table.add_row([
            show::cell(format!("  {}", finding.check)),
            Cell::new(finding.severity.as_str()).fg(colour),
            show::cell(&finding.found),
        ]);
        if let Some(advice) = &finding.advice {
            table.add_row([Cell::new(""), Cell::new(""), show::cell(format!("→ {advice}"))]);
        }
    }
    show::finish(table)
}
