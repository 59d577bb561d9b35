//! The file in which the running cache says how it is.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fireactions_registry_cache::Status;
use tokio::sync::watch;

/// Between two looks at what has changed.
const INTERVAL: Duration = Duration::from_secs(1);

/// Writes what `now` says to `path` whenever it has changed, until all is to stop.
pub(super) async fn keep(path: PathBuf, now: impl Fn() -> Status, mut stop: watch::Receiver<bool>) {
    let (mut written, mut failing) = (None, false);
    loop {
        let status = now();
        if written.as_ref() != Some(&status) {
            let (to, text) = (path.clone(), serde_json::to_vec(&status).unwrap_or_default());
            match tokio::task::spawn_blocking(move || write(&to, &text)).await {
                Ok(Ok(())) => (written, failing) = (Some(status), false),
                Ok(Err(error)) if !std::mem::replace(&mut failing, true) => {
                    tracing::warn!(
                        "{} cannot be written, so the server does not know how the cache is: {error}",
                        path.display()
                    );
                }
                _ => {}
            }
        }
        tokio::select! {
            () = tokio::time::sleep(INTERVAL) => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
    }
}

/// Whole, or as it was.
fn write(path: &Path, text: &[u8]) -> std::io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    let mut file = tempfile::Builder::new().prefix(".status").tempfile_in(directory)?;
    file.write_all(text)?;
    file.persist(path)?;
    Ok(())
}
