//! From a path to a checked [`Config`].

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::effective::{self, EffectiveKey};
use crate::problem::{ConfigErrors, Diagnostic, Problem};
use crate::tree::{self, Node};
use crate::{Config, Host, check, de, foreign, ranges};

/// Largest file that is read, in bytes. A pool takes about 1 KiB.
const MAX_BYTES: u64 = 1024 * 1024;
/// Most problems that are told at once.
const MAX_SHOWN: usize = 50;

/// A configuration that may be used, and what people should know about it.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Things that are fine to start with but probably not meant.
    pub warnings: Vec<Diagnostic>,
    /// Every key with its value or default, without secrets.
    pub effective: Vec<EffectiveKey>,
}

/// Reads and checks a configuration file without regard to the host it will run on.
pub fn load(path: &Path) -> Result<Config, ConfigErrors> {
    load_for(path, &Host::unknown()).map(|loaded| loaded.config)
}

/// Reads and checks a configuration file for a host.
pub fn load_for(path: &Path, host: &Host) -> Result<Loaded, ConfigErrors> {
    parse(path, &bytes(path)?, host)
}

/// A configuration file's bytes.
pub(crate) fn bytes(path: &Path) -> Result<Vec<u8>, ConfigErrors> {
    let fail = |message: &str, help: &str| ConfigErrors::one(Diagnostic::whole(path, message, Some(help)));
    let file = File::open(path).map_err(|error| {
        fail(&format!("cannot open the configuration: {error}"), "name another file with --config")
    })?;
    if file.metadata().is_ok_and(|data| data.is_dir()) {
        return Err(fail("the configuration is a directory", "name a file in it"));
    }
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| fail(&format!("cannot read the configuration: {error}"), "check the file system"))?;
    Ok(bytes)
}

/// The bytes of a configuration file as text and tree; `path` is only shown.
pub(crate) fn read<'a>(path: &Path, bytes: &'a [u8]) -> Result<(&'a str, Node), ConfigErrors> {
    if bytes.len() as u64 > MAX_BYTES {
        let message = format!("the configuration is larger than {} KiB", MAX_BYTES / 1024);
        return Err(ConfigErrors::one(Diagnostic::whole(path, &message, Some("is this the right file?"))));
    }
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let right = error.valid_up_to();
            let text = std::str::from_utf8(&bytes[..right]).unwrap_or_default();
            let problem =
                Problem::new(right..right + 1, "this is not UTF-8 text").help("save the file as UTF-8");
            return Err(ConfigErrors::one(Diagnostic::new(path, text, &problem)));
        }
    };
    let root = tree::parse(text).map_err(|error| {
        let problem = Problem::new(error.at..error.at + 1, error.message);
        ConfigErrors::one(Diagnostic::new(path, text, &problem))
    })?;
    Ok((text, root))
}

/// Checks the bytes of a configuration file; `path` is only shown.
pub fn parse(path: &Path, bytes: &[u8], host: &Host) -> Result<Loaded, ConfigErrors> {
    let (text, mut root) = read(path, bytes)?;
    if let Some((dialect, at)) = foreign::dialect(&root) {
        return Err(ConfigErrors::one(Diagnostic::new(path, text, &dialect.told(at))));
    }
    let mut ids = foreign::Ids::after(&root);
    let (errors, warnings) = foreign::translate(&mut root, &mut ids).problems();
    let mut judged = judge(&root, host);
    judged.errors.extend(errors);
    judged.warnings.extend(warnings);
    match judged.config {
        Some(config) if judged.errors.is_empty() => {
            let effective = effective::effective(&root);
            Ok(Loaded { config, warnings: diagnostics(path, text, judged.warnings), effective })
        }
        _ => Err(ConfigErrors { errors: diagnostics(path, text, judged.errors) }),
    }
}

/// What a tree says, and what is wrong with it.
pub(crate) struct Judged {
    pub(crate) config: Option<Config>,
    pub(crate) errors: Vec<Problem>,
    pub(crate) warnings: Vec<Problem>,
}

/// Reads a tree of our own keys.
pub(crate) fn judge(root: &Node, host: &Host) -> Judged {
    let (mut errors, outside) = ranges::check(root);
    let reading = de::read::<Config>(root, outside);
    errors.extend(reading.problems);
    let mut warnings = Vec::new();
    if let Some(config) = &reading.value {
        let found = check::check(config, root, &reading.pruned, host);
        errors.extend(found.errors);
        warnings = found.warnings;
    }
    Judged { config: reading.value, errors, warnings }
}

/// Problems as they are shown: in the order of the file, and not too many.
pub(crate) fn diagnostics(path: &Path, text: &str, mut problems: Vec<Problem>) -> Vec<Diagnostic> {
    problems.sort_by_key(Problem::start);
    problems.iter().take(MAX_SHOWN).map(|problem| Diagnostic::new(path, text, problem)).collect()
}
