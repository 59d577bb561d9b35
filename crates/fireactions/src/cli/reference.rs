//! The command line as one Markdown page, from the definition that also parses it: `docs/reference/cli.md`.

use std::fmt::Write;

use clap::{Arg, Command};

/// How often a heading may go deeper: `fireactions` → `jobs` → `list`.
const DEEPEST: usize = 3;

const INTRODUCTION: &str = "# Command line

<!-- Generated from crates/fireactions/src/cli by `make doc`. Do not edit. -->

`fireactions server` is the server; every other command except `validate`, `migrate`, `doctor`, `host`, `state` and `completion` needs a running one.
Tables are for people; `--json` prints the same as JSON, with the types of [the API](openapi.json).

Exit codes: 0 for success, 1 for an error (with one line on standard error that says what to do next), 2 for a
command line that is not valid. `run`, `exec` and `login` exit with the code of the program they ran: see
[the life of a job](../jobs.md#exit-codes-of-fireactions-run). `doctor` exits with 1 for warnings and 2 for errors.
";

/// The page. `command` is the root command.
pub(crate) fn page(mut command: Command) -> String {
    command.build();
    let mut text = INTRODUCTION.to_owned();
    text.push_str("\n## Options of every command\n\n");
    table(&mut text, command.get_arguments().filter(|arg| arg.is_global_set()));
    for part in shown(&command) {
        section(&mut text, part, command.get_name(), 1);
    }
    text
}

fn shown(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|part| !part.is_hide_set() && part.get_name() != "help")
}

fn section(text: &mut String, command: &Command, parent: &str, depth: usize) {
    let name = format!("{parent} {}", command.get_name());
    let about = command.get_long_about().or(command.get_about()).map(ToString::to_string).unwrap_or_default();
    let _ = write!(text, "\n{} `{name}`\n\n{}.\n", "#".repeat(depth + 1), about.trim_end_matches('.'));
    if command.has_subcommands() && depth < DEEPEST {
        for part in shown(command) {
            section(text, part, &name, depth + 1);
        }
        return;
    }
    let usage = command.clone().render_usage().to_string();
    let _ = write!(text, "\n```\n{}\n```\n", usage.trim_start_matches("Usage: "));
    let mut own = command.get_arguments().filter(|arg| !arg.is_global_set() && is_told(arg)).peekable();
    if own.peek().is_some() {
        text.push('\n');
        table(text, own);
    }
}

fn is_told(arg: &Arg) -> bool {
    !arg.is_hide_set() && arg.get_id() != "help" && arg.get_id() != "version"
}

fn table<'a>(text: &mut String, arguments: impl Iterator<Item = &'a Arg>) {
    text.push_str("| | |\n|---|---|\n");
    for arg in arguments.filter(|arg| is_told(arg)) {
        let _ = writeln!(text, "| {} | {} |", cell(&form(arg)), cell(&meaning(arg)));
    }
}

/// As it is typed: `-e`, `--env NAME=VALUE`.
fn form(arg: &Arg) -> String {
    let takes = arg.get_action().takes_values();
    let value = arg.get_value_names().and_then(<[_]>::first).map_or("VALUE", |name| name.as_str());
    let Some(long) = arg.get_long() else {
        return format!("`{value}`");
    };
    let short = arg.get_short().map(|short| format!("`-{short}`, ")).unwrap_or_default();
    if takes && arg.is_require_equals_set() {
        format!("{short}`--{long}[={value}]`")
    } else if takes {
        format!("{short}`--{long} {value}`")
    } else {
        format!("{short}`--{long}`")
    }
}

fn meaning(arg: &Arg) -> String {
    let help = arg.get_long_help().or(arg.get_help()).map(ToString::to_string).unwrap_or_default();
    let mut facts = Vec::new();
    let values = arg.get_possible_values();
    if arg.get_action().takes_values() && !values.is_empty() {
        let names: Vec<String> = values.iter().map(|value| format!("`{}`", value.get_name())).collect();
        facts.push(format!("one of {}", names.join(", ")));
    }
    if let (true, Some(default)) = (arg.get_action().takes_values(), arg.get_default_values().first()) {
        facts.push(format!("default: `{}`", default.to_string_lossy()));
    }
    if let Some(variable) = arg.get_env() {
        facts.push(format!("environment: `{}`", variable.to_string_lossy()));
    }
    if facts.is_empty() { help } else { format!("{help}; {}", facts.join("; ")) }
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::cli::Cli;

    #[test]
    fn the_page_in_docs_is_of_this_command_line() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/cli.md");
        let kept = std::fs::read_to_string(&path).unwrap();
        assert!(kept == page(Cli::command()), "docs/reference/cli.md is stale: run `make doc` and commit it");
    }

    #[test]
    fn every_command_and_option_is_told() {
        let page = page(Cli::command());
        for wanted in [
            "## `fireactions server`",
            "### `fireactions jobs logs`",
            "`--socket PATH`",
            "`-e`, `--env NAME=VALUE`",
        ] {
            assert!(page.contains(wanted), "{wanted}");
        }
        assert!(!page.contains("fireactions man"), "a hidden command is told");
    }
}
