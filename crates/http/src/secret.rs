//! Secrets that are read when they are needed.

use std::sync::Arc;
use std::time::Duration;

use fireactions_model::Secret;

use crate::Error;

/// Reads a secret as it is now. It is read again after it was not accepted: keys and tokens are rotated while a server
/// runs. An error is a sentence for people without the secret. It may block for a moment.
pub type SecretSource = Arc<dyn Fn() -> Result<Secret, String> + Send + Sync>;

/// Reading a secret takes no longer.
const READ: Duration = Duration::from_secs(10);

/// Reads a secret, which may block; `what` is what it is, for people: `the token`.
///
/// # Errors
///
/// [`Error::Credential`]: why it cannot be read, or that it was not read within 10 s.
pub async fn read_secret(source: &SecretSource, what: &str) -> Result<Secret, Error> {
    let source = source.clone();
    let reading = tokio::task::spawn_blocking(move || source());
    match tokio::time::timeout(READ, reading).await {
        Ok(Ok(Ok(secret))) => Ok(secret),
        Ok(Ok(Err(why))) => Err(Error::Credential(format!("{what}: {why}"))),
        Ok(Err(_)) => Err(Error::Credential(format!("{what} could not be read"))),
        Err(_) => Err(Error::Credential(format!("{what} could not be read within {READ:?}"))),
    }
}
