//! Each mistake has its words, and changes nothing.

use super::fleet::Fleet;

#[test]
fn mistakes_on_the_command_line() {
    let fleet = Fleet::new();
    fleet.write_registry(
        "{\"tower\": {\"hostname\": \"10.0.0.1\", \"provider\": \"colo\", \"system\": \"aarch64-linux\"}}",
    );
    let before = fleet.read("hosts/registry.json");
    for (line, code, words) in [
        (
            "register Tower 10.0.0.2",
            2,
            "invalid value 'Tower' for '<NAME>': a host's name has lower-case letters",
        ),
        ("register meta 10.0.0.2", 2, "'meta', 'defaults' and 'network' are no hosts in a Colmena hive"),
        (
            "register a 10.0.0.256",
            2,
            "invalid value '10.0.0.256' for '<ADDRESS>': it is neither an IP address nor a host name",
        ),
        ("register a 0.0.0.0", 2, "no single host has this address"),
        ("register a root@10.0.0.2", 2, "the user is given with --user"),
        (
            "register a 10.0.0.2 -p hetzer",
            2,
            "known are do, hetzner, generic, nvme, baremetal; did you mean 'hetzner'?",
        ),
        ("register a 10.0.0.2 -a arm", 2, "known are x86_64, aarch64"),
        ("register a 10.0.0.2 -u a@b", 2, "a user's name has letters, digits"),
        (
            "register a 10.0.0.2 -p do -a aarch64",
            1,
            "DigitalOcean has no aarch64 hosts: use --arch x86_64, or another --provider",
        ),
        (
            "register a 10.0.0.2 -t prod,runers",
            1,
            "there is no profile 'runers': known are dev, gitea-runners, github-runners, large, medium, prod, queue, registry-cache, runners, security-hardened, small\n  → did you mean 'runners'?",
        ),
        ("register a 10.0.0.2 -t gpu", 1, "→ write profiles/gpu.nix, or use a tag that there is"),
        (
            "register tower 10.0.0.2",
            1,
            "host 'tower' is registered already\n  → `fireactions host set tower` changes it",
        ),
        ("register a 10.0.0.1", 1, "10.0.0.1 is the address of host 'tower'"),
        ("show towr", 1, "there is no host 'towr' in the registry\n  → did you mean 'tower'?"),
        ("unregister x", 1, "→ `fireactions host list` shows the hosts"),
        ("set tower", 2, "the following required arguments were not provided"),
        ("set tower -p do", 1, "DigitalOcean has no aarch64 hosts"),
        ("set tower -t nope", 1, "there is no profile 'nope'"),
        ("deploy", 2, "<ADDRESS>"),
        ("deploy --frobnicate 10.0.0.2", 2, "unexpected argument '--frobnicate'"),
        ("deploy -p do -a aarch64 10.0.0.2", 1, "DigitalOcean has no aarch64 hosts"),
        ("deploy -p dgitalocean 10.0.0.2", 2, "known are do, hetzner, generic, nvme, baremetal, auto"),
        ("deploy -t prod,nope 10.0.0.2", 1, "there is no profile 'nope'"),
        ("deploy 2001:db8::7", 1, "no name follows from 2001:db8::7\n  → give the host one with --name"),
        ("deploy -n a 10.0.0.1", 1, "10.0.0.1 is the address of host 'tower'"),
        (
            "list --flake /nonexistent",
            1,
            "/nonexistent/hosts/registry.json: No such file or directory (os error 2)\n  → run this in the directory of your flake",
        ),
        ("tags --flake /nonexistent", 1, "/nonexistent/hosts/registry.json: No such file"),
        ("register a 10.0.0.2 --flake /nonexistent", 1, "→ run this in the directory of your flake"),
        ("deploy 10.0.0.2 --flake /nonexistent", 1, "/nonexistent: No such file or directory"),
    ] {
        let ran = fleet.run(&line.split(' ').collect::<Vec<_>>());
        assert!(ran.code == code && ran.err.contains(words), "{line}: {ran:?}");
    }
    assert_eq!(fleet.read("hosts/registry.json"), before);
    assert_eq!(fleet.files(), ["registry.json"]);
}

#[test]
fn a_registry_that_cannot_be_read_is_kept_by_every_command() {
    let fleet = Fleet::new();
    for (text, words) in [
        (
            "{\n  \"a\": {\"hostname\": \"h\",}\n}",
            "hosts/registry.json:2:25: key must be a string\n  → the file is as it was: mend it, or take the last good one (`git checkout -- ",
        ),
        (
            "{\"version\": 2, \"hosts\": {\"a\": {}}}",
            "hosts/registry.json:1:13: this is a registry of another version: it has \"version\": 2\n  → the file is as it was: use the version",
        ),
    ] {
        fleet.write_registry(text);
        for line in [
            "list",
            "show a",
            "register b 10.0.0.2",
            "unregister a",
            "set a -t prod",
            "tags",
            "deploy -y 127.0.0.1",
        ] {
            let ran = fleet.run(&line.split(' ').collect::<Vec<_>>());
            assert!(ran.code == 1 && ran.err.contains(words), "{line}: {ran:?}");
            assert_eq!(fleet.read("hosts/registry.json"), text, "{line}");
        }
    }
}

#[test]
fn a_host_that_does_not_answer() {
    let fleet = Fleet::new();
    // Nobody listens there.
    let ran = fleet.run(&["deploy", "-y", "-n", "a", "127.99.99.99", "--ssh-option", "Port=9"]);
    assert!(
        ran.code == 1
            && ran.err.contains("root@127.99.99.99 cannot be reached by SSH: ")
            && ran.err.contains("→ see that the host is on"),
        "{ran:?}"
    );
    assert!(fleet.files().is_empty());
}
