//! What is kept is found.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use fireactions_volumes::{VolumeError, Volumes, Writer};

use crate::common::*;

#[test]
fn a_volume_is_its_last_writer_s_and_its_owner_s_alone() {
    let world = World::new(limits());
    let cargo = name("gitea/acme/app", "cargo");
    assert_eq!(world.found(&cargo), None);
    for content in ["first", "second"] {
        let written = world.disk(content.as_bytes());
        world.volumes.keep(&cargo, MIB, &written, writer(content)).unwrap();
        assert!(!written.exists());
        assert_eq!(world.found(&cargo).unwrap(), content.as_bytes());
    }
    for other in
        [name("gitea/acme/other", "cargo"), name("gitea/acme/app", "npm"), name("gitea/acme/appcargo", "")]
    {
        assert_eq!(world.found(&other), None);
    }
    let list = world.volumes.list();
    assert_eq!((list.len(), &list[0].name, list[0].writer.job.as_str()), (1, &cargo, "second"));
    assert!((4096..1 << 20).contains(&list[0].bytes), "holes take no room: {}", list[0].bytes);
    assert_eq!(files(&world.root()).len(), 2, "the first content is gone");

    // Another server finds it.
    let volumes = Volumes::open(&world.root(), limits()).unwrap();
    assert_eq!(volumes.list().len(), 1);
    let dest = world.dir.path().join("copy");
    assert_eq!(volumes.take(&cargo, MIB * 2, &dest, own()).unwrap(), None, "another size begins anew");
}

#[test]
fn copies_are_their_machines_own() {
    let world = World::new(limits());
    let cargo = name("o", "cargo");
    world.volumes.keep(&cargo, MIB, &world.disk(b"kept"), writer("a")).unwrap();
    let [one, other] = ["one", "other"].map(|name| world.dir.path().join(name));
    for dest in [&one, &other] {
        world.volumes.take(&cargo, MIB, dest, own()).unwrap().unwrap();
        assert_eq!(fs::metadata(dest).unwrap().permissions().mode() & 0o777, 0o600);
    }
    fs::copy(world.disk(b"changed"), &one).unwrap();
    assert_eq!((content(&one), content(&other)), (b"changed".to_vec(), b"kept".to_vec()));
    assert_eq!(world.found(&cargo).unwrap(), b"kept");
}

#[test]
fn what_a_machine_s_user_puts_in_the_disk_s_place_is_not_kept() {
    let world = World::new(limits());
    let cargo = name("o", "cargo");
    world.volumes.keep(&cargo, MIB, &world.disk(b"kept"), writer("a")).unwrap();
    let place = world.dir.path().join("disk");
    symlink("/etc/passwd", &place).unwrap();
    let error = world.volumes.keep(&cargo, MIB, &place, writer("b")).unwrap_err();
    assert!(matches!(error, VolumeError::Io { action: "open", .. }), "{error}");
    fs::remove_file(&place).unwrap();
    fs::write(&place, "short").unwrap();
    let error = world.volumes.keep(&cargo, MIB, &place, writer("b")).unwrap_err();
    assert!(error.to_string().contains("is not a file of 16 MiB any more"), "{error}");
    assert_eq!(world.found(&cargo).unwrap(), b"kept");
}

#[test]
fn what_no_guest_could_mount_is_thrown_away_unless_there_is_a_newer_one() {
    let world = World::new(limits());
    let cargo = name("o", "cargo");
    let dest = world.dir.path().join("copy");
    let keep = |content: &[u8]| world.volumes.keep(&cargo, MIB, &world.disk(content), writer("a")).unwrap();
    keep(b"broken");
    let broken = world.volumes.take(&cargo, MIB, &dest, own()).unwrap().unwrap();
    keep(b"good");
    world.volumes.discard(&cargo, &broken);
    assert_eq!(world.found(&cargo).unwrap(), b"good");
    let good = world.volumes.take(&cargo, MIB, &dest, own()).unwrap().unwrap();
    world.volumes.discard(&cargo, &good);
    assert_eq!(world.found(&cargo), None);
    assert_eq!(files(&world.root()), Vec::<String>::new());
}

#[test]
fn a_repository_that_is_made_anew_does_not_keep_what_the_one_before_left() {
    let world = World::new(limits());
    for key in ["a", "b"] {
        world.volumes.keep(&name("o", key), MIB, &world.disk(b"kept"), writer("x")).unwrap();
    }
    let other = Writer { job: "y".into(), owner: 8 };
    world.volumes.keep(&name("p", "a"), MIB, &world.disk(b"kept"), other).unwrap();
    assert!(!world.volumes.disown("o", 7));
    assert!(world.volumes.disown("o", 9));
    let left: Vec<String> = world.volumes.list().into_iter().map(|volume| volume.name.owner).collect();
    assert_eq!(left, ["p"]);
}

#[test]
fn what_is_no_whole_volume_is_removed_at_a_start_and_nothing_else() {
    let world = World::new(limits());
    let root = world.root();
    for key in ["good", "cut", "torn", "foreign"] {
        world.volumes.keep(&name("o", key), MIB, &world.disk(key.as_bytes()), writer("x")).unwrap();
    }
    let directory = |key: &str| {
        let entries = fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().path());
        let is_its = |path: &std::path::PathBuf| {
            fs::read_to_string(path.join("volume.json"))
                .is_ok_and(|text| text.contains(&format!("\"{key}\"")))
        };
        entries.into_iter().find(is_its).unwrap()
    };
    let (cut, torn, foreign) = (directory("cut"), directory("torn"), directory("foreign"));
    let content = files(&cut).into_iter().find(|name| name != "volume.json").unwrap();
    fs::set_permissions(cut.join(&content), fs::Permissions::from_mode(0o600)).unwrap();
    fs::File::options().write(true).open(cut.join(&content)).unwrap().set_len(5).unwrap();
    fs::write(torn.join("volume.json"), "{\"format\": 1,").unwrap();
    // Another volume's description must not lead to this content.
    fs::copy(directory("good").join("volume.json"), foreign.join("volume.json")).unwrap();
    fs::write(directory("good").join(".new-x"), "half").unwrap();
    fs::create_dir(root.join("lost+found")).unwrap();
    fs::write(root.join("a note"), "somebody's").unwrap();

    let volumes = Volumes::open(&root, limits()).unwrap();
    let left: Vec<String> = volumes.list().into_iter().map(|volume| volume.name.key).collect();
    assert_eq!(left, ["good"]);
    assert_eq!(files(&root).len(), 3, "{:?}", files(&root));
    assert!(root.join("lost+found").exists() && root.join("a note").exists());
}
