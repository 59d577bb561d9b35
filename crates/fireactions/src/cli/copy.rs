//! `--copy SRC:DST`: files and directories on their way into a job. A directory is copied as it is, with its empty
//! directories, its modes, and the links that stay in it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use anyhow::Context;
use fireactions_model::{FileKind, InputFile};

use super::edge::advise;

/// Most files, directories and links of one job; the server has the same bound.
const MAX_FILES: usize = 4096;

/// A local file and where it goes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Copy {
    /// Local path.
    pub(crate) source: PathBuf,
    /// As the job's specification names it.
    pub(crate) file: InputFile,
}

/// Every file that the arguments name, directories expanded.
pub(crate) fn expand(arguments: &[String]) -> anyhow::Result<Vec<Copy>> {
    let mut copies = Vec::new();
    for argument in arguments {
        let (source, dest) = split(argument)?;
        let metadata = fs::metadata(source).with_context(|| format!("cannot copy {source}"))?;
        if metadata.is_dir() {
            directory(Path::new(source), Path::new(""), dest.trim_end_matches('/'), &mut copies)?;
        } else {
            let dest = if dest.ends_with('/') {
                let name = Path::new(source).file_name().and_then(|name| name.to_str());
                let name = name.ok_or_else(|| {
                    advise(format!("{source} has no name to copy it by"), "write the whole DST")
                })?;
                format!("{dest}{name}")
            } else {
                dest.to_owned()
            };
            one(Path::new(source), dest, &mut copies)?;
        }
    }
    Ok(copies)
}

/// A guest path is absolute, so that a colon in SRC does no harm.
fn split(argument: &str) -> anyhow::Result<(&str, &str)> {
    let at = argument.rfind(":/").filter(|at| *at > 0);
    let at = at.ok_or_else(|| {
        advise(
            format!("'{argument}' is not of the form SRC:DST"),
            "write SRC:DST, with DST an absolute path in the guest",
        )
    })?;
    Ok((&argument[..at], &argument[at + 1..]))
}

/// Copies the directory `inside` of `top`.
fn directory(top: &Path, inside: &Path, dest: &str, copies: &mut Vec<Copy>) -> anyhow::Result<()> {
    let source = top.join(inside);
    let failed = || format!("cannot copy the directory {}", source.display());
    // The guest's root is there.
    if !dest.is_empty() {
        let mode = fs::metadata(&source).with_context(failed)?.permissions().mode() & 0o777;
        let mode = FileKind::Directory.bits() | mode;
        add(copies, source.clone(), InputFile { dest: dest.to_owned(), mode, size: 0 })?;
    }
    let mut entries =
        fs::read_dir(&source).with_context(failed)?.collect::<Result<Vec<_>, _>>().with_context(failed)?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        let name = entry.file_name();
        let name = name.to_str().ok_or_else(|| {
            advise(
                format!("{} has a name that is not UTF-8", path.display()),
                "pack the directory into a tar file and copy that",
            )
        })?;
        let dest = format!("{dest}/{name}");
        let kind = entry.file_type().with_context(|| format!("cannot copy {}", path.display()))?;
        if kind.is_dir() {
            directory(top, &inside.join(entry.file_name()), &dest, copies)?;
        } else if kind.is_symlink() {
            let target = fs::read_link(&path).with_context(|| format!("cannot copy {}", path.display()))?;
            if stays(inside, &target) {
                let size = target.as_os_str().len() as u64;
                add(copies, path, InputFile { dest, mode: FileKind::Link.bits() | 0o777, size })?;
            } else {
                // What it leads to is not in the guest.
                one(&path, dest, copies)?;
            }
        } else {
            one(&path, dest, copies)?;
        }
    }
    Ok(())
}

/// Whether a link in the directory `inside` of what is copied leads to something in what is copied.
fn stays(inside: &Path, target: &Path) -> bool {
    let mut depth = inside.components().count();
    target.components().all(|part| match part {
        Component::CurDir => true,
        Component::Normal(_) => {
            depth += 1;
            true
        }
        Component::ParentDir => {
            let above = depth.checked_sub(1);
            depth = above.unwrap_or_default();
            above.is_some()
        }
        Component::RootDir | Component::Prefix(_) => false,
    })
}

fn add(copies: &mut Vec<Copy>, source: PathBuf, file: InputFile) -> anyhow::Result<()> {
    if copies.len() == MAX_FILES {
        return Err(advise(
            format!("more than {MAX_FILES} files and directories to copy"),
            "pack them into a tar file and copy that",
        ));
    }
    copies.push(Copy { source, file });
    Ok(())
}

fn one(source: &Path, dest: String, copies: &mut Vec<Copy>) -> anyhow::Result<()> {
    // A link is followed to a file, never to a directory: that may be very large.
    let metadata = fs::metadata(source).with_context(|| format!("cannot copy {}", source.display()))?;
    if !metadata.is_file() {
        return Err(advise(
            format!(
                "{} is neither a file nor a directory (or a link to a directory elsewhere)",
                source.display()
            ),
            "pack it into a tar file and copy that",
        ));
    }
    let mode = metadata.permissions().mode() & 0o777;
    add(copies, source.to_owned(), InputFile { dest, mode, size: metadata.len() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_split_at_the_guest_path() {
        assert_eq!(split("a:b:/c").unwrap(), ("a:b", "/c"));
        assert_eq!(split("/x:/y/z").unwrap(), ("/x", "/y/z"));
        for bad in ["/x", "x:y", ":/x", ""] {
            assert!(split(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn directories_are_copied_as_they_are() {
        let temp = tempfile::tempdir().unwrap();
        fs::write(temp.path().join("outside"), "more").unwrap();
        let dir = temp.path().join("top");
        // As a git clone has them once its references are packed.
        fs::create_dir_all(dir.join("b/empty")).unwrap();
        fs::create_dir_all(dir.join("b/c")).unwrap();
        fs::set_permissions(dir.join("b/empty"), fs::Permissions::from_mode(0o700)).unwrap();
        fs::write(dir.join("b/c/run"), "#!").unwrap();
        fs::set_permissions(dir.join("b/c/run"), fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(dir.join("a"), "hello").unwrap();
        for (target, link) in
            [("a", "z"), ("../c/run", "b/c/link"), (".", "y"), ("../outside", "x"), ("none", "w")]
        {
            std::os::unix::fs::symlink(target, dir.join(link)).unwrap();
        }
        for (place, mode) in [("", 0o755), ("b", 0o755), ("b/c", 0o755), ("a", 0o644), ("../outside", 0o644)]
        {
            fs::set_permissions(dir.join(place), fs::Permissions::from_mode(mode)).unwrap();
        }

        let shown = dir.display();
        let copies = expand(&[format!("{shown}:/in/"), format!("{shown}/a:/other/")]).unwrap();
        let got: Vec<(&str, u32, u64)> =
            copies.iter().map(|c| (c.file.dest.as_str(), c.file.mode, c.file.size)).collect();
        let want = [
            ("/in", 0o040_755, 0),
            ("/in/a", 0o644, 5),
            ("/in/b", 0o040_755, 0),
            ("/in/b/c", 0o040_755, 0),
            ("/in/b/c/link", 0o120_777, 8),
            ("/in/b/c/run", 0o755, 2),
            ("/in/b/empty", 0o040_700, 0),
            ("/in/w", 0o120_777, 4),
            // What a link leads to outside is not there in the guest.
            ("/in/x", 0o644, 4),
            ("/in/y", 0o120_777, 1),
            ("/in/z", 0o120_777, 1),
            ("/other/a", 0o644, 5),
        ];
        assert_eq!(got, want);
        // The guest's root is not made, nor changed.
        assert_eq!(expand(&[format!("{shown}:/")]).unwrap()[0].file.dest, "/a");
    }

    #[test]
    fn a_clone_whose_references_are_packed_is_whole() {
        let test = "a_clone_whose_references_are_packed_is_whole";
        let Some(case) = fireactions_testkit::beside::case(test, "copy-drops-empty-directories") else {
            return;
        };
        let dir = tempfile::tempdir().unwrap();
        let made = std::process::Command::new("sh")
            .arg(case.join("make-input.sh"))
            .current_dir(dir.path())
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        let empty = String::from_utf8(made.stdout).unwrap();
        let copies = expand(&[format!("{}/r:/home/ci/r", dir.path().display())]).unwrap();
        assert!(empty.contains("refs/heads"), "{empty}");
        for path in empty.lines() {
            let dest = format!("/home/ci/r/{path}");
            let found =
                copies.iter().find(|copy| copy.file.dest == dest).map(|copy| FileKind::of(copy.file.mode));
            assert_eq!(found, Some(Some(FileKind::Directory)), "{dest}");
        }
    }

    #[test]
    fn ways_out_and_strange_files_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("..", dir.path().join("out")).unwrap();
        let error = expand(&[format!("{}:/in", dir.path().display())]).unwrap_err();
        assert!(error.to_string().contains("out is neither a file nor"), "{error}");
        assert!(expand(&["/dev/null:/x".to_owned()]).is_err());
        assert!(expand(&["/no/such:/x".to_owned()]).is_err());
    }
}
