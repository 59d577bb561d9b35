//! Tokens and signed addresses. Both are made from one secret of the host and say what they are for, so that nothing of
//! them is stored, and a machine that outlives the server keeps the token that it was given.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::time::Duration;

use fireactions_model::MachineId;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

use crate::CacheError;
use crate::disk::sync_dir;
use crate::hex::hex;

/// What a signed address is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Upload,
    Download,
}

impl Purpose {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Upload => "up",
            Self::Download => "down",
        }
    }
}

/// The host's secret.
#[derive(Clone)]
pub(crate) struct Signer {
    secret: [u8; 32],
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signer")
    }
}

impl Signer {
    /// The secret in the file, or a new one if there is none. One that others may read, or that is not whole, is
    /// replaced: the jobs that run then go on without a cache.
    pub(crate) fn open(path: &Path) -> Result<Self, CacheError> {
        match fs::symlink_metadata(path) {
            Ok(found) if found.is_file() && found.permissions().mode().trailing_zeros() >= 6 => {
                let read = fs::read(path).map_err(CacheError::io("read", path))?;
                if let Ok(secret) = <[u8; 32]>::try_from(read) {
                    return Ok(Self { secret });
                }
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Self::create(path),
            Err(error) => return Err(CacheError::io("read", path)(error)),
        }
        tracing::warn!(path = %path.display(), "the cache's secret was damaged or could be read by others, and is replaced");
        fs::remove_file(path).map_err(CacheError::io("remove", path))?;
        Self::create(path)
    }

    fn create(path: &Path) -> Result<Self, CacheError> {
        let secret: [u8; 32] = rand::random();
        let aside = path.with_extension("new");
        let write = || {
            let _ = fs::remove_file(&aside);
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&aside)?;
            file.write_all(&secret)?;
            file.sync_all()?;
            fs::rename(&aside, path)?;
            path.parent().map_or(Ok(()), sync_dir)
        };
        write().map_err(CacheError::io("write", path))?;
        Ok(Self { secret })
    }

    /// What the job of this machine shows.
    pub(crate) fn token(&self, machine: &MachineId) -> String {
        format!("{machine}.{}", self.mac(&["token", machine.as_str()]))
    }

    /// Whose token it is, if it is one. Its job may have ended.
    pub(crate) fn holder(&self, token: &str) -> Option<MachineId> {
        let (machine, mac) = token.split_once('.')?;
        let machine = MachineId::new(machine).ok()?;
        same(mac, &self.mac(&["token", machine.as_str()])).then_some(machine)
    }

    /// For an address that ends at `until` of the boot's clock.
    pub(crate) fn signature(&self, purpose: Purpose, machine: &MachineId, id: u64, until: u64) -> String {
        self.mac(&[purpose.as_str(), machine.as_str(), &id.to_string(), &until.to_string()])
    }

    /// Whether an address is one of ours and still good at `now`.
    pub(crate) fn is_good(
        &self,
        purpose: Purpose,
        machine: &MachineId,
        id: u64,
        (until, signature): (u64, &str),
        now: Duration,
    ) -> bool {
        same(signature, &self.signature(purpose, machine, id, until)) && now.as_secs() < until
    }

    fn mac(&self, words: &[&str]) -> String {
        // Infallible: HMAC takes keys of any length.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.secret) else { return String::new() };
        for word in words {
            // With their lengths, so that no two lists of words look alike.
            mac.update(&(word.len() as u64).to_le_bytes());
            mac.update(word.as_bytes());
        }
        hex(&mac.finalize().into_bytes())
    }
}

fn same(given: &str, right: &str) -> bool {
    !right.is_empty() && bool::from(given.as_bytes().ct_eq(right.as_bytes()))
}
