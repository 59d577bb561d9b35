//! The image store in the hands of a user, and jobs on images of their own.

use std::fs;

use fireactions_testkit::busybox;

use crate::world::{NO_TEMPLATE, Setup, World, pool, text};

#[test]
fn images_are_pulled_run_listed_and_removed() {
    let dir = tempfile::tempdir().unwrap();
    let other = |name: &str| {
        let archive = dir.path().join(format!("{name}.tar"));
        fs::write(&archive, busybox::archive(&[busybox::layer(), busybox::layer_of("who", name.as_bytes())]))
            .unwrap();
        format!("oci-archive:{}", archive.display())
    };
    let (red, blue) = (other("red"), other("blue"));
    let more = format!("images: {{local_dirs: [{}]}}", dir.path().display());
    let pools = pool("default", 1, 2, NO_TEMPLATE);
    let world = World::start(Setup { pools, more, bare: true, ..Setup::default() });
    // A file that is none of the user's business.
    for refused in
        [vec!["run", "--image", "oci-archive:/etc/passwd", "--", "true"], vec!["image", "pull", "oci:/etc"]]
    {
        let output = world.cli(&refused);
        assert_ne!(output.status.code(), Some(0));
        assert!(text(&output.stderr).contains("images.local_dirs"), "{}", text(&output.stderr));
    }
    let warm = world.wait_ready("default", 1).remove(0);

    // Another image than the pool's: a machine for this job alone.
    let output = world.cli(&["run", "--image", &red, "--", "cat", "/who"]);
    assert_eq!(text(&output.stdout), "red", "{}\n{}", text(&output.stderr), world.log());
    assert_ne!(world.json(&["jobs", "list"])[0]["machine"], warm["id"]);

    let pulled = world.json(&["image", "pull", &blue]);
    let digest = pulled["digest"].as_str().unwrap();
    let listed = world.json(&["image", "list"]);
    let mut known: Vec<(&str, bool)> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|image| (image["names"][0].as_str().unwrap(), image["in_use"].as_bool().unwrap()))
        .collect();
    known.sort_unstable();
    let own = busybox::reference();
    let mut wanted = [(own.as_str(), true), (red.as_str(), false), (blue.as_str(), false)];
    wanted.sort_unstable();
    assert_eq!(known, wanted);

    let output = world.cli(&["image", "remove", &own]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("in use by a machine"), "{}", text(&output.stderr));
    let output = world.cli(&["image", "remove", &blue]);
    assert_eq!(text(&output.stdout), format!("removed {digest}\n"));
    let output = world.cli(&["image", "remove", &blue]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("image list"), "{}", text(&output.stderr));

    // What was used a moment ago is kept, even if nothing uses it: the next machine may be about to.
    let report = world.json(&["image", "gc", "--max-size", "0"]);
    assert_eq!(report["removed"].as_array().unwrap().len(), 0, "{report}");
    let listed = world.json(&["image", "list"]);
    let of_red =
        listed.as_array().unwrap().iter().find(|image| image["names"][0] == red).expect("red is kept");
    let digest = of_red["digest"].as_str().unwrap();
    let output = world.cli(&["image", "remove", &digest["sha256:".len()..][..12]]);
    assert_eq!(text(&output.stdout), format!("removed {digest}\n"), "{}", text(&output.stderr));
    let left = world.json(&["image", "list"]);
    assert_eq!(left.as_array().unwrap().len(), 1, "{left}");
    assert_eq!(left[0]["names"][0], own);
    // What was removed is made again when it is needed.
    let output = world.cli(&["run", "--image", &red, "--", "cat", "/who"]);
    assert_eq!(text(&output.stdout), "red", "{}\n{}", text(&output.stderr), world.log());
    world.finish();
}
