//! What a VMM writes into a FIFO, as far as somebody reads it.
//!
//! The VMM holds both ends of its FIFOs, so a server that is gone costs it nothing: a full FIFO takes no more, and
//! what does not fit is lost. The next server opens the FIFO again. Its reader takes a bounded amount a second, whoever
//! writes.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use tokio::net::unix::pipe::{OpenOptions, Receiver};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Bytes a second that are taken from one FIFO.
const RATE: u64 = 1 << 20;

/// More than a FIFO holds.
const LEFT_MAX: usize = 4 << 20;

/// A task that reads a FIFO.
#[derive(Debug)]
pub(crate) struct Reader {
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Reader {
    /// Begins to read the FIFO at `path`, in a directory that is the server's own.
    pub(crate) fn open(path: &Path, sink: impl FnMut(&[u8]) + Send + 'static) -> io::Result<Self> {
        // With an end for writing of its own it never sees the end of the stream, which would come whenever nobody
        // else has the FIFO open.
        let fifo = OpenOptions::new().read_write(true).open_receiver(path)?;
        let (stop, stopped) = oneshot::channel();
        Ok(Self { stop: Some(stop), task: tokio::spawn(pump(fifo, stopped, sink)) })
    }

    /// Takes what is left of a VMM that is dead, and ends.
    pub(crate) async fn drain(mut self, deadline: Duration) {
        drop(self.stop.take());
        let _ = tokio::time::timeout(deadline, &mut self.task).await;
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pump(fifo: Receiver, mut stopped: oneshot::Receiver<()>, mut sink: impl FnMut(&[u8])) {
    let mut buffer = vec![0; 4 << 10];
    let (mut since, mut taken) = (Instant::now(), 0_u64);
    loop {
        tokio::select! {
            biased;
            _ = &mut stopped => break,
            ready = fifo.readable() => if ready.is_err() { return },
        }
        let Ok(count) = fifo.try_read(&mut buffer) else { continue };
        sink(&buffer[..count]);
        taken += count as u64;
        if taken >= RATE / 16 {
            let due = since + Duration::from_micros(taken * 1_000_000 / RATE);
            tokio::select! {
                _ = &mut stopped => break,
                () = tokio::time::sleep_until(due.into()) => {}
            }
            (since, taken) = (Instant::now(), 0);
        }
    }
    let mut left = LEFT_MAX;
    // Not by way of the runtime, which need not have noticed yet that there is something.
    while left > 0
        && let Ok(count @ 1..) = rustix::io::read(&fifo, &mut buffer)
    {
        sink(&buffer[..count]);
        left = left.saturating_sub(count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    use std::sync::{Arc, Mutex};

    fn fifo(dir: &Path) -> (std::path::PathBuf, File) {
        let path = dir.join("fifo");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &path,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::from_raw_mode(0o600),
            0,
        )
        .unwrap();
        let writer =
            File::options().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(&path).unwrap();
        (path, writer)
    }

    #[tokio::test]
    async fn what_was_written_before_the_end_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        let (path, mut writer) = fifo(dir.path());
        writer.write_all(b"before the server, ").unwrap();
        let read = Arc::new(Mutex::new(Vec::new()));
        let into = Arc::clone(&read);
        let reader = Reader::open(&path, move |bytes| into.lock().unwrap().extend_from_slice(bytes)).unwrap();
        writer.write_all(b"and then").unwrap();
        drop(writer);
        reader.drain(Duration::from_secs(5)).await;
        assert_eq!(read.lock().unwrap().as_slice(), b"before the server, and then");
    }

    #[tokio::test]
    async fn a_flood_is_taken_in_time_and_its_writer_never_waits() {
        let dir = tempfile::tempdir().unwrap();
        let (path, mut writer) = fifo(dir.path());
        let count = Arc::new(Mutex::new(0));
        let into = Arc::clone(&count);
        let reader = Reader::open(&path, move |bytes| *into.lock().unwrap() += bytes.len()).unwrap();
        let until = Instant::now() + Duration::from_millis(500);
        while Instant::now() < until {
            let _ = writer.write(&[b'x'; 4096]);
            tokio::task::yield_now().await;
        }
        let taken = *count.lock().unwrap();
        assert!((100_000..1_000_000).contains(&taken), "{taken} bytes in half a second");
        reader.drain(Duration::from_secs(5)).await;
    }
}
