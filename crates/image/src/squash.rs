//! One squashfs out of layers, by `tar2sqfs` (squashfs-tools-ng), which keeps owners, attributes, devices and hard
//! links without needing root, and packs a tar stream as it comes.

use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::ImageError;
use crate::blob::Blob;
use crate::cancel::Cancel;
use crate::confined::{self, Programs};
use crate::tarwrite;
use crate::tree::Tree;

/// Longest time in which it takes nothing and does not end.
const STALL: Duration = Duration::from_secs(300);
/// How often is looked whether it is still wanted.
const LOOK: Duration = Duration::from_millis(200);

/// Packs `tree` into the new file `to`. On an error the caller removes the file.
pub(crate) fn pack(
    programs: &Programs,
    tree: &Tree,
    layers: &[Blob],
    to: &Path,
    cancel: &Cancel,
    mut written: impl FnMut(u64),
) -> Result<(), ImageError> {
    let output =
        File::options().read(true).write(true).open(to).map_err(|e| ImageError::io("open", to, e))?;
    let lent = output.try_clone().map_err(|e| ImageError::io("open", to, e))?;
    // It opens its output itself, by the descriptor: its user reaches no directory of the server's.
    own(&output, programs.user).map_err(|e| ImageError::io("give away", to, e))?;
    let mut command = Command::new(&programs.tar2sqfs);
    command
        // -s: stop at what it cannot pack instead of leaving it out.
        .args(["-q", "-s", "-f", "-c", "zstd", "-X", "level=3"])
        .arg("/proc/self/fd/1")
        // The same tree is the same file, byte for byte.
        .env("SOURCE_DATE_EPOCH", "0")
        .stdin(Stdio::piped())
        .stdout(lent)
        .stderr(Stdio::piped());
    let mut child = confined::spawn(&mut command, programs.user).map_err(|e| {
        ImageError::Squashfs(format!(
            "cannot start {} ({e}): install squashfs-tools-ng",
            programs.tar2sqfs.display()
        ))
    })?;
    let (Some(stdin), Some(stderr)) = (child.stdin.take(), child.stderr.take()) else {
        return Err(ImageError::Internal("tar2sqfs has no pipes".into()));
    };
    let words = std::thread::spawn(move || {
        let mut text = Vec::new();
        let _ = stderr.take(16 << 10).read_to_end(&mut text);
        String::from_utf8_lossy(&text).trim().to_string()
    });
    let watch = Watch::begin(&child, cancel.clone(), STALL)
        .map_err(|e| ImageError::Squashfs(format!("cannot watch tar2sqfs: {e}")))?;
    // A longer pipe lets decompression run ahead while the packer compresses. Not being allowed to is fine.
    let _ = rustix::pipe::fcntl_setpipe_size(&stdin, 1 << 20);
    let mut out = BufWriter::with_capacity(256 << 10, Taken { stdin, watch: &watch });
    let sent = tarwrite::write(programs, tree, layers, &mut out, cancel, &mut written);
    watch.goes_on();
    // Into the pipe without flushing again: after an error the archive stays cut off, never complete.
    let (Taken { stdin, .. }, _) = out.into_parts();
    if matches!(&sent, Err(e) if !matches!(e, ImageError::Squashfs(_))) {
        kill(&mut child);
    }
    drop(stdin);
    let status = child.wait().map_err(|e| ImageError::Squashfs(format!("cannot wait for tar2sqfs: {e}")))?;
    let words = words.join().unwrap_or_default();
    watch.end()?;
    match sent {
        Err(e) if !matches!(e, ImageError::Squashfs(_)) => return Err(e),
        Ok(()) if status.success() => {}
        other => return Err(failure(to, status, &words, other.err())),
    }
    own(&output, 0).map_err(|e| ImageError::io("take back", to, e))?;
    output.sync_all().map_err(|e| ImageError::io("write", to, e))
}

/// The way into a program: it goes on as long as it takes something, however large the file is in whose middle it is.
struct Taken<'a> {
    stdin: ChildStdin,
    watch: &'a Watch,
}

impl Write for Taken<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let taken = self.stdin.write(bytes)?;
        self.watch.goes_on();
        Ok(taken)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.stdin.flush()
    }
}

/// Ends a program that nobody waits for any more, or that does not go on: whoever writes to it, or waits for its end, has no
/// deadline of its own.
struct Watch {
    went_on: Sender<()>,
    thread: JoinHandle<Result<(), ImageError>>,
}

impl Watch {
    fn begin(child: &Child, cancel: Cancel, stall: Duration) -> std::io::Result<Self> {
        let process = pidfd_open(Pid::from_child(child), PidfdFlags::empty())?;
        let (went_on, heard) = channel();
        let thread = std::thread::Builder::new().name("tar2sqfs".to_owned()).spawn(move || {
            let mut since = Instant::now();
            loop {
                match heard.recv_timeout(LOOK) {
                    Ok(()) => since = Instant::now(),
                    Err(RecvTimeoutError::Disconnected) => return Ok(()),
                    Err(RecvTimeoutError::Timeout) => {
                        let why = match cancel.check() {
                            Err(cancelled) => cancelled,
                            Ok(()) if since.elapsed() < stall => continue,
                            Ok(()) => ImageError::Squashfs(format!("tar2sqfs did not go on for {stall:?}")),
                        };
                        let _ = pidfd_send_signal(&process, Signal::KILL);
                        return Err(why);
                    }
                }
            }
        })?;
        Ok(Self { went_on, thread })
    }

    fn goes_on(&self) {
        let _ = self.went_on.send(());
    }

    /// The program has ended. Why it was ended, if it was.
    fn end(self) -> Result<(), ImageError> {
        drop(self.went_on);
        self.thread.join().unwrap_or_else(|_| Err(ImageError::Internal("a thread panicked".into())))
    }
}

/// Gives the file to a user, where the server can.
fn own(file: &File, uid: u32) -> std::io::Result<()> {
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::fchown(file, Some(uid), Some(uid))?;
    }
    Ok(())
}

fn kill(child: &mut Child) {
    // It has not been waited for, so the id is still its own.
    let _ = child.kill();
}

fn failure(to: &Path, status: std::process::ExitStatus, words: &str, sent: Option<ImageError>) -> ImageError {
    let dir = to.parent().unwrap_or(to);
    // tar2sqfs says only "I/O error"; less than a mebibyte is less than its next write.
    let full = rustix::fs::statvfs(dir).is_ok_and(|fs| fs.f_bavail.saturating_mul(fs.f_frsize) < 1 << 20);
    if full || words.contains("No space left on device") || words.contains("Disk quota exceeded") {
        return ImageError::DiskFull { what: "the squashfs".into(), dir: dir.to_path_buf() };
    }
    let last = words.lines().next_back().unwrap_or_default();
    match (last, sent) {
        ("", Some(sent)) => sent,
        (last, _) => ImageError::Squashfs(format!("tar2sqfs: {last} ({status})")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes a piece every now and then, for longer than a program may stand still.
    fn feed(program: &str) -> Result<(), ImageError> {
        let stall = Duration::from_secs(2);
        let mut child = Command::new("sh").args(["-c", program]).stdin(Stdio::piped()).spawn().unwrap();
        let watch = Watch::begin(&child, Cancel::default(), stall).unwrap();
        let mut taken = Taken { stdin: child.stdin.take().unwrap(), watch: &watch };
        let began = Instant::now();
        while began.elapsed() < stall * 2 && taken.write_all(&vec![0; 128 << 10]).is_ok() {
            std::thread::sleep(stall / 40);
        }
        drop(taken);
        child.wait().unwrap();
        watch.end()
    }

    #[test]
    fn a_program_that_takes_something_goes_on_and_one_that_takes_nothing_is_ended() {
        let hung = std::thread::spawn(|| feed("exec sleep 60"));
        feed("exec cat >/dev/null").unwrap();
        let error = hung.join().unwrap().unwrap_err().to_string();
        assert!(error.contains("did not go on for 2s"), "{error}");
    }
}
