//! A guest file or directory as a tar stream for the host.

use std::fs::{File, Metadata};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use tar::{Builder, EntryType, Header};

use crate::files;

/// Most entries of one archive. The host bounds the bytes; this bounds what a loop of bind mounts could make.
const MOST_ENTRIES: u32 = 1_000_000;

/// Writes `path` to `out`; names in the archive start with its last component. An error does not name `path`: the host
/// that asked for it does.
///
/// If `path` is a link, what it points to is archived; links below are archived as links. Sockets are left out, other
/// file systems below (`/proc`, say) too. What changes while it is read is padded or cut to the size it had. `last`: of each
/// file, only so many bytes, its last ones.
pub(crate) fn write(path: &str, last: Option<u64>, out: impl Write) -> Result<(), String> {
    let asked = files::checked(path)?;
    let real = std::fs::canonicalize(asked).map_err(|error| error.to_string())?;
    let name = PathBuf::from(asked.file_name().unwrap_or_else(|| ".".as_ref()));
    archive(&real, name, last.unwrap_or(u64::MAX), out).map_err(|error| error.to_string())
}

fn archive(top: &Path, name: PathBuf, last: u64, out: impl Write) -> io::Result<()> {
    let mut tar = Builder::new(out);
    let device = std::fs::symlink_metadata(top)?.dev();
    // A stack of what is still to do, not recursion: depth is the guest's choice.
    let mut todo = vec![(top.to_owned(), name)];
    let mut entries = 0;
    while let Some((path, name)) = todo.pop() {
        entries += 1;
        if entries > MOST_ENTRIES {
            return Err(io::Error::other(format!("more than {MOST_ENTRIES} files")));
        }
        let meta = match std::fs::symlink_metadata(&path) {
            Ok(meta) => meta,
            Err(error) if path != top && is_gone(&error) => continue,
            Err(error) => return Err(named(&path, &error)),
        };
        if meta.is_dir() {
            tar.append_data(&mut header(&meta, EntryType::Directory, 0), &name, io::empty())?;
            // overlayfs gives files another device number than their directories; only directories can be compared.
            if meta.dev() == device {
                let entries = match std::fs::read_dir(&path) {
                    Ok(entries) => entries,
                    Err(error) if path != top && is_gone(&error) => continue,
                    Err(error) => return Err(named(&path, &error)),
                };
                for entry in entries {
                    match entry {
                        Ok(entry) => todo.push((entry.path(), name.join(entry.file_name()))),
                        Err(error) if path != top && is_gone(&error) => break,
                        Err(error) => return Err(named(&path, &error)),
                    }
                }
            }
        } else {
            match append(&mut tar, &path, &name, &meta, last) {
                // Nothing was written of it: that begins when it is open.
                Err(error) if path != top && is_gone(&error) => {}
                done => done.map_err(|error| named(&path, &error))?,
            }
        }
    }
    tar.into_inner()?.flush()
}

/// Whether what a directory had is not there any more, or is another thing: programs of an image with an init of its own
/// go on after the job.
fn is_gone(error: &io::Error) -> bool {
    use nix::libc::{ELOOP, ENOENT, ENOTDIR, ENXIO, ESTALE};
    error.raw_os_error().is_some_and(|errno| [ENOENT, ENOTDIR, ELOOP, ESTALE, ENXIO].contains(&errno))
}

fn append(
    tar: &mut Builder<impl Write>,
    path: &Path,
    name: &Path,
    meta: &Metadata,
    last: u64,
) -> io::Result<()> {
    let kind = meta.file_type();
    if kind.is_file() {
        // Not followed and not waited on, should it have become a link or a FIFO.
        let flags = nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK;
        let mut file = File::options().read(true).custom_flags(flags).open(path)?;
        if !file.metadata()?.is_file() {
            return Err(nix::errno::Errno::ESTALE.into());
        }
        let size = meta.len().min(last);
        file.seek(SeekFrom::Start(meta.len() - size))?;
        let exact = file.take(size).chain(io::repeat(0)).take(size);
        tar.append_data(&mut header(meta, EntryType::Regular, size), name, exact)
    } else if kind.is_symlink() {
        let target = std::fs::read_link(path).map_err(|error| match error.raw_os_error() {
            // It is no link any more.
            Some(nix::libc::EINVAL) => nix::errno::Errno::ESTALE.into(),
            _ => error,
        })?;
        tar.append_link(&mut header(meta, EntryType::Symlink, 0), name, target)
    } else if kind.is_fifo() {
        tar.append_data(&mut header(meta, EntryType::Fifo, 0), name, io::empty())
    } else if kind.is_char_device() || kind.is_block_device() {
        let entry = if kind.is_char_device() { EntryType::Char } else { EntryType::Block };
        let mut header = header(meta, entry, 0);
        header.set_device_major(rustix::fs::major(meta.rdev()))?;
        header.set_device_minor(rustix::fs::minor(meta.rdev()))?;
        tar.append_data(&mut header, name, io::empty())
    } else {
        Ok(())
    }
}

fn header(meta: &Metadata, kind: EntryType, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(meta.mode() & 0o7777);
    header.set_uid(u64::from(meta.uid()));
    header.set_gid(u64::from(meta.gid()));
    header.set_mtime(u64::try_from(meta.mtime()).unwrap_or(0));
    header
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::os::unix::fs::symlink;

    fn entries(path: &Path) -> BTreeMap<String, (EntryType, String)> {
        last_of(path, None)
    }

    fn last_of(path: &Path, last: Option<u64>) -> BTreeMap<String, (EntryType, String)> {
        let mut bytes = Vec::new();
        write(path.to_str().unwrap(), last, &mut bytes).unwrap();
        let mut found = BTreeMap::new();
        for entry in tar::Archive::new(&bytes[..]).entries().unwrap() {
            let mut entry = entry.unwrap();
            let name = entry.path().unwrap().to_str().unwrap().to_owned();
            let kind = entry.header().entry_type();
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            found.insert(name, (kind, text));
        }
        found
    }

    #[test]
    fn a_tree_comes_whole() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("out");
        std::fs::create_dir_all(out.join("sub")).unwrap();
        std::fs::write(out.join("sub/file"), "text").unwrap();
        symlink("/etc/passwd", out.join("link")).unwrap();
        let long = "x".repeat(200);
        std::fs::write(out.join(&long), "").unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(out.join("sock")).unwrap();

        let found = entries(&out);

        assert_eq!(found["out/sub/file"], (EntryType::Regular, "text".to_owned()));
        assert_eq!(found["out/link"].0, EntryType::Symlink);
        assert!(found.contains_key(&format!("out/{long}")));
        assert!(!found.contains_key("out/sock"));
    }

    #[test]
    fn one_file_is_one_entry_and_a_link_to_it_is_followed() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("real"), "r").unwrap();
        symlink("real", dir.path().join("link")).unwrap();
        let found = entries(&dir.path().join("link"));
        assert_eq!(
            found.into_iter().collect::<Vec<_>>(),
            [("link".to_owned(), (EntryType::Regular, "r".to_owned()))]
        );
    }

    #[test]
    fn of_a_file_the_end_is_enough() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("log"), "first last").unwrap();
        for (last, text) in [(4, "last"), (10, "first last"), (99, "first last"), (0, "")] {
            let found = last_of(&dir.path().join("log"), Some(last));
            assert_eq!(found["log"], (EntryType::Regular, text.to_owned()), "{last}");
        }
    }

    #[test]
    fn what_goes_away_meanwhile_does_not_take_the_rest_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("out");
        std::fs::create_dir_all(&out).unwrap();
        std::fs::write(out.join("stays"), "here").unwrap();
        let over = std::sync::atomic::AtomicBool::new(false);
        let seen = |path: &Path| {
            let mut bytes = Vec::new();
            write(path.to_str().unwrap(), None, &mut bytes)?;
            let mut archive = tar::Archive::new(&bytes[..]);
            let names = archive.entries().map_err(|error| error.to_string())?.map(|entry| {
                entry.map(|entry| entry.path_bytes().into_owned()).map_err(|error| error.to_string())
            });
            let names = names.collect::<Result<Vec<_>, _>>()?;
            let stays = names.iter().any(|name| name.ends_with(b"/stays"));
            if stays { Ok(()) } else { Err("'stays' is not in it".to_owned()) }
        };
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(std::sync::atomic::Ordering::Relaxed) {
                    let comes = out.join("comes");
                    let _ = std::fs::write(&comes, "and goes");
                    let _ = std::fs::remove_file(&comes);
                    let _ = symlink("nowhere", &comes);
                    let _ = std::fs::remove_file(&comes);
                    let _ = std::fs::create_dir(&comes);
                    let _ = std::fs::remove_dir(&comes);
                    let _ = nix::unistd::mkfifo(&comes, nix::sys::stat::Mode::S_IRWXU);
                    let _ = std::fs::remove_file(&comes);
                }
            });
            let wrong = (0..2_000).find_map(|_| seen(&out).err());
            // Before any panic: the other thread is waited for.
            over.store(true, std::sync::atomic::Ordering::Relaxed);
            assert_eq!(wrong, None);
        });
    }

    #[test]
    fn what_is_not_there_is_said() {
        let error = write("/no/such/thing", None, Vec::new()).unwrap_err();
        assert_eq!(error, "No such file or directory (os error 2)");
    }
}
