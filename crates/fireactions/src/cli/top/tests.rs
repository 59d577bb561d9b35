use std::collections::BTreeMap;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use fireactions_api::{ForgeLimits, LiveDelta, LiveGone, LiveSnapshot, MachineUsage, Version};
use fireactions_model::{
    ForgeName, HostBudget, HostView, ImageRef, JobId, JobRecord, JobState, MachineId, MachineState,
    MachineView, PoolName, PoolSpec, PoolView, RateLimit, Shape, Share, Step, WaitReason,
};
use jiff::{SignedDuration, Timestamp};
use ratatui::Terminal;
use ratatui::backend::TestBackend;

use super::draw::draw;
use super::feed::News;
use super::rows::Tab;
use super::screen::Screen;

fn now() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap()
}

fn ago(secs: i64) -> Timestamp {
    now() - SignedDuration::from_secs(secs)
}

fn shape() -> Shape {
    Shape { image: ImageRef::new("debian:12").unwrap(), vcpus: 2, memory_mib: 512, disk_mib: 1024 }
}

fn name() -> PoolName {
    PoolName::new("default").unwrap()
}

fn pool() -> PoolView {
    PoolView {
        spec: PoolSpec::new(name(), shape()),
        paused: false,
        host_drained: false,
        min_runners: 1,
        max_runners: 4,
        machines: BTreeMap::from([(MachineState::Busy, 1), (MachineState::Ready, 1)]),
        queued: 1,
        backoff: None,
        waiting_for: None,
        problem: None,
    }
}

fn job(n: u8, name: &str, state: JobState) -> JobRecord {
    let id = JobId::from_random([n; 8]);
    let at = ago(90 - i64::from(n));
    let mut job: JobRecord = serde_json::from_value(serde_json::json!({
        "id": id, "spec": {"program": {"script": {"text": "make"}}, "name": name}, "state": state, "attempt": 1, "pool": "default",
        "machine": null, "cancel_requested": false, "outcome": null, "reason": null, "phases": {}, "notes": [],
        "usage": {"user_us": 0, "system_us": 0, "max_rss_kib": 0, "oom_kills": 0},
        "queued_at": at, "assigned_at": null, "started_at": null, "finished_at": null,
    }))
    .unwrap();
    job.waiting = (state == JobState::Queued).then(|| WaitReason::PoolAtMaximum { pool: name_of(), max: 4 });
    job.started_at = (state == JobState::Running).then_some(at);
    job
}

fn name_of() -> PoolName {
    name()
}

fn machine(n: u8, state: MachineState) -> MachineView {
    MachineView {
        id: MachineId::from_random([n; 8]),
        pool: name(),
        shape: shape(),
        state,
        step: Step::Running,
        job: (state == MachineState::Busy).then(|| JobId::from_random([1; 8])),
        pid: Some(42),
        address: Some("172.30.0.7".parse().unwrap()),
        failure: None,
        phases: BTreeMap::new(),
        created_at: ago(3600),
        state_since: ago(30),
        held_until: None,
        hold_secs: Some(7200).filter(|_| state == MachineState::Busy),
        started: None,
        unrecorded: None,
    }
}

fn snapshot() -> LiveSnapshot {
    let limit = RateLimit {
        credential: "token".to_owned(),
        resource: "core".to_owned(),
        limit: 5000,
        remaining: 400,
        reset_at: Some(now() + SignedDuration::from_secs(1500)),
        blocked_until: None,
    };
    LiveSnapshot {
        revision: 1,
        at: now(),
        version: Version {
            version: "1.2.3".to_owned(),
            vmm: "qemu".to_owned(),
            vmm_version: String::new(),
            accel: "kvm".to_owned(),
            pid: 7,
        },
        host: HostView {
            drained: None,
            machines: BTreeMap::new(),
            budget: HostBudget {
                vcpus: Share { used: 4, of: Some(8) },
                memory_mib: Share { used: 1152, of: Some(14336) },
                slots: Share { used: 2, of: Some(252) },
                disk_mib: Some(Share { used: 95 << 10, of: Some(100 << 10) }),
            },
        },
        limits: vec![ForgeLimits { forge: ForgeName::github(), limits: vec![limit] }],
        pools: vec![pool()],
        jobs: vec![
            job(3, "later", JobState::Queued),
            job(2, "first", JobState::Queued),
            job(1, "build", JobState::Running),
            job(0, "over", JobState::Succeeded),
        ],
        machines: vec![machine(7, MachineState::Busy), machine(8, MachineState::Ready)],
    }
}

fn screen() -> Screen {
    let mut screen = Screen::new("/run/api.sock".to_owned(), false);
    screen.hear(News::Snapshot(Box::new(snapshot())), now());
    screen
}

fn press(screen: &mut Screen, codes: &[KeyCode]) -> bool {
    codes.iter().any(|code| screen.key(KeyEvent::new(*code, KeyModifiers::NONE)))
}

fn types(screen: &mut Screen, text: &str) {
    let codes: Vec<KeyCode> = text.chars().map(KeyCode::Char).collect();
    press(screen, &codes);
}

/// The lines of a terminal of this size.
fn drawn(screen: &Screen, width: u16, height: u16) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, screen, now())).unwrap();
    let buffer = terminal.backend().buffer().clone();
    let line = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>().trim_end().to_owned();
    (0..height).map(line).collect()
}

#[test]
fn everything_at_a_glance() {
    let mut screen = screen();
    let usage =
        MachineUsage { machine: MachineId::from_random([7; 8]), memory: 100 << 20, millicores: Some(1057) };
    screen.hear(News::Usage(vec![usage]), now());
    insta::assert_snapshot!("pools", drawn(&screen, 120, 10).join("\n"));
    press(&mut screen, &[KeyCode::Tab]);
    insta::assert_snapshot!("jobs", drawn(&screen, 120, 10).join("\n"));
    press(&mut screen, &[KeyCode::Tab]);
    insta::assert_snapshot!("machines", drawn(&screen, 120, 10).join("\n"));
    press(&mut screen, &[KeyCode::Enter]);
    insta::assert_snapshot!("machine", drawn(&screen, 80, 22).join("\n"));
}

#[test]
fn keys_choose_filter_open_and_leave() {
    let mut screen = screen();
    let chosen = |screen: &Screen| {
        let (rows, chosen) = screen.rows(now());
        chosen.map(|at| rows[at].cells[4].clone())
    };
    press(&mut screen, &[KeyCode::Tab]);
    assert_eq!((screen.tab, chosen(&screen).as_deref()), (Tab::Jobs, Some("first")), "who waits longest");
    press(&mut screen, &[KeyCode::Char('j')]);
    assert_eq!(chosen(&screen).as_deref(), Some("later"));
    // What comes and goes before it does not move the choice.
    let mut delta = LiveDelta {
        revision: 2,
        at: now(),
        host: None,
        limits: None,
        pools: vec![],
        jobs: vec![job(4, "latest", JobState::Queued)],
        machines: vec![],
        gone: LiveGone { jobs: vec![JobId::from_random([2; 8])], ..LiveGone::default() },
    };
    screen.hear(News::Delta(Box::new(delta.clone())), now());
    assert_eq!(chosen(&screen).as_deref(), Some("later"));
    // What is gone leaves its place to the next.
    delta.revision = 3;
    delta.gone.jobs = vec![JobId::from_random([3; 8])];
    screen.hear(News::Delta(Box::new(delta)), now());
    assert_eq!(chosen(&screen).as_deref(), Some("build"));
    press(&mut screen, &[KeyCode::Home, KeyCode::Char('k')]);
    assert_eq!(chosen(&screen).as_deref(), Some("latest"));
    press(&mut screen, &[KeyCode::PageDown, KeyCode::End]);
    assert_eq!(chosen(&screen).as_deref(), Some("build"));

    types(&mut screen, "/qj");
    assert!(screen.typing && chosen(&screen).is_none(), "q is a letter here");
    assert!(drawn(&screen, 80, 10).last().unwrap().starts_with("/qj_"));
    press(&mut screen, &[KeyCode::Backspace, KeyCode::Backspace]);
    types(&mut screen, "BUILD running");
    press(&mut screen, &[KeyCode::Enter, KeyCode::Enter]);
    assert!(screen.opened);
    let shown = drawn(&screen, 80, 24).join("\n");
    assert!(shown.contains("Name:") && shown.contains("build") && !shown.contains("latest"), "{shown}");
    press(&mut screen, &[KeyCode::Esc, KeyCode::Esc]);
    assert!(!screen.opened && screen.filter.is_empty());
    assert!(press(&mut screen, &[KeyCode::Char('q')]));
    let interrupt = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    screen.typing = true;
    assert!(screen.key(interrupt));
}

#[test]
fn what_is_old_says_since_when() {
    let mut silent = Screen::new("/run/api.sock".to_owned(), true);
    assert!(drawn(&silent, 80, 10)[0].contains("Waiting for the server at /run/api.sock"));
    silent.hear(News::Lost("it is\nnot there".to_owned()), now());
    assert!(drawn(&silent, 80, 10)[0].starts_with("Not connected: it is\u{fffd}not there"));
    let mut screen = screen();
    screen.heard = Some(ago(75));
    screen.hear(News::Lost("the server has ended the connection".to_owned()), now());
    let lines = drawn(&screen, 120, 10);
    assert!(lines[0].starts_with("Not connected since ") && lines[0].contains("(75s)"), "{lines:#?}");
    assert!(lines[0].contains("what is shown is as it was then") && lines[1].contains("fireactions 1.2.3"));
    screen.hear(News::Same, now());
    assert!(drawn(&screen, 120, 10)[0].contains("fireactions 1.2.3"));
}

#[test]
fn names_of_others_neither_move_the_cursor_nor_break_the_screen() {
    let evil = ["\x1b]0;pwned\x07\x1b[2J", "a\nb\tc\u{202e}d\u{0}", "👩‍👩‍👧‍👦é\u{300}\u{301}", ""];
    let mut known = snapshot();
    known.jobs = evil.iter().zip(10..).map(|(name, n)| job(n, name, JobState::Queued)).collect();
    known.jobs.push(job(20, &"x".repeat(65_536), JobState::Queued));
    known.version.accel = evil[0].to_owned();
    known.machines[0].failure = Some(fireactions_model::Failure {
        kind: fireactions_model::FailureKind::Guest,
        message: evil.concat().repeat(2000),
    });
    let mut screen = Screen::new("x".to_owned(), true);
    screen.hear(News::Snapshot(Box::new(known)), now());
    for _ in 0..3 {
        for opened in [false, true] {
            screen.opened = opened;
            for (width, height) in [(200, 50), (40, 8), (3, 3), (1, 1)] {
                for line in drawn(&screen, width, height) {
                    assert!(!line.contains(|c: char| c.is_control() || c == '\u{202e}'), "{line:?}");
                }
            }
        }
        press(&mut screen, &[KeyCode::Tab]);
    }
}
