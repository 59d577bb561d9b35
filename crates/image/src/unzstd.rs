//! zstd's decompression, by `zstd` in a process of its own ([`confined`]): the one decoder here that is written in C. What it
//! gives is bounded, hashed and read by the server like every other layer's bytes.

use std::io::{self, PipeReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::ImageError;
use crate::blob::Blob;
use crate::cancel::Cancel;
use crate::confined::{self, Programs};

/// Largest window accepted: what `zstd --ultra -22` makes, and the program's own default.
const MEMORY: &str = "--memory=128MiB";
/// Nothing came for so long: it hangs. Its input comes from a disk, which may be slow.
const STALL: Duration = Duration::from_secs(300);
/// At most so long after its last byte it has ended.
const END: Duration = Duration::from_secs(10);
/// How often a wait looks whether anybody still wants what it waits for.
const LOOK: Duration = Duration::from_secs(1);

/// The decompressed bytes of a blob.
pub(crate) struct Unzstd {
    child: Child,
    output: PipeReader,
    /// The thread that gives it the blob: an error is the host's.
    feeder: Option<JoinHandle<io::Result<()>>>,
    words: Option<JoinHandle<String>>,
    cancel: Cancel,
    ended: bool,
}

impl Unzstd {
    /// Starts it.
    pub(crate) fn start(programs: &Programs, blob: &Blob, cancel: &Cancel) -> Result<Self, ImageError> {
        let failed = |e: io::Error| {
            ImageError::Unpack(format!("cannot start {} ({e}): install zstd", programs.zstd.display()))
        };
        let (output, lent) = io::pipe().map_err(failed)?;
        let mut command = Command::new(&programs.zstd);
        command.args(["-d", "-c", "-q", MEMORY]).stdin(Stdio::piped()).stdout(lent).stderr(Stdio::piped());
        let mut child = confined::spawn(&mut command, programs.user).map_err(failed)?;
        // Holds the pipe's other end.
        drop(command);
        let (Some(mut stdin), Some(stderr)) = (child.stdin.take(), child.stderr.take()) else {
            return Err(ImageError::Internal("zstd has no pipes".into()));
        };
        // Longer pipes let it run ahead. Not being allowed to is fine.
        let _ = rustix::pipe::fcntl_setpipe_size(&stdin, 1 << 20);
        let _ = rustix::pipe::fcntl_setpipe_size(&output, 1 << 20);
        let mut reader = blob.reader();
        let feeder = std::thread::spawn(move || match io::copy(&mut reader, &mut stdin) {
            // It has ended, and its status says why.
            Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            other => other.map(drop),
        });
        let words = std::thread::spawn(move || {
            let mut text = Vec::new();
            let _ = stderr.take(16 << 10).read_to_end(&mut text);
            String::from_utf8_lossy(&text).trim().to_owned()
        });
        let (feeder, words) = (Some(feeder), Some(words));
        Ok(Self { child, output, feeder, words, cancel: cancel.clone(), ended: false })
    }

    /// Waits for output or its end.
    fn wait(&self) -> io::Result<()> {
        let until = Instant::now() + STALL;
        let look = Timespec::try_from(LOOK).map_err(io::Error::other)?;
        while Instant::now() < until {
            self.cancel.check().map_err(io::Error::other)?;
            let mut polled = [PollFd::new(&self.output, PollFlags::IN)];
            match poll(&mut polled, Some(&look)) {
                Ok(0) | Err(rustix::io::Errno::INTR) => {}
                Ok(_) => return Ok(()),
                Err(e) => return Err(e.into()),
            }
        }
        Err(hung(&format!("gave nothing for {STALL:?}")))
    }

    /// After its last byte: how it went.
    fn judge(&mut self) -> io::Result<()> {
        let until = Instant::now() + END;
        let status = loop {
            match self.child.try_wait()? {
                Some(status) => break status,
                None if Instant::now() < until => std::thread::sleep(Duration::from_millis(1)),
                None => return Err(hung(&format!("did not end within {END:?} of its last byte"))),
            }
        };
        let fed = self.feeder.take().map(JoinHandle::join);
        let words = self.words.take().and_then(|words| words.join().ok()).unwrap_or_default();
        match fed {
            Some(Ok(Err(e))) => return Err(e),
            Some(Err(_)) => return Err(io::Error::other("the thread that reads the layer panicked")),
            Some(Ok(Ok(()))) | None => {}
        }
        if status.success() { Ok(()) } else { Err(refused(status, &words)) }
    }
}

impl Read for Unzstd {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.ended || buffer.is_empty() {
            return Ok(0);
        }
        self.wait()?;
        let n = self.output.read(buffer)?;
        if n == 0 {
            self.ended = true;
            self.judge()?;
        }
        Ok(n)
    }
}

impl Drop for Unzstd {
    /// Ends it where nobody wants the rest. Its threads end with its pipes.
    fn drop(&mut self) {
        // It has not been waited for, or the handle knows that it has, so the id is still its own.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn hung(how: &str) -> io::Error {
    io::Error::other(ImageError::Unpack(format!("zstd {how}; it was killed")))
}

fn refused(status: ExitStatus, words: &str) -> io::Error {
    let last = words.lines().next_back().unwrap_or_default();
    // It names its input `/*stdin*\`.
    let last =
        last.rsplit_once("stdin*\\").map_or(last, |(_, rest)| rest).trim_start_matches([' ', ':']).trim();
    match (status.code(), last) {
        // Somebody else's doing: no input makes it end so.
        (None, _) => io::Error::other(ImageError::Unpack(format!("zstd ended early: {status}"))),
        (Some(_), "") => io::Error::other(format!("zstd: {status}")),
        (Some(_), last) => io::Error::other(format!("zstd: {last}")),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write;
    use std::os::unix::fs::PermissionsExt;
    use std::path::{Path, PathBuf};
    use std::sync::Arc;

    use fireactions_testkit::program;

    use super::*;

    fn programs(zstd: impl Into<PathBuf>) -> Programs {
        Programs { tar2sqfs: "tar2sqfs".into(), zstd: zstd.into(), user: 1_899_999_999 }
    }

    fn blob(bytes: &[u8]) -> Blob {
        let mut file = tempfile::tempfile().unwrap();
        // As in an archive: not at its begin, and not to its end.
        file.write_all(b"before").unwrap();
        file.write_all(bytes).unwrap();
        file.write_all(b"after").unwrap();
        Blob::new(Arc::new(file), 6, bytes.len() as u64)
    }

    fn unpacked(programs: &Programs, bytes: &[u8]) -> Result<Vec<u8>, String> {
        let mut reader =
            Unzstd::start(programs, &blob(bytes), &Cancel::default()).map_err(|e| e.to_string())?;
        let mut out = Vec::new();
        reader.read_to_end(&mut out).map(|_| out).map_err(|e| e.to_string())
    }

    fn plain() -> Vec<u8> {
        (0..3_000_000_u32).flat_map(|n| (n / 7).to_le_bytes()).collect()
    }

    #[test]
    fn it_gives_what_was_packed() {
        let packed = zstd::encode_all(&plain()[..], 3).unwrap();
        assert!(unpacked(&programs("zstd"), &packed).unwrap() == plain());
        // More than one frame, and one to skip.
        let skipped = [&[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3], &packed[..], &packed[..]].concat();
        assert!(unpacked(&programs("zstd"), &skipped).unwrap() == [plain(), plain()].concat());
    }

    #[test]
    fn what_is_cut_off_damaged_or_too_wide_is_refused_in_words() {
        let packed = zstd::encode_all(&plain()[..], 3).unwrap();
        let refusal = |bytes: &[u8]| match unpacked(&programs("zstd"), bytes) {
            Ok(out) => panic!("{} bytes came of it", out.len()),
            Err(refusal) => refusal,
        };
        let cut = refusal(&packed[..packed.len() / 2]);
        assert!(cut.starts_with("zstd: ") && cut.contains("premature end"), "{cut}");
        let more = refusal(&[&packed[..], b"more"].concat());
        assert!(more.starts_with("zstd: "), "{more}");
        let mut damaged = packed.clone();
        // The head of its first block: a kind that there is none of.
        damaged[6..9].fill(0xff);
        assert!(refusal(&damaged).starts_with("zstd: "), "{}", refusal(&damaged));
        // A window of 256 MiB.
        let wide = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 18 << 3, 1, 0, 0];
        assert!(refusal(&wide).starts_with("zstd: "), "{}", refusal(&wide));
    }

    fn script(dir: &Path, text: &str) -> PathBuf {
        std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o755)).unwrap();
        let path = dir.join("zstd");
        program::write(&path, text);
        path
    }

    #[test]
    fn it_is_confined_and_ends_when_nobody_wants_the_rest() {
        let missing = unpacked(&programs("/nonexistent/zstd"), b"x").unwrap_err();
        assert!(missing.contains("install zstd"), "{missing}");

        let dir = tempfile::tempdir().unwrap();
        let told = script(dir.path(), "#!/bin/sh\nexec cat /proc/self/status\n");
        let status = String::from_utf8(unpacked(&programs(told), b"x").unwrap()).unwrap();
        for line in ["NoNewPrivs:\t1", "Seccomp:\t2", "CapEff:\t0000000000000000"] {
            assert!(status.contains(line), "{status}");
        }

        let dir = tempfile::tempdir().unwrap();
        let endless = programs(script(dir.path(), "#!/bin/sh\necho $$\nexec cat /dev/zero\n"));
        let mut reader = Unzstd::start(&endless, &blob(b"x"), &Cancel::default()).unwrap();
        let mut line = [0; 64];
        let n = reader.read(&mut line).unwrap();
        let text = String::from_utf8_lossy(&line[..n]).into_owned();
        let pid: u32 = text.lines().next().unwrap().parse().unwrap();
        drop(reader);
        assert!(File::open(format!("/proc/{pid}/stat")).is_err(), "{pid} is left");

        // One that says nothing is given up as soon as nobody waits for it.
        let dir = tempfile::tempdir().unwrap();
        let silent = programs(script(dir.path(), "#!/bin/sh\nexec cat /dev/zero > /dev/null\n"));
        let cancel = Cancel::default();
        let mut reader = Unzstd::start(&silent, &blob(b"x"), &cancel).unwrap();
        drop(cancel.guard());
        assert!(matches!(
            crate::tarread::unwrap_io(reader.read(&mut line).unwrap_err(), ""),
            ImageError::Cancelled
        ));
    }
}
