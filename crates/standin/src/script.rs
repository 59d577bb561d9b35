//! The little language of played jobs. Statements are separated by `;` or a new line; the text is the last argument of
//! a shell (`sh -c TEXT`), or all arguments.
//!
//! ```text
//! print TEXT, echo TEXT   a line on standard output        sleep SECONDS
//! print-err TEXT          a line on standard error         wait          until somebody runs `tell` by exec
//! print-bytes N           N bytes, in lines of 64          hang          until a signal
//! print-lines N           N lines of 64 bytes with their   stubborn      from here on SIGTERM does nothing
//!                         numbers, from 1
//! exit N, true, false     ends                             die           the guest panics
//! signal N                ends as if by this signal        mute          the agent says nothing more, ever
//! unstartable TEXT        never begins (first statement)
//! withhold                from here on the agent hands out no file: whoever asks waits
//! ```

use std::time::Duration;

/// One statement.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Step {
    Print(String),
    PrintErr(String),
    PrintBytes(usize),
    PrintLines(usize),
    Sleep(Duration),
    Wait,
    Tell,
    Hang,
    Stubborn,
    Exit(i32),
    Signal(i32),
    Unstartable(String),
    Die,
    Mute,
    Withhold,
}

/// Reads a program. A statement that does not exist ends the job as a shell would: with a word on standard error and
/// exit code 127.
pub(crate) fn parse(argv: &[String]) -> Vec<Step> {
    let shell = argv.first().is_some_and(|program| program.rsplit('/').next() == Some("sh"));
    let text = match argv.last() {
        Some(last) if shell => last.clone(),
        _ => argv.join(" "),
    };
    let statements = text.split([';', '\n']).map(str::trim).filter(|statement| !statement.is_empty());
    let mut steps = Vec::new();
    for statement in statements {
        let Some(step) = step(statement) else {
            steps.push(Step::PrintErr(format!("standin: {statement}: not found")));
            steps.push(Step::Exit(127));
            break;
        };
        steps.push(step);
    }
    steps
}

fn step(statement: &str) -> Option<Step> {
    let (word, rest) = statement.split_once(' ').unwrap_or((statement, ""));
    let rest = rest.trim();
    Some(match word {
        "print" | "echo" => Step::Print(rest.to_owned()),
        "print-err" => Step::PrintErr(rest.to_owned()),
        "print-bytes" => Step::PrintBytes(rest.parse().ok()?),
        "print-lines" => Step::PrintLines(rest.parse().ok()?),
        "sleep" => Step::Sleep(Duration::try_from_secs_f64(rest.parse().ok()?).ok()?),
        "wait" => Step::Wait,
        "tell" => Step::Tell,
        "hang" => Step::Hang,
        "stubborn" => Step::Stubborn,
        "exit" => Step::Exit(rest.parse().ok()?),
        "true" | ":" => Step::Exit(0),
        "false" => Step::Exit(1),
        "signal" => Step::Signal(rest.parse().ok()?),
        "unstartable" => Step::Unstartable(rest.to_owned()),
        "die" => Step::Die,
        "mute" => Step::Mute,
        "withhold" => Step::Withhold,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(argv: &[&str]) -> Vec<Step> {
        parse(&argv.iter().map(|&word| word.to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn a_shell_s_script_and_plain_arguments_mean_the_same() {
        let steps = [Step::Print("a b".to_owned()), Step::Sleep(Duration::from_millis(50)), Step::Exit(3)];
        assert_eq!(parsed(&["/bin/sh", "-e", "-c", "print a b; sleep 0.05\nexit 3"]), steps);
        assert_eq!(parsed(&["print", "a", "b;", "sleep", "0.05;", "exit", "3"]), steps);
        assert_eq!(parsed(&["true"]), [Step::Exit(0)]);
    }

    #[test]
    fn what_is_not_known_ends_the_job() {
        for unknown in ["make; exit 0", "sleep soon", "exit", "sleep -1"] {
            let steps = parsed(&["sh", "-c", unknown]);
            assert!(matches!(&steps[0], Step::PrintErr(text) if text.contains("not found")), "{steps:?}");
            assert_eq!(steps[1..], [Step::Exit(127)]);
        }
    }
}
