//! The files of the page.

/// A file of the page, compressed as all of them are.
pub(crate) struct File {
    /// Where it is served, without the first slash.
    pub(crate) path: &'static str,
    /// Changes when its content does; an `ETag`.
    pub(crate) tag: &'static str,
    /// Its content.
    pub(crate) gzip: &'static [u8],
}

include!(concat!(env!("OUT_DIR"), "/files.rs"));

/// The file at this path.
pub(crate) fn find(path: &str) -> Option<&'static File> {
    FILES.iter().find(|file| file.path == path)
}
