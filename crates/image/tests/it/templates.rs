//! Templates of machines in the image store: whole or absent, bounded, and never without their image.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests, helpers included")]

use std::collections::HashSet;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::common::{Lab, TestImage, file, quick};
use fireactions_image::{GcPolicy, Images, ImagesConfig, TemplateLimits};
use fireactions_model::Digest;
use serde_json::json;

fn key(n: u8) -> Digest {
    Digest::new(format!("sha256:{}", format!("{n:02x}").repeat(32))).unwrap()
}

async fn image(lab: &Lab, content: &str) -> Digest {
    lab.convert(&TestImage::new(&[vec![file("f", content)]])).await.unwrap().digest
}

/// What a VMM does.
fn freeze(dir: &Path) {
    std::fs::write(dir.join("memory"), vec![1; 64 << 10]).unwrap();
    std::fs::write(dir.join("state"), b"state").unwrap();
}

async fn make(images: &Images, key: &Digest, image: &Digest) {
    let making = images.begin_template(key, image).await.unwrap();
    freeze(making.dir());
    making.publish(json!({"kernel": "kernel-1"})).await.unwrap();
}

fn entries(lab: &Lab) -> Vec<PathBuf> {
    let dir = lab.path("images/templates");
    std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect()
}

/// Ages a template's last use.
fn age(dir: &Path, by: Duration) {
    let record = std::fs::File::open(dir.join("template.json")).unwrap();
    record.set_modified(std::time::SystemTime::now() - by).unwrap();
}

fn reopened(lab: Lab, config: ImagesConfig) -> Lab {
    let Lab { temp, images } = lab;
    drop(images);
    let images = Images::open(&temp.path().join("images"), config).unwrap();
    Lab { temp, images }
}

#[tokio::test]
async fn a_template_is_whole_or_absent() {
    let lab = Lab::new();
    let root = image(&lab, "1").await;
    let making = lab.images.begin_template(&key(1), &root).await.unwrap();
    assert_eq!(std::fs::metadata(making.dir()).unwrap().permissions().mode() & 0o777, 0o700);
    assert!(lab.images.template(&key(1)).await.is_none(), "not before it is published");
    let error = making.publish(json!(null)).await.unwrap_err().to_string();
    assert!(error.contains("empty template"), "{error}");
    assert_eq!(entries(&lab), [] as [PathBuf; 0]);

    make(&lab.images, &key(1), &root).await;
    let dir = lab.images.template(&key(1)).await.unwrap();
    assert_eq!(std::fs::read(dir.join("state")).unwrap(), b"state");
    let info = &lab.images.templates().await[0];
    assert_eq!((&info.key, &info.image, &info.made_of), (&key(1), &root, &json!({"kernel": "kernel-1"})));
    assert!(info.size >= 64 << 10, "{info:?}");
    assert_eq!(lab.images.list().await.unwrap()[0].templates, info.size);

    // One attempt is abandoned, one is cut off by the server's end, and one was half removed.
    lab.images.begin_template(&key(2), &root).await.unwrap().abandon().await.unwrap();
    let cut = lab.images.begin_template(&key(3), &root).await.unwrap();
    freeze(cut.dir());
    make(&lab.images, &key(4), &root).await;
    std::fs::remove_file(lab.images.template(&key(4)).await.unwrap().join("template.json")).unwrap();
    assert!(lab.images.template(&key(4)).await.is_none(), "without its record it is none");
    drop(cut);
    let lab = reopened(lab, quick());
    assert_eq!(lab.images.template(&key(1)).await, Some(dir.clone()));
    assert_eq!(entries(&lab), [dir]);
}

#[tokio::test]
async fn templates_go_with_their_image() {
    let lab = Lab::new();
    let (one, two) = (image(&lab, "1").await, image(&lab, "2").await);
    make(&lab.images, &key(1), &one).await;
    make(&lab.images, &key(2), &two).await;
    // Its name leads elsewhere by now.
    lab.images.gc(GcPolicy::default(), &HashSet::new()).await.unwrap();
    assert!(lab.images.template(&key(1)).await.is_none() && lab.images.template(&key(2)).await.is_some());
    let making = lab.images.begin_template(&key(3), &two).await.unwrap();
    freeze(making.dir());
    lab.images.remove(two.as_str(), &HashSet::new()).await.unwrap();
    assert!(lab.images.template(&key(2)).await.is_none());
    let error = making.publish(json!(null)).await.unwrap_err();
    assert!(matches!(error, fireactions_image::ImageError::Unknown(_)), "{error}");
    assert_eq!(entries(&lab), [] as [PathBuf; 0]);
    let error = lab.images.begin_template(&key(3), &two).await.unwrap_err();
    assert!(matches!(error, fireactions_image::ImageError::Unknown(_)), "{error}");

    // One whose image was removed and made again meanwhile.
    let two = image(&lab, "2").await;
    let making = lab.images.begin_template(&key(3), &two).await.unwrap();
    freeze(making.dir());
    lab.images.remove(two.as_str(), &HashSet::new()).await.unwrap();
    assert!(!making.has_image().await);
    assert_eq!(image(&lab, "2").await, two);
    assert!(!making.has_image().await);
    let error = making.publish(json!(null)).await.unwrap_err();
    assert!(matches!(error, fireactions_image::ImageError::Unknown(_)), "{error}");
    assert_eq!(entries(&lab), [] as [PathBuf; 0]);

    // One whose image was removed behind the store's back.
    let three = image(&lab, "3").await;
    make(&lab.images, &key(4), &three).await;
    std::fs::remove_file(lab.path("images/roots").join(format!("{}.squashfs", three.hex()))).unwrap();
    let lab = reopened(lab, quick());
    assert!(lab.images.template(&key(4)).await.is_none());
    assert_eq!(entries(&lab), [] as [PathBuf; 0]);
}

#[tokio::test]
async fn there_are_not_many_and_the_unused_go_first() {
    let limits = TemplateLimits { count: 2, unused_for: Duration::from_secs(3600) };
    let config = || ImagesConfig { templates: limits, ..quick() };
    let lab = Lab::with(config());
    let root = image(&lab, "1").await;
    for n in 1..=3 {
        make(&lab.images, &key(n), &root).await;
        tokio::time::sleep(Duration::from_millis(5)).await;
        lab.images.template(&key(1)).await;
    }
    let kept = async |lab: &Lab| {
        let all = lab.images.templates().await;
        all.into_iter().map(|info| info.key).collect::<HashSet<_>>()
    };
    assert_eq!(kept(&lab).await, HashSet::from([key(1), key(3)]), "the second was not used any more");

    // By age, which outlives the server.
    age(&lab.images.template(&key(3)).await.unwrap(), Duration::from_secs(7200));
    let lab = reopened(lab, config());
    lab.images.gc(GcPolicy::default(), &HashSet::new()).await.unwrap();
    assert_eq!(kept(&lab).await, HashSet::from([key(1)]));

    // By space, before the image itself; that is in use, the template's own use does not count.
    let policy = GcPolicy { max_bytes: Some(1), ..GcPolicy::default() };
    let report = lab.images.gc(policy, &HashSet::from([root.clone()])).await.unwrap();
    assert_eq!((report.removed.len(), kept(&lab).await.len()), (0, 0));
    assert!(report.freed >= 64 << 10, "{report:?}");
    lab.images.remove_template(&key(1)).await.unwrap();
    assert_eq!(lab.images.list().await.unwrap()[0].templates, 0);
}
