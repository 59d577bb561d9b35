//! What is acknowledged is on the disk: the system calls of a process that writes, as `strace` sees them. A copy of its files
//! would show the page cache, in which everything is there that was written.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::*;
use fireactions_model::{InputFile, Outcome, PhaseTimes, Report, RetryPolicy, Stream, Usage};
use fireactions_store::Store;

const DIR: &str = "FIREACTIONS_TEST_STATE_DIR";

/// The calls that change files, names in directories, and what of both is on the disk.
const CALLS: &str = "trace=write,pwrite64,pwritev,pwritev2,writev,ftruncate,fallocate,copy_file_range,sendfile,openat,mkdir,\
                     mkdirat,rename,renameat,renameat2,fsync,fdatasync";

/// Does one of everything, and says so each time after it was acknowledged.
#[tokio::test]
#[ignore = "run by what_is_acknowledged_is_on_the_disk, which watches it"]
async fn child_that_is_watched() {
    let store = Store::open(std::env::var(DIR).unwrap()).unwrap();
    let acknowledged = |what: &str| {
        let mut out = std::io::stdout().lock();
        writeln!(out, "ACK {what}").unwrap();
        out.flush().unwrap();
    };
    acknowledged("open");
    let mut spec = spec();
    spec.files = vec![InputFile { dest: "/in".to_owned(), mode: 0o600, size: 5 }];
    let mut files = store.stage(&job(1));
    files.put(&spec.files[0], b"bytes".as_slice()).await.unwrap();
    store.insert_job(&job(1), &spec, files, 10).await.unwrap();
    acknowledged("insert");
    store.set_pool(&pool("p"), true, None).await.unwrap();
    acknowledged("pause");
    store.set_drained(Some("a test")).await.unwrap();
    acknowledged("drain");
    store.insert_machine(new_machine(1, 4)).await.unwrap();
    acknowledged("machine");
    store.bind(&job(1), &machine(1), &pool("p")).await.unwrap();
    acknowledged("bind");
    store.start_job(&job(1), &machine(1)).await.unwrap();
    acknowledged("start");
    store.log(&job(1)).append_at(0, Stream::Stdout, b"hello".to_vec()).await.unwrap();
    fs::write(store.artifact_path(&job(1), 0), "an archive").unwrap();
    acknowledged("output");
    store.keep_service_log(&job(1), "dockerd", b"API listens".to_vec()).await.unwrap();
    store.sync_job_files(&job(1)).await.unwrap();
    acknowledged("files");
    let report = Report {
        outcome: Outcome::Exited { code: 0 },
        usage: Usage::default(),
        phases: PhaseTimes::new(),
        notes: Vec::new(),
        autopsy: None,
    };
    store.finish_job(&job(1), &machine(1), &report, RetryPolicy::default()).await.unwrap();
    acknowledged("finish");
    store.insert_job(&job(2), &self::spec(), no_files(&store, 2), 10).await.unwrap();
    acknowledged("another");
    store.request_cancel(&job(2), "a test").await.unwrap();
    acknowledged(LAST);
}

/// After this the process ends.
const LAST: &str = "cancel";

/// What was acknowledged, and what had been changed and not synced by then.
#[derive(Debug)]
struct Acknowledged {
    what: String,
    /// Files that were written since the one before.
    written: BTreeSet<PathBuf>,
    /// Files, and directories whose names, would not be what they are after a power loss.
    volatile: BTreeSet<PathBuf>,
}

/// Files and directories with changes that are not on the disk yet, each with the number of its last change.
#[derive(Default)]
struct Disk {
    clock: u64,
    changed: BTreeMap<PathBuf, u64>,
    written: BTreeSet<PathBuf>,
    /// Calls that have begun and not ended, by thread.
    syncing: BTreeMap<String, (PathBuf, u64)>,
    acknowledged: Vec<Acknowledged>,
}

impl Disk {
    fn change(&mut self, path: &Path) {
        self.clock += 1;
        self.changed.insert(path.to_owned(), self.clock);
        self.written.insert(path.to_owned());
    }

    /// A name appears or goes.
    fn name(&mut self, path: &Path) {
        self.change(path.parent().unwrap());
    }

    /// A call that syncs is over, as this line says.
    fn returned(&mut self, path: &Path, began: u64, line: &str) {
        // The end of the process cuts off what its threads are in. For the result of that strace shows `?`, or what it finds
        // in its place: 231, the number of exit_group, was seen.
        if self.acknowledged.last().is_some_and(|last| last.what == LAST) {
            return;
        }
        assert!(line.ends_with("= 0"), "{line}");
        if self.changed.get(path).is_some_and(|last| *last <= began) {
            self.changed.remove(path);
        }
    }

    fn rename(&mut self, from: &Path, to: &Path) {
        for path in self.changed.keys().cloned().collect::<Vec<_>>() {
            if let Ok(rest) = path.strip_prefix(from) {
                let new = if rest.as_os_str().is_empty() { to.to_owned() } else { to.join(rest) };
                let last = self.changed.remove(&path).unwrap();
                self.changed.insert(new, last);
            }
        }
        self.name(from);
        self.name(to);
    }

    /// One line of `strace -f -y`: `THREAD call(3</a/file>, …) = result`, or one of the two halves of one.
    fn see(&mut self, line: &str) {
        let (thread, rest) = line.split_once(' ').unwrap();
        let rest = rest.trim_start();
        if rest.starts_with("<... fsync resumed>") || rest.starts_with("<... fdatasync resumed>") {
            let (path, began) = self.syncing.remove(thread).expect("the first half of the call");
            return self.returned(&path, began, line);
        }
        let Some((call, arguments)) = rest.split_once('(') else { return };
        if let Some((_, told)) = arguments.split_once("ACK ").filter(|_| call == "write") {
            let what = told.split("\\n").next().unwrap().to_owned();
            let written = std::mem::take(&mut self.written);
            let volatile = self.changed.keys().cloned().collect();
            return self.acknowledged.push(Acknowledged { what, written, volatile });
        }
        // The first descriptor's path; paths that are arguments stand in quotes.
        let of_descriptor = || Some(PathBuf::from(arguments.split_once('<')?.1.split_once('>')?.0));
        let quoted: Vec<PathBuf> = arguments.split('"').skip(1).step_by(2).map(PathBuf::from).collect();
        let failed = rest.contains(") = -1");
        match call {
            "fsync" | "fdatasync" => {
                let path = of_descriptor().unwrap();
                if rest.ends_with("<unfinished ...>") {
                    self.syncing.insert(thread.to_owned(), (path, self.clock));
                } else {
                    self.returned(&path, self.clock, line);
                }
            }
            "rename" | "renameat" | "renameat2" if !failed => self.rename(&quoted[0], &quoted[1]),
            "mkdir" | "mkdirat" if !failed => self.name(&quoted[0]),
            // Also where the file was there already: SQLite opens what it syncs.
            "openat" if !failed && arguments.contains("O_CREAT") && arguments.contains("O_EXCL") => {
                self.name(&quoted[0]);
            }
            "openat" | "rename" | "renameat" | "renameat2" | "mkdir" | "mkdirat" => {}
            "copy_file_range" | "sendfile" => panic!("the target of this is not looked at: {line}"),
            _ => {
                if let Some(path) = of_descriptor().filter(|path| path.is_absolute()) {
                    self.change(&path);
                }
            }
        }
    }
}

#[test]
fn what_is_acknowledged_is_on_the_disk() {
    let temp = tempfile::tempdir().unwrap();
    let (state, trace) = (temp.path().join("state"), temp.path().join("trace"));
    let output = Command::new("strace")
        .args([
            "--follow-forks",
            "--decode-fds=path",
            "--string-limit=300",
            "--signal=none",
            "-e",
            CALLS,
            "-o",
        ])
        .arg(&trace)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "synced::child_that_is_watched", "--ignored", "--nocapture"])
        .env(DIR, &state)
        .output()
        .expect("strace does not start; 'make setup' installs it");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");

    let mut disk = Disk::default();
    for line in fs::read_to_string(&trace).unwrap().lines() {
        disk.see(line);
    }
    let place = state.join("jobs").join(job(1).as_str());
    let wal = state.join("state.db-wal");
    // For each: what must have been written for it.
    let (input, log, artifact) = (place.join("in.0"), place.join("log"), place.join("out.0.tar"));
    let expected: [(&str, &[&Path]); 12] = [
        ("open", &[]),
        ("insert", &[&wal]),
        ("pause", &[&wal]),
        ("drain", &[&wal]),
        ("machine", &[&wal]),
        ("bind", &[&wal]),
        ("start", &[&wal]),
        ("output", &[&log, &artifact]),
        ("files", &[]),
        ("finish", &[&wal]),
        ("another", &[&wal]),
        ("cancel", &[&wal]),
    ];
    // SQLite makes this anew after a power loss; the lock and what holds it are gone with its holder.
    let passing = ["state.db-shm", "lock"].map(|name| state.join(name));
    let names = [state.clone(), state.join("jobs"), place];
    assert_eq!(disk.acknowledged.len(), expected.len(), "{:?}", disk.acknowledged);
    for (found, (what, written)) in disk.acknowledged.iter().zip(expected) {
        assert_eq!(found.what, what);
        assert!(written.iter().all(|path| found.written.contains(*path)), "nothing was written? {found:?}");
        let volatile: Vec<&PathBuf> = found
            .volatile
            .iter()
            .filter(|path| path.starts_with(&state) && !passing.contains(path))
            .collect();
        match what {
            "open" => {}
            // A power loss ends the machine.
            "machine" => assert_eq!(volatile, [&wal], "{what}"),
            // The log is synced when the attempt ends.
            "output" => {
                assert!([&log, &artifact].iter().all(|path| volatile.contains(path)), "{volatile:?}");
                assert!(volatile.iter().all(|path| names.contains(path) || [&log, &artifact].contains(path)));
            }
            _ => assert_eq!(volatile, Vec::<&PathBuf>::new(), "{what}"),
        }
        assert!(!found.volatile.contains(&input), "{what}");
    }
    let inserted = &disk.acknowledged[1].written;
    assert!(inserted.iter().any(|path| path.ends_with("in.0")), "the input was seen: {inserted:?}");
}
