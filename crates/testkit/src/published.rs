//! Configuration files that other programs of this kind have published, read where they are.

// Only tests link this crate, and there a file that cannot be read is a failed test.
#![allow(clippy::unwrap_used, clippy::missing_panics_doc)]

use std::fs;

use crate::beside;

/// All of them, by their names in order; nothing, said loudly on behalf of `test`, where there are none. They are in
/// `../compat/published` of the directory that `FIREACTIONS_SPECS` names.
pub fn files(test: &str) -> Option<Vec<(String, Vec<u8>)>> {
    let directory = beside::directory(test, "compat/published")?;
    let mut files: Vec<(String, Vec<u8>)> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read(&path).unwrap()))
        .collect();
    files.sort_unstable();
    Some(files)
}
