//! `--copy SRC:DST`: files and directories on their way into a job.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use fireactions_model::InputFile;

use super::edge::advise;

/// Most files of one job; the server has the same bound.
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
            directory(Path::new(source), dest.trim_end_matches('/'), &mut copies)?;
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

fn directory(source: &Path, dest: &str, copies: &mut Vec<Copy>) -> anyhow::Result<()> {
    let failed = || format!("cannot copy the directory {}", source.display());
    let mut entries =
        fs::read_dir(source).with_context(failed)?.collect::<Result<Vec<_>, _>>().with_context(failed)?;
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
            directory(&path, &dest, copies)?;
        } else {
            one(&path, dest, copies)?;
        }
    }
    Ok(())
}

fn one(source: &Path, dest: String, copies: &mut Vec<Copy>) -> anyhow::Result<()> {
    // A link is followed to a file, never to a directory: that may lead round in circles.
    let metadata = fs::metadata(source).with_context(|| format!("cannot copy {}", source.display()))?;
    if !metadata.is_file() {
        return Err(advise(
            format!(
                "{} is neither a file nor a directory (or a link to a directory inside one)",
                source.display()
            ),
            "pack it into a tar file and copy that",
        ));
    }
    if copies.len() == MAX_FILES {
        return Err(advise(
            format!("more than {MAX_FILES} files to copy"),
            "pack them into a tar file and copy that",
        ));
    }
    let mode = metadata.permissions().mode() & 0o777;
    copies.push(Copy { source: source.to_owned(), file: InputFile { dest, mode, size: metadata.len() } });
    Ok(())
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
    fn directories_become_their_files() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("b/c")).unwrap();
        fs::write(dir.path().join("b/c/run"), "#!").unwrap();
        fs::set_permissions(dir.path().join("b/c/run"), fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(dir.path().join("a"), "hello").unwrap();
        std::os::unix::fs::symlink("a", dir.path().join("z")).unwrap();

        let shown = dir.path().display();
        let copies = expand(&[format!("{shown}:/in/"), format!("{shown}/a:/other/")]).unwrap();
        let got: Vec<(String, u64)> = copies.iter().map(|c| (c.file.dest.clone(), c.file.size)).collect();
        let want = [("/in/a", 5), ("/in/b/c/run", 2), ("/in/z", 5), ("/other/a", 5)];
        assert_eq!(got, want.map(|(dest, size)| (dest.to_owned(), size)));
        assert_eq!(copies[1].file.mode, 0o755);
    }

    #[test]
    fn loops_and_strange_files_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(".", dir.path().join("loop")).unwrap();
        let error = expand(&[format!("{}:/in", dir.path().display())]).unwrap_err();
        assert!(error.to_string().contains("loop is neither a file nor"), "{error}");
        assert!(expand(&["/dev/null:/x".to_owned()]).is_err());
        assert!(expand(&["/no/such:/x".to_owned()]).is_err());
    }
}
