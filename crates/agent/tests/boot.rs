//! The agent in real guests, driven through the host's side of the protocol.

mod guest;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fireactions_guest_proto::host::{Exec, LinkError};
use fireactions_guest_proto::{Exit, GuestState, RunRequest, WinSize};
use guest::{BOOT, Guest, SOON, Setup, collect, on_terminal, script};
use tokio::io::AsyncWriteExt as _;
use tokio::time::timeout;

#[tokio::test(flavor = "multi_thread")]
async fn a_job_has_its_images_environment_and_leaves_nothing_running() {
    let guest = Guest::boot(Setup::default()).await;
    let hello = timeout(SOON, guest.link.hello()).await.unwrap().unwrap();
    assert!(hello.boot_us > 0 && hello.kernel.contains('.'), "{hello:?}");

    let text = b"from the host\n";
    let put = guest.link.put_file("/work/in/file", 0o600, text.len() as u64, &text[..]);
    timeout(SOON, put).await.unwrap().unwrap();

    let (stdout, stderr, result) = guest
        .job(RunRequest {
            // The first is not there, the second is the runner's.
            owner_of: vec!["/nowhere/run.sh".into(), "/home/runner/.cache/act".into()],
            workdir: "/work/new".into(),
            ..script(
                "id; pwd; echo $GREETING $HOME $PATH $HOSTNAME; cat /work/in/file; ls /proc/self/fd | wc -l
                 cat /proc/self/oom_score_adj /proc/self/cgroup; ulimit -n; grep SigIgn /proc/self/status
                 cat /etc/hostname /etc/resolv.conf /etc/machine-id /proc/sys/kernel/hostname; date +%Y
                 ip addr show eth0; ip route; ip link show lo; cat /etc/*told/daemon.json; ls -d /run/service
                 cd /home/runner/.cache; stat -c %U:%G . act; touch act/file; grep -o ' /home/runner/.cache/act ext4 ' /proc/mounts
                 mkdir /work/in/out; echo made >/work/in/out/file
                 (sleep 1000; echo never) & (setsid sleep 1000 >/dev/null 2>&1 &)
                 echo complaint >&2; exit 3",
            )
        })
        .await;

    assert_eq!(result.exit, Exit::Code(3), "{stdout}{stderr}");
    assert_eq!(stderr, "complaint\n");
    let lines: Vec<&str> = stdout.lines().collect();
    assert_eq!(lines[0], "uid=1000(runner) gid=1000(runner) groups=999(docker)");
    assert_eq!(lines[1], "/work/new");
    let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    assert_eq!(lines[2], format!("hello /home/runner {path} mtest"));
    assert_eq!(lines[3], "from the host");
    // Standard input, both outputs, and the directory that ls itself reads.
    assert_eq!(lines[4], "4");
    assert_eq!(lines[5], "0");
    assert_eq!(lines[6], "0::/fireactions/job");
    assert_eq!(lines[7], "65536");
    // Nothing is ignored, SIGPIPE above all; but for the two that glibc keeps for itself (32 and 33).
    let ignored = u64::from_str_radix(lines[8].trim_start_matches("SigIgn:\t"), 16).unwrap();
    assert_eq!(ignored & !0x1_8000_0000, 0);
    assert_eq!(
        lines[9..14],
        ["mtest", "nameserver 10.0.2.3", "0123456789abcdef0123456789abcdef", "mtest", "2033"]
    );
    assert!(stdout.contains("inet 10.0.2.15/24 brd 10.0.2.255"), "{stdout}");
    assert!(stdout.contains("mtu 1400"), "{stdout}");
    assert!(stdout.contains("default via 10.0.2.2 dev eth0"), "{stdout}");
    assert!(stdout.contains("lo: <LOOPBACK,UP"), "{stdout}");
    // What only an absent program reads was left out.
    let told = "{\"told\": true}\n/run/service\n";
    let work = "runner:runner\nrunner:runner\n /home/runner/.cache/act ext4 \n";
    assert!(stdout.ends_with(&format!("{told}{work}")), "the folder of a forge's runner: {stdout}");
    assert!(result.user_us + result.system_us > 0 && result.max_rss_kib > 0, "{result:?}");
    assert_eq!(result.oom_kills, 0);

    let (left, _) = guest.exec("", "ps -o stat,args | grep -E 'sleep|^Z' | grep -v grep").await;
    assert_eq!(left, "", "left-over children and zombies");

    let mut tar = Vec::new();
    timeout(SOON, guest.link.get_tar("/work/in/out", &mut tar, 1 << 20)).await.unwrap().unwrap();
    let names: Vec<String> = tar::Archive::new(&tar[..])
        .entries()
        .unwrap()
        .map(|entry| entry.unwrap().path().unwrap().to_str().unwrap().to_owned())
        .collect();
    assert_eq!(names, ["out", "out/file"]);
    let missing = timeout(SOON, guest.link.get_tar("/no/such", &mut Vec::new(), 1 << 20)).await.unwrap();
    assert_eq!(missing, Err(LinkError::Guest("/no/such: No such file or directory (os error 2)".to_owned())));
    guest.power_off().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_clock_is_put_right_while_the_machine_runs() {
    // The host is heard more often then.
    let guest = Guest::boot(Setup { silence: Duration::from_secs(20), ..Setup::default() }).await;
    // A host that was suspended wakes up in the machine's future.
    let wait = "date -s @100000 >/dev/null; until [ $(date +%Y) -ge 2026 ]; do sleep 1; done; date +%Y";
    let (text, exit) = guest.exec("", wait).await;
    assert_eq!(exit, Exit::Code(0), "{text}");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let (text, _) = guest.exec("", "date +%s").await;
    assert!(text.trim().parse::<u64>().unwrap().abs_diff(now) < 60, "{text}");
    guest.power_off().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn execs_have_pipes_or_a_terminal_and_end_with_their_first_process() {
    let guest = Guest::boot(Setup::default()).await;

    let (text, exit) =
        guest.exec("", "cat /proc/1/oom_score_adj; echo err >&2; (sleep 1000 &); exit 7").await;
    assert_eq!(exit, Exit::Code(7));
    assert!(text.contains("-1000") && text.contains("err"), "{text}");
    assert_eq!(guest.exec("12345:54321", "id -u; id -g; echo $HOME").await.0, "12345\n54321\n/\n");

    // The port to the host is the agent's: another user may not open it, and root finds it taken.
    let port = "port=$(ls /dev/vport*); ls -ln $port; cat <$port; echo x >$port";
    let (text, _) = guest.exec("12345:54321", port).await;
    assert!(text.contains("crw-------") && text.contains("/dev/vport"), "{text}");
    assert_eq!(text.matches("Permission denied").count(), 2, "{text}");
    let (text, _) = guest.exec("", port).await;
    assert_eq!(text.matches("Device or resource busy").count(), 2, "{text}");

    // Through a pipe, both ways.
    let mut request = on_terminal(&["cat"]);
    request.tty = None;
    let Exec { mut stdin, output, .. } = timeout(SOON, guest.link.exec(request)).await.unwrap().unwrap();
    stdin.write_all(b"there and back").await.unwrap();
    drop(stdin);
    assert_eq!(collect(output).await, ("there and back".to_owned(), Exit::Code(0)));

    // It ends although its input stays open.
    let mut request = on_terminal(&["true"]);
    request.tty = None;
    let held = timeout(SOON, guest.link.exec(request)).await.unwrap().unwrap();
    assert_eq!(collect(held.output).await.1, Exit::Code(0));

    // On a terminal: its size, a new size, job control, and Ctrl-D for the end of input.
    let request =
        on_terminal(&["sh", "-c", "tty; stty size; read x; stty size; cat >/dev/tty; echo done $x"]);
    let Exec { mut stdin, mut output, control } =
        timeout(SOON, guest.link.exec(request)).await.unwrap().unwrap();
    let mut text = String::new();
    while !text.contains("31 97") {
        let (_, data) = timeout(SOON, output.next()).await.unwrap().expect("ended early");
        text += &String::from_utf8_lossy(&data);
    }
    control.resize(WinSize { rows: 40, cols: 120 }).await.unwrap();
    stdin.write_all(b"input\n").await.unwrap();
    drop(stdin);
    let (rest, exit) = collect(output).await;
    text += &rest;
    assert_eq!(exit, Exit::Code(0), "{text}");
    for expected in ["/dev/pts/0", "40 120", "done input"] {
        assert!(text.contains(expected), "no '{expected}' in {text:?}");
    }

    // A hung-up exec is killed with its children.
    let request = on_terminal(&["sh", "-c", "sleep 4321 & echo up; wait"]);
    let mut exec = timeout(SOON, guest.link.exec(request)).await.unwrap().unwrap();
    timeout(SOON, exec.output.next()).await.unwrap().expect("ended early");
    drop(exec);
    let mut left = String::new();
    for _ in 0..100 {
        left = guest.exec("", "ps -o args | grep '^sleep 4321'").await.0;
        if left.is_empty() {
            break;
        }
    }
    assert_eq!(left, "");

    let (text, _) = guest.exec("", "ls -d /sys/fs/cgroup/fireactions/exec-* | wc -l").await;
    assert_eq!(text, "1\n", "only the asking exec's own control group is left");
    guest.power_off().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_eats_all_memory_is_killed_and_counted() {
    let guest = Guest::boot(Setup { memory: 128, ..Setup::default() }).await;
    let (stdout, stderr, result) =
        guest.job(script("awk 'BEGIN { s = \"x\"; while (1) s = s s }'; echo code $?")).await;
    assert_eq!(stdout, "code 137\n", "{stderr}");
    assert_eq!(result.exit, Exit::Code(0));
    assert_eq!(result.oom_kills, 1);
    assert!(result.max_rss_kib > 32 * 1024, "{result:?}");
    let note = "memory: 1 process was killed for memory, of which the machine has ";
    assert!(result.notes.len() == 1 && result.notes[0].starts_with(note), "{result:?}");
    assert_eq!(guest.exec("", "echo alive").await.0, "alive\n");
    guest.power_off().await;
}

/// What a container engine does, and what it finds.
#[tokio::test(flavor = "multi_thread")]
async fn who_is_killed_at_a_limit_within_the_machine_is_no_sign_of_a_small_machine() {
    let guest = Guest::boot(Setup::default()).await;
    let container = r#"engine=/sys/fs/cgroup/engine box=$engine/box; mkdir -p $box
        echo +memory >$engine/cgroup.subtree_control && echo 16M >$box/memory.max || exit 1
        (echo 0 >$box/cgroup.procs && exec awk 'BEGIN { s = "x"; while (1) s = s s }'); echo code $?
        rmdir $box; readlink /etc/mtab"#;
    let (stdout, stderr, result) = guest.job(script(container)).await;
    assert_eq!(stdout, "code 137\n/proc/mounts\n", "{stderr}");
    assert_eq!(result.oom_kills, 0, "{result:?}");
    let note =
        "memory: 1 process was killed at the memory limit of a container or another group in the machine";
    assert_eq!(result.notes, [note]);
    guest.power_off().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_forks_without_end_reaches_its_bound_and_the_agent_lives() {
    let guest = Guest::boot(Setup::default()).await;
    let bound = "cat /sys/fs/cgroup/fireactions/job/pids.max";
    // A shell that is refused a process ends; those that are left fill its place.
    let bomb = format!(
        "{bound}; bomb() {{ while :; do bomb & done; }}; bomb & refused=0
         until [ $refused -gt 0 ]; do read _ refused </sys/fs/cgroup/fireactions/job/pids.events; done; exit 9"
    );
    let (stdout, stderr, result) = guest.job(script(&bomb)).await;
    let bound: u64 = stdout.trim().parse().unwrap();
    assert!((64..10_000).contains(&bound), "{bound}");
    assert!(!matches!(result.exit, Exit::Code(0)), "{result:?} {stderr}");
    let note = format!("the job reached its limit of {bound} processes and threads; ");
    assert!(result.notes.iter().any(|text| text.starts_with(&note)), "{result:?}");
    assert_eq!(guest.exec("", "ps -o comm | grep -c '^sleep'").await.0, "0\n", "all are gone");
    guest.power_off().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_fills_the_disk_is_told_so_and_its_time_is_measured() {
    let guest = Guest::boot(Setup::default()).await;
    let (_, stderr, result) = guest.job(script("sleep 1; dd if=/dev/zero of=/big bs=1M")).await;
    assert!(stderr.contains("No space left on device"), "{stderr}");
    assert_eq!(result.exit, Exit::Code(1));
    assert_eq!(result.notes.len(), 1, "{result:?}");
    assert!(result.notes[0].starts_with("the scratch disk is full (0 of "), "{result:?}");
    assert!((1_000_000..60_000_000).contains(&result.ran_us), "{result:?}");
    guest.power_off().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_reaches_all_processes_of_the_job() {
    let guest = Guest::boot(Setup::default()).await;
    let request = script("(trap 'echo child; exit' TERM; while :; do sleep 0.1; done) & echo up; wait; wait");
    timeout(SOON, guest.link.run(request.clone())).await.unwrap().unwrap();
    timeout(SOON, guest.link.next_output()).await.unwrap().unwrap();
    // Asking again starts nothing twice.
    timeout(SOON, guest.link.run(request)).await.unwrap().unwrap();
    timeout(SOON, guest.link.signal(15)).await.unwrap().unwrap();
    let (_, _, result) = guest.job_end().await;
    assert_eq!(result.exit, Exit::Signal(15));
    let hello = timeout(SOON, guest.link.hello()).await.unwrap().unwrap();
    assert!(matches!(hello.state, GuestState::Idle), "the first session's hello: {hello:?}");
    guest.power_off().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_start_says_why() {
    for (request, why) in [
        (RunRequest { argv: vec!["ghost".into()], ..script("") }, "program 'ghost' was not found in PATH="),
        (
            RunRequest { user: "nobody".into(), ..script("") },
            "user 'nobody' is not in the image's /etc/passwd",
        ),
        (RunRequest { workdir: "/etc/passwd/x".into(), ..script("") }, "cannot use the working directory"),
    ] {
        // A machine has one run, also one that could not start.
        let guest = Guest::boot(Setup::default()).await;
        match timeout(SOON, guest.link.run(request)).await.unwrap() {
            Err(LinkError::Unstartable(text)) => assert!(text.contains(why), "{text}"),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn much_output_comes_whole() {
    let guest = Guest::boot(Setup::default()).await;
    let (stdout, _, result) = guest.job(script("seq 1 400000")).await;
    assert_eq!(result.exit, Exit::Code(0));
    assert_eq!(stdout.lines().count(), 400_000);
    assert!(stdout.ends_with("399999\n400000\n"));
    guest.power_off().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_images_own_init_runs_beside_the_agent() {
    let guest = Guest::boot(Setup { init: "image", ..Setup::default() }).await;
    // The agent may be configured before init has said its word.
    let said = async {
        while !guest.console().contains("image init is 1") {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    assert!(timeout(BOOT, said).await.is_ok(), "{}", guest.console());
    let (stdout, _, result) =
        guest.job(script("tr '\\0' ' ' </proc/1/cmdline; (sleep 1000 &); exit 5")).await;
    assert_eq!(stdout.trim_end(), "/bin/sh /sbin/init");
    assert_eq!(result.exit, Exit::Code(5));
    let (text, _) = guest.exec("", "ps -o args | grep -c '^sleep 1000'; cat /etc/machine-id | wc -c").await;
    assert_eq!(text, "1\n33\n", "init's own sleep stays, the job's does not");
    guest.power_off().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_without_its_disk_says_so_and_ends() {
    let console = Guest::fail(Setup { root: false, ..Setup::default() }).await;
    assert!(console.contains("fireactions-agent: cannot boot: disk /dev/vda did not appear"), "{console}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_without_a_timer_says_so_and_ends() {
    // As a kernel that has measured a rate of nothing.
    let mut guest = Guest::start(&Setup::default(), "nolapic_timer").await;
    assert!(timeout(BOOT, guest.ended()).await.unwrap(), "{}", guest.console());
    let console = guest.console();
    assert!(console.contains("fireactions-agent: cannot boot: the kernel has no timer"), "{console}");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_guest_takes_the_place_of_one_without_a_timer() {
    let guest = Guest::boot(Setup { first: "nolapic_timer", ..Setup::default() }).await;
    let (stdout, ..) = guest.job(script("grep -c nolapic_timer /proc/cmdline; sleep 0.1; echo awake")).await;
    assert_eq!(stdout, "0\nawake\n");
    guest.power_off().await;
}
