//! `fireactions cache status`, `list` and `gc`: what a running server says of its caches.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use fireactions_api::{
    ActionsCacheView, CacheEntryView, CacheGcReport, CacheGcRequest, CachesView, Client, MirrorCounts,
    ProxyView, RegistryCacheCounts, RegistryCacheView, StickyView, WarmImageView,
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
    /// Remove what sticky directories keep, instead of entries: their next jobs begin anew
    #[arg(long)]
    sticky: bool,
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
    let (report, what) = if args.sticky {
        (client.gc_sticky(&request).await?, "sticky directories")
    } else {
        (client.gc_cache(&request).await?, "entries")
    };
    show::write(args.format, &report, |report| render_gc(report, what))?;
    Ok(ExitCode::SUCCESS)
}

fn render(caches: &CachesView) -> String {
    let actions = caches.actions.as_ref().map_or_else(|| "actions: off".to_owned(), render_actions);
    let registries =
        caches.registries.as_ref().map_or_else(|| "registries: off".to_owned(), render_registries);
    let sticky = caches.sticky.as_ref().map_or_else(|| "sticky directories: none".to_owned(), render_sticky);
    format!("{actions}\n{registries}\n{sticky}")
}

fn render_sticky(sticky: &StickyView) -> String {
    let StickyView { max_bytes, bytes, volumes } = sticky;
    let mut text = format!("sticky directories: {} of {}", show::bytes(*bytes), show::bytes(*max_bytes));
    for volume in volumes {
        let _ = write!(
            text,
            "\n  {} of {}: {} of {}, left by {} {} ago, used {} ago",
            show::clean(&volume.key),
            show::clean(&volume.owner),
            show::bytes(volume.bytes),
            show::bytes(volume.disk_bytes),
            show::clean(&volume.written_by),
            show::ago(volume.kept_at),
            show::ago(volume.last_used),
        );
    }
    text
}

fn render_actions(cache: &ActionsCacheView) -> String {
    let ActionsCacheView { up, address, directory, problem, max_bytes, max_repository_bytes, counts } = cache;
    let state = if *up { "up" } else { "could not be opened; the server's log says why" };
    let problem = problem
        .as_ref()
        .map(|problem| format!("\n  problem     {}", show::clean(problem)))
        .unwrap_or_default();
    format!(
        "actions: {state}\n  address     {address}\n  storage     {directory}{problem}\n  entries     {} ({} of {}, {} for each repository)\n  \
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
    let RegistryCacheView {
        program,
        directory,
        bytes,
        free_bytes,
        keep_free_bytes,
        counts,
        mirrors,
        warm,
        proxy,
    } = cache;
    let size = bytes.map_or_else(|| "too many files to count".to_owned(), show::bytes);
    let mut text = format!("registries: {program}\n  directory   {directory} ({size})");
    if let Some(free) = free_bytes {
        let kept = keep_free_bytes.map(|keep| format!("; {} are kept free", show::bytes(keep)));
        let _ = write!(text, "\n  free        {}{}", show::bytes(*free), kept.unwrap_or_default());
    }
    if let Some(RegistryCacheCounts { evicted_bytes, full }) = counts {
        let full = if *full { "; there is nothing left to remove, and nothing new is cached" } else { "" };
        let _ = write!(text, "\n  evicted     {}{full}", show::bytes(*evicted_bytes));
    }
    for mirror in mirrors {
        let offline = mirror.counts.is_some_and(|counts| counts.offline);
        let state = match (mirror.up, offline) {
            (true, true) => "offline",
            (true, false) => "up",
            (false, _) => "down",
        };
        let _ = write!(text, "\n  {state:<11} {} at {}", mirror.registry, mirror.address);
        if let Some(counts) = mirror.counts {
            let MirrorCounts { hits, misses, sent_bytes, upstream_errors, .. } = counts;
            let sent = show::bytes(sent_bytes);
            let _ = write!(
                text,
                ": {hits} hits, {misses} misses, {sent} sent, {upstream_errors} errors of the registry"
            );
        }
    }
    if let Some(ProxyView { address, up }) = proxy {
        let _ = write!(text, "\n  {:<11} the web at {address}", if *up { "up" } else { "down" });
    }
    for WarmImageView { image, problem } in warm {
        let _ = match problem {
            None => write!(text, "\n  warm        {image}"),
            Some(why) => write!(text, "\n  not warm    {image}: {}", show::clean(why)),
        };
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

fn render_gc(report: &CacheGcReport, what: &str) -> String {
    show::removed(report.removed, what, report.freed, report.left)
}

#[cfg(test)]
mod tests {
    use fireactions_api::{CacheCounts, MirrorView, StickyVolumeView};

    use super::*;

    #[test]
    fn what_is_off_is_said_and_what_is_down_too() {
        assert_eq!(render(&CachesView::default()), "actions: off\nregistries: off\nsticky directories: none");
        let mirror = |registry: &str, up| MirrorView {
            registry: registry.to_owned(),
            address: "172.30.0.1:5000".to_owned(),
            up,
            counts: (registry == "quay.io").then_some(MirrorCounts {
                offline: true,
                hits: 3,
                misses: 2,
                sent_bytes: 1 << 20,
                upstream_errors: 1,
            }),
        };
        let caches = CachesView {
            actions: Some(ActionsCacheView {
                up: true,
                address: "172.30.0.1:5080".to_owned(),
                directory: "s3://ci-cache/eu".to_owned(),
                problem: Some("the bucket of the cache cannot list: it is away".to_owned()),
                max_bytes: 1 << 30,
                max_repository_bytes: 1 << 20,
                counts: CacheCounts { hits: 3, misses: 2, entries: 1, bytes: 512, ..CacheCounts::default() },
            }),
            registries: Some(RegistryCacheView {
                program: "zot".to_owned(),
                directory: "/var/cache/x".to_owned(),
                bytes: None,
                warm: vec![
                    WarmImageView { image: "docker.io/a:1".to_owned(), problem: None },
                    WarmImageView { image: "docker.io/b:1".to_owned(), problem: Some("away".to_owned()) },
                ],
                free_bytes: Some(3 << 30),
                keep_free_bytes: Some(5 << 30),
                counts: Some(RegistryCacheCounts { evicted_bytes: 1 << 20, full: true }),
                mirrors: vec![mirror("docker.io", true), mirror("ghcr.io", false), mirror("quay.io", true)],
                proxy: Some(ProxyView { address: "172.30.0.1:3128".to_owned(), up: false }),
            }),
            sticky: Some(StickyView {
                max_bytes: 50 << 30,
                bytes: 1 << 30,
                volumes: vec![StickyVolumeView {
                    owner: "gitea/acme/app".to_owned(),
                    key: "cargo".to_owned(),
                    disk_bytes: 5 << 30,
                    bytes: 1 << 30,
                    written_by: "push refs/heads/main".to_owned(),
                    kept_at: jiff::Timestamp::now(),
                    last_used: jiff::Timestamp::now(),
                }],
            }),
        };
        let text = render(&caches);
        for line in [
            "actions: up",
            "  address     172.30.0.1:5080",
            "  entries     1 (512 B of 1.0 GiB, 1.0 MiB for each repository)",
            "  searches    3 found, 2 not",
            "registries: zot",
            "sticky directories: 1.0 GiB of 50.0 GiB",
            "  directory   /var/cache/x (too many files to count)",
            "  free        3.0 GiB; 5.0 GiB are kept free",
            "  evicted     1.0 MiB; there is nothing left to remove, and nothing new is cached",
            "  up          docker.io at 172.30.0.1:5000",
            "  down        the web at 172.30.0.1:3128",
            "  warm        docker.io/a:1",
            "  not warm    docker.io/b:1: away",
            "  down        ghcr.io at 172.30.0.1:5000",
            "  offline     quay.io at 172.30.0.1:5000: 3 hits, 2 misses, 1.0 MiB sent, 1 errors of the registry",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}:\n{text}");
        }
    }
}
