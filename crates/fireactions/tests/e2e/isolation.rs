//! What a job may not reach, tried from inside one, each with a proof that there was something to reach.

use std::io::Write;
use std::net::{Ipv6Addr, TcpListener};
use std::os::unix::fs::MetadataExt;

use fireactions_testkit::reach::Doors;

use crate::driver::on_firecracker;
use crate::world::{BOOT, Setup, World, pool, text};

/// Answers every connection, for as long as the test process lives.
fn answer(listener: TcpListener, with: &'static str) {
    std::thread::spawn(move || {
        for mut connection in listener.incoming().flatten() {
            let _ = connection.write_all(with.as_bytes());
        }
    });
}

/// Shell that prints `NAME: ANSWER` for each `NAME ADDRESS PORT`.
fn calls(targets: &[(&str, &str, u16)]) -> String {
    let call = |(name, address, port): &(&str, &str, u16)| {
        format!("echo \"{name}: $(nc -w 3 {address} {port} </dev/null 2>/dev/null)\"; ")
    };
    targets.iter().map(call).collect()
}

#[test]
fn a_job_reaches_neither_neighbours_nor_host_nor_metadata() {
    let before = "ip addr add 169.254.169.254/32 dev lo\nip addr add 10.9.8.7/32 dev lo";
    let pools = pool("default", 2, 2, "    network: {host_ports: [tcp/9000]}\n");
    let more = "registry_cache: {enabled: true, program: docker-registry, port: 9100, mirrors: {docker.io: {}}}\nnetwork: {ipv6: {subnet: 'fd12:3456:789a::/64'}}";
    let world = World::start(Setup { pools, before: before.into(), more: more.into(), ..Setup::default() });
    answer(world.namespace.listen(([0, 0, 0, 0], 9000)), "open door\n");
    answer(world.namespace.listen(([0, 0, 0, 0], 9100)), "cached images\n");
    answer(world.namespace.listen((Ipv6Addr::UNSPECIFIED, 9001)), "closed door\n");
    answer(world.namespace.listen(([169, 254, 169, 254], 80)), "credentials\n");

    let script = "echo neighbour >/tmp/page; httpd -p [::]:8081 -h /tmp; echo begun; \
                  while :; do nc -l -p 8080 -e /bin/echo neighbour; done";
    let neighbour = world.submit(&[], script);
    world.wait_log(&neighbour, "begun", BOOT);
    let machines = world.machines();
    let machine = machines.iter().find(|machine| machine["job"] == *neighbour).unwrap();
    let address = machine["address"].as_str().unwrap();
    let number: u8 = address.rsplit('.').next().unwrap().parse().unwrap();
    let address6 = format!("fd12:3456:789a::{number:x}");
    let gateway = "172.30.0.1";

    let targets = [
        ("allowed", gateway, 9000),
        ("cache", gateway, 9100),
        ("neighbour", address, 8080),
        ("host", gateway, 9001),
        ("host's other address", "10.9.8.7", 9000),
        ("cache elsewhere", "10.9.8.7", 9100),
        ("metadata", "169.254.169.254", 80),
        ("host by IPv6", "fd12:3456:789a::1", 9001),
    ];
    // Its way out by IPv6 is there: the gateway has told its MAC.
    let way =
        "ip -6 route | grep -o 'default via [^ ]*'; ip -6 neigh | grep -o '^fd12:3456:789a::1 .*lladdr'";
    // Its `nc` listens by IPv4 alone, and its `wget` cannot read an address of IPv6.
    let get =
        format!("printf 'GET /page HTTP/1.0\\r\\n\\r\\n' | nc -w 3 {address6} 8081 2>/dev/null | tail -n 1");
    let page = format!("echo \"neighbour by IPv6: $({get})\"; ");
    let output = world.cli(&["run", "--", "sh", "-c", &format!("{}{page}{way}", calls(&targets))]);
    assert_eq!(output.status.code(), Some(0), "{}\n{}", text(&output.stderr), world.log());
    assert_eq!(
        text(&output.stdout),
        "allowed: open door\ncache: cached images\nneighbour: \nhost: \nhost's other address: \ncache elsewhere: \nmetadata: \n\
         host by IPv6: \nneighbour by IPv6: \n\
         default via fd12:3456:789a::1\nfd12:3456:789a::1 dev eth0 lladdr\n",
        "{}",
        world.rules()
    );

    // All of it was there: seen from where it may be seen.
    let output = world.exec(&neighbour, &format!("{}{page}", calls(&[targets[2]])));
    assert_eq!(
        text(&output.stdout),
        "neighbour: neighbour\nneighbour by IPv6: neighbour\n",
        "{}",
        text(&output.stderr)
    );
    let output = world.in_namespace(&["busybox", "sh", "-c", &calls(&targets[3..])]);
    assert_eq!(
        text(&output.stdout),
        "host: closed door\nhost's other address: open door\ncache elsewhere: cached images\nmetadata: credentials\n\
         host by IPv6: closed door\n",
        "{}",
        text(&output.stderr)
    );
    assert!(world.cli(&["jobs", "cancel", &neighbour]).status.success());
    world.finish();
}

/// Somebody empties the whole rule set, as a firewall's reload does: every running machine's network would be open.
#[test]
fn the_server_puts_its_rules_back_under_running_machines() {
    let world = World::start(Setup { pools: pool("default", 1, 1, ""), standin: true, ..Setup::default() });
    let machine = world.wait_ready("default", 1).remove(0);
    let rules = world.rules();
    assert!(rules.contains(&format!("fa{}", machine["id"].as_str().unwrap())), "{rules}");
    assert!(world.in_namespace(&["nft", "flush", "ruleset"]).status.success());
    assert_eq!(world.rules(), "");
    world.wait(BOOT, "the rules to be back", || (world.rules() == rules).then_some(()));
    assert_eq!(world.wait_ready("default", 1)[0]["id"], machine["id"], "the machine is the same");
    world.finish();
}

/// A guest that has taken its VMM over is where that is.
#[test]
fn a_vmm_finds_neither_the_network_nor_abstract_sockets_of_its_host() {
    let (pools, before) = (pool("default", 1, 2, ""), "ip addr add 10.9.8.7/32 dev lo");
    let world = World::start(Setup { pools, before: before.into(), standin: true, ..Setup::default() });
    let machine = world.wait_ready("default", 1).remove(0);
    let vmm = machine["pid"].as_i64().unwrap();
    let seen = |pid: i64| {
        let read = |file: &str| std::fs::read_to_string(format!("/proc/{pid}/net/{file}")).unwrap();
        let devices =
            read("dev").lines().filter_map(|line| Some(line.split_once(':')?.0.trim().to_owned())).collect();
        let sockets = read("unix").lines().filter(|line| line.contains('@')).count();
        let devices: Vec<String> = devices;
        (devices, sockets)
    };
    let (devices, sockets) = seen(world.server_pid().into());
    assert!(sockets > 0, "the server's claim on its namespace is one");
    let tap = format!("fa{}", machine["id"].as_str().unwrap());
    assert!(devices.contains(&tap) && devices.contains(&"fireactions0".to_owned()), "{devices:?}");
    assert_eq!(seen(vmm), (vec!["lo".to_owned()], 0));

    // What is not seen may be there: it is tried. All of it is there for whoever is in the server's namespace.
    let name = format!("fireactions-doors-{}", std::process::id());
    let doors = world.namespace.inside(move || Doors::open(&name));
    let addresses = ["127.0.0.1", "10.9.8.7", "172.30.0.1"].map(|address| address.parse().unwrap());
    let reached = doors.reached_from(world.server_pid().try_into().unwrap(), &addresses);
    assert!(
        reached.ends_with(&["@", "127.0.0.1", "10.9.8.7", "172.30.0.1"].map(str::to_owned)),
        "{reached:?}"
    );
    assert_eq!(doors.reached_from(vmm.try_into().unwrap(), &addresses), Vec::<String>::new());

    if on_firecracker() {
        // Nor can it make files: the jail is root's once a guest runs.
        let jail = std::fs::metadata(format!("/proc/{vmm}/cwd/.")).unwrap();
        assert_eq!((jail.uid(), jail.mode() & 0o777), (0, 0o711));
    }

    let of = |kind: &str, pid: i64| std::fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap();
    let namespaces = |pid: i64| [of("net", pid), of("ipc", pid)];
    let server = namespaces(i64::from(world.server_pid()));
    assert!(namespaces(vmm).iter().zip(&server).all(|(own, host)| own != host), "{server:?}");
    let job = world.submit(&[], "echo begun; wait; exit 4");
    world.wait_log(&job, "begun", BOOT);
    let other = world.wait(BOOT, "another machine", || {
        let mut machines = world.machines();
        machines.retain(|other| other["id"] != machine["id"] && other["pid"].is_i64());
        machines.first().and_then(|other| other["pid"].as_i64())
    });
    let (one, two) = (namespaces(other), namespaces(vmm));
    assert!(one.iter().zip(&two).all(|(one, two)| one != two), "machines share nothing: {one:?}");
    assert!(world.cli(&["exec", &job, "--", "tell"]).status.success());
    let job = world.wait_job(&job, &["failed"], BOOT);
    assert_eq!(job["outcome"]["code"], 4, "{job}");
    world.finish();
}
