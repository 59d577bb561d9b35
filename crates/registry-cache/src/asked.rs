//! What a request to a registry asks for, and which files of docker-registry's are there if it has that.

use std::path::{Path, PathBuf};

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// A layer or a configuration, by the hexadecimal part of its digest.
    Blob {
        /// The image's name.
        repository: String,
        /// Of SHA-256.
        hex: String,
    },
    /// A manifest by its digest.
    Manifest {
        /// The image's name.
        repository: String,
        /// Of SHA-256.
        hex: String,
    },
    /// A manifest by a tag.
    Tag {
        /// The image's name.
        repository: String,
        /// Its tag.
        tag: String,
    },
    /// Whatever else.
    Other,
}

impl Asked {
    /// What the path of a URL asks for. Only what is safe in a path of a file is more than [`Asked::Other`].
    pub fn of(path: &str) -> Self {
        Self::parse(path).unwrap_or(Self::Other)
    }

    fn parse(path: &str) -> Option<Self> {
        let (rest, last) = path.strip_prefix("/v2/")?.rsplit_once('/')?;
        let (repository, kind) = rest.rsplit_once('/')?;
        let repository = Some(repository.to_owned()).filter(|name| name.split('/').all(is_component))?;
        let hex = last.strip_prefix("sha256:").filter(|hex| is_hex(hex)).map(str::to_owned);
        match (kind, hex) {
            ("blobs", Some(hex)) => Some(Self::Blob { repository, hex }),
            ("manifests", Some(hex)) => Some(Self::Manifest { repository, hex }),
            ("manifests", None) if is_tag(last) => Some(Self::Tag { repository, tag: last.to_owned() }),
            _ => None,
        }
    }

    /// The files, below the directory of this registry, that are all there if what is asked for is. Of a tag it is the file with the
    /// digest that it had last.
    pub fn files(&self, directory: &Path) -> Vec<PathBuf> {
        let top = directory.join("docker/registry/v2");
        let repository = |name: &str| top.join("repositories").join(name);
        match self {
            Self::Blob { repository: name, hex } => {
                vec![repository(name).join("_layers/sha256").join(hex).join("link"), data(&top, hex)]
            }
            Self::Manifest { repository: name, hex } => vec![
                repository(name).join("_manifests/revisions/sha256").join(hex).join("link"),
                data(&top, hex),
            ],
            Self::Tag { repository: name, tag } => {
                vec![repository(name).join("_manifests/tags").join(tag).join("current/link")]
            }
            Self::Other => Vec::new(),
        }
    }
}

fn data(top: &Path, hex: &str) -> PathBuf {
    top.join("blobs/sha256").join(&hex[..2]).join(hex).join("data")
}

/// Of an image's name, as the distribution specification has it.
fn is_component(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.len() <= 255
        && text.starts_with(inner)
        && text.ends_with(inner)
        && text.chars().all(|c| inner(c) || "._-".contains(c))
}

fn is_tag(text: &str) -> bool {
    let first = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.len() <= 128 && text.starts_with(first) && text.chars().all(|c| first(c) || ".-".contains(c))
}

fn is_hex(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_is_told_by_its_path_and_never_leaves_the_directory() {
        let hex = "ab".repeat(32);
        let name = || "library/busybox".to_owned();
        let blob = Asked::of(&format!("/v2/library/busybox/blobs/sha256:{hex}"));
        assert_eq!(blob, Asked::Blob { repository: name(), hex: hex.clone() });
        assert_eq!(
            blob.files(Path::new("/c")),
            [
                format!("/c/docker/registry/v2/repositories/library/busybox/_layers/sha256/{hex}/link"),
                format!("/c/docker/registry/v2/blobs/sha256/ab/{hex}/data")
            ]
            .map(PathBuf::from)
        );
        let manifest = Asked::of(&format!("/v2/library/busybox/manifests/sha256:{hex}"));
        assert_eq!(manifest, Asked::Manifest { repository: name(), hex: hex.clone() });
        let tag = Asked::of("/v2/library/busybox/manifests/v1.2");
        assert_eq!(tag, Asked::Tag { repository: name(), tag: "v1.2".to_owned() });
        for odd in [
            "/v2/".to_owned(),
            "/v2/a/tags/list".to_owned(),
            "/v2/manifests/latest".to_owned(),
            "/v2/../../etc/manifests/passwd".to_owned(),
            "/v2/a/../b/manifests/latest".to_owned(),
            "/v2/a//b/manifests/latest".to_owned(),
            "/v2/a/manifests/..".to_owned(),
            "/v2/a/manifests/.hidden".to_owned(),
            "/v2/%2e%2e/manifests/latest".to_owned(),
            "/v2/A/manifests/latest".to_owned(),
            "/v2/a/blobs/sha256:abc".to_owned(),
            format!("/v2/a/blobs/sha256:{}", "AB".repeat(32)),
            format!("/v2/a/blobs/sha512:{hex}"),
        ] {
            assert_eq!(Asked::of(&odd), Asked::Other, "{odd}");
            assert_eq!(Asked::of(&odd).files(Path::new("/c")), Vec::<PathBuf>::new());
        }
    }
}
