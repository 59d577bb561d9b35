//! What a job brings along, what it leaves, and who it is.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use fireactions_testkit::busybox;

use crate::world::{Setup, World, pool_of, text};

#[test]
fn files_in_artifacts_out_and_users() {
    let dir = tempfile::tempdir().unwrap();
    // The image's own user is not root, and a bind mount has left a directory behind where a file belongs.
    let layers = [busybox::layer(), busybox::layer_of("etc/hosts/left", b"")];
    let archive = dir.path().join("image.tar");
    fs::write(&archive, busybox::archive_with(&layers, r#""User":"runner","WorkingDir":"/home/runner""#))
        .unwrap();
    let image = format!("oci-archive:{}", archive.display());
    let world = World::start(Setup { pools: pool_of("default", 1, 2, &image, ""), ..Setup::default() });

    let input = dir.path().join("input");
    fs::create_dir_all(input.join("deep/er")).unwrap();
    fs::write(input.join("data"), "some data\n").unwrap();
    fs::write(input.join("deep/er/run"), "#!/bin/sh\necho ran as $(id -u):$(id -g) in $PWD\n").unwrap();
    fs::set_permissions(input.join("deep/er/run"), fs::Permissions::from_mode(0o755)).unwrap();
    // As in a git clone whose references are packed.
    fs::create_dir(input.join("empty")).unwrap();
    fs::set_permissions(input.join("empty"), fs::Permissions::from_mode(0o2750)).unwrap();
    std::os::unix::fs::symlink("../data", input.join("deep/link")).unwrap();
    let large: Vec<u8> = (0..5_000_000_u32).map(|n| n.to_le_bytes()[(n % 3) as usize]).collect();
    fs::write(dir.path().join("large"), &large).unwrap();

    let script = "set -e; cat /in/data; /in/deep/er/run; mkdir -p /tmp/out/sub; cp /home/runner/large /tmp/out/; \
                  echo result >/tmp/out/sub/result; echo more >>/in/data; stat -c '%a %u' /in/deep/er/run; \
                  stat -c '%a %u %F' /in/empty; readlink /in/deep/link; stat -c %u /in/deep/link; \
                  cat /proc/sys/net/ipv4/ping_group_range; grep -c localhost /etc/hosts; exit 5";
    let output = world.cli(&[
        "run",
        "--copy",
        &format!("{}:/in", input.display()),
        "--copy",
        &format!("{}:/home/runner/", dir.path().join("large").display()),
        "--artifact",
        &format!("/tmp/out:{}", dir.path().join("out.tar").display()),
        "--artifact",
        &format!("/no/such:{}", dir.path().join("nothing.tar").display()),
        "--",
        "sh",
        "-c",
        script,
    ]);
    let said = text(&output.stderr);
    assert_eq!(
        text(&output.stdout),
        "some data\nran as 1000:1000 in /home/runner\n755 1000\n750 1000 directory\n../data\n1000\n\
         0\t2147483647\n2\n",
        "{said}"
    );
    // Artifacts come out of failed jobs as well: there they are wanted most.
    assert_eq!(output.status.code(), Some(5), "{said}\n{}", world.log());
    assert!(said.contains("/no/such"), "{said}");
    assert!(!dir.path().join("nothing.tar").exists());

    let unpacked = dir.path().join("unpacked");
    fs::create_dir(&unpacked).unwrap();
    let tar = Command::new("tar")
        .arg("-xf")
        .arg(dir.path().join("out.tar"))
        .arg("-C")
        .arg(&unpacked)
        .status()
        .unwrap();
    assert!(tar.success());
    assert!(fs::read(unpacked.join("out/large")).unwrap() == large, "a large file comes back as it went in");
    assert_eq!(fs::read_to_string(unpacked.join("out/sub/result")).unwrap(), "result\n");

    // What a script's first line names runs it, and it is not the shell with -e.
    let file = dir.path().join("script");
    for (script, said) in [
        ("#!/bin/awk -f\nBEGIN { print \"by awk\" }\n", "by awk\n"),
        ("#!/bin/sh\nfalse\necho $0 goes on\n", "/run/fireactions-job/script goes on\n"),
        ("false\necho not reached\n", ""),
    ] {
        fs::write(&file, script).unwrap();
        let output = world.cli(&["run", "--script", file.to_str().unwrap()]);
        assert_eq!(text(&output.stdout), said, "{}", text(&output.stderr));
        assert_eq!(output.status.success(), !said.is_empty(), "{}", text(&output.stderr));
    }

    let output =
        world.cli(&["run", "--user", "root", "--workdir", "/tmp", "--", "sh", "-c", "echo $(id -u) $PWD"]);
    assert_eq!(text(&output.stdout), "0 /tmp\n", "{}", text(&output.stderr));
    let output = world.cli(&["run", "--user", "nobody-here", "--", "true"]);
    assert_eq!(output.status.code(), Some(125));
    assert!(text(&output.stderr).contains("nobody-here"), "{}", text(&output.stderr));
    world.finish();
}
