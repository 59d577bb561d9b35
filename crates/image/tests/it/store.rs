//! The store around the conversion: single-flight, crashes, names, removal, collection, a full disk, scratch disks.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests, helpers included")]

use std::collections::HashSet;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::common::{Lab, TestImage, file, quick, run};
use fireactions_image::{GcPolicy, ImageError, Images, ImagesConfig, Progress, scratch};
use fireactions_model::{ImageRef, PullPolicy};

/// A `tar2sqfs` that counts its starts and takes its time.
fn slow_packer(lab: &std::path::Path) -> ImagesConfig {
    // It runs as a user of its own, which is nobody in the test's directory.
    let everybody = |path: &std::path::Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    std::fs::write(lab.join("started"), "").unwrap();
    everybody(&lab.join("started"), 0o666);
    everybody(lab, 0o711);
    let path = lab.join("slow-tar2sqfs");
    let text = format!("#!/bin/sh\necho x >> {}/started\nsleep 0.5\nexec tar2sqfs \"$@\"\n", lab.display());
    fireactions_testkit::program::write(&path, &text);
    ImagesConfig { tar2sqfs: path, ..quick() }
}

fn starts(dir: &std::path::Path) -> usize {
    std::fs::read_to_string(dir.join("started")).unwrap_or_default().lines().count()
}

fn layout(dir: &std::path::Path, name: &str, content: &str) -> ImageRef {
    let path = dir.join(name);
    TestImage::new(&[vec![file("f", content)]]).write_layout(&path, "t");
    ImageRef::new(format!("oci:{}:t", path.display())).unwrap()
}

#[tokio::test]
async fn one_pull_for_all_who_wait() {
    let temp = tempfile::tempdir().unwrap();
    let lab = Lab::with(slow_packer(temp.path()));
    let name = layout(temp.path(), "a", "1");
    // Another name of the same image: its own flight, the same conversion.
    let alias = ImageRef::new(name.as_str().trim_end_matches(":t")).unwrap();
    let ready = Arc::new(AtomicU32::new(0));
    let waits = (0..10).map(|i| {
        let (images, name, ready) =
            (lab.images.clone(), if i % 2 == 0 { name.clone() } else { alias.clone() }, ready.clone());
        tokio::spawn(async move {
            let hear: fireactions_image::ProgressFn = Arc::new(move |progress| {
                if progress == Progress::Ready {
                    ready.fetch_add(1, Ordering::Relaxed);
                }
            });
            images.ensure(&name, PullPolicy::Always, Some(hear)).await.unwrap()
        })
    });
    for wait in waits.collect::<Vec<_>>() {
        wait.await.unwrap();
    }
    assert_eq!((starts(temp.path()), ready.load(Ordering::Relaxed)), (1, 10));
    assert_eq!(lab.images.list().await.unwrap()[0].names.len(), 2);
}

#[tokio::test]
async fn the_last_one_to_leave_cancels_and_nothing_is_left() {
    let temp = tempfile::tempdir().unwrap();
    let lab = Lab::with(slow_packer(temp.path()));
    let name = layout(temp.path(), "a", "1");
    let (one, two) = (
        lab.images.ensure(&name, PullPolicy::Always, None),
        lab.images.ensure(&name, PullPolicy::Always, None),
    );
    // One leaves, the other still gets it.
    let (left, stayed) = tokio::join!(tokio::time::timeout(Duration::from_millis(100), one), two);
    assert!(left.is_err() && stayed.is_ok());
    let other = layout(temp.path(), "b", "2");
    let gone =
        tokio::time::timeout(Duration::from_millis(200), lab.images.ensure(&other, PullPolicy::Always, None))
            .await;
    assert!(gone.is_err());
    for _ in 0..100 {
        if lab.leftovers().is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(lab.leftovers().is_empty());
    assert_eq!(lab.images.list().await.unwrap().len(), 1);
    lab.images.ensure(&other, PullPolicy::IfNotPresent, None).await.unwrap();
}

#[tokio::test]
async fn what_a_crash_leaves_is_swept_and_what_is_whole_stays() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("images");
    let name = layout(temp.path(), "a", "1");
    let images = Images::open(&dir, quick()).unwrap();
    let root = images.ensure(&name, PullPolicy::Always, None).await.unwrap();
    assert!(matches!(Images::open(&dir, quick()), Err(ImageError::Locked(_))));
    drop(images);
    let hex = "ab".repeat(32);
    for (path, content) in [
        ("tmp/root-x", "half"),
        (&*format!("roots/{hex}.squashfs"), "no record"),
        (&*format!("roots/{}.json", "cd".repeat(32)), "{}"),
        ("names/x.json", "{"),
        ("blobs/x.part", "beginning"),
    ] {
        std::fs::write(dir.join(path), content).unwrap();
    }
    let old = std::time::SystemTime::now() - Duration::from_secs(2 * 24 * 3600);
    std::fs::File::open(dir.join("blobs/x.part")).unwrap().set_modified(old).unwrap();
    let images = Images::open(&dir, quick()).unwrap();
    let count = |sub: &str| std::fs::read_dir(dir.join(sub)).unwrap().count();
    assert_eq!((count("tmp"), count("roots"), count("names"), count("blobs")), (0, 2, 1, 0));
    assert_eq!(images.ensure(&name, PullPolicy::Never, None).await.unwrap(), root);
    // A squashfs cut short by a lost write is not taken for whole.
    drop(images);
    std::fs::OpenOptions::new().write(true).open(&root.path).unwrap().set_len(100).unwrap();
    let images = Images::open(&dir, quick()).unwrap();
    assert!(images.list().await.unwrap().is_empty());
    images.ensure(&name, PullPolicy::IfNotPresent, None).await.unwrap();
}

#[tokio::test]
async fn a_packer_that_hangs_is_ended_with_the_pull_that_wanted_it() {
    let temp = tempfile::tempdir().unwrap();
    let packer = temp.path().join("tar2sqfs");
    // Known by how long it means to sleep.
    let seconds = 1_000_000 + std::process::id();
    fireactions_testkit::program::write(&packer, &format!("#!/bin/sh\nexec sleep {seconds}\n"));
    let is_there = || {
        let all = std::fs::read_dir("/proc").unwrap().flatten();
        let mut said = all.filter_map(|process| std::fs::read(process.path().join("cmdline")).ok());
        said.any(|words| words == format!("sleep\0{seconds}\0").into_bytes())
    };
    let config = ImagesConfig { tar2sqfs: packer, ..quick() };
    let images = Images::open(&temp.path().join("images"), config).unwrap();
    let name = layout(temp.path(), "a", &"x".repeat(4 << 20));
    let pull = tokio::spawn(async move { images.ensure(&name, PullPolicy::Always, None).await });
    let until = Instant::now() + Duration::from_secs(60);
    // No event tells when a program has become another one.
    while !is_there() {
        assert!(Instant::now() < until && !pull.is_finished(), "it never began");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    pull.abort();
    // And none when a pull that nobody waits for has cleaned up.
    let tmp = temp.path().join("images/tmp");
    while is_there() || tmp.read_dir().unwrap().count() > 0 {
        assert!(Instant::now() < until, "process or file are still there");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn beginnings_of_layers_are_no_way_around_the_limit() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("images");
    std::fs::create_dir_all(dir.join("blobs")).unwrap();
    let now = std::time::SystemTime::now();
    for (name, minutes) in [("a.x.part", 40), ("b.x.part", 30), ("c.x.part", 20), ("grows.x.part", 0)] {
        std::fs::write(dir.join("blobs").join(name), vec![0; 1_000]).unwrap();
        let file = std::fs::File::options().write(true).open(dir.join("blobs").join(name)).unwrap();
        file.set_modified(now - Duration::from_secs(minutes * 60)).unwrap();
    }
    let _images = Images::open(&dir, ImagesConfig { layer_cache_bytes: 1_500, ..quick() }).unwrap();
    let mut left: Vec<_> =
        std::fs::read_dir(dir.join("blobs")).unwrap().map(|file| file.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["c.x.part", "grows.x.part"]);
}

#[tokio::test]
async fn names_removal_and_collection() {
    let lab = Lab::new();
    let mut roots = Vec::new();
    for (i, name) in ["a", "b", "c"].iter().enumerate() {
        let name = layout(lab.temp.path(), name, name);
        let root = lab.images.ensure(&name, PullPolicy::IfNotPresent, None).await.unwrap();
        roots.push((name, (root.digest.clone(), root.size, root.path.clone())));
        tokio::time::sleep(Duration::from_millis(20 * (i as u64 + 1))).await;
    }
    let none = HashSet::new();
    let busy = HashSet::from([roots[0].1.0.clone()]);
    // The oldest is in use, so the next oldest goes.
    let size = roots[0].1.1;
    let report =
        lab.images.gc(GcPolicy { max_bytes: Some(2 * size), unused_for: None }, &busy).await.unwrap();
    assert_eq!((report.removed, report.kept), (vec![roots[1].1.0.clone()], 2 * size));
    assert!(!roots[1].1.2.exists());
    let report = lab
        .images
        .gc(GcPolicy { max_bytes: None, unused_for: Some(Duration::from_secs(3600)) }, &none)
        .await
        .unwrap();
    assert_eq!(report.removed, []);
    // A name that moved on leaves an image that nobody can ask for.
    layout(lab.temp.path(), "c", "moved");
    let moved = lab.images.ensure(&roots[2].0, PullPolicy::Always, None).await.unwrap().digest;
    assert_eq!(lab.images.gc(GcPolicy::default(), &none).await.unwrap().removed, vec![roots[2].1.0.clone()]);
    let error = lab.images.remove(roots[0].0.as_str(), &busy).await.unwrap_err();
    assert!(matches!(error, ImageError::InUse(_)), "{error}");
    assert!(matches!(lab.images.remove("nothing:1", &none).await, Err(ImageError::Unknown(_))));
    let prefix = &roots[0].1.0.hex()[..12];
    assert_eq!(lab.images.remove(prefix, &none).await.unwrap(), vec![roots[0].1.0.clone()]);
    assert_eq!(lab.images.remove(roots[2].0.as_str(), &none).await.unwrap(), vec![moved]);
    assert!(lab.images.list().await.unwrap().is_empty());
    assert_eq!(lab.roots(), 0);
    // Within its grace, nothing goes.
    let lab = Lab::with(ImagesConfig { grace: Duration::from_secs(60), ..quick() });
    let name = layout(lab.temp.path(), "a", "a");
    lab.images.ensure(&name, PullPolicy::IfNotPresent, None).await.unwrap();
    assert_eq!(
        lab.images.gc(GcPolicy { max_bytes: Some(0), unused_for: None }, &none).await.unwrap().removed,
        []
    );
}

#[tokio::test]
async fn an_archive_is_as_good_as_a_directory_and_the_packer_is_missed_clearly() {
    let lab = Lab::new();
    let image = TestImage::new(&[vec![file("x", "y")]]);
    let dir = lab.path("l");
    image.write_layout(&dir, "t");
    let tar = lab.path("l.tar");
    run("tar", &["-C", dir.to_str().unwrap(), "-cf", tar.to_str().unwrap(), "."]);
    for tag in ["", ":t"] {
        let name = ImageRef::new(format!("oci-archive:{}{tag}", tar.display())).unwrap();
        let root = lab.images.ensure(&name, PullPolicy::Always, None).await.unwrap();
        assert_eq!(root.digest.as_str(), image.config_digest);
        let mode = std::fs::metadata(&root.path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o644, "machines of every user read it and none writes it");
    }
    let wrong = ImageRef::new(format!("oci-archive:{}:u", tar.display())).unwrap();
    let error = lab.images.ensure(&wrong, PullPolicy::Always, None).await.unwrap_err();
    assert!(error.to_string().contains("no such tag; it has: t"), "{error}");
    let lab = Lab::with(ImagesConfig { tar2sqfs: "/nonexistent/tar2sqfs".into(), ..quick() });
    let error = lab.convert(&image).await.unwrap_err();
    assert!(error.to_string().contains("install squashfs-tools-ng"), "{error}");
    assert!(lab.leftovers().is_empty());
}

/// Runs inside a mount namespace of its own, where the store's directory is a small tmpfs: started by the next test.
#[tokio::test]
#[ignore = "needs the namespace that a_full_disk makes"]
async fn inside_a_full_disk() {
    let dir = std::path::PathBuf::from(std::env::var("FULL_DISK").unwrap());
    let mut state = 1_u64;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    })
    .take(400_000)
    .flatten()
    .collect();
    let outside = tempfile::tempdir().unwrap();
    TestImage::new(&[vec![file("noise", noise)]]).write_layout(outside.path(), "t");
    let name = ImageRef::new(format!("oci:{}:t", outside.path().display())).unwrap();
    let images = Images::open(&dir, quick()).unwrap();
    let error = images.ensure(&name, PullPolicy::Always, None).await.unwrap_err();
    assert!(matches!(error, ImageError::DiskFull { .. }), "{error}");
    for sub in ["tmp", "roots", "names", "blobs"] {
        assert_eq!(std::fs::read_dir(dir.join(sub)).unwrap().count(), 0, "{sub}");
    }

    // Neither while a template is made nor while it is copied does anything half-made stay; with room both go on.
    let templates = dir.join("scratch");
    std::fs::create_dir(&templates).unwrap();
    let ballast = dir.join("ballast");
    for name in ["first", "second"] {
        fill(&ballast);
        let before = (names(&dir), names(&templates));
        let error =
            scratch::create(&templates, &dir.join(name), scratch::Size::of(64), (0, 0)).await.unwrap_err();
        let text = error.to_string();
        assert!(text.contains("No space left on device") || text.contains("mke2fs cannot make"), "{text}");
        assert_eq!((names(&dir), names(&templates)), before, "{text}");
        std::fs::remove_file(&ballast).unwrap();
        scratch::create(&templates, &dir.join(name), scratch::Size::of(64), (0, 0)).await.unwrap();
        run("e2fsck", &["-fn", dir.join(name).to_str().unwrap()]);
    }
    assert_eq!(names(&templates).len(), 1, "{:?}", names(&templates));

    // Nor where the disk of a frozen machine is copied; what was in its place stays.
    let frozen = outside.path().join("frozen");
    std::fs::create_dir(&frozen).unwrap();
    std::fs::write(frozen.join("scratch"), vec![1; 2 << 20]).unwrap();
    let before = (names(&dir), std::fs::metadata(dir.join("first")).unwrap().ino());
    let error = scratch::copy(&frozen, &dir.join("first"), (0, 0)).await.unwrap_err();
    assert!(error.to_string().contains("No space left on device") && !error.is_missing(), "{error}");
    assert_eq!((names(&dir), std::fs::metadata(dir.join("first")).unwrap().ino()), before);
}

fn names(dir: &std::path::Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Takes the rest of the room.
fn fill(path: &std::path::Path) {
    use std::io::Write;
    let mut file = std::fs::File::create(path).unwrap();
    while file.write_all(&[1; 4096]).is_ok() {}
}

#[test]
fn a_full_disk() {
    let temp = tempfile::tempdir().unwrap();
    let this = std::env::current_exe().unwrap();
    let script = "mount -t tmpfs -o size=1m none \"$FULL_DISK\" && exec \"$0\" --ignored --exact store::inside_a_full_disk";
    let output = Command::new("unshare")
        .args(["-m", "--propagation", "private", "sh", "-c", script])
        .arg(this)
        .env("FULL_DISK", temp.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(std::fs::read_dir(temp.path()).unwrap().count(), 0, "the mount stayed in its namespace");
}

#[tokio::test]
async fn scratch_disks_are_sparse_owned_and_sound() {
    let temp = tempfile::tempdir().unwrap();
    let templates = temp.path().join("templates");
    let (templates_ref, dir) = (&templates, temp.path());
    let failed = Mutex::new(Vec::new());
    let made = (0..8).map(|i| {
        let failed = &failed;
        async move {
            if let Err(e) = scratch::create(
                templates_ref,
                &dir.join(format!("s{i}")),
                scratch::Size::of(2048),
                (4711, 4712),
            )
            .await
            {
                failed.lock().unwrap().push(e.to_string());
            }
        }
    });
    futures::future::join_all(made).await;
    assert_eq!(*failed.lock().unwrap(), Vec::<String>::new());
    assert_eq!(std::fs::read_dir(&templates).unwrap().count(), 1);
    let disk = temp.path().join("s3");
    let metadata = std::fs::metadata(&disk).unwrap();
    assert_eq!(
        (metadata.len(), metadata.mode() & 0o7777, metadata.uid(), metadata.gid()),
        (2 << 30, 0o600, 4711, 4712)
    );
    assert!(metadata.blocks() * 512 < 16 << 20, "{} bytes used", metadata.blocks() * 512);
    run("e2fsck", &["-fn", disk.to_str().unwrap()]);
    let features = String::from_utf8(run("dumpe2fs", &["-h", disk.to_str().unwrap()])).unwrap();
    assert!(!features.contains("has_journal") && !features.contains("resize_inode"), "{features}");
    let again = scratch::create(&templates, &disk, scratch::Size::of(1024), (1, 1)).await;
    assert!(again.is_ok() && std::fs::metadata(&disk).unwrap().len() == 1 << 30);
    assert!(scratch::create(&templates, &disk, scratch::Size::of(1), (1, 1)).await.is_err());
}

#[tokio::test]
async fn empty_disks_of_sizes_that_nobody_asks_for_any_more_go() {
    let temp = tempfile::tempdir().unwrap();
    let (templates, disk) = (temp.path().join("templates"), temp.path().join("disk"));
    std::fs::create_dir(&templates).unwrap();
    std::fs::write(templates.join(".scratch-abc"), "of a killed server").unwrap();
    scratch::tidy(&templates).unwrap();
    let here = || std::fs::read_dir(&templates).unwrap().count();
    assert_eq!(here(), 0);
    let usual = scratch::Size::of(64);
    for mib in 16..36 {
        scratch::create(&templates, &disk, usual, (0, 0)).await.unwrap();
        scratch::create(&templates, &disk, scratch::Size::of(mib), (0, 0)).await.unwrap();
    }
    assert_eq!(here(), 16);
    let usual = templates.join(format!("scratch-v2-64MiB-{}.ext4", usual.bytes_per_inode));
    assert!(usual.exists(), "what is used stays");
}

#[tokio::test]
async fn the_disk_of_a_frozen_machine_is_kept_and_each_clone_has_a_copy() {
    let temp = tempfile::tempdir().unwrap();
    let (templates, template) = (temp.path().join("templates"), temp.path().join("template"));
    let (machine, clone) = (temp.path().join("machine"), temp.path().join("clone"));
    std::fs::create_dir(&template).unwrap();
    let size = scratch::Size::of(64);
    scratch::create(&templates, &machine, size, (4711, 4711)).await.unwrap();
    let written: Vec<u8> = (0_u32..3 << 18).flat_map(u32::to_le_bytes).collect();
    let write = |path: &std::path::Path, bytes: &[u8]| {
        let file = std::fs::File::options().write(true).open(path).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, bytes, 40 << 20).unwrap();
    };
    write(&machine, &written);
    let whole = std::fs::read(&machine).unwrap();

    // One whose VMM has made something else of it is none.
    let odd = scratch::keep(&machine, &template, scratch::Size::of(32)).await.unwrap_err().to_string();
    assert!(odd.contains("it is not a file of 32 MiB any more"), "{odd}");
    std::os::unix::fs::symlink(&machine, temp.path().join("link")).unwrap();
    assert!(scratch::keep(&temp.path().join("link"), &template, size).await.is_err());
    assert!(scratch::copy(&template, &clone, (1, 1)).await.unwrap_err().is_missing());

    scratch::keep(&machine, &template, size).await.unwrap();
    assert!(!machine.exists(), "moved, not copied");
    let kept = std::fs::metadata(template.join("scratch")).unwrap();
    assert_eq!((kept.uid(), kept.mode() & 0o7777), (0, 0o400), "nobody writes to it any more");
    scratch::copy(&template, &clone, (4712, 4713)).await.unwrap();
    let copied = std::fs::metadata(&clone).unwrap();
    assert_eq!((copied.uid(), copied.gid(), copied.mode() & 0o7777), (4712, 4713, 0o600));
    assert!(std::fs::read(&clone).unwrap() == whole, "byte for byte");
    assert!(copied.blocks() * 512 < 8 << 20, "holes stay holes: {} bytes", copied.blocks() * 512);
    write(&clone, b"the clone's");
    assert!(std::fs::read(template.join("scratch")).unwrap() == whole, "a clone's writes are its own");
}

/// A machine that is being made of an image is in no list of machines yet.
#[tokio::test]
async fn an_image_that_somebody_was_given_stays_while_they_have_it() {
    let lab = Lab::new();
    let name = layout(lab.temp.path(), "a", "a");
    let (none, all) = (HashSet::new(), GcPolicy { max_bytes: Some(0), unused_for: None });
    let one = lab.images.ensure(&name, PullPolicy::IfNotPresent, None).await.unwrap();
    let again = lab.images.stored(&one.digest).await.unwrap();
    for given in [one, again] {
        let error = lab.images.remove(name.as_str(), &none).await.unwrap_err();
        assert!(matches!(error, ImageError::InUse(_)), "{error}");
        assert_eq!(lab.images.gc(all, &none).await.unwrap().removed, []);
        assert!(given.path.exists());
    }
    assert_eq!(lab.images.remove(name.as_str(), &none).await.unwrap().len(), 1);
}
