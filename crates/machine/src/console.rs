//! A machine's console log.

use std::path::Path;

use tokio::io::{AsyncReadExt, AsyncSeekExt};

/// Why a console could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ConsoleError {
    /// The machine has none (not started yet, or gone).
    #[error("machine has no console log yet, or is gone")]
    Absent,
    /// It is there and cannot be read.
    #[error("console log could not be read: {0}")]
    Io(#[from] std::io::Error),
}

/// A part of a console log.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ConsolePiece {
    /// What is there.
    pub bytes: Vec<u8>,
    /// The position after it in the file: where to go on.
    pub next: u64,
}

/// The last `max` bytes of a console log.
pub async fn console_tail(path: &Path, max: u64) -> Result<ConsolePiece, ConsoleError> {
    read(path, |length| length.saturating_sub(max), max).await
}

/// At most `max` bytes of a console log from a position on; nothing when there is no more yet. A file that became shorter is
/// another: its older half was dropped. Of it everything comes.
pub async fn console_from(path: &Path, from: u64, max: u64) -> Result<ConsolePiece, ConsoleError> {
    read(path, |length| if length < from { 0 } else { from }, max).await
}

async fn read(path: &Path, start: impl Fn(u64) -> u64, max: u64) -> Result<ConsolePiece, ConsoleError> {
    let mut file = match tokio::fs::File::open(path).await {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(ConsoleError::Absent),
        Err(error) => return Err(error.into()),
    };
    let start = start(file.metadata().await?.len());
    file.seek(std::io::SeekFrom::Start(start)).await?;
    let mut bytes = Vec::new();
    let length = file.take(max).read_to_end(&mut bytes).await?;
    Ok(ConsolePiece { bytes, next: start + length as u64 })
}

/// The last 4 KiB of a console as text: the guest wrote it, so only printable characters and line ends pass. Empty when
/// it cannot be read.
pub(crate) async fn tail_text(path: &Path) -> String {
    let tail = console_tail(path, 4096).await.unwrap_or_default().bytes;
    let text = String::from_utf8_lossy(&tail);
    text.chars().filter(|c| *c == '\n' || *c == '\t' || !c.is_control()).collect::<String>().trim().to_owned()
}

/// The last lines of a console on one line, for an error message. The guest wrote them: only printable
/// characters pass.
pub(crate) async fn last_lines(path: &Path) -> String {
    let Ok(tail) = console_tail(path, 2048).await else {
        return "(none)".into();
    };
    let text = String::from_utf8_lossy(&tail.bytes);
    let lines: Vec<String> = text
        .lines()
        .map(|line| line.chars().filter(|c| !c.is_control()).collect::<String>().trim().to_owned())
        .filter(|line| !line.is_empty())
        .collect();
    if lines.is_empty() { "(none)".into() } else { lines[lines.len().saturating_sub(4)..].join(" | ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_console_is_read_on_from_where_it_was_read_to() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("console");
        assert!(matches!(console_tail(&path, 4).await, Err(ConsoleError::Absent)));
        std::fs::write(&path, "0123456789").unwrap();
        let piece = |bytes: &str, next| ConsolePiece { bytes: bytes.into(), next };
        assert_eq!(console_tail(&path, 4).await.unwrap(), piece("6789", 10));
        assert_eq!(
            console_from(&path, 10, 4).await.unwrap(),
            piece("", 10),
            "what was before the tail is old"
        );
        std::fs::write(&path, "0123456789abcdef").unwrap();
        assert_eq!(console_from(&path, 10, 4).await.unwrap(), piece("abcd", 14));
        assert_eq!(console_from(&path, 14, 4).await.unwrap(), piece("ef", 16));
        std::fs::write(&path, "new").unwrap();
        assert_eq!(console_from(&path, 16, 4).await.unwrap(), piece("new", 3), "its older half was dropped");
    }
}
