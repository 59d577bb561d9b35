//! What one run of the tests leaves for the next in the directory for temporary files, named by its content.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Nobody uses what was not asked for this long.
const UNUSED: Duration = Duration::from_secs(24 * 3600);

/// Where the thing of that name is, or is to be put by a rename. Its older versions, `PREFIX…`, go once nobody uses them any
/// more.
pub(crate) fn place(prefix: &str, rest: &str) -> PathBuf {
    within(&std::env::temp_dir(), prefix, rest)
}

fn within(dir: &Path, prefix: &str, rest: &str) -> PathBuf {
    let path = dir.join(format!("{prefix}{rest}"));
    // Used now. Another user's cannot be marked, and is not swept either.
    let _ = File::open(&path).and_then(|file| file.set_modified(SystemTime::now()));
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let is_one = entry.file_name().to_str().is_some_and(|name| name.starts_with(prefix));
        let modified = entry.metadata().and_then(|meta| meta.modified());
        let age = modified.ok().and_then(|modified| modified.elapsed().ok()).unwrap_or_default();
        if is_one && age > UNUSED && entry.path() != path {
            // Another run may be as quick.
            let _ = fs::remove_dir_all(entry.path()).or_else(|_| fs::remove_file(entry.path()));
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_uses_goes() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir(at("thing-old.d")).unwrap();
        for name in ["thing-old", "thing-now", "thing-recent", "other-old"] {
            fs::write(at(name), "x").unwrap();
        }
        let old = SystemTime::now() - 2 * UNUSED;
        for name in ["thing-old.d", "thing-old", "thing-now", "other-old"] {
            File::open(at(name)).unwrap().set_modified(old).unwrap();
        }
        assert_eq!(within(dir.path(), "thing-", "now"), at("thing-now"));
        let left = ["thing-old.d", "thing-old", "thing-now", "thing-recent", "other-old"]
            .map(|name| at(name).exists());
        assert_eq!(left, [false, false, true, true, true]);
        let age = fs::metadata(at("thing-now")).unwrap().modified().unwrap().elapsed().unwrap();
        assert!(age < UNUSED, "it is in use");
    }
}
