//! `fireactions host tags`.

use std::process::ExitCode;

use fireactions_fleet::tags;
use serde::Serialize;

use super::super::{Ended, show};
use super::{Flake, words};

/// Arguments.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    format: show::Format,
}

#[derive(Debug, Serialize)]
struct Row {
    tag: String,
    /// Whether a profile is called so; tags without one only select hosts (`colmena apply --on @TAG`).
    profile: bool,
    hosts: Vec<String>,
}

pub(super) fn run(flake: &Flake, args: &Args) -> Ended {
    let hosts = flake.hosts()?;
    let known = tags::known(&flake.profiles()).map_err(|error| words::tag(&error))?;
    let mut names = known.clone();
    names.extend(hosts.iter().flat_map(|(_, host)| host.tags.iter().cloned()));
    names.sort_unstable();
    names.dedup();
    let have = |tag: &String| {
        hosts.iter().filter(|(_, host)| host.tags.contains(tag)).map(|(name, _)| name.to_owned()).collect()
    };
    let all: Vec<Row> =
        names.into_iter().map(|tag| Row { profile: known.contains(&tag), hosts: have(&tag), tag }).collect();
    show::write(args.format, all.as_slice(), render)?;
    Ok(ExitCode::SUCCESS)
}

fn render(tags: &[Row]) -> String {
    let mut table = show::table(["TAG", "PROFILE", "HOSTS"]);
    for tag in tags {
        let hosts = if tag.hosts.is_empty() { "-".to_owned() } else { tag.hosts.join(",") };
        table.add_row([tag.tag.as_str(), if tag.profile { "yes" } else { "no" }, &hosts].map(show::cell));
    }
    show::finish(table)
}
