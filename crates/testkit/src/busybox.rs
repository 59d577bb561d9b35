//! The smallest useful guest image: busybox and nothing else, as an OCI archive.

// Only tests link this crate, and there a failed setup is a failed test.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use sha2::{Digest, Sha256};

use crate::kept::{self, hex};

/// Reference of the image, for a configuration.
pub fn reference() -> String {
    static REFERENCE: OnceLock<String> = OnceLock::new();
    REFERENCE.get_or_init(|| kept(&archive(&[layer()]))).clone()
}

/// Reference of an archive that is kept for the next run.
pub(crate) fn kept(archive: &[u8]) -> String {
    let path = kept::made("image", archive, ".oci.tar", |path| std::fs::write(path, archive).unwrap());
    format!("oci-archive:{}", path.display())
}

/// A root with busybox, its applets, root and a user `runner` (1000:1000).
pub fn layer() -> Vec<u8> {
    let busybox = ["/bin/busybox", "/usr/bin/busybox"].into_iter().map(Path::new).find(|path| path.exists());
    let busybox = busybox.expect("busybox (package busybox-static) is needed: run `make setup`");
    let listed = Command::new(busybox).arg("--list").output().unwrap();
    let applets = String::from_utf8(listed.stdout).unwrap();

    let mut tar = tar::Builder::new(Vec::new());
    for (path, mode) in [("bin", 0o755), ("etc", 0o755), ("home", 0o755), ("tmp", 0o1777), ("root", 0o700)] {
        directory(&mut tar, path, mode, 0);
    }
    directory(&mut tar, "home/runner", 0o755, 1000);
    file(&mut tar, "bin/busybox", 0o755, &std::fs::read(busybox).unwrap());
    for applet in applets.lines().filter(|applet| *applet != "busybox") {
        let mut header = header(tar::EntryType::Symlink, 0o777, 0);
        tar.append_link(&mut header, format!("bin/{applet}"), "busybox").unwrap();
    }
    file(
        &mut tar,
        "etc/passwd",
        0o644,
        b"root:x:0:0:root:/root:/bin/sh\nrunner:x:1000:1000::/home/runner:/bin/sh\n",
    );
    file(&mut tar, "etc/group", 0o644, b"root:x:0:\nrunner:x:1000:\n");
    tar.into_inner().unwrap()
}

/// A layer with one program or file, its directory included.
pub fn layer_of(path: &str, bytes: &[u8]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    if let Some((parent, _)) = path.rsplit_once('/') {
        directory(&mut tar, parent, 0o755, 0);
    }
    file(&mut tar, path, 0o755, bytes);
    tar.into_inner().unwrap()
}

/// A layer with one program of the user with this number, its directory included.
pub fn layer_of_user(path: &str, bytes: &[u8], user: u64) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    if let Some((parent, _)) = path.rsplit_once('/') {
        directory(&mut tar, parent, 0o755, user);
    }
    let mut header = header(tar::EntryType::Regular, 0o755, user);
    header.set_size(bytes.len() as u64);
    tar.append_data(&mut header, path, bytes).unwrap();
    tar.into_inner().unwrap()
}

/// An OCI archive of one image with these layers.
pub fn archive(layers: &[Vec<u8>]) -> Vec<u8> {
    archive_with(layers, r#""Cmd":["sh"]"#)
}

/// The same with more keys of the image's configuration, as JSON without braces.
pub fn archive_with(layers: &[Vec<u8>], more: &str) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut blob = |kind: &str, bytes: &[u8]| {
        let digest = hex(&Sha256::digest(bytes));
        file(&mut tar, &format!("blobs/sha256/{digest}"), 0o644, bytes);
        format!(
            r#"{{"mediaType":"application/vnd.oci.image.{kind}","digest":"sha256:{digest}","size":{}}}"#,
            bytes.len()
        )
    };
    let diff_ids: Vec<String> =
        layers.iter().map(|layer| format!("\"sha256:{}\"", hex(&Sha256::digest(layer)))).collect();
    let layers: Vec<String> = layers.iter().map(|layer| blob("layer.v1.tar", layer)).collect();
    let config = format!(
        r#"{{"architecture":"amd64","os":"linux","config":{{"Env":["PATH=/bin","FROM_IMAGE=yes"],{more}}},"rootfs":{{"type":"layers","diff_ids":[{}]}}}}"#,
        diff_ids.join(",")
    );
    let config = blob("config.v1+json", config.as_bytes());
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{config},"layers":[{}]}}"#,
        layers.join(",")
    );
    let manifest = blob("manifest.v1+json", manifest.as_bytes());
    let index = format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{manifest}]}}"#
    );
    file(&mut tar, "index.json", 0o644, index.as_bytes());
    file(&mut tar, "oci-layout", 0o644, br#"{"imageLayoutVersion":"1.0.0"}"#);
    tar.into_inner().unwrap()
}

fn header(kind: tar::EntryType, mode: u32, owner: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(owner);
    header.set_gid(owner);
    header.set_size(0);
    header
}

fn directory(tar: &mut tar::Builder<Vec<u8>>, path: &str, mode: u32, owner: u64) {
    let mut header = header(tar::EntryType::Directory, mode, owner);
    tar.append_data(&mut header, path, std::io::empty()).unwrap();
}

fn file(tar: &mut tar::Builder<Vec<u8>>, path: &str, mode: u32, bytes: &[u8]) {
    let mut header = header(tar::EntryType::Regular, mode, 0);
    header.set_size(bytes.len() as u64);
    tar.append_data(&mut header, path, bytes).unwrap();
}
