//! `fireactions image`.

use std::process::ExitCode;
use std::time::Duration;

use clap::{Subcommand, ValueEnum};
use fireactions_api::{Client, GcReport, GcRequest, ImageView, PullEvent, PullRequest, PullStatus, Removed};
use fireactions_model::{ImageRef, PullPolicy};
use futures::TryStreamExt;

use super::edge::advise;
use super::progress::Bar;
use super::{Ended, show};

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List images
    #[command(alias = "ls")]
    List {
        #[command(flatten)]
        format: show::Format,
    },
    /// Fetch an image and make it ready
    Pull {
        /// Image: `debian:12`, `oci:/dir[:tag]`, `oci-archive:/file[:tag]`, …
        #[arg(value_name = "REF")]
        image: ImageRef,
        /// When to ask the registry or other source
        #[arg(long, value_enum, default_value_t = Policy::Always)]
        policy: Policy,
        #[command(flatten)]
        format: show::Format,
    },
    /// Remove an image that nothing uses
    #[command(alias = "rm")]
    Remove {
        /// Name, or the beginning of the digest
        #[arg(value_name = "IMAGE")]
        image: String,
        #[command(flatten)]
        format: show::Format,
    },
    /// Remove images that nothing uses, those unused for longest first
    Gc {
        /// Remove images until the store is at most this large, in MiB [default: the configured limit]
        #[arg(long, value_name = "MIB")]
        max_size: Option<u64>,
        /// Also remove images that were not used for this long, e.g. 7d
        #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
        unused_for: Option<Duration>,
        #[command(flatten)]
        format: show::Format,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Policy {
    Always,
    IfNotPresent,
}

pub(crate) async fn run(client: &Client, args: Args) -> Ended {
    match args.action {
        Action::List { format } => {
            let images = client.images().await?;
            show::write(format, images.as_slice(), render)?;
        }
        Action::Pull { image, policy, format } => {
            let policy = match policy {
                Policy::Always => PullPolicy::Always,
                Policy::IfNotPresent => PullPolicy::IfNotPresent,
            };
            let ready = pull(client, PullRequest { image, policy }).await?;
            show::write(format, &ready, |ready| {
                ready.digest.as_ref().map_or_else(|| "ready".to_owned(), ToString::to_string)
            })?;
        }
        Action::Remove { image, format } => {
            let removed = Removed { removed: client.remove_image(&image).await? };
            show::write(format, &removed, |removed| {
                let lines: Vec<String> =
                    removed.removed.iter().map(|digest| format!("removed {digest}")).collect();
                lines.join("\n")
            })?;
        }
        Action::Gc { max_size, unused_for, format } => {
            let request = GcRequest {
                max_bytes: max_size.map(|mib| mib.saturating_mul(1 << 20)),
                unused_for_secs: unused_for.map(|time| time.as_secs()),
            };
            let report = client.gc_images(&request).await?;
            show::write(format, &report, render_gc)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn pull(client: &Client, request: PullRequest) -> anyhow::Result<PullEvent> {
    let bar = Bar::new(request.image.as_str());
    let mut progress = client.pull_image(&request).await?;
    while let Some(step) = progress.try_next().await? {
        if step.status == PullStatus::Ready {
            bar.clear();
            return Ok(step);
        }
        bar.pull(step.status, step.done, step.total);
    }
    bar.clear();
    Err(advise(
        format!("the server stopped before {} was ready", request.image),
        "pull it again; what was fetched is kept",
    ))
}

pub(super) fn render(images: &[ImageView]) -> String {
    let mut table = show::table(["IMAGE", "DIGEST", "SIZE", "TEMPLATES", "IN USE", "CREATED", "USED"]);
    for image in images {
        let names: Vec<&str> = image.names.iter().map(ImageRef::as_str).collect();
        table.add_row([
            show::cell(if names.is_empty() { "-".to_owned() } else { names.join(", ") }),
            show::cell(&image.digest.as_str()[..19]),
            show::cell(show::bytes(image.size)),
            show::cell(if image.templates == 0 { "-".to_owned() } else { show::bytes(image.templates) }),
            show::cell(if image.in_use { "yes" } else { "no" }),
            show::cell(format!("{} ago", show::ago(image.created_at))),
            show::cell(format!("{} ago", show::ago(image.last_used))),
        ]);
    }
    show::finish(table)
}

fn render_gc(report: &GcReport) -> String {
    show::removed(report.removed.len(), "images", report.freed, report.left)
}
