//! Layers to squashfs, read back with squashfs-tools-ng.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests, helpers included")]

use crate::common::{
    Item, Lab, Pack, TestImage, dir, file, finish, hardlink, item, read_back, run, symlink, tar_of,
};
use tar::EntryType;

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test]
async fn everything_an_inode_has_is_kept() {
    let lab = Lab::new();
    let capability =
        b"\x01\x00\x00\x02\x00\n\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00".to_vec();
    let long = "long/".to_string() + &"d/".repeat(60) + &"f".repeat(200);
    let items = vec![
        Item { mode: 0o1777, owner: (7, 8), ..dir("./") },
        Item { mode: 0o4755, owner: (1000, 100_000), ..file("bin/su", "su") },
        Item { xattrs: vec![("security.capability".into(), capability.clone())], ..file("bin/ping", "ping") },
        Item {
            xattrs: vec![("user.note".into(), b"x=y".to_vec())],
            mode: 0o2750,
            owner: (3, 4_000_000_000),
            ..dir("d")
        },
        Item {
            xattrs: vec![
                ("trusted.overlay.opaque".into(), b"y".to_vec()),
                ("security.selinux".into(), b"l".to_vec()),
            ],
            ..dir("d/plain")
        },
        Item { device: (1, 3), mode: 0o666, ..item(EntryType::Char, "dev/null") },
        Item { device: (8, 1_000_000), mode: 0o660, ..item(EntryType::Block, "dev/sda") },
        item(EntryType::Fifo, "run/fifo"),
        symlink("lib", "usr/lib"),
        symlink("far", "/".to_string() + &"t".repeat(180)),
        file(&long, "deep"),
        hardlink("bin/ping6", "bin/ping"),
        hardlink("lib2", "lib"),
        file("empty", ""),
        hardlink("empty2", "empty"),
        file(b"odd \xff\nname", "odd"),
        Item { mtime: 5_000_000_000, ..file("future", "") },
        file("big", vec![7; 3_000_000]),
    ];
    let root = lab.convert(&TestImage::new(&[items])).await.unwrap();
    let found = read_back(&root.path);
    let get = |path: &str| {
        found.get(path.as_bytes()).unwrap_or_else(|| {
            panic!("{path} is missing: {:?}", found.keys().map(|k| text(k)).collect::<Vec<_>>())
        })
    };
    assert_eq!(
        (get("bin/su").mode, get("bin/su").owner, get("bin/su").mtime),
        (0o4755, (1000, 100_000), 1_700_000_000)
    );
    assert_eq!(get("d").xattrs, [("user.note".to_string(), b"x=y".to_vec())]);
    assert_eq!((get("d").mode, get("d").owner), (0o2750, (3, 4_000_000_000)));
    assert_eq!(get("d/plain").xattrs, []);
    assert_eq!(
        (get("dev/null").kind, get("dev/null").device, get("dev/null").mode),
        (EntryType::Char, (1, 3), 0o666)
    );
    assert_eq!((get("dev/sda").kind, get("dev/sda").device), (EntryType::Block, (8, 1_000_000)));
    assert_eq!(get("run/fifo").kind, EntryType::Fifo);
    assert_eq!(text(&get("lib").link), "usr/lib");
    assert_eq!(get("far").link.len(), 181);
    assert_eq!(get(&long).data, b"deep");
    assert_eq!(found[&b"odd \xff\nname"[..]].data, b"odd");
    assert_eq!(get("future").mtime, u64::from(u32::MAX));
    assert_eq!(get("big").data, vec![7; 3_000_000]);
    // Which of two names comes first is the reader's choice.
    let pair = [get("bin/ping"), get("bin/ping6")];
    let (first, second) =
        if pair[0].kind == EntryType::Link { (pair[1], pair[0]) } else { (pair[0], pair[1]) };
    assert_eq!((text(&first.data), second.kind), ("ping".into(), EntryType::Link));
    let capabilities = run("rdsquashfs", &["-x", "/bin/ping6", root.path.to_str().unwrap()]);
    let hex = "01000002000A".to_string() + &"00".repeat(14);
    assert_eq!(text(&capabilities).trim(), format!("security.capability=0x{hex}"));
    let listed = text(&run("unsquashfs", &["-lln", root.path.to_str().unwrap()]));
    let top = listed.lines().find(|l| l.ends_with("squashfs-root")).unwrap();
    assert!(top.starts_with("drwxrwxrwt 7/8"), "{top}");
    assert_eq!(root.config.env, ["PATH=/bin", "A=b"]);
    assert_eq!(root.config.user, "1000:1000");
    assert_eq!(root.config.stop_signal.as_deref(), Some("SIGINT"));
}

#[tokio::test]
async fn whiteouts_hide_lower_layers_only() {
    let lab = Lab::new();
    let lower = vec![
        file("a/1", "1"),
        file("a/2", "2"),
        file("b/1", "1"),
        file("b/sub/2", "2"),
        file("c", "c"),
        file("keep", "k"),
    ];
    let upper = vec![
        file("a/.wh.1", ""),
        file("b/3", "3"),
        file("b/.wh..wh..opq", ""),
        file(".wh.c", ""),
        file("c", "again"),
        file(".wh.never", ""),
        file("nowhere/.wh.x", ""),
        dir(".wh..wh.plnk"),
        file(".wh..wh.plnk/123.456", "aufs"),
    ];
    let top = vec![file(".wh.keep", ""), file("b/.wh.3", ""), file("b/4", "4")];
    let root = lab.convert(&TestImage::new(&[lower, upper, top])).await.unwrap();
    let names: Vec<String> =
        read_back(&root.path).keys().map(|k| text(k)).filter(|k| !k.is_empty() && k != ".").collect();
    assert_eq!(names, ["a", "a/2", "b", "b/4", "c"]);
    assert_eq!(read_back(&root.path)[&b"c"[..]].data, b"again");
}

/// What `rm link && mkdir link` leaves in a layer, and what else a layer may put in place of what is below it.
#[tokio::test]
async fn a_mark_in_what_took_a_links_place_leaves_the_links_target_alone() {
    let lab = Lab::new();
    let lower = || vec![file("srv/site/index", "1"), symlink("html", "/srv/site"), symlink("way", "srv")];
    for upper in [
        vec![dir("html"), file("html/.wh..wh..opq", ""), file("html/new", "2")],
        vec![file("html/.wh..wh..opq", ""), file("html/new", "2"), dir("./html/")],
        vec![dir("html"), file("html/.wh.index", ""), file("html/new", "2")],
        // From one above it.
        vec![dir("way"), dir("way/site"), file("way/site/.wh..wh..opq", "")],
        vec![file("html/.wh..wh..opq", ""), file(".wh.html", "")],
        vec![file("way/site/.wh.index", ""), file(".wh.way", "")],
        vec![symlink("html", "nowhere"), file("html/.wh..wh..opq", "")],
    ] {
        let root = lab.convert(&TestImage::new(&[lower(), upper.clone()])).await.unwrap();
        assert!(read_back(&root.path).contains_key(&b"srv/site/index"[..]), "{upper:#?}");
    }
    // Where the layer says nothing of the link itself, its path goes through it, as umoci's and containerd's do.
    for mark in ["html/.wh..wh..opq", "way/site/.wh.index"] {
        let root = lab.convert(&TestImage::new(&[lower(), vec![file(mark, "")]])).await.unwrap();
        assert!(!read_back(&root.path).contains_key(&b"srv/site/index"[..]), "{mark}");
    }
    // A layer's own link is where its marks go.
    let upper = vec![symlink("html", "srv/site"), file("html/.wh.index", "")];
    let root =
        lab.convert(&TestImage::new(&[vec![file("srv/site/index", ""), dir("html")], upper])).await.unwrap();
    assert!(!read_back(&root.path).contains_key(&b"srv/site/index"[..]));
}

#[tokio::test]
async fn hard_links_reach_across_layers_and_outlive_their_target() {
    let lab = Lab::new();
    let lower = vec![file("target", "old"), hardlink("twin", "target"), file("other", "o")];
    // A link to a lower layer's file, and a link in this layer whose target the next one replaces.
    let middle = vec![hardlink("late", "other"), file("x", "content of x"), hardlink("y", "x")];
    let top = vec![file("target", "new"), file(".wh.x", ""), file(".wh.other", "")];
    let root = lab.convert(&TestImage::new(&[lower, middle, top])).await.unwrap();
    let found = read_back(&root.path);
    let data = |name: &str| text(&found[name.as_bytes()].data);
    assert_eq!(
        (data("target"), data("twin"), data("late"), data("y")),
        ("new".into(), "old".into(), "o".into(), "content of x".into())
    );
    assert!(!found.contains_key(&b"x"[..]) && !found.contains_key(&b"other"[..]));
}

#[tokio::test]
async fn symbolic_links_as_parents_stay_inside_the_image() {
    let lab = Lab::new();
    let lower = vec![
        dir("usr/lib"),
        symlink("lib", "usr/lib"),
        symlink("out", "../../../etc"),
        symlink("abs", "/srv/x"),
        file("usr/lib/gone", ""),
    ];
    let upper = vec![
        file("lib/new", "n"),
        file("out/passwd", "p"),
        file("abs/f", "f"),
        file("lib/.wh.gone", ""),
        dir("was"),
        file("keep/x", ""),
    ];
    let root = lab.convert(&TestImage::new(&[lower, upper])).await.unwrap();
    let found = read_back(&root.path);
    for path in ["usr/lib/new", "etc/passwd", "srv/x/f"] {
        assert!(found.contains_key(path.as_bytes()), "{path}");
    }
    assert_eq!(found[&b"lib"[..]].kind, EntryType::Symlink);
    assert!(!found.contains_key(&b"usr/lib/gone"[..]));
}

#[tokio::test]
async fn kinds_replace_each_other_and_later_entries_win() {
    let lab = Lab::new();
    let lower = vec![file("f", "file"), dir("d"), file("d/in", "x"), symlink("s", "d"), file("same", "1")];
    let upper = vec![
        dir("f"),
        file("f/now", "y"),
        file("d", "a file"),
        dir("s"),
        file("s/z", "z"),
        file("same", "2"),
        file("same", "3"),
        file("/abs", "a"),
        file("./././dot", ""),
    ];
    let root = lab.convert(&TestImage::new(&[lower, upper])).await.unwrap();
    let found = read_back(&root.path);
    let names: Vec<String> = found.keys().map(|k| text(k)).filter(|k| !k.is_empty() && k != ".").collect();
    assert_eq!(names, ["abs", "d", "dot", "f", "f/now", "s", "s/z", "same"]);
    assert_eq!(found[&b"same"[..]].data, b"3");
    assert_eq!(found[&b"s"[..]].kind, EntryType::Directory);
}

#[tokio::test]
async fn the_same_layers_make_the_same_bytes() {
    let items = vec![vec![file("a", "1"), dir("b")], vec![file("b/c", vec![1; 300_000]), hardlink("d", "a")]];
    let mut hashes = Vec::new();
    for _ in 0..2 {
        let lab = Lab::new();
        let root = lab.convert(&TestImage::new(&items)).await.unwrap();
        hashes.push(crate::common::sha256(&std::fs::read(root.path).unwrap()));
    }
    assert_eq!(hashes[0], hashes[1]);
}

#[tokio::test]
async fn gnu_long_names_trailing_garbage_and_many_gzip_members() {
    let lab = Lab::new();
    let mut builder = tar::Builder::new(Vec::new());
    let long = format!("{}/file", "n".repeat(150));
    let mut header = tar::Header::new_gnu();
    header.set_size(3);
    header.set_mode(0o600);
    header.set_cksum();
    builder.append_data(&mut header, &long, &b"abc"[..]).unwrap();
    let mut tar = builder.into_inner().unwrap();
    tar.extend_from_slice(&[0; 10_240]);
    let (one, two) = tar.split_at(700);
    let mut packed = Pack::Gzip.pack(one).0;
    packed.extend(Pack::Gzip.pack(two).0);
    // Swap the blob for one of two members: same archive, another compression.
    let mut image = TestImage::of_archives(&[(tar.clone(), Pack::Gzip)]);
    let (old, bytes) = image.blobs[0].clone();
    let new = image.add(&packed);
    let manifest = String::from_utf8(image.manifest.clone()).unwrap();
    image.manifest = manifest
        .replace(&old, &new)
        .replace(&format!("\"size\":{}", bytes.len()), &format!("\"size\":{}", packed.len()))
        .into_bytes();
    let root = lab.convert(&image).await.unwrap();
    assert_eq!(read_back(&root.path)[long.as_bytes()].data, b"abc");
    let no_layers = lab.convert(&TestImage::new(&[])).await.unwrap();
    assert!(read_back(&no_layers.path).keys().all(|k| k.is_empty() || k == b"."));
    // No end marker at all is common and fine.
    let bare =
        TestImage::of_archives(&[(tar_of(&[file("x", "y")]), Pack::Plain), (finish(Vec::new()), Pack::Zstd)]);
    assert_eq!(read_back(&lab.convert(&bare).await.unwrap().path)[&b"x"[..]].data, b"y");
}
