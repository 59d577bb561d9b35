//! `fireactions pools`.

use std::process::ExitCode;

use clap::Subcommand;
use fireactions_api::{Client, ScaleRequest};
use fireactions_model::{Hardware, HugePages, MmdsVersion, PoolName, PoolView};

use super::{Ended, show};

/// Arguments.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Clone, Subcommand)]
enum Action {
    /// List pools
    #[command(alias = "ls")]
    List {
        #[command(flatten)]
        format: show::Format,
    },
    /// Show a pool
    #[command(alias = "g")]
    Show {
        /// Pool
        #[arg(value_name = "POOL")]
        pool: PoolName,
        #[command(flatten)]
        format: show::Format,
    },
    /// Make no more machines and remove idle ones; running jobs continue
    Pause {
        /// Pool
        #[arg(value_name = "POOL")]
        pool: PoolName,
        #[command(flatten)]
        format: show::Format,
    },
    /// Let a paused pool make machines again
    Resume {
        /// Pool
        #[arg(value_name = "POOL")]
        pool: PoolName,
        #[command(flatten)]
        format: show::Format,
    },
    /// Change how many machines a pool has, until changed again or reset
    #[command(arg_required_else_help = true)]
    Scale {
        /// Pool
        #[arg(value_name = "POOL")]
        pool: PoolName,
        /// Number of machines kept warm
        #[arg(long, value_name = "N", required_unless_present_any = ["max", "reset", "replicas"])]
        min: Option<u32>,
        /// Maximum number of machines at once
        #[arg(long, value_name = "N")]
        max: Option<u32>,
        /// Back to the values of the configuration
        #[arg(long, conflicts_with_all = ["min", "max"])]
        reset: bool,
        /// Both --min and --max
        #[arg(long, value_name = "N", hide = true, conflicts_with_all = ["min", "max", "reset"])]
        replicas: Option<u32>,
        #[command(flatten)]
        format: show::Format,
    },
}

impl Args {
    /// Whether it only lists, for people.
    pub(super) const fn lists(&self) -> bool {
        matches!(&self.action, Action::List { format } if !format.json)
    }
}

pub(crate) async fn run(client: &Client, args: Args) -> Ended {
    match args.action {
        Action::List { format } => {
            let pools = client.pools().await?;
            show::write(format, pools.as_slice(), render)?;
        }
        Action::Show { pool, format } => {
            let pool = client.pool(&pool).await?;
            show::write(format, &pool, render_one)?;
        }
        Action::Pause { pool, format } => {
            let pool = client.pause_pool(&pool, true).await?;
            show::write(format, &pool, |pool| format!("{} is paused; running jobs continue", pool.name()))?;
        }
        Action::Resume { pool, format } => {
            let pool = client.pause_pool(&pool, false).await?;
            show::write(format, &pool, resumed)?;
        }
        Action::Scale { pool, min, max, reset, replicas, format } => {
            let pool = if reset {
                client.reset_scale(&pool).await?
            } else {
                let (min, max) = (replicas.or(min), replicas.or(max));
                client.scale_pool(&pool, ScaleRequest { min, max }).await?
            };
            show::write(format, &pool, |pool| {
                format!("{} has {} to {} machines now", pool.name(), pool.min_runners, pool.max_runners)
            })?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn resumed(pool: &PoolView) -> String {
    if pool.host_drained {
        return format!("{} makes machines again once the host does (`fireactions undrain`)", pool.name());
    }
    format!("{} makes machines again", pool.name())
}

pub(super) fn render(pools: &[PoolView]) -> String {
    let mut table = show::table(["POOL", "MIN", "MAX", "MACHINES", "QUEUED", "IMAGE", "STATUS"]);
    for pool in pools {
        table.add_row([
            show::cell(pool.name()),
            show::cell(pool.min_runners),
            show::cell(pool.max_runners),
            show::cell(machines(pool)),
            show::cell(pool.queued),
            show::cell(&pool.spec.shape.image),
            show::cell(status(pool)),
        ]);
    }
    show::finish(table)
}

fn machines(pool: &PoolView) -> String {
    let parts: Vec<String> = pool.machines.iter().map(|(state, count)| format!("{count} {state}")).collect();
    if parts.is_empty() { "none".to_owned() } else { parts.join(", ") }
}

fn status(pool: &PoolView) -> String {
    pool.obstacle().unwrap_or_else(|| "active".to_owned())
}

pub(super) fn render_one(pool: &PoolView) -> String {
    let spec = &pool.spec;
    let labels: Vec<&str> = spec.labels.iter().map(fireactions_model::Label::as_str).collect();
    let mut rows = vec![
        ("Pool", pool.name().to_string()),
        ("Status", status(pool)),
        ("Machines", machines(pool)),
        ("Queued jobs", pool.queued.to_string()),
        (
            "Min, max",
            format!(
                "{}, {} (configured: {}, {})",
                pool.min_runners, pool.max_runners, spec.min_runners, spec.max_runners
            ),
        ),
        ("Labels", if labels.is_empty() { "none".to_owned() } else { labels.join(", ") }),
        ("Image", spec.shape.image.to_string()),
        (
            "Machine",
            format!(
                "{} CPUs, {} MiB memory, {} MiB disk",
                spec.shape.vcpus, spec.shape.memory_mib, spec.shape.disk_mib
            ),
        ),
        ("Start", spec.start.as_str().to_owned()),
        ("Longest job", show::span(spec.deadlines.job)),
    ];
    let hardware = hardware(&spec.hardware);
    if !hardware.is_empty() {
        rows.push(("Hardware", hardware));
    }
    show::rows(&rows)
}

/// What differs from the usual.
fn hardware(set: &Hardware) -> String {
    let mut parts = Vec::new();
    if set.console {
        parts.push("serial console".to_owned());
    }
    match set.huge_pages {
        HugePages::None => {}
        HugePages::Transparent => parts.push("transparent huge pages".to_owned()),
        HugePages::Hugetlbfs => parts.push("huge pages of hugetlbfs".to_owned()),
    }
    if let Some(most) = set.disk_limits.mib_per_second {
        parts.push(format!("disk at most {most} MiB/s"));
    }
    if let Some(most) = set.disk_limits.iops {
        parts.push(format!("disk at most {most} operations/s"));
    }
    if set.mmds == MmdsVersion::V1 {
        parts.push("MMDS V1".to_owned());
    }
    if let Some(template) = &set.cpu_template {
        parts.push(format!("CPU template {template}"));
    }
    parts.join(", ")
}
