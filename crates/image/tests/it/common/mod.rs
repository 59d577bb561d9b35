//! Images made for tests: layers as tar archives, in an OCI layout directory.
#![allow(dead_code, reason = "each test file uses its part")]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use fireactions_image::{Images, ImagesConfig, RootImage, Timeouts};
use fireactions_model::{ImageRef, PullPolicy};
use serde_json::json;
use sha2::{Digest, Sha256};
use tar::{EntryType, Header};

pub(crate) fn sha256(bytes: &[u8]) -> String {
    let hash: [u8; 32] = Sha256::digest(bytes).into();
    fireactions_model::Digest::from_sha256(hash).to_string()
}

/// One entry; the defaults are a root-owned empty file.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub path: Vec<u8>,
    pub kind: EntryType,
    pub data: Vec<u8>,
    pub link: Vec<u8>,
    pub mode: u32,
    pub owner: (u64, u64),
    pub mtime: u64,
    pub xattrs: Vec<(String, Vec<u8>)>,
    pub device: (u32, u32),
}

pub(crate) fn item(kind: EntryType, path: impl AsRef<[u8]>) -> Item {
    Item {
        path: path.as_ref().to_vec(),
        kind,
        data: Vec::new(),
        link: Vec::new(),
        mode: if kind == EntryType::Directory { 0o755 } else { 0o644 },
        owner: (0, 0),
        mtime: 1_700_000_000,
        xattrs: Vec::new(),
        device: (0, 0),
    }
}

pub(crate) fn file(path: impl AsRef<[u8]>, data: impl AsRef<[u8]>) -> Item {
    Item { data: data.as_ref().to_vec(), ..item(EntryType::Regular, path) }
}

pub(crate) fn dir(path: impl AsRef<[u8]>) -> Item {
    item(EntryType::Directory, path)
}

pub(crate) fn symlink(path: impl AsRef<[u8]>, to: impl AsRef<[u8]>) -> Item {
    Item { link: to.as_ref().to_vec(), ..item(EntryType::Symlink, path) }
}

pub(crate) fn hardlink(path: impl AsRef<[u8]>, to: impl AsRef<[u8]>) -> Item {
    Item { link: to.as_ref().to_vec(), ..item(EntryType::Link, path) }
}

pub(crate) fn pax(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    let mut record = format!("{length} {key}=").into_bytes();
    record.extend_from_slice(value);
    record.push(b'\n');
    record
}

fn block(out: &mut Vec<u8>, header: &mut Header, data: &[u8]) {
    header.set_size(data.len() as u64);
    header.set_cksum();
    out.extend_from_slice(header.as_bytes());
    out.extend_from_slice(data);
    out.resize(out.len().next_multiple_of(512), 0);
}

/// A layer's archive, without the end marker. Nothing is checked: hostile ones are made the same way.
pub(crate) fn tar_of(items: &[Item]) -> Vec<u8> {
    let mut out = Vec::new();
    for item in items {
        let mut extensions = Vec::new();
        let mut header = Header::new_ustar();
        header.set_entry_type(item.kind);
        header.set_mode(item.mode);
        header.set_uid(item.owner.0);
        header.set_gid(item.owner.1);
        header.set_mtime(item.mtime);
        if matches!(item.kind, EntryType::Char | EntryType::Block) {
            header.set_device_major(item.device.0).unwrap();
            header.set_device_minor(item.device.1).unwrap();
        }
        let fields = header.as_old_mut();
        if item.path.len() <= 100 {
            fields.name[..item.path.len()].copy_from_slice(&item.path);
        } else {
            extensions.extend(pax("path", &item.path));
        }
        if item.link.len() <= 100 {
            fields.linkname[..item.link.len()].copy_from_slice(&item.link);
        } else {
            extensions.extend(pax("linkpath", &item.link));
        }
        for (name, value) in &item.xattrs {
            extensions.extend(pax(&format!("SCHILY.xattr.{name}"), value));
        }
        if !extensions.is_empty() {
            let mut extra = Header::new_ustar();
            extra.set_entry_type(EntryType::XHeader);
            block(&mut out, &mut extra, &extensions);
        }
        block(&mut out, &mut header, &item.data);
    }
    out
}

pub(crate) fn finish(mut tar: Vec<u8>) -> Vec<u8> {
    tar.resize(tar.len() + 1024, 0);
    tar
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pack {
    Plain,
    Gzip,
    Zstd,
}

impl Pack {
    pub(crate) fn pack(self, tar: &[u8]) -> (Vec<u8>, &'static str) {
        match self {
            Self::Plain => (tar.to_vec(), "application/vnd.oci.image.layer.v1.tar"),
            Self::Gzip => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                encoder.write_all(tar).unwrap();
                (encoder.finish().unwrap(), "application/vnd.oci.image.layer.v1.tar+gzip")
            }
            Self::Zstd => (zstd::encode_all(tar, 1).unwrap(), "application/vnd.oci.image.layer.v1.tar+zstd"),
        }
    }
}

/// An image in memory: documents and blobs by digest.
#[derive(Clone, Debug, Default)]
pub(crate) struct TestImage {
    pub blobs: Vec<(String, Vec<u8>)>,
    pub manifest: Vec<u8>,
    pub config_digest: String,
}

impl TestImage {
    pub(crate) fn new(layers: &[Vec<Item>]) -> Self {
        let kinds = [Pack::Gzip, Pack::Zstd, Pack::Plain];
        let packed = layers.iter().enumerate().map(|(i, items)| (finish(tar_of(items)), kinds[i % 3]));
        Self::of_archives(&packed.collect::<Vec<_>>())
    }

    pub(crate) fn of_archives(layers: &[(Vec<u8>, Pack)]) -> Self {
        let mut image = Self::default();
        let mut descriptors = Vec::new();
        let mut diff_ids = Vec::new();
        for (tar, pack) in layers {
            let (blob, media_type) = pack.pack(tar);
            diff_ids.push(sha256(tar));
            let digest = image.add(&blob);
            descriptors.push(json!({"mediaType": media_type, "digest": digest, "size": blob.len()}));
        }
        let config = json!({
            "architecture": "amd64", "os": "linux",
            "config": {"Env": ["PATH=/bin", "A=b"], "User": "1000:1000", "WorkingDir": "/w",
                       "Entrypoint": ["/e"], "Cmd": ["c"], "StopSignal": "SIGINT"},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        let config = serde_json::to_vec(&config).unwrap();
        image.config_digest = image.add(&config);
        image.manifest = serde_json::to_vec(&json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json",
                       "digest": image.config_digest, "size": config.len()},
            "layers": descriptors,
        }))
        .unwrap();
        image
    }

    pub(crate) fn add(&mut self, bytes: &[u8]) -> String {
        let digest = sha256(bytes);
        self.blobs.push((digest.clone(), bytes.to_vec()));
        digest
    }

    pub(crate) fn manifest_digest(&self) -> String {
        sha256(&self.manifest)
    }

    /// A multi-platform index over the manifest, as buildx makes it (with an attestation).
    pub(crate) fn index(&self) -> Vec<u8> {
        let other = sha256(b"another machine's manifest");
        serde_json::to_vec(&json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [
                {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": other, "size": 10,
                 "platform": {"os": "linux", "architecture": "arm64", "variant": "v8"}},
                {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": other, "size": 10,
                 "platform": {"os": "unknown", "architecture": "unknown"}},
                {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": self.manifest_digest(),
                 "size": self.manifest.len(), "platform": {"os": "linux", "architecture": "amd64"}},
            ]
        }))
        .unwrap()
    }

    pub(crate) fn write_layout(&self, dir: &Path, tag: &str) {
        let blobs = dir.join("blobs/sha256");
        std::fs::create_dir_all(&blobs).unwrap();
        for (digest, bytes) in self.blobs.iter().chain([&(self.manifest_digest(), self.manifest.clone())]) {
            std::fs::write(blobs.join(&digest["sha256:".len()..]), bytes).unwrap();
        }
        std::fs::write(dir.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        let index = json!({"schemaVersion": 2, "manifests": [{
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": self.manifest_digest(), "size": self.manifest.len(),
            "annotations": {"org.opencontainers.image.ref.name": tag},
        }]});
        std::fs::write(dir.join("index.json"), serde_json::to_vec(&index).unwrap()).unwrap();
    }
}

/// A store in a temporary directory, with waits short enough for tests.
pub(crate) struct Lab {
    pub temp: tempfile::TempDir,
    pub images: Images,
}

pub(crate) fn quick() -> ImagesConfig {
    let timeouts = Timeouts {
        stall: std::time::Duration::from_secs(2),
        backoff: std::time::Duration::from_millis(5),
        helper: std::time::Duration::from_secs(30),
        ..Timeouts::default()
    };
    ImagesConfig { timeouts, grace: std::time::Duration::ZERO, ..ImagesConfig::default() }
}

impl Lab {
    pub(crate) fn new() -> Self {
        Self::with(quick())
    }

    pub(crate) fn with(config: ImagesConfig) -> Self {
        let temp = tempfile::tempdir().unwrap();
        let images = Images::open(&temp.path().join("images"), config).unwrap();
        Self { temp, images }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.temp.path().join(name)
    }

    /// Writes a layout and converts it.
    pub(crate) async fn convert(
        &self,
        image: &TestImage,
    ) -> Result<RootImage, fireactions_image::ImageError> {
        let dir = self.path("layout");
        image.write_layout(&dir, "t");
        let name = ImageRef::new(format!("oci:{}:t", dir.display())).unwrap();
        self.images.ensure(&name, PullPolicy::Always, None).await
    }

    /// Converts the layout at `dir`.
    pub(crate) async fn convert_layout(
        &self,
        dir: &Path,
    ) -> Result<RootImage, fireactions_image::ImageError> {
        let name = ImageRef::new(format!("oci:{}", dir.display())).unwrap();
        self.images.ensure(&name, PullPolicy::Always, None).await
    }

    /// Files below the store that a finished or failed operation must not leave.
    pub(crate) fn leftovers(&self) -> Vec<PathBuf> {
        let tmp = self.path("images/tmp");
        std::fs::read_dir(tmp).unwrap().map(|e| e.unwrap().path()).collect()
    }

    pub(crate) fn roots(&self) -> usize {
        std::fs::read_dir(self.path("images/roots")).unwrap().count()
    }
}

/// Runs a tool and gives its output; a missing tool is a failure that says so.
pub(crate) fn run(program: &str, args: &[&str]) -> Vec<u8> {
    let output = Command::new(program)
        .args(args)
        .output()
        .unwrap_or_else(|e| panic!("{program} is needed (make setup installs it): {e}"));
    assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// One name read back from a squashfs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub kind: EntryType,
    pub mode: u32,
    pub owner: (u64, u64),
    pub mtime: u64,
    pub data: Vec<u8>,
    pub link: Vec<u8>,
    pub device: (u32, u32),
    pub xattrs: Vec<(String, Vec<u8>)>,
}

/// Reads a squashfs back with `sqfs2tar`.
pub(crate) fn read_back(squashfs: &Path) -> std::collections::BTreeMap<Vec<u8>, Found> {
    use std::io::Read;
    let tar = run("sqfs2tar", &["-r", ".", squashfs.to_str().unwrap()]);
    let mut archive = tar::Archive::new(&tar[..]);
    let mut found = std::collections::BTreeMap::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let mut path = entry.path_bytes().into_owned();
        while path.ends_with(b"/") {
            path.pop();
        }
        let path = path.strip_prefix(b"./").unwrap_or(&path).to_vec();
        let mut xattrs = Vec::new();
        if let Some(extensions) = entry.pax_extensions().unwrap() {
            for extension in extensions.flatten() {
                if let Some(name) = extension.key().unwrap().strip_prefix("SCHILY.xattr.") {
                    xattrs.push((name.to_string(), extension.value_bytes().to_vec()));
                }
            }
        }
        xattrs.sort();
        let mut data = Vec::new();
        entry.read_to_end(&mut data).unwrap();
        let header = entry.header();
        let kind = header.entry_type();
        let device = if matches!(kind, EntryType::Char | EntryType::Block) {
            (header.device_major().unwrap().unwrap(), header.device_minor().unwrap().unwrap())
        } else {
            (0, 0)
        };
        let link = entry.link_name_bytes().map(std::borrow::Cow::into_owned).unwrap_or_default();
        let link =
            if kind == EntryType::Link { link.strip_prefix(b"./").unwrap_or(&link).to_vec() } else { link };
        found.insert(
            path,
            Found {
                kind,
                mode: header.mode().unwrap() & 0o7777,
                owner: (header.uid().unwrap(), header.gid().unwrap()),
                mtime: header.mtime().unwrap(),
                data,
                link,
                device,
                xattrs,
            },
        );
    }
    found
}
