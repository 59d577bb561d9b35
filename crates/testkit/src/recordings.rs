//! What real servers were asked and said, kept beside the published descriptions and read there.

// Only tests link this crate, and there a broken recording is a failed test.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;

use serde_json::Value;

use crate::beside;

/// All recordings of a server, such as `gitea-1.26.0`, by their files' names in order; nothing, said loudly on behalf of
/// `test`, where there are none. They are in `../recordings` of the directory that `FIREACTIONS_SPECS` names.
///
/// # Panics
///
/// When `FIREACTIONS_SPECS` is set and there are none, or one is no JSON.
pub fn files(test: &str, server: &str) -> Option<Vec<(String, Value)>> {
    let directory = beside::directory(test, &format!("recordings/{server}"))?;
    let mut files: Vec<(String, Value)> = fs::read_dir(&directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .map(|path| {
            let text = fs::read(&path).unwrap();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let recorded = serde_json::from_slice(&text);
            let recorded = recorded.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            (name, recorded)
        })
        .collect();
    files.sort_by(|(a, _), (b, _)| a.cmp(b));
    Some(files)
}
