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

/// Before a command: the user and password of an API with basic authentication.
#[derive(Debug, clap::Args)]
pub(crate) struct Login {
    /// Answered by an error
    #[arg(short, long, hide = true, value_parser = Given::parse)]
    username: Option<Given>,
    /// Likewise
    #[arg(short, long, hide = true, value_parser = Given::parse)]
    password: Option<Given>,
}

/// A word that is not kept.
#[derive(Debug, Clone)]
struct Given;

impl Given {
    // As clap asks for it.
    #[expect(clippy::unnecessary_wraps)]
    fn parse(_: &str) -> Result<Self, std::convert::Infallible> {
        Ok(Self)
    }
}

impl Login {
    /// What to do in its place, where there is one.
    ///
    /// # Errors
    ///
    /// When a user or a password was given. It says neither.
    pub(crate) fn answer(&self) -> anyhow::Result<()> {
        if self.username.is_none() && self.password.is_none() {
            return Ok(());
        }
        Err(advise(
            "--username (-u) and --password (-p) are not used: the API takes a token, from a file, not a user and a password",
            "leave them out for the server of this host, or give `--url URL --token-file FILE`, with the file of the server's \
             api_token_file",
        ))
    }
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
    fn a_user_and_a_password_are_answered_and_not_shown() {
        use clap::Parser;
        let answered = |line: &str| {
            let cli = crate::cli::Cli::try_parse_from(line.split(' ')).unwrap();
            cli.old_login.answer().map_err(|error| crate::cli::edge::render(&error))
        };
        for line in [
            "fireactions -u ann -p s3cret pools ls",
            "fireactions --password=s3cret ps",
            "fireactions --username ann ps",
        ] {
            let told = answered(line).unwrap_err();
            assert!(
                told.contains("--token-file FILE") && !told.contains("s3cret") && !told.contains("ann"),
                "{told}"
            );
        }
        // These are the commands' own.
        answered("fireactions run -u runner -- id -u -p").unwrap();
        answered("fireactions host deploy -p nvme -n n -t small -u nixos 203.0.113.5").unwrap();
    }

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
