//! Images that container engines take and that were once refused, or read wrongly.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests, helpers included")]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use crate::common::{
    Found, Item, Lab, Pack, TestImage, dir, file, finish, item, pax, read_back, run, tar_of,
};
use fireactions_model::{ImageRef, PullPolicy};
use fireactions_testkit::beside::case;
use serde_json::{Value, json};
use tar::EntryType;

type Tree = BTreeMap<Vec<u8>, Found>;

async fn converted(items: Vec<Item>) -> Tree {
    let lab = Lab::new();
    read_back(&lab.convert(&TestImage::new(&[items])).await.unwrap().path)
}

/// What is in a case's image; nothing where there are no cases.
async fn of_case(test: &str, name: &str) -> Option<Tree> {
    let layout = case(test, name)?.join("img");
    let lab = Lab::new();
    Some(read_back(&lab.convert_layout(&layout).await.unwrap_or_else(|error| panic!("{name}: {error}")).path))
}

#[tokio::test]
async fn images_of_the_cases_are_taken() {
    const TEST: &str = "images_of_the_cases_are_taken";
    let mut seen = 0;
    for (name, there, not_there) in [
        (
            "opaque-over-a-link",
            &["srv/site/index.html", "var/www/html/new.html"][..],
            &["var/www/html/index.html"][..],
        ),
        ("dotdot-in-layer", &["b"], &["a/b"]),
        ("etc-file-is-a-directory", &["etc/hosts"], &[]),
        ("layout-several-without-platform", &["bin/busybox"], &[]),
        ("pax-empty-values", &["bin/busybox"], &[]),
        ("platform-names", &["bin/busybox"], &[]),
        ("sparse-layer", &["bin/busybox"], &[]),
    ] {
        let Some(tree) = of_case(TEST, name).await else { return };
        for path in there {
            assert!(tree.contains_key(path.as_bytes()), "{name}: {path} is missing");
        }
        for path in not_there {
            assert!(!tree.contains_key(path.as_bytes()), "{name}: {path} is there");
        }
        seen += 1;
    }
    assert_eq!(seen, 7);
}

#[tokio::test]
async fn paths_are_cleaned_as_text() {
    let tree = converted(vec![
        dir("a"),
        file("a/../b", "1"),
        file("/../c", "2"),
        file("a/x/../../d/./e", "3"),
        Item { link: b"a/../b".to_vec(), ..item(EntryType::Link, "f/../g") },
    ])
    .await;
    for (path, data) in [("b", "1"), ("c", "2"), ("d/e", "3")] {
        assert_eq!(tree[path.as_bytes()].data, data.as_bytes(), "{path}");
    }
    assert_eq!(tree[&b"g"[..]].link, b"b");
    assert!(!tree.contains_key(&b"a/x"[..]), "what is taken back is not made");
}

/// PAX records, for the next entry.
fn records(records: &[(&str, &str)]) -> Item {
    let data: Vec<Vec<u8>> = records.iter().map(|(key, value)| pax(key, value.as_bytes())).collect();
    Item { data: data.concat(), ..item(EntryType::XHeader, "x") }
}

#[tokio::test]
async fn an_empty_record_takes_an_earlier_one_back() {
    let tree = converted(vec![
        records(&[("mtime", "5"), ("uid", "7"), ("gid", "7"), ("size", "9"), ("path", "other")]),
        records(&[("mtime", ""), ("uid", ""), ("gid", ""), ("size", ""), ("path", "")]),
        Item { owner: (1, 2), ..file("a", "data") },
        records(&[("mtime", ".5"), ("linkpath", "")]),
        file("b", ""),
        records(&[("mtime", "-.5")]),
        file("c", ""),
    ])
    .await;
    let a = &tree[&b"a"[..]];
    assert_eq!((a.data.as_slice(), a.owner, a.mtime), (&b"data"[..], (1, 2), 1_700_000_000));
    assert_eq!((tree[&b"b"[..]].mtime, tree[&b"c"[..]].mtime), (0, 0));
}

/// All forms in which GNU tar stores holes; a whole layer of its own making each.
#[tokio::test]
async fn sparse_files_are_whole() {
    let temp = tempfile::tempdir().unwrap();
    let size = 3_000_000;
    let at = |path: &str| temp.path().join(path);
    std::fs::create_dir(at("in")).unwrap();
    let mut wanted = BTreeMap::new();
    // With more stretches than a header has room for, with a hole at the end, and nothing but a hole.
    for (name, pieces) in [("in/many", 60_u64), ("in/one", 1), ("in/none", 0)] {
        use std::os::unix::fs::FileExt;
        let mut data = vec![0; size];
        let file = std::fs::File::create(at(name)).unwrap();
        file.set_len(size as u64).unwrap();
        for piece in 0..pieces {
            let begin = usize::try_from(piece * 49_152 + 4096).unwrap();
            data[begin..begin + 4096].fill(u8::try_from(piece + 1).unwrap());
            file.write_all_at(&data[begin..begin + 4096], begin as u64).unwrap();
        }
        wanted.insert(name, data);
    }
    for form in [
        &["--format=gnu"][..],
        &["--format=posix", "--sparse-version=0.0"],
        &["--format=posix", "--sparse-version=0.1"],
        &["--format=posix", "--sparse-version=1.0"],
    ] {
        let tar = Command::new("tar")
            .args(["-S", "--hole-detection=raw", "-cf", "-"])
            .args(form)
            .arg("-C")
            .arg(temp.path())
            .arg("in")
            .output()
            .unwrap();
        assert!(tar.status.success() && tar.stdout.len() < size, "{form:?} is not sparse");
        let lab = Lab::new();
        let root = lab.convert(&TestImage::of_archives(&[(tar.stdout, Pack::Gzip)])).await.unwrap();
        let tree = read_back(&root.path);
        for (name, data) in &wanted {
            assert!(tree[name.as_bytes()].data == *data, "{form:?}: {name} is another file");
        }
    }
}

/// Writes `image` as a layout whose index has these descriptors; `{}` stands for the image's own.
fn layout(image: &TestImage, path: &Path, others: &[(Value, Value)], own: &Value) {
    image.write_layout(path, "t");
    let mut manifests = Vec::new();
    for (document, extra) in others {
        let bytes = serde_json::to_vec(document).unwrap();
        let digest = crate::common::sha256(&bytes);
        std::fs::write(path.join("blobs/sha256").join(&digest[7..]), &bytes).unwrap();
        manifests.push((json!({"digest": digest, "size": bytes.len()}), extra));
    }
    let mine = json!({"digest": image.manifest_digest(), "size": image.manifest.len()});
    manifests.push((mine, own));
    let manifests: Vec<Value> = manifests
        .into_iter()
        .map(|(mut descriptor, extra)| {
            descriptor["mediaType"] = json!("application/vnd.oci.image.manifest.v1+json");
            descriptor.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
            descriptor
        })
        .collect();
    let index = json!({"schemaVersion": 2, "manifests": manifests});
    std::fs::write(path.join("index.json"), index.to_string()).unwrap();
}

#[tokio::test]
async fn the_only_image_among_artifacts_is_meant() {
    let image = TestImage::new(&[vec![file("a", "1")]]);
    let empty = json!({"mediaType": "application/vnd.oci.empty.v1+json", "digest": crate::common::sha256(b"{}"), "size": 2});
    let signature =
        json!({"schemaVersion": 2, "config": empty, "layers": [], "artifactType": "application/x-signature"});
    let of_config = json!({"schemaVersion": 2, "config": empty, "layers": []});
    let tagged = |tag: &str| json!({"annotations": {"org.opencontainers.image.ref.name": tag}});
    let lab = Lab::new();
    for (number, (others, own)) in [
        // Told by the descriptor, by the document's kind, by its config's kind; an index of attestations and names.
        (vec![(of_config.clone(), json!({"artifactType": "application/x-any"}))], json!({})),
        (vec![(signature.clone(), json!({}))], json!({})),
        (vec![(of_config.clone(), json!({}))], json!({})),
        (
            vec![(signature.clone(), json!({"platform": {"os": "unknown", "architecture": "unknown"}}))],
            json!({}),
        ),
        (vec![(signature, json!({}))], json!({"platform": {"os": "Linux", "architecture": "x86_64"}})),
    ]
    .into_iter()
    .enumerate()
    {
        let path = lab.path(&format!("layout{number}"));
        layout(&image, &path, &others, &own);
        let found = lab.convert_layout(&path).await.unwrap_or_else(|error| panic!("{number}: {error}"));
        assert_eq!(found.digest.as_str(), image.config_digest);
    }
    // Two images, one of them tagged as podman does it.
    let path = lab.path("tagged");
    let second = TestImage::new(&[vec![file("b", "2")]]);
    let document: Value = serde_json::from_slice(&second.manifest).unwrap();
    layout(
        &image,
        &path,
        &[(document, tagged("registry.example/team/y:c"))],
        &tagged("registry.example/team/x:b"),
    );
    let named = |tag: &str| ImageRef::new(format!("oci:{}:{tag}", path.display())).unwrap();
    let found = lab.images.ensure(&named("b"), PullPolicy::Always, None).await.unwrap();
    assert_eq!(found.digest.as_str(), image.config_digest);
    let error = lab.images.ensure(&named("d"), PullPolicy::Always, None).await.unwrap_err().to_string();
    assert!(error.contains("no such tag") && error.contains("registry.example/team/x:b"), "{error}");
    let error = lab.convert_layout(&path).await.unwrap_err().to_string();
    assert!(error.contains("it holds several images"), "{error}");
}

#[tokio::test]
async fn a_path_may_have_what_paths_have() {
    let lab = Lab::new();
    let image = TestImage::new(&[vec![file("a", "1")]]);
    for place in ["job@2/img", "my job/img", "a@b c:d/img"] {
        let path = lab.path(place);
        image.write_layout(&path, "t");
        let tagged = ImageRef::new(format!("oci:{}:t", path.display())).unwrap();
        lab.images.ensure(&tagged, PullPolicy::Always, None).await.unwrap();
        lab.convert_layout(&path).await.unwrap();
        let pinned = format!("oci:{}@{}", path.display(), image.manifest_digest());
        lab.images.ensure(&ImageRef::new(pinned).unwrap(), PullPolicy::Always, None).await.unwrap();
    }
}

#[tokio::test]
async fn a_compressed_archive_is_told_as_one() {
    let lab = Lab::new();
    TestImage::new(&[vec![file("a", "1")]]).write_layout(&lab.path("layout"), "t");
    let layout = lab.path("layout");
    for (flag, program) in [("z", "gunzip"), ("j", "bunzip2"), ("J", "unxz")] {
        let archive = lab.path(&format!("archive.{flag}"));
        let flags = format!("-c{flag}f");
        let path = archive.to_str().unwrap();
        run("tar", &[&flags, path, "-C", layout.to_str().unwrap(), "oci-layout", "index.json", "blobs"]);
        let name = ImageRef::new(format!("oci-archive:{path}")).unwrap();
        let error = lab.images.ensure(&name, PullPolicy::Always, None).await.unwrap_err().to_string();
        assert!(error.contains(&format!("unpack it first ({program})")), "{error}");
    }
}

#[tokio::test]
async fn names_of_processors_are_compared_as_engines_do() {
    for (os, architecture, taken) in [
        ("linux", "x86_64", true),
        ("linux", "x86-64", true),
        ("Linux", "AMD64", true),
        ("linux", "arm64", false),
        ("windows", "amd64", false),
    ] {
        let lab = Lab::new();
        let mut image = TestImage::of_archives(&[(finish(tar_of(&[file("a", "1")])), Pack::Plain)]);
        let (digest, config) = image.blobs.pop().unwrap();
        let mut config: Value = serde_json::from_slice(&config).unwrap();
        (config["os"], config["architecture"]) = (json!(os), json!(architecture));
        let config = config.to_string();
        let mut manifest: Value = serde_json::from_slice(&image.manifest).unwrap();
        assert_eq!(manifest["config"]["digest"], json!(digest));
        manifest["config"]["digest"] = json!(image.add(config.as_bytes()));
        manifest["config"]["size"] = json!(config.len());
        image.manifest = manifest.to_string().into_bytes();
        let result = lab.convert(&image).await;
        assert_eq!(result.is_ok(), taken, "{os}/{architecture}: {result:?}");
    }
}
