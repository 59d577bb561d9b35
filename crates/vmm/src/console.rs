//! The guest's console, kept in a bounded file.
//!
//! QEMU writes the serial port to a Unix socket in the run directory and the server copies that to
//! `console.log`, which only the server can write. The file holds the latest output: when it is full, its older
//! half is dropped (written anew and renamed, so a reader sees one version or the other). While no server is
//! connected QEMU throws console output away: nothing grows and the guest is not held up; the next server
//! connects again and notes the gap. A guest that floods its console is slowed down to [`RATE`] by its own
//! serial port.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::net::UnixStream;

/// Bytes a second that are taken from one guest's console.
const RATE: u64 = 1 << 20;

/// A file that holds the last `max / 2` to `max` bytes written to it.
#[derive(Debug)]
pub(crate) struct BoundedFile {
    path: PathBuf,
    file: File,
    size: u64,
    max: u64,
}

impl BoundedFile {
    /// Opens or makes the file, mode 0600, to be appended to.
    pub(crate) fn open(path: &Path, max: u64) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
        let size = file.metadata()?.len();
        Ok(Self { path: path.to_owned(), file, size, max: max.max(4096) })
    }

    /// Appends, dropping what is oldest.
    pub(crate) fn write(&mut self, mut data: &[u8]) -> io::Result<()> {
        let half = self.max / 2;
        if data.len() as u64 > half {
            data = &data[data.len() - usize::try_from(half).unwrap_or(data.len())..];
        }
        if self.size + data.len() as u64 > self.max {
            self.drop_older(half)?;
        }
        self.file.write_all(data)?;
        self.size += data.len() as u64;
        Ok(())
    }

    fn drop_older(&mut self, keep: u64) -> io::Result<()> {
        let kept = tail(&self.path, keep);
        let fresh = self.path.with_extension("new");
        let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&fresh)?;
        file.write_all(&kept)?;
        std::fs::rename(&fresh, &self.path)?;
        self.file = OpenOptions::new().append(true).open(&self.path)?;
        self.size = kept.len() as u64;
        Ok(())
    }
}

/// The last `max` bytes of a file; empty when it cannot be read.
pub(crate) fn tail(path: &Path, max: u64) -> Vec<u8> {
    let read = || -> io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let size = file.metadata()?.len();
        file.seek(SeekFrom::Start(size.saturating_sub(max)))?;
        let mut bytes = Vec::new();
        file.take(max).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    read().unwrap_or_default()
}

/// Bytes from a guest or a VMM as text that is safe to show on a terminal and in a log.
pub(crate) fn printable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let kept = text.chars().filter(|c| *c == '\n' || *c == '\t' || !c.is_control());
    kept.collect::<String>().trim().to_owned()
}

/// Copies until the other end is closed, which the death of the VMM does. A full disk loses output, nothing more.
pub(crate) async fn pump(from: UnixStream, mut to: BoundedFile) {
    let mut complained = false;
    let (mut since, mut taken) = (Instant::now(), 0_u64);
    loop {
        if from.readable().await.is_err() {
            return;
        }
        let (count, written) = match pass_on(&from, &mut to) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Ok((0, _)) | Err(_) => return,
            Ok(passed) => passed,
        };
        if let Err(error) = written
            && !complained
        {
            tracing::warn!(file = %to.path.display(), %error, "console output is lost");
            complained = true;
        }
        taken += count as u64;
        if taken >= RATE / 16 {
            let due = since + Duration::from_micros(taken * 1_000_000 / RATE);
            tokio::time::sleep_until(due.into()).await;
            (since, taken) = (Instant::now(), 0);
        }
    }
}

/// Copies what is there: how much it was, and whether it was written. The buffer is on the stack: most consoles are silent
/// most of the time, and there may be a thousand of them.
fn pass_on(from: &UnixStream, to: &mut BoundedFile) -> io::Result<(usize, io::Result<()>)> {
    let mut buffer = [0; 2 << 10];
    let count = from.try_read(&mut buffer)?;
    Ok((count, to.write(&buffer[..count])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_output_is_kept_and_the_file_stays_small() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("console.log");
        let mut file = BoundedFile::open(&path, 8192).unwrap();
        for number in 0..5000 {
            file.write(format!("line {number}\n").as_bytes()).unwrap();
            assert!(std::fs::metadata(&path).unwrap().len() <= 8192);
        }
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.ends_with("line 4998\nline 4999\n") && text.len() >= 4096, "{}", text.len());
        file.write(&vec![b'x'; 100_000]).unwrap();
        assert!(std::fs::metadata(&path).unwrap().len() <= 8192);
        drop(file);
        let mut again = BoundedFile::open(&path, 8192).unwrap();
        again.write(b"end").unwrap();
        assert!(std::fs::read(&path).unwrap().ends_with(b"xend"));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn escape_sequences_do_not_reach_a_terminal() {
        assert_eq!(printable(b"\x1b[2Ja\r\nb\xff\x07\n"), "[2Ja\nb\u{fffd}");
    }
}
