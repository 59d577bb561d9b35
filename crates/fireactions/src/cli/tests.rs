//! What the command line takes and how its tables look.

use std::collections::BTreeMap;

use clap::{CommandFactory, Parser};
use fireactions_api::{ImageView, MachineUsage};
use fireactions_fleet::doctor::{CHECKS, Finding, Report};
use fireactions_model::*;
use jiff::{SignedDuration, Timestamp};

use super::*;

fn parse(line: &str) -> Result<Cli, String> {
    Cli::try_parse_from(line.split_whitespace()).map_err(|error| error.to_string())
}

#[test]
fn the_definition_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn help_lists_every_command_but_the_hidden_one() {
    insta::assert_snapshot!(Cli::command().term_width(100).render_help());
}

#[test]
fn help_of_run() {
    let mut command = Cli::command().term_width(100);
    command.build();
    let run = command.find_subcommand_mut("run").unwrap();
    insta::assert_snapshot!(run.clone().term_width(100).render_help());
}

#[test]
fn the_lines_of_the_manual_are_taken() {
    for line in [
        "fireactions server --config /etc/f.yaml",
        "fireactions validate /etc/f.yaml",
        "fireactions doctor --json",
        "fireactions doctor --remote 203.0.113.5 --user ops --ssh-option Port=2222 --json",
        "fireactions host list --json",
        "fireactions host show do-1 --age-key --ssh-option Port=2222",
        "fireactions host register do-1 203.0.113.5 -p do -t prod,runners -a x86_64 -u ops",
        "fireactions host set do-1 --address 203.0.113.6 --build-on-target false",
        "fireactions host unregister do-1",
        "fireactions host tags --flake /srv/fleet",
        "fireactions host deploy --provider do --name do-1 --tags prod,runners,large --arch x86_64 203.0.113.5",
        "fireactions host deploy -p nvme -n n -t small -u nixos --env-password --no-kexec --yes 203.0.113.5 -- --debug",
        "fireactions run -- make -j2 test",
        "fireactions run true",
        "fireactions run --image debian:12 --vcpus 2 --memory 512 --timeout 90s --env A=b --env HOME --copy x:/y \
         --label l --name n --artifact /out:x.tar --detach -- cmd --with -flags",
        "fireactions run --script build.sh",
        "fireactions jobs list --json --state timed_out",
        "fireactions jobs show j0123456789",
        "fireactions jobs cancel j0123456789 j0123456789",
        "fireactions jobs cancel --json j0123456789",
        "fireactions machines remove m0123456789 j0123456789",
        "fireactions machines hold j0123456789 --for 2h",
        "fireactions machines unhold m0123456789",
        "fireactions drain",
        "fireactions drain --wait --reason kernel",
        "fireactions drain --wait=30m --json",
        "fireactions undrain --json",
        "fireactions jobs logs -f j0123456789",
        "fireactions ps --json --socket /tmp/s",
        "fireactions --url http://127.0.0.1:1 --token-file /t ps",
        "fireactions logs m0123456789 -f --tail 5",
        "fireactions exec m0123456789 -- ls -l --color",
        "fireactions exec -t --user me m0123456789 sh",
        "fireactions login m0123456789",
        "fireactions pools list",
        "fireactions pools pause p",
        "fireactions pools resume p --json",
        "fireactions pools scale p --min 1 --max 4",
        "fireactions pools scale p --reset",
        "fireactions image list",
        "fireactions image pull debian:12",
        "fireactions image remove sha256:abc",
        "fireactions image gc --max-size 1024 --unused-for 7d",
        "fireactions version --json",
        "fireactions completion bash",
        "fireactions man /tmp/man",
        "fireactions migrate /etc/f.yaml",
        // As hands are used to it from other programs of this name.
        "fireactions server -f /etc/f.yaml",
        "fireactions ls",
        "fireactions ps --endpoint 127.0.0.1:8080",
        "fireactions pools ls",
        "fireactions pools g p",
        "fireactions pools scale p --replicas 3",
        "fireactions image ls",
        "fireactions image rm debian:12",
        "fireactions machines rm m0123456789",
        "fireactions microvm login --help x",
        "fireactions runner --log-level debug",
    ] {
        parse(line).unwrap_or_else(|error| panic!("{line}: {error}"));
    }
}

#[test]
fn mistakes_are_named() {
    for (line, says) in [
        ("fireactions run --vcpus 0 true", "0 is not in 1.."),
        ("fireactions run --timeout soon true", "--timeout"),
        ("fireactions run --script a -- b", "cannot be used with"),
        ("fireactions run --artifact out true", "PATH is absolute"),
        ("fireactions jobs show 17", "is not a valid job id"),
        ("fireactions jobs list --state done", "use one of queued"),
        ("fireactions pools scale p", "--min"),
        ("fireactions pools scale p --replicas 1 --max 2", "cannot be used with"),
        ("fireactions -v", concat!("fireactions ", env!("CARGO_PKG_VERSION"))),
        ("fireactions pools scale p --min 1 --reset", "cannot be used with"),
        ("fireactions drain --wait=soon", "--wait"),
        ("fireactions drain new kernel", "unexpected argument"),
        ("fireactions machines remove", "<VM>"),
        ("fireactions exec m0123456789", "<CMD>"),
        ("fireactions image pull debian:12 extra", "unexpected argument"),
    ] {
        let error = parse(line).err().unwrap_or_else(|| panic!("{line} was taken"));
        assert!(error.contains(says), "{line}: {error}");
    }
}

#[test]
fn everything_after_the_dashes_is_the_program() {
    let Ok(Cli { command: Command::Exec(_), .. }) = parse("fireactions exec m0123456789 -- a --help") else {
        panic!("not an exec");
    };
    let shown = format!("{:?}", parse("fireactions run -- a --image x -- b").unwrap());
    assert!(shown.contains(r#"command: ["a", "--image", "x", "--", "b"]"#), "{shown}");
    assert!(shown.contains("image: None"), "{shown}");
}

#[test]
fn every_shell_has_completions_and_every_command_a_page() {
    for shell in [clap_complete::Shell::Bash, clap_complete::Shell::Zsh, clap_complete::Shell::Fish] {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut Cli::command(), "fireactions", &mut script);
        assert!(String::from_utf8(script).unwrap().contains("doctor"), "{shell}");
    }
    let dir = tempfile::tempdir().unwrap();
    let Command::Man(args) = parse(&format!("fireactions man {}", dir.path().display())).unwrap().command
    else {
        panic!("not man");
    };
    man::run(&args).unwrap();
    for page in ["fireactions.1", "fireactions-run.1", "fireactions-jobs-logs.1"] {
        assert!(dir.path().join(page).is_file(), "{page}");
    }
}

fn some_time_ago(secs: i64) -> Timestamp {
    Timestamp::now() - SignedDuration::from_secs(secs)
}

fn shape() -> Shape {
    Shape { image: ImageRef::new("debian:12").unwrap(), vcpus: 2, memory_mib: 512, disk_mib: 1024 }
}

fn job(seed: u8, state: JobState, outcome: Option<Outcome>) -> JobRecord {
    let queued = some_time_ago(600);
    JobRecord {
        id: JobId::from_random([seed; 8]),
        spec: serde_json::from_str(
            r#"{"name":"te\u001b[31mst","program":{"command":{"argv":["make","test"]}}}"#,
        )
        .unwrap(),
        state,
        attempt: 1,
        pool: Some(PoolName::new("default").unwrap()),
        machine: None,
        cancel_requested: false,
        outcome,
        reason: None,
        usage: Usage { user_us: 1_500_000, system_us: 20_000, max_rss_kib: 2048, oom_kills: 0 },
        phases: PhaseTimes::from([(Phase::Kernel, 1_234_567), (Phase::Net, 4_200)]),
        notes: vec!["artifact /x: no such file".to_owned()],
        waiting: None,
        autopsy: None,
        remote: None,
        queued_at: queued,
        assigned_at: None,
        started_at: state.is_final().then_some(queued),
        finished_at: state.is_final().then(|| queued + SignedDuration::from_millis(2500)),
    }
}

#[test]
fn table_of_jobs() {
    let jobs = [
        job(1, JobState::Running, None),
        job(2, JobState::Failed, Some(Outcome::Exited { code: 3 })),
        job(3, JobState::TimedOut, Some(Outcome::TimedOut)),
        JobRecord {
            waiting: Some(WaitReason::Paused { pool: PoolName::new("default").unwrap() }),
            ..job(4, JobState::Queued, None)
        },
    ];
    insta::assert_snapshot!(jobs::render(&jobs));
}

#[test]
fn one_job() {
    let shown = jobs::one::render(&job(2, JobState::Failed, Some(Outcome::Signalled { signal: 9 })), None);
    insta::assert_snapshot!(steady(&shown));
}

/// Without the times, which are those of this run.
fn steady(shown: &str) -> String {
    let lines: Vec<&str> = shown
        .lines()
        .filter(|line| !["Queued:", "Started:", "Finished:"].iter().any(|name| line.starts_with(name)))
        .collect();
    lines.join("\n")
}

#[test]
fn a_lost_job_says_why_and_shows_its_machine() {
    let reason = "attempt 2 of 2 was lost: the VMM process was stopped by a signal";
    let lost = JobRecord {
        reason: Some(reason.to_owned()),
        autopsy: Some(Autopsy {
            state: MachineState::Busy,
            step: Step::Running,
            vmm: Some("stopped by a signal (SIGSTOP)".to_owned()),
            oom_kills: 1,
            console_tail: "[    1.0] booted\n\tBUG: \u{1b}[31mred\n".to_owned(),
        }),
        notes: Vec::new(),
        ..job(3, JobState::Lost, Some(Outcome::Lost { reason: "the same".to_owned() }))
    };
    insta::assert_snapshot!(steady(&jobs::one::render(&lost, None)));
}

#[test]
fn a_job_says_what_it_waits_for_and_that_its_machine_is_held() {
    let waiting = JobRecord {
        reason: Some("attempt 1 was lost: its machine died; queued for attempt 2 of 2".to_owned()),
        waiting: Some(WaitReason::HostFull {
            pool: PoolName::new("default").unwrap(),
            held: 2,
            held_mib: 1152,
        }),
        ..job(4, JobState::Queued, None)
    };
    let shown = jobs::one::render(&waiting, None);
    assert!(shown.contains("Waits for: pool 'default': the host's budget"), "{shown}");
    assert!(shown.contains("2 held machines take 1152 MiB"), "{shown}");
    assert!(shown.contains("Reason:    attempt 1 was lost"), "{shown}");
    let failed = job(2, JobState::Failed, Some(Outcome::Exited { code: 3 }));
    let held = MachineView {
        held_until: Some(Timestamp::now() + SignedDuration::from_secs(1800)),
        ..machine(7, MachineState::Held, Some("exit code 3"))
    };
    let shown = jobs::one::render(&failed, Some(&held));
    let id = &held.id;
    assert!(shown.contains("Reason:      exit code 3\n"), "{shown}");
    assert!(shown.contains(&format!("Held:        machine {id} is held until ")), "{shown}");
    assert!(shown.contains(&format!("`fireactions login {id}` opens a shell in it")), "{shown}");
    let listed = ps::render(&[held], &[]);
    assert!(listed.contains("held until 2") && listed.contains("Z (29m): exit code 3"), "{listed}");
}

#[test]
fn a_drained_host_says_since_when_and_what_is_left() {
    let host = |busy, held| HostView {
        drained: Some(Drained { since: Timestamp::UNIX_EPOCH, why: "new\nkernel".to_owned() }),
        machines: BTreeMap::from([(MachineState::Busy, busy), (MachineState::Held, held)]),
        budget: HostBudget::default(),
    };
    assert_eq!(
        ps::drained(&host(2, 0)).unwrap(),
        "host drained since 1970-01-01T00:00:00Z: new\u{fffd}kernel; 2 machines still busy"
    );
    assert!(drain::told(&host(1, 3)).ends_with("; 1 machine still busy, 3 held"));
    assert_eq!(ps::drained(&HostView { drained: None, ..host(2, 0) }), None);
}

#[test]
fn table_of_machines() {
    let machines =
        [machine(1, MachineState::Busy, None), machine(2, MachineState::Stopping, Some("panic\nat boot"))];
    let usage = MachineUsage { machine: machines[0].id.clone(), memory: 100 << 20, millicores: Some(1057) };
    insta::assert_snapshot!(ps::render(&machines, &[usage]));
}

fn machine(seed: u8, state: MachineState, failure: Option<&str>) -> MachineView {
    MachineView {
        id: MachineId::from_random([seed; 8]),
        pool: PoolName::new("default").unwrap(),
        shape: shape(),
        state,
        step: Step::Running,
        job: (state == MachineState::Busy).then(|| JobId::from_random([seed; 8])),
        pid: Some(42),
        address: Some("172.30.0.7".parse().unwrap()),
        failure: failure.map(|message| Failure { kind: FailureKind::Guest, message: message.to_owned() }),
        phases: PhaseTimes::new(),
        created_at: some_time_ago(3 * 3600 + 60),
        state_since: some_time_ago(1),
        held_until: None,
        hold_secs: None,
        started: (state == MachineState::Busy).then_some(StartMode::Snapshot),
        unrecorded: None,
    }
}

fn pool() -> PoolView {
    PoolView {
        spec: PoolSpec {
            min_runners: 1,
            max_runners: 3,
            labels: Labels::from([Label::new("linux").unwrap(), Label::new("x64").unwrap()]),
            ..PoolSpec::new(PoolName::new("default").unwrap(), shape())
        },
        paused: false,
        host_drained: false,
        min_runners: 2,
        max_runners: 3,
        machines: BTreeMap::from([(MachineState::Ready, 2), (MachineState::Busy, 1)]),
        queued: 4,
        backoff: None,
        waiting_for: None,
        problem: None,
    }
}

#[test]
fn table_of_pools() {
    let failing = PoolView {
        backoff: Some(Backoff { failures: 3, until: Timestamp::now(), reason: "no such image".to_owned() }),
        machines: BTreeMap::new(),
        ..pool()
    };
    let paused = PoolView { paused: true, ..pool() };
    insta::assert_snapshot!(pools::render(&[pool(), failing, paused]));
    insta::assert_snapshot!(pools::render_one(&pool()));
    let mut special = pool();
    special.spec.start = StartMode::Boot;
    special.spec.hardware = Hardware {
        console: true,
        huge_pages: HugePages::Hugetlbfs,
        disk_limits: DiskLimits { mib_per_second: Some(200), iops: Some(5000) },
        bytes_per_inode: 4096,
        mmds: MmdsVersion::V1,
        cpu_template: Some("T2S".to_owned()),
    };
    insta::assert_snapshot!(pools::render_one(&special));
}

#[test]
fn table_of_images() {
    let image = ImageView {
        digest: Digest::new(format!("sha256:{}", "0123456789abcdef".repeat(4))).unwrap(),
        names: vec![ImageRef::new("debian:12").unwrap(), ImageRef::new("r:5000/x").unwrap()],
        size: 150 << 20,
        templates: 90 << 20,
        in_use: true,
        created_at: some_time_ago(86_400 * 3 + 60),
        last_used: some_time_ago(150),
    };
    insta::assert_snapshot!(image::render(&[
        image.clone(),
        ImageView { names: Vec::new(), in_use: false, ..image }
    ]));
}

#[test]
fn table_of_the_doctor() {
    let check = |name| CHECKS.iter().find(|check| check.name == name).unwrap();
    let report = Report {
        findings: vec![
            Finding::ok(check("root"), "running as root"),
            Finding::warning(check("swap"), "in use: /dev/sda2", "`swapoff -a`"),
            Finding::error(
                check("tar2sqfs"),
                "tar2sqfs is not there",
                "install it: `apt-get install squashfs-tools-ng`",
            ),
        ],
    };
    insta::assert_snapshot!(doctor::render(&report));
}
