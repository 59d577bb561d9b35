//! What of this host is read as an image, and what is not even opened.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests, helpers included")]

use std::fs;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::common::{Lab, TestImage, file, quick};
use fireactions_image::{ImageError, ImagesConfig, LocalSources};
use fireactions_model::{ImageRef, PullPolicy};
use rustix::fs::inotify;
use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};

/// Whoever waits for a FIFO waits for ever.
const HUNG: Duration = Duration::from_secs(60);

async fn ensure(lab: &Lab, reference: &str) -> Result<(), ImageError> {
    let image = ImageRef::new(reference).unwrap();
    let pulled = lab.images.ensure(&image, PullPolicy::Always, None);
    tokio::time::timeout(HUNG, pulled).await.expect("it waits for a FIFO").map(drop)
}

fn image() -> TestImage {
    TestImage::new(&[vec![file("a", "1")]])
}

/// A layout in `dir`.
fn layout(dir: &Path) -> PathBuf {
    fs::create_dir_all(dir).unwrap();
    image().write_layout(dir, "t");
    dir.to_path_buf()
}

/// Says whether a node is opened from now on.
fn watched(path: &Path) -> OwnedFd {
    let watch = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK).unwrap();
    inotify::add_watch(&watch, path, inotify::WatchFlags::OPEN).unwrap();
    watch
}

fn was_opened(watch: &OwnedFd) -> bool {
    rustix::io::read(watch, &mut [MaybeUninit::<u8>::uninit(); 1024]).is_ok()
}

#[tokio::test]
async fn only_regular_files_are_opened() {
    let lab = Lab::new();
    // A FIFO, and /dev/zero: it never ends.
    let nodes = [(FileType::Fifo, 0), (FileType::CharacterDevice, makedev(1, 5))];
    for (number, (kind, device)) in nodes.into_iter().enumerate() {
        let place = lab.path(&format!("place{number}"));
        let node = |path: &Path| {
            let _ = fs::remove_file(path);
            mknodat(CWD, path, kind, Mode::from_raw_mode(0o666), device).unwrap();
        };
        let blob = |name: &str| place.join("blobs/sha256").join(name);
        let digest = |digest: String| digest["sha256:".len()..].to_owned();
        let archive = lab.path("archive");
        let in_layout = format!("oci:{}", place.display());
        for (path, reference) in [
            (place.join("index.json"), in_layout.clone()),
            (blob(&digest(image().manifest_digest())), in_layout.clone()),
            (blob(&digest(image().config_digest)), in_layout.clone()),
            (blob(&digest(image().blobs[0].0.clone())), in_layout),
            (archive.clone(), format!("oci-archive:{}", archive.display())),
        ] {
            layout(&place);
            node(&path);
            let watch = watched(&path);
            let error = ensure(&lab, &reference).await.expect_err("no image").to_string();
            assert!(error.contains("not a regular file"), "{}: {error}", path.display());
            assert!(!was_opened(&watch), "{} was opened", path.display());
            fs::remove_file(&path).unwrap();
        }
    }
    let directory = format!("oci-archive:{}", layout(&lab.path("place0")).display());
    assert!(ensure(&lab, &directory).await.unwrap_err().to_string().contains("not a regular file"));
    // And the layout itself is fine.
    ensure(&lab, &format!("oci:{}", lab.path("place0").display())).await.unwrap();
}

#[tokio::test]
async fn callers_name_what_is_in_the_permitted_directories_and_nothing_else() {
    let temp = tempfile::tempdir().unwrap();
    let at = |name: &str| temp.path().join(name);
    let reference = |path: &Path| format!("oci:{}", path.display());
    let (inside, outside) = (layout(&at("open/image")), layout(&at("closed/image")));
    let pools = ImageRef::new(reference(&layout(&at("closed/pools")))).unwrap();
    // Links that lead out, as a whole and in a layout.
    symlink(&outside, at("open/link")).unwrap();
    symlink("../closed/image", at("open/relative")).unwrap();
    let half = layout(&at("open/half"));
    fs::remove_dir_all(half.join("blobs")).unwrap();
    symlink(outside.join("blobs"), half.join("blobs")).unwrap();
    // One that stays.
    symlink("image", at("open/alias")).unwrap();

    let local = LocalSources::Only { images: [pools.clone()].into(), dirs: vec![at("open"), at("absent")] };
    let lab = Lab::with(ImagesConfig { local, ..quick() });
    for fine in [reference(&inside), reference(&at("open/alias")), pools.to_string()] {
        lab.images.permits(&ImageRef::new(fine.as_str()).unwrap()).unwrap();
        ensure(&lab, &fine).await.unwrap();
    }
    for closed in [
        reference(&outside),
        reference(&at("open/../closed/image")),
        reference(&at("openness")),
        format!("oci-archive:{}", at("closed/image/index.json").display()),
        // Another image of the same place is not what the pool names.
        format!("{pools}:t"),
    ] {
        let image = ImageRef::new(closed.as_str()).unwrap();
        assert!(matches!(lab.images.permits(&image), Err(ImageError::NotPermitted(_))), "{closed}");
        let error = ensure(&lab, &closed).await.expect_err("not permitted").to_string();
        assert!(error.contains("images.local_dirs"), "{error}");
    }
    for link in ["open/link", "open/relative", "open/half"] {
        let error = ensure(&lab, &reference(&at(link))).await.expect_err("it leads out").to_string();
        assert!(error.contains("a link leads out of"), "{link}: {error}");
    }
    lab.images.permits(&ImageRef::new("debian:12").unwrap()).unwrap();
}
