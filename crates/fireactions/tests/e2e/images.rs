//! Images that cannot be had: each pool says why, and the others go on.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use fireactions_testkit::busybox;

use crate::world::{BOOT, Setup, World, pool, pool_of, text};

/// A registry is asked several times before it counts as out of reach.
const GIVEN_UP: Duration = Duration::from_secs(120);

/// Waits until the pool says that it waits, and for what.
fn wait_reason(world: &World, pool: &str) -> String {
    world.wait(GIVEN_UP, &format!("pool {pool} to say what is wrong"), || {
        let view = world.json(&["pools", "show", pool]);
        view["backoff"]["reason"].as_str().map(str::to_owned)
    })
}

/// An OCI layout directory of an image with one byte of its layer changed. Its content is like no other's: what is
/// stored already is not read again.
fn tampered(dir: &Path) -> String {
    let layout = dir.join("layout");
    tar_out(&busybox::archive(&[busybox::layer_of("data", &vec![7; 1 << 20])]), &layout);
    let blobs = fs::read_dir(layout.join("blobs/sha256")).unwrap().map(|entry| entry.unwrap().path());
    let layer = blobs.max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap();
    let mut bytes = fs::read(&layer).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&layer, bytes).unwrap();
    format!("oci:{}", layout.display())
}

fn tar_out(archive: &[u8], dir: &Path) {
    fs::create_dir_all(dir).unwrap();
    let file = dir.with_extension("tar");
    fs::write(&file, archive).unwrap();
    let status = std::process::Command::new("tar").arg("-xf").arg(&file).arg("-C").arg(dir).status().unwrap();
    assert!(status.success());
}

/// `docker-registry` from the path or from where `make setup` unpacks it.
pub(crate) fn registry() -> String {
    let cache = std::env::var("FIREACTIONS_CACHE").unwrap_or_else(|_| "/var/cache/fireactions".to_owned());
    let unpacked = format!("{cache}/tools/usr/bin/docker-registry");
    if Path::new(&unpacked).exists() { unpacked } else { "docker-registry".to_owned() }
}

#[test]
fn images_that_cannot_be_had_are_explained_and_harm_no_other_pool() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(
        dir.path().join("registry.yml"),
        format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\n\
             http: {{addr: '127.0.0.1:5000'}}\n",
            dir.path().join("registry").display()
        ),
    )
    .unwrap();
    // The registry ends with the shell that started it.
    let before = format!(
        "setpriv --pdeathsig KILL {} serve {dir}/registry.yml >{dir}/registry.log 2>&1 &\n\
         n=0; until skopeo --insecure-policy copy -q --dest-tls-verify=false {} docker://127.0.0.1:5000/busybox:v1; do \
         n=$((n + 1)); [ $n -lt 100 ] || exit 1; sleep 0.2; done 2>>{dir}/registry.log",
        registry(),
        busybox::reference(),
        dir = dir.path().display(),
    );
    let impatient = "    deadlines: {image: 3s}\n";
    let pools = [
        pool_of("good", 0, 1, "127.0.0.1:5000/busybox:v1", ""),
        pool_of("absent", 1, 1, "oci-archive:/no/such/image.tar", ""),
        pool_of("untagged", 1, 1, "127.0.0.1:5000/busybox:v2", ""),
        pool_of("tampered", 1, 1, &tampered(dir.path()), ""),
        pool_of("refused", 1, 1, "127.0.0.1:5001/busybox:v1", ""),
        pool_of("silent", 1, 1, "127.0.0.1:5002/busybox:v1", impatient),
    ]
    .concat();
    let world = World::start(Setup { pools, before, bare: true, ..Setup::default() });
    let silent = world.namespace.listen(([127, 0, 0, 1], 5002));

    let output = world.cli(&["run", "--label", "good", "--", "echo", "well"]);
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(0), "well\n".into()), "{}", world.log());
    for (pool, wanted) in [
        ("absent", "/no/such/image.tar"),
        ("untagged", "image '127.0.0.1:5000/busybox:v2': there is no image"),
        ("tampered", "damaged: expected sha256:"),
        ("refused", "127.0.0.1:5001 is out of reach"),
        ("silent", "was not ready after 3s"),
    ] {
        let reason = wait_reason(&world, pool);
        assert!(reason.contains(wanted), "pool {pool}: {reason}");
        let shown = text(&world.cli(&["pools", "show", pool]).stdout);
        assert!(shown.contains("failures") && shown.contains(wanted), "{shown}");
    }
    // The user of a pool without machines is told, too.
    let id = world.submit(&["--label", "absent"], "echo never");
    world.wait(GIVEN_UP, "the job to say what it waits for", || {
        let shown = text(&world.cli(&["jobs", "show", &id]).stdout);
        (shown.contains("queued") && shown.contains("/no/such/image.tar")).then_some(())
    });
    // Each time the same, and never more: only the good image is in the store.
    let images = world.json(&["image", "list"]);
    let names: Vec<&Value> = images.as_array().unwrap().iter().map(|image| &image["names"][0]).collect();
    assert_eq!(names.len(), 1, "{images}");
    let output = world.cli(&["run", "--label", "good", "--", "echo", "still"]);
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(0), "still\n".into()), "{}", world.log());
    drop(silent);
    world.finish();
}

#[test]
fn a_disk_that_fills_up_while_an_image_is_made() {
    let dir = tempfile::tempdir().unwrap();
    // What cannot be compressed: larger than the disk, also as squashfs.
    let mut noise = vec![0; 16 << 20];
    std::io::Read::read_exact(&mut fs::File::open("/dev/urandom").unwrap(), &mut noise).unwrap();
    let big = busybox::archive(&[busybox::layer(), busybox::layer_of("noise", &noise)]);
    let archive = dir.path().join("big.tar");
    fs::write(&archive, big).unwrap();

    let before = "mkdir -p $DIR/state/images && mount -t tmpfs -o size=8m images $DIR/state/images";
    let pools =
        pool("good", 1, 1, "") + &pool_of("big", 0, 1, &format!("oci-archive:{}", archive.display()), "");
    let world = World::start(Setup { pools, before: before.into(), ..Setup::default() });
    world.wait_ready("good", 1);
    let id = world.submit(&["--label", "big"], "echo never");
    let reason = wait_reason(&world, "big");
    assert!(reason.contains("the disk is full"), "{reason}");
    assert!(reason.contains("image gc"), "what to do is said: {reason}");

    let output = world.cli(&["run", "--label", "good", "--", "echo", "well"]);
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(0), "well\n".into()), "{}", world.log());
    assert!(world.cli(&["jobs", "cancel", &id]).status.success());
    // What was half made is gone: there is as much room as the good image leaves.
    world.wait(BOOT, "the failed machine to go", || {
        world.machines().iter().all(|machine| machine["pool"] != "big").then_some(())
    });
    let used = text(&world.in_namespace(&["du", "-sk", world.path("state/images").to_str().unwrap()]).stdout);
    let used: u64 = used.split_whitespace().next().unwrap().parse().unwrap();
    assert!(used < 4096, "{used} KiB are left of a failed conversion");
    world.finish();
}
