//! Labels: `NAME`, or `NAME:SCHEME` with `host` or `docker`. The server is told names alone.

/// What a label without a scheme means: act_runner takes it for `host`, forgejo-runner for `docker`.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Bare {
    Host,
    Docker,
}

/// The names, for a machine that has no Docker.
pub(crate) fn names(labels: &[String], bare: Bare) -> Result<Vec<String>, String> {
    labels
        .iter()
        .map(|label| match (label.split_once(':'), bare) {
            (Some((name, "host")), _) | (Some((name, "")), Bare::Host) => Ok(name.to_owned()),
            (None, Bare::Host) => Ok(label.clone()),
            _ => Err("daemon Docker Engine socket not found and docker_host config was invalid".to_owned()),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_hosts_labels_are_taken() {
        let labels = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(names(&labels("a:host b"), Bare::Host), Ok(labels("a b")));
        assert_eq!(names(&labels("a:host"), Bare::Docker), Ok(labels("a")));
        assert!(names(&labels("a"), Bare::Docker).is_err());
        assert!(names(&labels("a:docker://node:20"), Bare::Host).is_err());
    }
}
