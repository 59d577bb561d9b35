//! `fireactions cache status`, `list` and `gc`: what a running server says of its caches.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use fireactions_api::{
    ActionsCacheView, CacheEntryView, CacheGcReport, CacheGcRequest, CachesView, Client, RegistryCacheView,
};

use crate::cli::{Ended, show};

/// Arguments of `gc`.
#[derive(Debug, clap::Args)]
pub(super) struct Gc {
    /// Remove entries, those unused for longest first, until the cache is at most this large, in MiB
    #[arg(long, value_name = "MIB")]
    max_size: Option<u64>,
    /// Remove entries that no job used for this long, e.g. 7d
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    unused_for: Option<Duration>,
    #[command(flatten)]
    format: show::Format,
}

pub(super) async fn status(client: &Client, format: show::Format) -> Ended {
    show::write(format, &client.caches().await?, render)?;
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn list(client: &Client, format: show::Format) -> Ended {
    show::write(format, client.cache_entries().await?.as_slice(), render_entries)?;
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn gc(client: &Client, args: Gc) -> Ended {
    let request = CacheGcRequest {
        max_bytes: args.max_size.map(|mib| mib.saturating_mul(1 << 20)),
        unused_for_secs: args.unused_for.map(|time| time.as_secs()),
    };
    show::write(args.format, &client.gc_cache(&request).await?, render_gc)?;
    Ok(ExitCode::SUCCESS)
}

fn render(caches: &CachesView) -> String {
    let actions = caches.actions.as_ref().map_or_else(|| "actions: off".to_owned(), render_actions);
    let registries =
        caches.registries.as_ref().map_or_else(|| "registries: off".to_owned(), render_registries);
    format!("{actions}\n{registries}")
}

fn render_actions(cache: &ActionsCacheView) -> String {
    let ActionsCacheView { up, address, directory, max_bytes, max_repository_bytes, counts } = cache;
    let state = if *up { "up" } else { "could not be opened; the server's log says why" };
    format!(
        "actions: {state}\n  address     {address}\n  directory   {directory}\n  entries     {} ({} of {}, {} for each repository)\n  \
         searches    {} found, {} not\n  moved       {} in, {} out\n  saved       {}\n  evicted     {}\n  jobs now    {}",
        counts.entries,
        show::bytes(counts.bytes),
        show::bytes(*max_bytes),
        show::bytes(*max_repository_bytes),
        counts.hits,
        counts.misses,
        show::bytes(counts.received),
        show::bytes(counts.sent),
        counts.saved,
        counts.evicted,
        counts.jobs,
    )
}

fn render_registries(cache: &RegistryCacheView) -> String {
    let RegistryCacheView { program, directory, bytes, mirrors } = cache;
    let size = bytes.map_or_else(|| "too many files to count".to_owned(), show::bytes);
    let mut text = format!("registries: {program}\n  directory   {directory} ({size})");
    for mirror in mirrors {
        let state = if mirror.up { "up" } else { "down" };
        let _ = write!(text, "\n  {state:<11} {} at {}", mirror.registry, mirror.address);
    }
    text
}

fn render_entries(entries: &[CacheEntryView]) -> String {
    let mut table = show::table(["REPOSITORY", "SCOPE", "KEY", "SIZE", "CREATED", "USED"]);
    for entry in entries {
        table.add_row([
            show::cell(&entry.repository),
            show::cell(&entry.scope),
            show::cell(&entry.key),
            show::cell(show::bytes(entry.size)),
            show::cell(format!("{} ago", show::ago(entry.created_at))),
            show::cell(format!("{} ago", show::ago(entry.last_used))),
        ]);
    }
    show::finish(table)
}

fn render_gc(report: &CacheGcReport) -> String {
    format!(
        "removed {} entries, freed {}, {} left",
        report.removed,
        show::bytes(report.freed),
        show::bytes(report.left)
    )
}
