//! Where an image comes from: what an image reference means. One parser for whoever reads a configuration or takes a job and
//! whoever pulls, so that nothing is found to be right that can never be pulled.
//!
//! Rules of the short forms are Docker's: a first component with a dot, a colon or the name `localhost` is a
//! registry host, else the registry is Docker Hub, where a single component lives in `library/`.

use std::fmt;
use std::path::PathBuf;

use crate::{Digest, ImageRef};

/// A parsed reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageSource {
    /// A repository in a registry.
    Registry(RemoteImage),
    /// An OCI layout directory.
    Layout(PathBuf, Select),
    /// A tar file holding an OCI layout.
    Archive(PathBuf, Select),
}

/// A repository in a registry, and which of its images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteImage {
    /// `host` or `host:port`, as people and Docker's config.json write it.
    pub registry: String,
    pub repository: String,
    /// A tag or a digest, as the manifests endpoint takes it.
    pub version: String,
    /// Set when the reference pins a digest.
    pub pinned: Option<Digest>,
}

/// Which image of a layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Select {
    /// The only one.
    Only,
    /// The one of this tag.
    Tag(String),
    /// The one of this digest.
    Digest(Digest),
}

impl fmt::Display for RemoteImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let separator = if self.pinned.is_some() { '@' } else { ':' };
        write!(f, "{}/{}{separator}{}", self.registry, self.repository, self.version)
    }
}

/// Docker Hub as references name it.
const HUB: &str = "docker.io";

impl ImageSource {
    /// What a reference means.
    ///
    /// # Errors
    ///
    /// The rule that it breaks.
    pub fn of(image: &ImageRef) -> Result<Self, &'static str> {
        let text = image.as_str();
        if let Some(rest) = text.strip_prefix("oci:") {
            let (path, select) = local(rest)?;
            return Ok(Self::Layout(path, select));
        }
        if let Some(rest) = text.strip_prefix("oci-archive:") {
            let (path, select) = local(rest)?;
            return Ok(Self::Archive(path, select));
        }
        if text.starts_with("https://") || text.starts_with("http://") {
            return Err("leave out 'https://': a reference begins with the registry's host name");
        }
        remote(text.strip_prefix("docker://").unwrap_or(text)).map(Self::Registry)
    }
}

fn digest(text: &str) -> Result<Digest, &'static str> {
    Digest::new(text).map_err(|_| "a digest is 'sha256:' and 64 characters of 0-9 and a-f")
}

fn local(text: &str) -> Result<(PathBuf, Select), &'static str> {
    // A path may have any '@'; only a digest begins like one.
    let (path, select) = match text.rsplit_once('@') {
        Some((path, hash)) if hash.starts_with("sha256:") => (path, Select::Digest(digest(hash)?)),
        _ => match text.rsplit_once(':') {
            Some((path, tag)) if !tag.contains('/') => (path, Select::Tag(tag.to_string())),
            _ => (text, Select::Only),
        },
    };
    if !path.starts_with('/') {
        return Err("use an absolute path: the server's working directory is not yours");
    }
    if select == Select::Tag(String::new()) {
        return Err("the tag after ':' is empty");
    }
    Ok((PathBuf::from(path), select))
}

fn remote(text: &str) -> Result<RemoteImage, &'static str> {
    let (rest, pinned) = match text.split_once('@') {
        Some((rest, hash)) => (rest, Some(digest(hash)?)),
        None => (text, None),
    };
    let (rest, tag) = match rest.rsplit_once(':') {
        Some((rest, tag)) if !tag.contains('/') => (rest, Some(tag)),
        _ => (rest, None),
    };
    let (host, path) = match rest.split_once('/') {
        Some((host, path)) if host.contains(['.', ':']) || host == "localhost" => (host, path),
        _ => (HUB, rest),
    };
    let registry = match host {
        "index.docker.io" | "registry-1.docker.io" => HUB,
        other => other,
    };
    let host_ok = |b: u8| b.is_ascii_alphanumeric() || b".-:[]".contains(&b);
    if host.is_empty() || !host.bytes().all(host_ok) {
        return Err("the registry's host name has characters that no host name has");
    }
    let component_ok = |c: &str| {
        !c.is_empty()
            && c.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b))
            && c.as_bytes()[0].is_ascii_alphanumeric()
            && c.as_bytes()[c.len() - 1].is_ascii_alphanumeric()
    };
    if path.is_empty() || path.len() > 255 || !path.split('/').all(component_ok) {
        return Err("a repository is lower-case letters, digits and . _ - between, parts separated by '/'");
    }
    let tag_ok = |tag: &str| {
        (1..=128).contains(&tag.len())
            && !tag.starts_with(['.', '-'])
            && tag.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
    };
    if tag.is_some_and(|tag| !tag_ok(tag)) {
        return Err("a tag is 1 to 128 letters, digits, . _ -, not starting with . or -");
    }
    let repository =
        if registry == HUB && !path.contains('/') { format!("library/{path}") } else { path.to_string() };
    let version = match &pinned {
        Some(digest) => digest.to_string(),
        None => tag.unwrap_or("latest").to_string(),
    };
    Ok(RemoteImage { registry: registry.to_string(), repository, version, pinned })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        match ImageSource::of(&ImageRef::new(text).unwrap()) {
            Ok(ImageSource::Registry(remote)) => remote.to_string(),
            Ok(ImageSource::Layout(path, select)) => format!("layout {} {select:?}", path.display()),
            Ok(ImageSource::Archive(path, select)) => format!("archive {} {select:?}", path.display()),
            Err(rule) => format!("refused: {rule}"),
        }
    }

    #[test]
    fn short_forms_are_dockers() {
        assert_eq!(shown("debian"), "docker.io/library/debian:latest");
        assert_eq!(shown("debian:12"), "docker.io/library/debian:12");
        assert_eq!(shown("index.docker.io/library/debian:12"), "docker.io/library/debian:12");
        assert_eq!(shown("team/app"), "docker.io/team/app:latest");
        assert_eq!(shown("docker://ghcr.io/a/b/c:v1"), "ghcr.io/a/b/c:v1");
        assert_eq!(shown("localhost/x"), "localhost/x:latest");
        assert_eq!(shown("localhost:5000/x/y:t"), "localhost:5000/x/y:t");
        assert_eq!(shown("[::1]:5000/x"), "[::1]:5000/x:latest");
        let hash = format!("sha256:{}", "a".repeat(64));
        assert_eq!(shown(&format!("q.io/x:tag@{hash}")), format!("q.io/x@{hash}"));
    }

    #[test]
    fn local_forms() {
        assert_eq!(shown("oci:/a/b"), "layout /a/b Only");
        assert_eq!(shown("oci:/a/b:12"), "layout /a/b Tag(\"12\")");
        assert_eq!(shown("oci-archive:/a:b/c.tar"), "archive /a:b/c.tar Only");
        assert!(shown("oci:a/b").contains("absolute path"));
        assert!(shown("oci:/a:").contains("empty"));
        // Paths as workspaces of CI systems have them.
        assert_eq!(shown("oci:/job@2/img"), "layout /job@2/img Only");
        assert_eq!(shown("oci-archive:/my job@2/img.tar:v1"), "archive /my job@2/img.tar Tag(\"v1\")");
        let hash = format!("sha256:{}", "a".repeat(64));
        assert_eq!(shown(&format!("oci:/job@2@{hash}")), format!("layout /job@2 Digest({hash})"));
        assert!(shown("oci:/a@sha256:12").contains("a digest is"));
    }

    #[test]
    fn nonsense_is_refused_with_the_rule() {
        for text in
            ["Debian", "a//b", "x:-1", "host.io/", "a/../b", "ho$t.io/x", "x@sha512:12", "http://x.io/y"]
        {
            assert!(shown(text).starts_with("refused: "), "{text} → {}", shown(text));
        }
        assert!(shown("https://ghcr.io/acme/img:1").contains("leave out 'https://'"));
        assert!(shown("Ghcr.io/Acme/Img:1").contains("lower-case"));
    }
}
