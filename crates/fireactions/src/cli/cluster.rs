//! `fireactions cluster`: how the hosts of the cluster stand, in plain words. It asks NATS, as a server does, and needs no server.

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::Subcommand;
use fireactions_cluster::{ClusterState, Leader, Link, Member, Settings, Trouble, look};
use fireactions_model::{ClusterName, MachineState, Share};
use jiff::Timestamp;
use serde::Serialize;

use super::config_file::ConfigFile;
use super::report::Report;
use super::{Ended, show};
use crate::server::cluster;

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Show the hosts of the cluster, what they have, and who leads what
    Status {
        #[command(flatten)]
        file: ConfigFile,
        #[command(flatten)]
        format: show::Format,
    },
    /// Check NATS, its JetStream and this host's place in the cluster, and say what to do about each problem
    Check {
        #[command(flatten)]
        file: ConfigFile,
    },
}

pub(crate) async fn run(args: Args) -> Ended {
    match args.action {
        Action::Status { file, format } => Box::pin(status(&settings(&file)?, format)).await,
        Action::Check { file } => Box::pin(check(&settings(&file)?)).await,
    }
}

fn settings(file: &ConfigFile) -> anyhow::Result<Settings> {
    cluster::settings(&file.load()?)?.ok_or_else(|| {
        anyhow::anyhow!(
            "this host is in no cluster: {} has no section 'cluster:'; docs/cluster.md explains it",
            file.path().display()
        )
    })
}

/// What programs are told.
#[derive(Debug, Serialize)]
struct Status {
    cluster: ClusterName,
    nats: String,
    hosts: Vec<Member>,
    leaders: Vec<Led>,
}

#[derive(Debug, Serialize)]
struct Led {
    lease: String,
    host: String,
    since: Timestamp,
}

async fn status(settings: &Settings, format: show::Format) -> Ended {
    let link = Link::open(settings).await?;
    let looked = look(&link).await;
    let nats = format!("{} at {}", link.server(), settings.urls.join(", "));
    link.close().await;
    let ClusterState { hosts, leaders } = looked?;
    let led =
        |leader: Leader| Led { lease: leader.lease, host: leader.host.to_string(), since: leader.since };
    let status = Status {
        cluster: settings.cluster.clone(),
        nats,
        hosts,
        leaders: leaders.into_iter().map(led).collect(),
    };
    show::write(format, &status, |status| render(status, settings))?;
    Ok(ExitCode::SUCCESS)
}

fn render(status: &Status, settings: &Settings) -> String {
    let mut text = format!("cluster '{}' by {}\n", status.cluster, show::clean(&status.nats));
    if status.hosts.is_empty() {
        text.push_str("no host is there: start a server whose configuration has this cluster\n");
        return text;
    }
    text.push('\n');
    let mut table =
        show::table(["HOST", "ZONE", "VERSION", "UP", "BUSY", "IDLE", "VCPUS", "MEMORY", "QUEUED", "NOTE"]);
    for Member { identity, load } in &status.hosts {
        let is_this = identity.host == settings.host;
        let notes = [load.drained.then_some("drained"), is_this.then_some("this host")];
        let notes: Vec<&str> = notes.into_iter().flatten().collect();
        let idle = load.machines(MachineState::is_idle_capacity);
        table.add_row([
            show::cell(&identity.host),
            show::maybe(identity.zone.as_ref()),
            show::cell(&identity.version),
            show::cell(show::ago(identity.since)),
            show::cell(load.machines(MachineState::is_busy)),
            show::cell(idle),
            show::cell(share(load.vcpus, 1)),
            show::cell(share(load.memory_mib, 1024) + " GiB"),
            show::cell(load.pools.values().map(|pool| pool.queued).sum::<u32>()),
            show::cell(notes.join(", ")),
        ]);
    }
    text.push_str(&show::finish(table));
    text.push('\n');
    for Led { lease, host, since } in &status.leaders {
        // Writing into a string cannot fail.
        let _ = writeln!(text, "{host} leads {} since {since:.0}", show::clean(lease));
    }
    if status.leaders.is_empty() {
        text.push_str(
            "no host leads anything: no pool here has a scale set at GitHub, so there are no jobs to share\n",
        );
    }
    for (pool, jobs) in status.hosts.iter().flat_map(|host| &host.load.unplaced) {
        let _ = writeln!(text, "no host has room for more jobs of pool '{pool}': {jobs} without a host");
    }
    text
}

/// What is taken of what there is, in this unit, rounded up.
fn share(share: Share, unit: u64) -> String {
    let used = share.used.div_ceil(unit);
    share.of.map_or_else(|| used.to_string(), |of| format!("{used} of {}", of / unit))
}

async fn check(settings: &Settings) -> Ended {
    let mut report = Report::default();
    report.head(&format!("cluster '{}', host '{}'", settings.cluster, settings.host));
    match Link::open(settings).await {
        Err(trouble) => problem(&mut report, &trouble),
        Ok(link) => {
            report.well(&format!("{} at {} takes this host", link.server(), settings.urls.join(", ")));
            match look(&link).await {
                Ok(state) => hosts(&mut report, &state, settings),
                Err(trouble) => problem(&mut report, &trouble),
            }
            link.close().await;
        }
    }
    report.verdict();
    report.show()
}

fn hosts(report: &mut Report, state: &ClusterState, settings: &Settings) {
    report.well("its JetStream has the cluster's buckets");
    for member in &state.hosts {
        let identity = &member.identity;
        report.well(&format!("host '{}' is there, with fireactions {}", identity.host, identity.version));
    }
    if !state.hosts.iter().any(|member| member.identity.host == settings.host) {
        report.problem(
            &format!("this host, '{}', is not there", settings.host),
            "start its server; if it runs, its log says why it is no member of the cluster",
        );
    }
    let mut versions: Vec<&str> = state.hosts.iter().map(|member| member.identity.version.as_str()).collect();
    versions.sort_unstable();
    versions.dedup();
    if versions.len() > 1 {
        report.note(&format!("hosts have different versions: {}", versions.join(", ")));
    }
    for Leader { lease, host, since } in &state.leaders {
        report.well(&format!("'{host}' leads {lease} since {since:.0}"));
    }
}

/// Each trouble says what is wrong, and after its last semicolon what to do.
fn problem(report: &mut Report, trouble: &Trouble) {
    let text = trouble.to_string();
    match text.rsplit_once("; ") {
        Some((what, todo)) => report.problem(what, todo),
        None => report.problem(&text, "docs/cluster.md lists what NATS needs"),
    }
}
