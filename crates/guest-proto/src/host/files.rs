//! Files in and out.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::error::LinkError;
use super::flow::{End, Use};
use super::link::Link;
use super::stream::Handle;
use crate::HostMsg;
use crate::limits::CHUNK;

/// The first version whose agents make directories and symbolic links.
const KINDS_VERSION: u16 = 3;

impl Link {
    /// Writes a file of exactly `size` bytes in the guest; missing parents are made. `mode` has permission bits, and may have
    /// the type bits of stat(2) of a directory, or of a symbolic link whose target comes from `src`.
    ///
    /// # Errors
    /// [`LinkError::Local`] when `src` fails or ends early, [`LinkError::Guest`] when the guest cannot write it,
    /// [`LinkError::Disconnected`] when the connection was cut: start again with a fresh `src`.
    pub async fn put_file(
        &self,
        dest: &str,
        mode: u32,
        size: u64,
        mut src: impl AsyncRead + Unpin,
    ) -> Result<(), LinkError> {
        if !matches!(mode & 0o170_000, 0 | 0o100_000) && self.hello().await?.version < KINDS_VERSION {
            let why = "the machine's agent is of an older version, which makes neither directories nor links";
            return Err(LinkError::Guest(format!("{dest}: {why}; try again on a new machine")));
        }
        let stream = Handle::open(&self.shared, Use::Put).await?;
        stream.say(&HostMsg::PutFile { stream: stream.id, dest: dest.to_owned(), mode, size }).await?;
        let mut buffer = vec![0; CHUNK];
        let mut left = size;
        while left > 0 {
            let want = CHUNK.min(usize::try_from(left).unwrap_or(CHUNK));
            let count = src
                .read(&mut buffer[..want])
                .await
                .map_err(|error| LinkError::Local(format!("reading the source of {dest} failed: {error}")))?;
            if count == 0 {
                let had = size - left;
                return Err(LinkError::Local(format!(
                    "the source of {dest} ended after {had} of {size} bytes; it changed while it was copied"
                )));
            }
            if !stream.send(&buffer[..count]).await? {
                break;
            }
            left -= count as u64;
        }
        finished(stream.end().await, dest)
    }

    /// Writes a guest file or directory to `dst` as a tar archive and returns the archive's size in bytes.
    ///
    /// # Errors
    /// [`LinkError::TooLarge`] when it is larger than `max_bytes`; otherwise as [`Link::put_file`].
    pub async fn get_tar(
        &self,
        path: &str,
        dst: impl AsyncWrite + Unpin,
        max_bytes: u64,
    ) -> Result<u64, LinkError> {
        self.get(path, None, dst, max_bytes).await
    }

    /// As [`Link::get_tar`], of a file whose last `last` bytes alone are wanted.
    pub async fn get_tail_tar(
        &self,
        path: &str,
        last: u64,
        dst: impl AsyncWrite + Unpin,
        max_bytes: u64,
    ) -> Result<u64, LinkError> {
        self.get(path, Some(last), dst, max_bytes).await
    }

    async fn get(
        &self,
        path: &str,
        last: Option<u64>,
        mut dst: impl AsyncWrite + Unpin,
        max_bytes: u64,
    ) -> Result<u64, LinkError> {
        let stream = Handle::open(&self.shared, Use::Get).await?;
        stream.say(&HostMsg::GetFile { stream: stream.id, path: path.to_owned(), last }).await?;
        let failed = |error| LinkError::Local(format!("writing the archive of {path} failed: {error}"));
        let mut total = 0u64;
        while let Some((_, data)) = stream.receive().await {
            total += data.len() as u64;
            if total > max_bytes {
                return Err(LinkError::TooLarge { what: format!("the archive of {path}"), limit: max_bytes });
            }
            dst.write_all(&data).await.map_err(failed)?;
        }
        finished(stream.end().await, path)?;
        dst.flush().await.map_err(failed)?;
        Ok(total)
    }
}

fn finished(end: End, path: &str) -> Result<(), LinkError> {
    match end {
        End::File(result) => result.map_err(|error| LinkError::Guest(format!("{path}: {error}"))),
        End::Cut | End::Exit(_) => Err(LinkError::Disconnected),
    }
}
