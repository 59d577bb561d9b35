//! What hands are used to from other programs of this name: options of theirs that mean one of ours, and commands that are
//! called otherwise here, or are not needed.

use std::ffi::OsString;

use super::Ended;
use super::edge::advise;

/// Whatever such a command was given.
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Args {
    /// Ignored
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    rest: Vec<OsString>,
}

/// A command that there is not: what to do in its place.
pub(crate) fn answer(name: &str, instead: &str) -> Ended {
    Err(advise(format!("there is no command '{name}'"), instead))
}

/// The command line with `-e URL` as `--url URL`. Two commands have an option of that name, and all that follows one of
/// these is theirs.
pub(crate) fn translate(line: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut own = true;
    line.map(|word| {
        own = own && !["run", "exec", "--"].iter().any(|end| word == *end);
        if own && word == "-e" { OsString::from("--url") } else { word }
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_a_url_where_nothing_else_is_called_so() {
        let translated = |line: &str| {
            let words = translate(line.split(' ').map(OsString::from));
            words.iter().map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
        };
        for (line, meant) in [
            ("fireactions ps -e 127.0.0.1:8080", "fireactions ps --url 127.0.0.1:8080"),
            ("fireactions -e http://a:1 pools ls", "fireactions --url http://a:1 pools ls"),
            ("fireactions run -e A=b -- x -e y", "fireactions run -e A=b -- x -e y"),
            ("fireactions -e a:1 exec -e A=b m1 sh", "fireactions --url a:1 exec -e A=b m1 sh"),
            ("fireactions host deploy h -- -e", "fireactions host deploy h -- -e"),
        ] {
            assert_eq!(translated(line), meant);
        }
    }
}
