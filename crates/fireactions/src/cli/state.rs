//! `fireactions state`: for when the server does not start on its database any more. See docs/recovery.md.

use std::fmt::Write;
use std::path::Path;
use std::process::ExitCode;

use clap::Subcommand;
use fireactions_store::{Checked, Rebuilt};

use super::config_file::ConfigFile;
use super::{Ended, show};

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

/// Whose state: that of a server which does not run.
const STOPPED: &str = "Configuration file of the server, which must be stopped";

#[derive(Debug, Subcommand)]
enum Action {
    /// Check every page and row of the state database; changes nothing. Exit code 1 if it is damaged
    #[command(mut_arg("config", |config| config.help(STOPPED)))]
    Check(ConfigFile),
    /// Set a damaged state database aside and make a new one from every row that can still be read
    ///
    /// The damaged file stays beside it as state.db.damaged-TIME. You can interrupt it and run it again.
    #[command(mut_arg("config", |config| config.help(STOPPED)))]
    Rebuild(ConfigFile),
}

pub(crate) fn run(args: &Args) -> Ended {
    let (Action::Check(file) | Action::Rebuild(file)) = &args.action;
    let (config, dir) = (file.path(), file.load()?.state_dir);
    let checked = fireactions_store::check(&dir)?;
    let whole = checked.problems.is_empty();
    match args.action {
        Action::Check(_) => {
            show::line(&describe(&checked, config))?;
            Ok(if whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Action::Rebuild(_) if whole => {
            show::line(&format!("{}There is nothing to rebuild.\n", describe(&checked, config)))?;
            Ok(ExitCode::SUCCESS)
        }
        Action::Rebuild(_) => {
            let rebuilt = fireactions_store::rebuild(&dir)?;
            show::line(&report(&rebuilt, &checked.path))?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// What a check found.
pub(crate) fn describe(checked: &Checked, config: &Path) -> String {
    let path = checked.path.display();
    if checked.problems.is_empty() {
        return format!(
            "{path} is whole: {}, {}.\n",
            count(checked.jobs, "job"),
            count(checked.machines, "machine")
        );
    }
    let mut text = format!("{path} is damaged:\n");
    list(&mut text, &checked.problems);
    let _ = writeln!(
        text,
        "Nothing was changed. What to do: copy {} away if you can, then run\n  fireactions state rebuild --config {}\n\
         It sets the damaged file aside and saves every row that can still be read.",
        checked.path.parent().unwrap_or(&checked.path).display(),
        config.display()
    );
    text
}

/// What a rebuild did.
pub(crate) fn report(rebuilt: &Rebuilt, path: &Path) -> String {
    let saved = [count(rebuilt.jobs, "job"), count(rebuilt.machines, "machine")].join(" and ");
    let mut text = format!("{} is rebuilt: {saved} saved.\n", path.display());
    if !rebuilt.set_aside.is_empty() {
        text += "Set aside for further inspection (remove it when nobody needs it any more):\n";
        list(&mut text, rebuilt.set_aside.iter().map(|path| path.display().to_string()));
    }
    if rebuilt.lost.is_empty() {
        text += "Nothing was lost.\n";
    } else {
        text += "Lost, as far as is known:\n";
        list(&mut text, &rebuilt.lost);
    }
    text += "Start the server now: it continues with the machines that are in the database, removes those \
         that are not, and\ntries jobs again whose machine is gone, if their retry policy allows it.\n";
    text
}

fn list(text: &mut String, lines: impl IntoIterator<Item: std::fmt::Display>) {
    for line in lines {
        let _ = writeln!(text, "  - {line}");
    }
}

fn count(number: usize, what: &str) -> String {
    let s = if number == 1 { "" } else { "s" };
    format!("{number} {what}{s}")
}
