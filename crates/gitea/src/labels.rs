//! Labels of runners and of jobs.

use crate::Kind;

/// The name of a label as a runner declares it: what is before the first `:`. What is after it says how the runner runs
/// jobs (`host`, `docker://…`) and never reaches the server.
pub fn label_name(label: &str) -> &str {
    label.split_once(':').map_or(label, |(name, _)| name)
}

/// Whether a runner with these labels is given a job that asks for `runs_on`. The case counts. A job that asks for nothing
/// goes to any runner of Gitea and to none of Forgejo.
pub fn matches<A: AsRef<str>, B: AsRef<str>>(kind: Kind, runs_on: &[A], labels: &[B]) -> bool {
    if runs_on.is_empty() {
        return kind == Kind::Gitea;
    }
    runs_on.iter().all(|wanted| labels.iter().any(|label| label_name(label.as_ref()) == wanted.as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_name_counts() {
        for (label, name) in [
            ("a", "a"),
            ("a:host", "a"),
            ("a:docker://node:22", "a"),
            (":host", ""),
            ("", ""),
            ("A-1.2", "A-1.2"),
        ] {
            assert_eq!(label_name(label), name);
        }
    }

    #[test]
    fn a_job_goes_where_all_its_labels_are() {
        let both = [Kind::Gitea, Kind::Forgejo];
        for kind in both {
            assert!(matches(kind, &["a"], &["a:host", "b:host"]));
            assert!(matches(kind, &["b", "a"], &["a:host", "b"]));
            assert!(!matches(kind, &["a", "c"], &["a", "b"]));
            assert!(!matches(kind, &["A"], &["a:host"]), "the case counts");
            assert!(!matches(kind, &["a:host"], &["a:host"]), "a job names no scheme");
            assert!(!matches::<_, &str>(kind, &["a"], &[]));
        }
        let nothing: [&str; 0] = [];
        assert_eq!(both.map(|kind| matches(kind, &nothing, &["a"])), [true, false]);
    }
}
