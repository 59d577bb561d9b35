//! A template's files: how they get out of the jail that made them and into the clones'.

use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::Path;
use std::time::Duration;

use rustix::fs::OFlags;

use super::api::{ApiError, Client, SetState, SnapshotCreate, SnapshotType};
use super::jail::Jail;
use super::names::{MEMORY, STATE};
use crate::VmmError;
use crate::link_or_copy::move_file;

/// How long writing a guest's memory may take; whoever asks for the freeze has a deadline of its own.
const DEADLINE: Duration = Duration::from_secs(600);

/// The template's files.
const FILES: [&str; 2] = [MEMORY, STATE];

/// Stops the guest and has its memory and devices written into the jail.
pub(crate) async fn write(client: &Client) -> Result<(), ApiError> {
    client.send(&SetState::Paused).await?;
    let create = SnapshotCreate {
        snapshot_path: STATE.to_owned(),
        mem_file_path: MEMORY.to_owned(),
        snapshot_type: SnapshotType::Full,
    };
    client.send_within(&create, DEADLINE).await
}

/// Moves the files of a machine that is dead into the template's directory, where they are the server's and never
/// change. Blocks until they are on disk: a template outlives a crash of the host.
pub(crate) fn take_out(jail: &Jail, memory_mib: u32, template: &Path) -> Result<(), VmmError> {
    for name in FILES {
        let path = jail.path(name);
        let failed =
            |source| VmmError::File { action: "keep the template's file", path: path.clone(), source };
        let file = File::from(jail.open(name, OFlags::RDONLY | OFlags::NONBLOCK).map_err(failed)?);
        let meta = file.metadata().map_err(failed)?;
        let invalid = |why: &str| failed(io::Error::new(io::ErrorKind::InvalidData, why.to_owned()));
        // The guest was idle and nobody's yet, but its VMM's directory is not to be trusted all the same.
        if !meta.is_file() || meta.nlink() != 1 {
            return Err(invalid("it is not a separate file"));
        }
        if name == MEMORY && meta.len() != u64::from(memory_mib) << 20 {
            return Err(invalid("its length is not the size of the guest's memory"));
        }
        if rustix::process::geteuid().is_root() {
            fchown(&file, Some(0), Some(0)).map_err(failed)?;
        }
        // Explicitly, whatever the umask is: every machine's user reads it and none writes to it.
        file.set_permissions(Permissions::from_mode(0o444)).map_err(failed)?;
        file.sync_all().map_err(failed)?;
        move_file(&path, &template.join(name)).map_err(failed)?;
    }
    let failed = |source| VmmError::File { action: "keep the template", path: template.to_owned(), source };
    File::open(template).and_then(|dir| dir.sync_all()).map_err(failed)
}

/// Gives a clone's jail the template's files.
pub(crate) fn hand_in(jail: &Jail, template: &Path) -> Result<(), VmmError> {
    FILES.iter().try_for_each(|name| jail.share("open the template's file", &template.join(name), name))
}
