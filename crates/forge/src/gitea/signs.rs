//! What act_runner and forgejo-runner say of themselves. Their lines are those of logrus, a Go library for logs:
//! `time="2026-11-29T00:55:42Z" level=info msg="task 2 repo is acme/app https://github.com http://127.0.0.1:3000"`.

use crate::hosted::signs::{Begun, Sign};

pub(super) fn read(line: &str) -> Option<Sign> {
    // Output of a job is not in this log, but for what a job writes to its runner's standard output by force.
    let line = line.strip_prefix("time=\"")?;
    let (_, said) = line.split_once(" level=info msg=\"")?;
    if let Some(rest) = said.strip_prefix("task ") {
        let (number, rest) = rest.split_once(" repo is ")?;
        let repository = rest.split([' ', '"']).next().filter(|repository| repository.contains('/'))?;
        let task = number.parse().ok()?;
        return Some(Sign::Began(Begun {
            name: None,
            task: Some(task),
            repository: Some(repository.to_owned()),
        }));
    }
    (said.starts_with("runner: ") && said.contains("declare")).then_some(Sign::Online)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_task_is_read_from_both_runners_logs() {
        let task = |number, repository: &str| {
            let repository = Some(repository.to_owned());
            Some(Sign::Began(Begun { name: None, task: Some(number), repository }))
        };
        for (line, sign) in [
            (
                r#"time="2026-11-29T00:55:42Z" level=info msg="runner: act-ok, with version: v0.2.13+e6dbe2a, with labels: [ubuntu-24.04], declare successfully""#,
                Some(Sign::Online),
            ),
            (
                r#"time="2026-11-29T01:08:51Z" level=info msg="runner: fr-ok, with version: v12.8.2+b93a918a, with labels: [ubuntu-24.04], ephemeral: true, declared successfully""#,
                Some(Sign::Online),
            ),
            (
                r#"time="2026-11-29T00:55:42Z" level=info msg="task 2 repo is acme/app https://github.com http://127.0.0.1:31127""#,
                task(2, "acme/app"),
            ),
            (
                r#"time="2026-11-29T01:09:28Z" level=info msg="task 5 repo is acme/app https://data.forgejo.org http://127.0.0.1:31316""#,
                task(5, "acme/app"),
            ),
            (r#"time="2026-11-29T00:55:42Z" level=info msg="task x repo is acme/app a b""#, None),
            (r#"time="2026-11-29T00:55:42Z" level=error msg="task 2 repo is acme/app a b""#, None),
            ("task 2 repo is acme/app a b", None),
            (r#"time="2026-11-29T00:55:42Z" level=info msg="Starting runner daemon""#, None),
        ] {
            assert_eq!(read(line), sign, "{line}");
        }
    }
}
