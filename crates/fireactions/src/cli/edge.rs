//! The error edge: every error that a user sees is written here, as one sentence and what to do next.

use std::io::{self, Write};
use std::process::ExitCode;

use anstyle::{AnsiColor, Style};
use fireactions_api::ClientError;

use super::show::{self, clean};

/// Says that output went into a pipe that nobody reads (128 + SIGPIPE), as other programs do.
const PIPE_CLOSED: u8 = 141;

/// An error of the command line itself, with advice.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Advice {
    message: String,
    hint: String,
}

/// An error with what to do about it.
pub(crate) fn advise(message: impl Into<String>, hint: impl Into<String>) -> anyhow::Error {
    Advice { message: message.into(), hint: hint.into() }.into()
}

/// Writes `error` to standard error and gives the exit code for it.
pub(crate) fn report(error: &anyhow::Error) -> ExitCode {
    if is_closed_pipe(error) {
        return ExitCode::from(PIPE_CLOSED);
    }
    let style = if show::colour_on_stderr() { AnsiColor::Red.on_default().bold() } else { Style::new() };
    // Nothing is left to tell when standard error is gone, too.
    let _ = writeln!(io::stderr().lock(), "{style}error{style:#}: {}", render(error));
    ExitCode::FAILURE
}

/// The chain of causes on one line, each said once, then what to do next.
pub(crate) fn render(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let part = cause.to_string();
        if text.ends_with(&part) {
            continue;
        }
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(&part);
    }
    // Messages may quote what a guest or a registry sent; those of the configuration have lines of their own.
    let mut text: String = text.lines().map(clean).collect::<Vec<_>>().join("\n");
    let hint = error.chain().find_map(|cause| {
        cause
            .downcast_ref::<ClientError>()
            .and_then(ClientError::hint)
            .or_else(|| cause.downcast_ref::<Advice>().map(|advice| advice.hint.clone()))
    });
    if let Some(hint) = hint {
        text.push_str("\n  → ");
        text.push_str(&clean(&hint));
    }
    text
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use anyhow::{Context, anyhow};
    use fireactions_api::{Code, Fault, Target};

    use super::*;

    #[test]
    fn an_absent_server_is_explained() {
        let error = ClientError::Unreachable {
            target: Target::Socket("/run/fireactions/api.sock".into()),
            kind: Some(io::ErrorKind::NotFound),
            message: "No such file or directory (os error 2)".into(),
        };
        insta::assert_snapshot!(render(&error.into()), @r"
        cannot reach the server at /run/fireactions/api.sock: No such file or directory (os error 2)
          → Is it running? Start it with `fireactions server --config FILE`, or name its socket with --socket PATH.
        ");
    }

    #[test]
    fn a_refusal_brings_its_hint_through_the_chain() {
        let fault =
            Fault::new(Code::NotFound, "there is no job j0").hint("list them with `fireactions jobs list`");
        let error = Err::<(), _>(ClientError::Refused(fault)).context("cannot follow the job").unwrap_err();
        insta::assert_snapshot!(render(&error), @r"
        cannot follow the job: there is no job j0
          → list them with `fireactions jobs list`
        ");
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert_eq!(render(&anyhow!("a\x1b[2Jb\nc")), "a\u{fffd}[2Jb\nc");
    }

    #[test]
    fn a_closed_pipe_is_no_news() {
        let error = anyhow::Error::new(io::Error::from(io::ErrorKind::BrokenPipe)).context("cannot write");
        assert!(is_closed_pipe(&error));
    }
}
