//! Random layers, flattened by the crate, by a model that a reader can check by eye, and by umoci.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests, helpers included")]

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::common::{
    Item, Lab, Pack, TestImage, dir, file, finish, hardlink, read_back, run, symlink, tar_of,
};
use crate::disk::{Disk, Shown, split, with_first};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use tar::EntryType;

#[derive(Debug, Clone)]
enum Op {
    File(String),
    Dir(String, u32),
    Symlink(String, String),
    /// To the n-th that there is.
    Link(String, usize),
    Whiteout(String),
    Opaque(String),
}

/// A layer, and whether it is as a build makes it: with all directories above its entries, and with marks. Otherwise
/// it is as people pack one by hand: its paths go through links of lower layers.
#[derive(Debug, Clone)]
struct Layer {
    built: bool,
    ops: Vec<Op>,
}

fn path() -> impl Strategy<Value = String> {
    prop::collection::vec("[abc]", 1..4).prop_map(|names| names.join("/"))
}

fn target() -> impl Strategy<Value = String> {
    (prop::sample::select(vec!["", "/", "../", "./"]), path())
        .prop_map(|(start, path)| format!("{start}{path}"))
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => path().prop_map(Op::File),
        2 => (path(), 0_u32..0o1000).prop_map(|(path, mode)| Op::Dir(path, mode | 0o700)),
        3 => (path(), target()).prop_map(|(path, target)| Op::Symlink(path, target)),
        2 => (path(), 0_usize..8).prop_map(|(path, n)| Op::Link(path, n)),
        2 => path().prop_map(Op::Whiteout),
        2 => path().prop_map(Op::Opaque),
    ]
}

fn layers() -> impl Strategy<Value = Vec<Layer>> {
    let layer = (prop::bool::weighted(0.7), prop::collection::vec(op(), 0..10));
    prop::collection::vec(layer.prop_map(|(built, ops)| Layer { built, ops }), 1..5)
}

/// The entries of a layer, in the order in which a build writes them.
fn items(disk: &Disk, layer: &Layer, number: usize) -> Vec<Item> {
    let mut items: BTreeMap<String, Item> = BTreeMap::new();
    let mut links = Vec::new();
    for (i, op) in layer.ops.iter().enumerate() {
        let (path, item) = match op {
            Op::File(path) => (path.clone(), file(path, format!("layer {number} entry {i}"))),
            Op::Dir(path, mode) => (path.clone(), Item { mode: *mode, ..dir(path) }),
            Op::Symlink(path, target) => (path.clone(), symlink(path, target)),
            Op::Link(path, n) => {
                links.push((path, *n));
                continue;
            }
            Op::Whiteout(path) => {
                let (parent, name) = split(path);
                let mark = format!("{parent}/.wh.{name}").trim_start_matches('/').to_owned();
                (path.clone(), file(mark, ""))
            }
            Op::Opaque(path) => (format!("{path}/.wh..wh..opq"), file(format!("{path}/.wh..wh..opq"), "")),
        };
        let mark = matches!(op, Op::Whiteout(_) | Op::Opaque(_));
        if mark && !layer.built {
            continue;
        }
        // A build has one word for each path, and nothing below what is no directory.
        let above: Vec<&str> = path.match_indices('/').map(|(end, _)| &path[..end]).collect();
        let is_dir = |item: &Item| item.kind == EntryType::Directory;
        let free = above.iter().all(|above| items.get(*above).is_none_or(is_dir))
            && !items.contains_key(&path)
            && (is_dir(&item) || !items.keys().any(|other| other.starts_with(&format!("{path}/"))));
        if !free {
            continue;
        }
        if layer.built {
            for above in above {
                items.entry(above.into()).or_insert_with(|| dir(above));
            }
        }
        items.insert(path, item);
    }
    // By hand: only what can be unpacked. An entry may have taken away what the next one's path goes through.
    let mut after = disk.clone();
    let mut kept = Vec::new();
    for item in items.into_values() {
        let path = String::from_utf8(item.path.clone()).unwrap();
        if layer.built || after.is_directory(split(&path).0) {
            after.unpack(&item);
            kept.push(item);
        }
    }
    for (path, n) in links {
        let Some(target) = after.linkable().get(n).cloned() else { continue };
        if after.is_plain(split(path).0) && !format!("{target}/").starts_with(&format!("{path}/")) {
            let item = hardlink(path, target);
            after.unpack(&item);
            kept.push(item);
        }
    }
    kept
}

/// The layers' entries, and what they make.
fn made(layers: &[Layer]) -> (Vec<Vec<Item>>, Shown) {
    let mut disk = Disk::new();
    let mut all = Vec::new();
    for (number, layer) in layers.iter().enumerate() {
        let items = items(&disk, layer, number);
        for item in &items {
            disk.unpack(item);
        }
        all.push(items);
    }
    (all, disk.shown())
}

fn flattened(layers: &[Vec<Item>]) -> Shown {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let lab = Lab::new();
    let root = runtime.block_on(lab.convert(&TestImage::new(layers))).unwrap();
    let back = read_back(&root.path);
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let mut all = Vec::new();
    for (path, found) in back.iter().filter(|(path, _)| !path.is_empty() && path.as_slice() != b".") {
        let (inode, found) = match found.kind {
            EntryType::Link => (&found.link, &back[&found.link]),
            _ => (path, found),
        };
        let what = match found.kind {
            EntryType::Directory => format!("dir {:o}", found.mode),
            EntryType::Symlink => format!("link to {}", text(&found.link)),
            _ => format!("file {}", text(&found.data)),
        };
        all.push((text(path), what, inode));
    }
    with_first(all)
}

/// What umoci unpacks. Rootless, so that it changes no owner.
fn unpacked(layers: &[Vec<Item>]) -> Shown {
    let temp = tempfile::tempdir().unwrap();
    let (layout, root) = (temp.path().join("layout"), temp.path().join("root"));
    // umoci knows no zstd.
    let packed: Vec<_> = layers.iter().map(|items| (finish(tar_of(items)), Pack::Gzip)).collect();
    TestImage::of_archives(&packed).write_layout(&layout, "t");
    let image = format!("{}:t", layout.display());
    run("umoci", &["raw", "unpack", "--rootless", "--image", &image, root.to_str().unwrap()]);
    let mut all = Vec::new();
    look(&root, "", &mut all);
    with_first(all)
}

fn look(directory: &Path, above: &str, all: &mut Vec<(String, String, u64)>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let path = format!("{above}{}", entry.file_name().to_str().unwrap());
        let meta = entry.metadata().unwrap();
        let what = if meta.is_dir() {
            look(&entry.path(), &format!("{path}/"), all);
            format!("dir {:o}", meta.mode() & 0o7777)
        } else if meta.is_symlink() {
            format!("link to {}", std::fs::read_link(entry.path()).unwrap().display())
        } else {
            format!("file {}", std::fs::read_to_string(entry.path()).unwrap())
        };
        all.push((path, what, meta.ino()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn flattening_agrees_with_the_model(layers in layers()) {
        let (items, model) = made(&layers);
        prop_assert_eq!(flattened(&items), model);
    }

    /// A mark hides what is below its layer, wherever it stands in it.
    #[test]
    fn the_place_of_a_mark_in_its_layer_does_not_matter(layers in layers(), front: bool) {
        let (mut items, model) = made(&layers);
        for layer in &mut items {
            let is_mark = |item: &Item| item.path.windows(4).any(|four| four == b".wh.");
            layer.sort_by_key(|item| is_mark(item) != front);
        }
        prop_assert_eq!(flattened(&items), model);
    }
}

#[test]
fn umoci_unpacks_the_same() {
    let mut runner = TestRunner::deterministic();
    for _ in 0..40 {
        let (items, model) = made(&layers().new_tree(&mut runner).unwrap().current());
        assert_eq!(unpacked(&items), model, "umoci and the model, of {items:#?}");
        assert_eq!(flattened(&items), model, "we and the model, of {items:#?}");
    }
}
