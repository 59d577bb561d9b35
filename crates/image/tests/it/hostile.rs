//! Images made to do harm: each gets a clear error and leaves nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests, helpers included")]

use crate::common::{
    Item, Lab, Pack, TestImage, dir, file, finish, hardlink, item, pax, quick, symlink, tar_of,
};
use fireactions_image::{ImageError, ImagesConfig, Limits};
use tar::EntryType;

/// What PAX records say of the sparse file that follows.
fn pax_sparse(records: &[(&str, &str)]) -> Item {
    let records = records.iter().map(|(key, value)| pax(&format!("GNU.sparse.{key}"), value.as_bytes()));
    Item { data: records.collect::<Vec<_>>().concat(), ..item(EntryType::XHeader, "x") }
}

async fn refused(config: ImagesConfig, image: TestImage, says: &str) {
    let lab = Lab::with(config);
    let error = lab.convert(&image).await.expect_err(says).to_string();
    assert!(error.contains(says), "expected '{says}' in: {error}");
    assert!(lab.leftovers().is_empty(), "{says}: {:?}", lab.leftovers());
    assert_eq!(lab.roots(), 0, "{says}");
}

#[tokio::test]
async fn hostile_entries() {
    let cases: Vec<(Vec<Item>, &str)> = vec![
        (vec![file("../../etc/passwd", "x")], "'..'"),
        (vec![file("a/../../b", "x")], "'..'"),
        (vec![hardlink("a", "../../etc/shadow")], "outside of the image"),
        (vec![hardlink("a", "/etc/shadow")], "does not exist"),
        (vec![hardlink("a", "a")], "does not exist"),
        (vec![dir("d"), hardlink("a", "d")], "directory 'd'"),
        (vec![symlink("a", "b"), symlink("b", "a"), file("a/x", "")], "too many symbolic links"),
        (vec![symlink("a", "a/a/a/a/a/a/a/a"), file("a/x", "")], "symbolic link"),
        (vec![symlink("a", "")], "symbolic link to nothing"),
        (vec![file(".wh...", "")], "whiteout without a name"),
        (vec![file("d/.wh.", "")], "whiteout without a name"),
        (vec![file(".wh.x/y", "")], "name of a whiteout"),
        (vec![file("./", "root as a file")], "must be a directory"),
        (vec![symlink(".", "/etc")], "must be a directory"),
        (vec![file("n".repeat(256), "")], "longer than 255"),
        (vec![file("d/".repeat(2500), "")], "longer than 4096"),
        (vec![file("d/".repeat(1000) + "f", "")], "512 directories deep"),
        (vec![file(b"a\0b".repeat(40), "")], "NUL"),
        (vec![Item { device: (1 << 13, 0), ..item(EntryType::Char, "dev/x") }], "out of range"),
        (vec![item(EntryType::new(b'Z'), "x")], "unknown type"),
        (vec![item(EntryType::GNUSparse, "x")], "sparse"),
        (vec![pax_sparse(&[("map", "0,4"), ("size", "1")]), file("x", "data")], "beyond its end"),
        (vec![pax_sparse(&[("map", "4,2,2,2"), ("size", "9")]), file("x", "data")], "not in order"),
        (vec![pax_sparse(&[("map", "0,3"), ("size", "9")]), file("x", "data")], "not that of its content"),
        (vec![pax_sparse(&[("map", "0,4,9"), ("size", "9")]), file("x", "data")], "cut off"),
        (vec![pax_sparse(&[("map", "0,-4"), ("size", "9")]), file("x", "data")], "malformed"),
        (vec![pax_sparse(&[("map", "0,4")]), file("x", "data")], "without its size"),
        (vec![pax_sparse(&[("map", "0,4"), ("size", "18446744073709551615")]), file("x", "data")], "absurd"),
        (
            vec![pax_sparse(&[("map", "0,4"), ("size", "4611686018427387903")]), file("x", "data")],
            "uncompressed size",
        ),
        (vec![pax_sparse(&[("major", "1"), ("realsize", "9")]), file("x", "1\n0\nx")], "malformed"),
        (vec![pax_sparse(&[("major", "1"), ("realsize", "9")]), file("x", "99")], "malformed"),
        (vec![Item { data: vec![b'x'; 2 << 20], ..item(EntryType::XHeader, "x") }], "absurdly large"),
        (
            vec![Item { data: b"99999 path=x\n".to_vec(), ..item(EntryType::XHeader, "x") }],
            "PAX header is malformed",
        ),
        (
            vec![
                Item { data: b"16 size=-10000\n\n".to_vec(), ..item(EntryType::XHeader, "x") },
                file("y", ""),
            ],
            "malformed",
        ),
        (
            vec![
                Item { data: b"29 size=18446744073709551615\n".to_vec(), ..item(EntryType::XHeader, "x") },
                file("y", ""),
            ],
            "absurd",
        ),
        (vec![Item { data: vec![b'l'; 10_000], ..item(EntryType::GNULongName, "x") }], "absurdly large"),
    ];
    for (items, says) in cases {
        refused(quick(), TestImage::new(&[items]), says).await;
    }
}

#[tokio::test]
async fn broken_archives() {
    let whole = finish(tar_of(&[file("a", vec![1; 5000])]));
    let mut flipped = whole.clone();
    flipped[0] = b'z';
    for (tar, says) in [
        (whole[..2000].to_vec(), "middle of an entry"),
        (whole[..300].to_vec(), "middle of a header"),
        (flipped, "wrong header checksum"),
        (b"<html>not an archive</html>".repeat(40), "wrong header checksum"),
    ] {
        refused(quick(), TestImage::of_archives(&[(tar, Pack::Plain)]), says).await;
    }
    // A compressed stream that breaks off.
    let mut image = TestImage::of_archives(&[(whole, Pack::Gzip)]);
    let (digest, mut bytes) = image.blobs[0].clone();
    let full = bytes.len();
    bytes.truncate(full / 2);
    let new = image.add(&bytes);
    let text = String::from_utf8(image.manifest.clone()).unwrap();
    let text = text
        .replace(&digest, &new)
        .replace(&format!("\"size\":{full}"), &format!("\"size\":{}", bytes.len()));
    image.manifest = text.into_bytes();
    refused(quick(), image, "cannot read a layer").await;
}

#[tokio::test]
async fn limits() {
    let with = |limits: Limits| ImagesConfig { limits, ..quick() };
    let many: Vec<Item> = (0..200).map(|i| file(format!("f{i}"), "")).collect();
    refused(
        with(Limits { entries: 100, ..Limits::default() }),
        TestImage::new(std::slice::from_ref(&many)),
        "number of its files",
    )
    .await;
    refused(
        with(Limits { metadata_bytes: 20_000, ..Limits::default() }),
        TestImage::new(std::slice::from_ref(&many)),
        "names and attributes",
    )
    .await;
    refused(
        with(Limits { layers: 2, ..Limits::default() }),
        TestImage::new(&[vec![], vec![], vec![]]),
        "number of its layers",
    )
    .await;
    refused(
        with(Limits { compressed_bytes: 100, ..Limits::default() }),
        TestImage::new(&[many]),
        "compressed size",
    )
    .await;
    let zeros = TestImage::new(&[vec![file("z", vec![0; 3 << 20])]]);
    refused(with(Limits { uncompressed_bytes: 1 << 20, ..Limits::default() }), zeros, "uncompressed size")
        .await;
}

/// A few bytes of an archive that stand for many of ours.
#[tokio::test]
async fn what_is_cheap_to_say_is_not_free() {
    let with = |limits: Limits| ImagesConfig { limits, ..quick() };
    let small = Limits { metadata_bytes: 2 << 20, ..Limits::default() };

    // Each path makes five hundred directories.
    let deep: Vec<Item> = (0..100).map(|i| file(format!("{i}/{}f", "d/".repeat(500)), "")).collect();
    refused(with(small.clone()), TestImage::new(&[deep]), "names and attributes").await;

    // A short path through a link is a long one.
    let long = vec!["n".repeat(250); 15].join("/");
    let mut items = vec![dir(&long), symlink("s", &long)];
    items.extend((0..2000).map(|i| file(format!("s/{i}"), "")));
    refused(with(small.clone()), TestImage::new(&[items]), "its files' paths in bytes").await;

    // And a long way.
    let mut items = vec![dir("d"), symlink("s", "d/../".repeat(500) + "d")];
    items.extend((0..50).map(|i| file(format!("s/{i}"), "")));
    let few = Limits { entries: 100, ..Limits::default() };
    refused(with(few), TestImage::new(&[items]), "steps along its paths and links").await;

    // One file with any number of headers before it.
    let header = |i: usize| {
        let record = format!("65032 SCHILY.xattr.user.{i:06}={}\n", "v".repeat(65_000));
        Item { data: record.into_bytes(), ..item(EntryType::XHeader, "x") }
    };
    let mut items: Vec<Item> = (0..40).map(header).collect();
    items.push(file("f", ""));
    refused(quick(), TestImage::new(&[items]), "extended attributes are absurdly large").await;
}

/// What an image calls its files is shown on terminals.
#[tokio::test]
async fn names_are_shown_without_their_control_characters() {
    let lab = Lab::new();
    let name = "\u{1b}]0;title\u{7}\u{202e}/../../x";
    let error = lab.convert(&TestImage::new(&[vec![file(name, "")]])).await.unwrap_err().to_string();
    assert!(error.contains("title") && !error.contains(['\u{1b}', '\u{7}', '\u{202e}']), "{error:?}");
}

#[tokio::test]
async fn a_decompression_bomb_is_told_by_its_expansion() {
    use std::io::Write;
    // 1.5 GiB of zeros in a few hundred bytes, never whole in memory.
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    let header = tar_of(&[
        Item { data: b"20 size=16000000000\n".to_vec(), ..item(EntryType::XHeader, "x") },
        file("z", ""),
    ]);
    encoder.write_all(&header).unwrap();
    let zeros = vec![0; 1 << 20];
    for _ in 0..1536 {
        encoder.write_all(&zeros).unwrap();
    }
    let bomb = encoder.finish().unwrap();
    let mut image = TestImage::of_archives(&[(Vec::new(), Pack::Plain)]);
    let (digest, _) = image.blobs[0].clone();
    let new = image.add(&bomb);
    let text = String::from_utf8(image.manifest.clone()).unwrap();
    image.manifest =
        text.replace(&digest, &new).replace("\"size\":0", &format!("\"size\":{}", bomb.len())).into_bytes();
    refused(quick(), image, "decompression bomb").await;
}

#[tokio::test]
async fn wrong_digests_and_documents() {
    let good = TestImage::new(&[vec![file("a", "1")]]);
    // The uncompressed archive is not what the config says.
    let mut wrong = good.clone();
    let other = TestImage::new(&[vec![file("a", "2")]]);
    let manifest: serde_json::Value = serde_json::from_slice(&good.manifest).unwrap();
    let mut mixed: serde_json::Value = serde_json::from_slice(&other.manifest).unwrap();
    mixed["config"] = manifest["config"].clone();
    wrong.manifest = serde_json::to_vec(&mixed).unwrap();
    wrong.blobs.extend(other.blobs);
    refused(quick(), wrong, "uncompressed layer is damaged").await;
    // A blob is not what its name says.
    let mut wrong = good.clone();
    let last = wrong.blobs[0].1.len() - 1;
    wrong.blobs[0].1[last] ^= 1;
    refused(quick(), wrong, "layer is damaged").await;
    let mut wrong = good.clone();
    wrong.blobs[1].1[5] ^= 1;
    refused(quick(), wrong, "config is damaged").await;
    let text = String::from_utf8(good.manifest.clone()).unwrap();
    for (from, to, says) in [
        ("\"layers\"", "\"manifests\":[],\"layers\"", "index and an image at once"),
        ("\"schemaVersion\":2", "\"schemaVersion\":1", "schema 1"),
        ("sha256:", "sha512:", "not valid"),
        ("vnd.oci.image.layer.v1", "vnd.example.thing.v1", "is of type"),
        ("\"layers\"", "\"slayers\"", "neither an image nor an index"),
    ] {
        let mut wrong = good.clone();
        wrong.manifest = text.replacen(from, to, 1).into_bytes();
        refused(quick(), wrong, says).await;
    }
}

#[tokio::test]
async fn an_archive_must_be_plain_and_whole() {
    let lab = Lab::new();
    let path = lab.path("a.tar");
    for (bytes, says) in [
        (b"\x1f\x8b gzip".repeat(100), "unpack it first (gunzip)"),
        (vec![0xf1; 2000], "is not an OCI archive: its headers are not those of a tar file"),
        (Vec::new(), "index.json"),
    ] {
        std::fs::write(&path, bytes).unwrap();
        let name = fireactions_model::ImageRef::new(format!("oci-archive:{}", path.display())).unwrap();
        let error: ImageError =
            lab.images.ensure(&name, fireactions_model::PullPolicy::Always, None).await.unwrap_err();
        assert!(error.to_string().contains(says), "{error}");
    }
}
