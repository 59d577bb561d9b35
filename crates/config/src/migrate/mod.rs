//! A configuration of another program as one of ours: the same translation as when it is loaded ([`crate::foreign`]), but
//! written out, with what must be a file and what is missing as lines with a comment.

mod fill;
mod write;

use std::path::Path;

use crate::foreign::{self, Dialect, Ids};
use crate::problem::{ConfigErrors, Diagnostic};
use crate::{Host, load};

/// A configuration that was made of another program's.
#[derive(Debug, Clone)]
pub struct Migrated {
    /// The file. It has none of the other one's secrets.
    pub text: String,
    /// How many of its lines have a comment that begins with `TODO`, because the other file does not say what they need.
    pub unfinished: usize,
}

/// Translates a configuration file.
///
/// # Errors
///
/// When it is no file of a program that is known, or has a mistake that is to be mended first, at its place there.
pub fn migrate(path: &Path) -> Result<Migrated, ConfigErrors> {
    translate(path, &load::bytes(path)?)
}

/// The same of a file's bytes; `path` is only shown.
pub fn translate(path: &Path, bytes: &[u8]) -> Result<Migrated, ConfigErrors> {
    let (text, mut root) = load::read(path, bytes)?;
    let mut ids = Ids::after(&root);
    let dialect = foreign::dialect(&root);
    let mut notes = match dialect {
        Some((Dialect::Fireglab, at)) => {
            return Err(ConfigErrors::one(Diagnostic::new(path, text, &Dialect::Fireglab.told(at))));
        }
        Some((Dialect::Fireteact, _)) => foreign::translate_fireteact(&mut root, &mut ids),
        None => foreign::translate(&mut root, &mut ids),
    };
    let unfinished = fill::fill(&mut root, dialect.is_some(), &mut ids, &mut notes);
    // Its mistakes are told, and no value is written that was not read as what it is to be.
    let judged = load::judge(&root, &Host::unknown());
    if judged.config.is_none() || !judged.errors.is_empty() {
        return Err(ConfigErrors { errors: load::diagnostics(path, text, judged.errors) });
    }
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    Ok(Migrated { text: write::file(&root, &notes.all, &name), unfinished })
}
