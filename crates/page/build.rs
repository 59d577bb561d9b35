//! Puts the bundle that `scripts/build-page` made into the program. Without one the program is built all the same, and
//! says in its place how to make it.

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};

fn main() {
    println!("cargo::rerun-if-env-changed=FIREACTIONS_PAGE");
    let bundle = env::var_os("FIREACTIONS_PAGE")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../web/dist"), PathBuf::from);
    // A package's source may have no `web`. What is not there is never looked for again: it would build all anew each time.
    if bundle.is_dir() {
        println!("cargo::rerun-if-changed={}", bundle.display());
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    if let Err(error) = embed(&bundle, &out) {
        println!("cargo::error=the page cannot be put into the program: {error}");
    }
}

/// Copies the files, for the bundle may be made anew while this is compiled, and writes the list of them.
fn embed(bundle: &Path, out: &Path) -> std::io::Result<()> {
    let mut code = String::from("pub(crate) static FILES: &[File] = &[\n");
    for (number, (path, file)) in files(bundle).into_iter().enumerate() {
        let content = fs::read(&file)?;
        let mut hash = DefaultHasher::new();
        content.hash(&mut hash);
        let copy = out.join(format!("{number}.gz"));
        fs::write(&copy, content)?;
        let tag = format!("\"{:016x}\"", hash.finish());
        let copy = copy.display().to_string();
        let _ = writeln!(code, "File {{ path: {path:?}, tag: {tag:?}, gzip: include_bytes!({copy:?}) }},");
    }
    code.push_str("];\n");
    fs::write(out.join("files.rs"), code)
}

/// The compressed files of the bundle, by the path at which each is served; in order, so that a build is like the one before.
fn files(bundle: &Path) -> Vec<(String, PathBuf)> {
    let mut found = Vec::new();
    for (directory, prefix) in [(bundle.to_owned(), ""), (bundle.join("assets"), "assets/")] {
        let Ok(entries) = fs::read_dir(&directory) else { continue };
        for entry in entries.flatten() {
            let name = entry.file_name();
            if let Some(plain) = name.to_str().and_then(|name| name.strip_suffix(".gz")) {
                found.push((format!("{prefix}{plain}"), entry.path()));
            }
        }
    }
    found.sort();
    found
}
