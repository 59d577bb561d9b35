//! `--artifact PATH[:DEST]`: what a job leaves, as tar archives; a colon in PATH is written `\:`. They are not unpacked: a guest wrote them.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::Context;
use fireactions_api::Client;
use fireactions_model::JobId;
use futures::TryStreamExt;

/// A guest path and where its archive goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Absolute guest path.
    pub(crate) path: String,
    dest: Option<PathBuf>,
}

impl FromStr for Wanted {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // A backslash before a colon says that it is the path's.
        let mut path = String::new();
        let mut rest = text.chars();
        let mut ended = false;
        while let Some(c) = rest.next() {
            match c {
                ':' => {
                    ended = true;
                    break;
                }
                '\\' if rest.as_str().starts_with([':', '\\']) => path.extend(rest.next()),
                c => path.push(c),
            }
        }
        let dest = ended.then_some(rest.as_str());
        if !path.starts_with('/') {
            return Err("PATH is absolute, in the guest".to_owned());
        }
        if dest == Some("") {
            return Err("DEST is empty".to_owned());
        }
        Ok(Self { path, dest: dest.map(PathBuf::from) })
    }
}

impl Wanted {
    /// The local file: as given, or named after the guest path in the given or the present directory.
    fn file(&self) -> PathBuf {
        let name = Path::new(&self.path).file_name().and_then(|name| name.to_str()).unwrap_or("root");
        let name = format!("{name}.tar");
        match &self.dest {
            Some(dest) if dest.is_dir() => dest.join(name),
            Some(dest) => dest.clone(),
            None => PathBuf::from(name),
        }
    }
}

/// Fetches an archive; the file is there whole or not at all.
pub(crate) async fn fetch(client: &Client, job: &JobId, index: usize, wanted: &Wanted) -> anyhow::Result<()> {
    let mut bytes = client.artifact(job, index).await?;
    let file = wanted.file();
    let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let failed = || format!("cannot write {}", file.display());
    let mut part =
        tempfile::Builder::new().prefix(".fireactions-").tempfile_in(parent).with_context(failed)?;
    while let Some(chunk) = bytes.try_next().await? {
        part.write_all(&chunk).with_context(failed)?;
    }
    part.persist(&file).map_err(|error| error.error).with_context(failed)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations() {
        let file = |text: &str| text.parse::<Wanted>().unwrap().file();
        assert_eq!(file("/out/log"), PathBuf::from("log.tar"));
        assert_eq!(file("/out:x.tar"), PathBuf::from("x.tar"));
        assert_eq!(file("/out:/tmp"), PathBuf::from("/tmp/out.tar"));
        assert_eq!(file("/"), PathBuf::from("root.tar"));
        let colon: Wanted = r"/out/a\:b:x.tar".parse().unwrap();
        assert_eq!((colon.path.as_str(), colon.file()), ("/out/a:b", PathBuf::from("x.tar")));
        let colon: Wanted = r"/out\d/a\:b".parse().unwrap();
        assert_eq!((colon.path.as_str(), colon.file()), (r"/out\d/a:b", PathBuf::from("a:b.tar")));
        assert!("out".parse::<Wanted>().is_err());
        assert!("/out:".parse::<Wanted>().is_err());
    }
}
