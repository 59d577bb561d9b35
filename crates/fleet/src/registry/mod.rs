//! The hosts of a fleet: `hosts/registry.json`, which people edit too, and which the flake reads. Reading is lenient, and what is
//! not understood stays as it is; what cannot be read is never written over.

mod document;
mod lock;
mod write;

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use document::Fault;
pub use document::Hosts;
pub use lock::{Lock, LockError};

/// A registry is larger only if it is none.
const LARGEST: u64 = 16 << 20;
/// Another program has the lock for milliseconds.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the registry has about a host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Host {
    /// Its address.
    pub hostname: String,
    /// Where it runs ([`crate::provider::Provider`]; files may have other words).
    #[serde(default = "Host::generic")]
    pub provider: String,
    /// As Nix calls it: `x86_64-linux`.
    #[serde(default = "Host::x86_64")]
    pub system: String,
    /// When it was set up, in ISO 8601.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployed: Option<String>,
    /// The profiles that it has, and other words that it is found by.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Who logs in for changes; absent: root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_user: Option<String>,
    /// Whether it builds its system itself; absent: it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build_on_target: Option<bool>,
    /// Whatever else the file has about it.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

impl Host {
    fn generic() -> String {
        "generic".to_owned()
    }

    fn x86_64() -> String {
        "x86_64-linux".to_owned()
    }
}

/// Why the registry could not be read or changed. It is then as it was.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// Not the JSON that it should be.
    #[error("{}:{line}:{column}: {why}", .path.display())]
    Broken {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
        /// What is wrong.
        why: String,
    },
    /// Some other program's, or a later version's.
    #[error("{}:{line}:{column}: this is a registry of another version: {why}", .path.display())]
    OtherVersion {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
        /// What says so.
        why: String,
    },
    /// The disk's part.
    #[error("{}: {source}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Somebody else changes it.
    #[error(transparent)]
    Locked(#[from] LockError),
}

impl RegistryError {
    /// What to do about it.
    pub fn advice(&self) -> String {
        match self {
            Self::Broken { path, .. } => format!(
                "the file is as it was: mend it, or take the last good one (`git checkout -- {}`)",
                path.display()
            ),
            Self::OtherVersion { .. } => {
                "the file is as it was: use the version of fireactions that wrote it".to_owned()
            }
            Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                "run this in the directory of your flake, or name that directory with --flake".to_owned()
            }
            Self::Io { .. } => "see that the file and its directory can be read and written".to_owned(),
            Self::Locked(error) => error.advice(),
        }
    }
}

/// Why a change was not made: its own reason, or the file's.
#[derive(Debug, thiserror::Error)]
pub enum UpdateError<E> {
    /// The change was refused.
    #[error(transparent)]
    Refused(E),
    /// The file could not be read or written.
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

/// The file.
#[derive(Debug, Clone)]
pub struct Registry {
    path: PathBuf,
}

impl Registry {
    /// Nothing is opened yet. The file need not be there: then there are no hosts. Its directory must be.
    pub fn new(path: &Path) -> Self {
        // Whoever keeps it elsewhere and has a link here wants the link to stay.
        Self { path: std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned()) }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The hosts; none, if there is no file.
    ///
    /// # Errors
    /// When there is a file that cannot be read.
    pub fn read(&self) -> Result<Hosts, RegistryError> {
        let io = |source| RegistryError::Io { path: self.path.clone(), source };
        let mut bytes = Vec::new();
        match std::fs::File::open(&self.path) {
            Ok(file) => file.take(LARGEST + 1).read_to_end(&mut bytes).map_err(io)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.directory().is_dir() => {
                return Ok(Hosts::default());
            }
            Err(error) => return Err(io(error)),
        };
        if bytes.len() as u64 > LARGEST {
            return Err(io(io::Error::other("it has more than 16 MiB and is no registry")));
        }
        Hosts::parse(&bytes).map_err(|fault| {
            let path = self.path.clone();
            match fault {
                Fault::Broken { line, column, why } => RegistryError::Broken { path, line, column, why },
                Fault::OtherVersion { line, column, why } => {
                    RegistryError::OtherVersion { path, line, column, why }
                }
            }
        })
    }

    /// Reads, changes and writes under the lock. A reader, or whoever comes after a power loss, finds the old file or the new
    /// one. Without a change in the hosts nothing is written.
    ///
    /// # Errors
    /// When the change is refused, or the file cannot be read or written.
    pub fn update<T, E>(&self, change: impl FnOnce(&mut Hosts) -> Result<T, E>) -> Result<T, UpdateError<E>> {
        let io = |source| UpdateError::Registry(RegistryError::Io { path: self.path.clone(), source });
        let _lock = self.lock("registry", PATIENCE).map_err(RegistryError::from)?;
        let before = self.read()?;
        let mut hosts = before.clone();
        let value = change(&mut hosts).map_err(UpdateError::Refused)?;
        if hosts != before {
            write::replace(&self.path, hosts.to_text().map_err(|error| io(error.into()))?.as_bytes())
                .map_err(io)?;
        }
        Ok(value)
    }

    /// Waits so long for the lock `.NAME.lock` beside the file.
    ///
    /// # Errors
    /// When another process keeps it.
    pub fn lock(&self, name: &str, patience: Duration) -> Result<Lock, LockError> {
        Lock::take(&self.directory().join(format!(".{name}.lock")), patience)
    }

    fn directory(&self) -> &Path {
        self.path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."))
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    fn host(address: &str) -> Host {
        Host {
            hostname: address.to_owned(),
            provider: "do".to_owned(),
            system: Host::x86_64(),
            deployed: Some("2026-01-02T03:04:05+00:00".to_owned()),
            tags: vec!["prod".to_owned()],
            target_user: None,
            build_on_target: None,
            more: Map::new(),
        }
    }

    fn put(registry: &Registry, name: &str, host: Host) {
        let changed = registry.update(|hosts| {
            hosts.put(name, host);
            Ok::<_, Infallible>(())
        });
        changed.unwrap();
    }

    fn insert(registry: &Registry, name: &str, address: &str) {
        put(registry, name, host(address));
    }

    /// As `jq` has written it for years, with what people add by hand.
    const BEFORE: &str = r#"{
  "tower": {
    "hostname": "192.168.55.56",
    "provider": "nvme",
    "system": "x86_64-linux",
    "rack": {"row": 3, "bays": [1, 2]},
    "deployed": "2025-12-22T21:22:48+01:00",
    "tags": ["dev", "gpu"]
  },
  "a-host": {"tags": [], "hostname": "10.0.0.1", "provider": "colo", "targetUser": "ops", "price": 12.50}
}
"#;

    #[test]
    fn what_others_wrote_stays_letter_by_letter() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("registry.json");
        std::fs::write(&path, BEFORE).unwrap();
        let registry = Registry::new(&path);
        insert(&registry, "new", "10.0.0.2");
        let text = std::fs::read_to_string(&path).unwrap();
        let kept = BEFORE.trim_end().strip_suffix("\n}").unwrap();
        assert_eq!(
            text.strip_prefix(kept).unwrap(),
            ",\n  \"new\": {\n    \"hostname\": \"10.0.0.2\",\n    \"provider\": \"do\",\n    \"system\": \"x86_64-linux\",\n    \
             \"deployed\": \"2026-01-02T03:04:05+00:00\",\n    \"tags\": [\n      \"prod\"\n    ]\n  }\n}\n"
        );
        registry.update(|hosts| Ok::<_, Infallible>(hosts.remove("new"))).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), BEFORE);

        // A host that is changed keeps what we do not know.
        let mut tower = registry.read().unwrap().get("tower").unwrap().clone();
        tower.tags = vec!["prod".to_owned()];
        put(&registry, "tower", tower.clone());
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(
            text.contains("\"rack\": {\n      \"bays\": [") && text.contains("\"price\": 12.50}"),
            "{text}"
        );
        assert!(text.find("\"tower\"") < text.find("\"a-host\""), "the order is theirs: {text}");
        assert_eq!(registry.read().unwrap().get("tower"), Some(&tower));
    }

    #[test]
    fn an_absent_file_has_no_hosts_and_is_made() {
        let dir = tempfile::tempdir().unwrap();
        let registry = Registry::new(&dir.path().join("registry.json"));
        assert_eq!(registry.read().unwrap().len(), 0);
        registry.update(|_| Ok::<_, Infallible>(())).unwrap();
        assert!(!registry.path().exists(), "nothing changed, so nothing is written");
        insert(&registry, "a", "10.0.0.1");
        assert_eq!(registry.read().unwrap().names().collect::<Vec<_>>(), ["a"]);
        registry.update(|hosts| Ok::<_, Infallible>(hosts.remove("a"))).unwrap();
        assert_eq!(std::fs::read_to_string(registry.path()).unwrap(), "{}\n");

        let elsewhere = Registry::new(&dir.path().join("hosts/registry.json"));
        let error = elsewhere.update(|_| Ok::<_, Infallible>(())).unwrap_err();
        let UpdateError::Registry(error) = error;
        assert!(error.advice().contains("the directory of your flake"), "{error}");
    }

    #[test]
    fn what_cannot_be_read_is_told_with_its_place_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("registry.json");
        let registry = Registry::new(&path);
        for (text, told) in [
            ("", "1:0: EOF while parsing a value"),
            ("{", "1:1: EOF while parsing an object"),
            ("[]", "1:1: a registry is an object: {\"NAME\": {\"hostname\": …}, …}"),
            ("{\n  \"a\": {\"hostname\": \"h\"},\n}", "3:1: trailing comma"),
            ("{\"a\": {\"hostname\": \"h\"}}\n<<<<<<< HEAD\n", "2:1: trailing characters"),
            ("{\n  \"a\": {\"provider\": \"do\"}\n}", "2:25: host 'a': missing field `hostname`"),
            (
                "{\n  \"a\": {\n    \"hostname\": \"h\",\n    \"tags\": \"prod\"\n  }\n}",
                "4:18: host 'a': invalid type: string \"prod\", expected a sequence",
            ),
            ("{\"b\": 1}", "1:7: host 'b': it is no object: {\"hostname\": …}"),
            ("{\"a\": {\"hostname\": \"h\"}, \"a\": {\"hostname\": \"i\"}}", "1:31: host 'a' is there twice"),
            (
                "{\"a\": {\"hostname\": \"h\", \"hostname\": \"i\"}}",
                "1:34: host 'a': duplicate field `hostname`",
            ),
            (
                "{\"version\": 2, \"hosts\": {}}",
                "1:13: this is a registry of another version: it has \"version\": 2",
            ),
            ("\u{feff}{}", "1:1: expected value"),
        ] {
            std::fs::write(&path, text).unwrap();
            let error =
                registry.update(|hosts| Ok::<_, Infallible>(hosts.remove("a"))).unwrap_err().to_string();
            assert_eq!(error, format!("{}:{told}", path.display()), "{text}");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        }
        std::fs::write(&path, b"{\"a\": {\"hostname\": \"\xff\"}}").unwrap();
        assert!(registry.read().unwrap_err().to_string().ends_with("1:21: it is not UTF-8"));
    }

    #[test]
    fn five_hundred_hosts_and_one_more() {
        let dir = tempfile::tempdir().unwrap();
        let registry = Registry::new(&dir.path().join("registry.json"));
        registry
            .update(|hosts| {
                for n in 0..500 {
                    hosts.put(&format!("h{n}"), host(&format!("10.0.{}.{}", n / 250, n % 250 + 1)));
                }
                Ok::<_, Infallible>(())
            })
            .unwrap();
        insert(&registry, "h500", "10.0.9.9");
        assert_eq!(registry.read().unwrap().len(), 501);
    }

    #[test]
    fn a_link_stays_a_link_and_rights_stay_rights() {
        use std::os::unix::fs::{PermissionsExt as _, symlink};
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("kept.json"), dir.path().join("registry.json"));
        std::fs::write(&file, "{}\n").unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
        symlink(&file, &link).unwrap();
        insert(&Registry::new(&link), "a", "10.0.0.1");
        assert!(link.is_symlink());
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(Registry::new(&link).read().unwrap().len(), 1);
    }

    #[test]
    fn a_lock_that_another_has_is_waited_for_and_then_told() {
        let dir = tempfile::tempdir().unwrap();
        let registry = Registry::new(&dir.path().join("registry.json"));
        let held = registry.lock("x", Duration::ZERO).unwrap();
        let error = registry.lock("x", Duration::from_millis(50)).unwrap_err();
        assert!(error.to_string().contains(&format!("process {}", std::process::id())), "{error}");
        drop(held);
        registry.lock("x", Duration::ZERO).unwrap();
    }
}
