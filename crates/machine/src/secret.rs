//! What a machine's agent proves itself with, kept beside the machine's sockets: a directory that only the server can
//! enter. The next server needs it, and nobody needs it once the machine is gone.

use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use fireactions_guest_proto::AgentSecret;
use fireactions_model::FailureKind;
use rand::RngExt;

use crate::end::End;

const FILE: &str = "agent.secret";

/// Makes the secret of a new machine with this directory.
pub(crate) fn make(directory: &Path) -> Result<(), End> {
    let mut bytes = [0; 32];
    rand::rng().fill(&mut bytes[..]);
    let path = directory.join(FILE);
    let written = || {
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        file.write_all(AgentSecret::from_random(bytes).reveal().as_bytes())
    };
    written().map_err(|error| failed("written", &path, &error))
}

/// The machine's secret. `None` for one that a server of before there were secrets has made: its agent has none.
pub(crate) fn of(directory: &Path) -> Result<Option<AgentSecret>, End> {
    let path = directory.join(FILE);
    let read = || {
        let mut text = String::new();
        std::fs::File::open(&path)?.take(256).read_to_string(&mut text)?;
        AgentSecret::parse(&text).ok_or_else(|| io::Error::other("it is not 64 hexadecimal digits"))
    };
    match read() {
        Ok(secret) => Ok(Some(secret)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        // Without it the machine's agent cannot be told from anybody else in its guest.
        Err(error) => Err(failed("read", &path, &error)),
    }
}

fn failed(action: &str, path: &Path, error: &io::Error) -> End {
    End::because(
        FailureKind::Host,
        format!("the secret of the machine's agent, {}, could not be {action}: {error}", path.display()),
    )
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn each_machine_has_its_own_and_keeps_it() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        assert_eq!(of(one.path()).ok(), Some(None));
        for dir in [&one, &other] {
            make(dir.path()).ok().unwrap();
        }
        let secret = of(one.path()).ok().unwrap().unwrap();
        assert_ne!(of(other.path()).ok().unwrap().unwrap(), secret);
        assert!(make(one.path()).is_err(), "a machine's secret never changes");
        assert_eq!(of(one.path()).ok().unwrap(), Some(secret));
        let mode = std::fs::metadata(one.path().join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        std::fs::write(one.path().join(FILE), "cut").unwrap();
        assert!(of(one.path()).is_err(), "a machine that had one is not one of before");
    }
}
