//! The command line, as the real programs take it: `--flag value` or `--flag=value`, and `-c` on either side of the verb.

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Arguments {
    /// `-c`, `--config`.
    pub(crate) config: Option<String>,
    pub(crate) verb: Verb,
}

/// What to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    /// `--version`.
    Version,
    /// act_runner's `daemon`.
    Daemon {
        /// Ends after one job. An ephemeral runner does so anyway.
        once: bool,
    },
    /// forgejo-runner's `one-job`.
    OneJob(OneJob),
}

/// Flags of `one-job`. What is not given may be in the configuration.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct OneJob {
    pub(crate) url: String,
    pub(crate) uuid: String,
    pub(crate) token_url: String,
    pub(crate) labels: Vec<String>,
    /// The one job to run, by the handle that the server's queue has.
    pub(crate) handle: Option<String>,
    /// Waits for a job where there is none yet.
    pub(crate) wait: bool,
}

impl Arguments {
    /// Reads what came after the program's name.
    pub(crate) fn parse(given: &[String]) -> Result<Self, String> {
        let mut words = given.iter();
        let (mut config, mut verb, mut once, mut asked) = (None, None, false, OneJob::default());
        while let Some(word) = words.next() {
            let (flag, mut value) = match word.split_once('=') {
                Some((flag, value)) if flag.starts_with('-') => (flag, Some(value.to_owned())),
                _ => (word.as_str(), None),
            };
            let mut value = || {
                value
                    .take()
                    .or_else(|| words.next().cloned())
                    .ok_or(format!("flag needs an argument: {flag}"))
            };
            match flag {
                "--version" => return Ok(Self { config, verb: Verb::Version }),
                "-c" | "--config" => config = Some(value()?),
                "--once" => once = true,
                "--url" => asked.url = value()?,
                "--uuid" => asked.uuid = value()?,
                "--token-url" => asked.token_url = value()?,
                "--label" => asked.labels.push(value()?),
                "--handle" => asked.handle = Some(value()?),
                "--wait" => asked.wait = true,
                "daemon" | "one-job" if verb.is_none() => verb = Some(flag.to_owned()),
                _ if flag.starts_with('-') => return Err(format!("unknown flag: {flag}")),
                _ => return Err(format!("unknown command \"{flag}\"")),
            }
        }
        let verb = match verb.as_deref() {
            Some("daemon") if asked == OneJob::default() => Verb::Daemon { once },
            Some("one-job") if !once => Verb::OneJob(asked),
            Some(_) => return Err("a flag is of the other command".to_owned()),
            None => return Err("a command is needed: daemon or one-job".to_owned()),
        };
        Ok(Self { config, verb })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Arguments, String> {
        Arguments::parse(&line.split(' ').map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn both_command_lines_are_understood() {
        let daemon = Arguments { config: Some("c.yaml".into()), verb: Verb::Daemon { once: false } };
        assert_eq!(parse("daemon -c c.yaml"), Ok(daemon));
        let once = Arguments { config: Some("c.yaml".into()), verb: Verb::Daemon { once: true } };
        assert_eq!(parse("--config=c.yaml daemon --once"), Ok(once));
        let asked = OneJob {
            url: "http://a".into(),
            uuid: "u".into(),
            token_url: "file:///t".into(),
            labels: vec!["a:host".into(), "b:host".into()],
            handle: Some("h".into()),
            wait: true,
        };
        let line = "-c c.yaml one-job --url http://a --uuid=u --token-url file:///t --label a:host --label b:host \
                    --handle h --wait";
        assert_eq!(parse(line), Ok(Arguments { config: Some("c.yaml".into()), verb: Verb::OneJob(asked) }));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (line, error) in [
            ("daemon -c", "flag needs an argument: -c"),
            ("daemon --wait", "a flag is of the other command"),
            ("one-job --once", "a flag is of the other command"),
            ("daemon --nonsense", "unknown flag: --nonsense"),
            ("register", "unknown command \"register\""),
            ("-c x", "a command is needed: daemon or one-job"),
        ] {
            assert_eq!(parse(line).unwrap_err(), error, "{line}");
        }
    }
}
