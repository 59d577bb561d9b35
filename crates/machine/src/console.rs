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

/// The last `max` bytes of a console log.
pub async fn console_tail(path: &Path, max: u64) -> Result<Vec<u8>, ConsoleError> {
    let mut file = match tokio::fs::File::open(path).await {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(ConsoleError::Absent),
        Err(error) => return Err(error.into()),
    };
    let length = file.metadata().await?.len();
    file.seek(std::io::SeekFrom::Start(length.saturating_sub(max))).await?;
    let mut tail = Vec::new();
    file.take(max).read_to_end(&mut tail).await?;
    Ok(tail)
}

/// The last 4 KiB of a console as text: the guest wrote it, so only printable characters and line ends pass. Empty when
/// it cannot be read.
pub(crate) async fn tail_text(path: &Path) -> String {
    let tail = console_tail(path, 4096).await.unwrap_or_default();
    let text = String::from_utf8_lossy(&tail);
    text.chars().filter(|c| *c == '\n' || *c == '\t' || !c.is_control()).collect::<String>().trim().to_owned()
}

/// The last lines of a console on one line, for an error message. The guest wrote them: only printable
/// characters pass.
pub(crate) async fn last_lines(path: &Path) -> String {
    let Ok(tail) = console_tail(path, 2048).await else {
        return "(none)".into();
    };
    let text = String::from_utf8_lossy(&tail);
    let lines: Vec<String> = text
        .lines()
        .map(|line| line.chars().filter(|c| !c.is_control()).collect::<String>().trim().to_owned())
        .filter(|line| !line.is_empty())
        .collect();
    if lines.is_empty() { "(none)".into() } else { lines[lines.len().saturating_sub(4)..].join(" | ") }
}
