//! Reading a secret from where the configuration says it is.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use fireactions_model::Secret;
use rustix::fs::{Mode, OFlags};

use crate::SecretFile;

/// Largest secret, in bytes: keys and tokens are far smaller.
const MAX_BYTES: u64 = 64 * 1024;

/// Why a secret could not be read. Never holds any of it.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// Not started by systemd with credentials.
    #[error(
        "the configuration refers to credential '{0}', but $CREDENTIALS_DIRECTORY is not set: add LoadCredential={0}:FILE to the unit, or name the file itself"
    )]
    NoDirectory(String),
    /// Absent or unreadable.
    #[error("cannot read the secret {path}: {source}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Other users of the host can read it, or put another in its place.
    #[error("every user of this host can {what} the secret {path}: chmod 0600 it, and create a new secret", path = path.display())]
    Public {
        /// The file.
        path: PathBuf,
        /// What they can do.
        what: &'static str,
    },
    /// Empty, too large or not text.
    #[error("{path} does not hold a secret: {rule}", path = path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// The rule it breaks.
        rule: &'static str,
    },
}

impl SecretFile {
    /// The file's path. `credentials` is the value of `$CREDENTIALS_DIRECTORY`.
    pub fn path(&self, credentials: Option<&Path>) -> Result<PathBuf, SecretError> {
        match self {
            Self::Path(path) => Ok(path.to_path_buf()),
            Self::Credential(name) => match credentials {
                Some(directory) => Ok(directory.join(name)),
                None => Err(SecretError::NoDirectory(name.clone())),
            },
        }
    }

    /// Reads the secret, without white space at its end. Refuses files that everybody can read or write.
    pub fn read(&self, credentials: Option<&Path>) -> Result<Secret, SecretError> {
        let path = self.path(credentials)?;
        let fail = |source| SecretError::Read { path: path.clone(), source };
        // A FIFO without a writer is opened at once, and found to be no file.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = rustix::fs::open(&path, flags, Mode::empty()).map_err(|error| fail(error.into()))?;
        let file = File::from(file);
        let meta = file.metadata().map_err(fail)?;
        if !meta.is_file() {
            return Err(SecretError::Content { path, rule: "it is not a file" });
        }
        match meta.mode() & 0o006 {
            0 => {}
            0o002 => return Err(SecretError::Public { path, what: "write" }),
            _ => return Err(SecretError::Public { path, what: "read" }),
        }
        let mut text = String::new();
        file.take(MAX_BYTES + 1).read_to_string(&mut text).map_err(fail)?;
        let rule = if text.len() as u64 > MAX_BYTES {
            "it is larger than 64 KiB"
        } else if text.trim_end().is_empty() {
            "it is empty"
        } else {
            return Ok(Secret::new(text.trim_end()));
        };
        Err(SecretError::Content { path, rule })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn file(dir: &Path, name: &str, text: &str, mode: u32) {
        fs::write(dir.join(name), text).unwrap();
        fs::set_permissions(dir.join(name), fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn reads_credentials_and_refuses_public_and_empty_ones() {
        let dir = tempfile::tempdir().unwrap();
        file(dir.path(), "good", "s3cret\n", 0o400);
        file(dir.path(), "public", "s3cret\n", 0o644);
        file(dir.path(), "empty", " \n", 0o600);
        let read = |name: &str| SecretFile::Credential(name.to_owned()).read(Some(dir.path()));
        assert_eq!(read("good").unwrap().expose(), "s3cret");
        assert!(matches!(read("public"), Err(SecretError::Public { what: "read", .. })));
        // Whoever can write it can be the one who knows it.
        file(dir.path(), "writable", "s3cret\n", 0o602);
        let error = read("writable").unwrap_err().to_string();
        assert!(error.contains("can write the secret") && !error.contains("s3cret"), "{error}");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            dir.path().join("fifo"),
            rustix::fs::FileType::Fifo,
            Mode::RUSR,
            0,
        )
        .unwrap();
        let error = read("fifo").unwrap_err().to_string();
        assert!(error.contains("it is not a file"), "{error}");
        assert!(matches!(read("empty"), Err(SecretError::Content { .. })));
        assert!(matches!(read("absent"), Err(SecretError::Read { .. })));
        let missing = SecretFile::Credential("x".into()).read(None).unwrap_err().to_string();
        assert!(missing.contains("LoadCredential=x:FILE"), "{missing}");
    }
}
