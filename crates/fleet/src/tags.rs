//! Tags of hosts: each is a profile of the flake. The profiles' directory is asked which there are, so there is no list beside it.

use std::path::{Path, PathBuf};

use fireactions_config::nearest_name;

/// Why tags cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TagError {
    /// No profile is called so.
    #[error("there is no profile '{tag}': known are {}", .known.join(", "))]
    Unknown {
        /// The tag.
        tag: String,
        /// The profiles.
        known: Vec<String>,
        /// What was probably meant.
        nearest: Option<String>,
    },
    /// The directory cannot be read.
    #[error("the profiles cannot be listed in {}: {source}", .dir.display())]
    Unreadable {
        /// The directory.
        dir: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// The profiles of a directory, sorted: its `NAME.nix`, and the directories with a `default.nix` in them. `default.nix` is their
/// index, and what begins with `_` is for them to share.
pub fn known(dir: &Path) -> Result<Vec<String>, TagError> {
    let unreadable = |source| TagError::Unreadable { dir: dir.to_owned(), source };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let is_profile = path.extension().is_some_and(|extension| extension == "nix")
            || path.join("default.nix").is_file();
        let Some(name) = path.file_stem().and_then(|name| name.to_str()) else { continue };
        if is_profile && name != "default" && !name.starts_with(['_', '.']) {
            names.push(name.to_owned());
        }
    }
    names.sort_unstable();
    names.dedup();
    Ok(names)
}

/// Takes wanted tags if each is a known one; the same tag twice is one.
pub fn check(wanted: &[String], known: &[String]) -> Result<Vec<String>, TagError> {
    let mut tags: Vec<String> = Vec::new();
    for tag in wanted.iter().map(|tag| tag.trim()).filter(|tag| !tag.is_empty()) {
        if !known.iter().any(|name| name == tag) {
            let names: Vec<&str> = known.iter().map(String::as_str).collect();
            let nearest = nearest_name(tag, &names).map(str::to_owned);
            return Err(TagError::Unknown { tag: tag.to_owned(), known: known.to_vec(), nearest });
        }
        if !tags.iter().any(|had| had == tag) {
            tags.push(tag.to_owned());
        }
    }
    Ok(tags)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles_are_found_and_tags_are_held_to_them() {
        let dir = tempfile::tempdir().unwrap();
        for file in ["default.nix", "prod.nix", "runners.nix", "_lib.nix", "README.md", ".x.nix"] {
            std::fs::write(dir.path().join(file), "").unwrap();
        }
        for file in ["gpu/default.nix", "sizes/_lib.nix"] {
            let file = dir.path().join(file);
            std::fs::create_dir(file.parent().unwrap()).unwrap();
            std::fs::write(file, "").unwrap();
        }
        let known = known(dir.path()).unwrap();
        assert_eq!(known, ["gpu", "prod", "runners"]);
        let words = |text: &str| text.split(',').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(check(&words("runners, prod,,prod"), &known).unwrap(), ["runners", "prod"]);
        let error = check(&words("prod,runers"), &known).unwrap_err();
        assert_eq!(error.to_string(), "there is no profile 'runers': known are gpu, prod, runners");
        let absent = super::known(&dir.path().join("x")).unwrap_err().to_string();
        assert!(absent.starts_with("the profiles cannot be listed in /"), "{absent}");
        assert!(matches!(error, TagError::Unknown { nearest: Some(name), .. } if name == "runners"));
    }
}
