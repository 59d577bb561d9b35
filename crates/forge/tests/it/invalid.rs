//! Jobs that cannot be are refused with every problem named, and leave nothing.

// A failed setup is a failed test.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use crate::common::*;
use fireactions_forge::local::{FileSource, LocalConfig, SubmitError};
use fireactions_model::{ImageRef, InputFile, JobSpec, Program};
use fireactions_store::{JobFilter, StoreError};

fn file(dest: &str, size: u64) -> InputFile {
    InputFile { dest: dest.to_owned(), mode: 0o644, size }
}

fn argv(words: &[&str]) -> Program {
    Program::Command { argv: words.iter().map(|word| (*word).to_owned()).collect() }
}

#[tokio::test]
async fn each_impossible_job_is_refused_by_name() {
    type Change = fn(&mut JobSpec);
    let cases: [(Change, &str, &str); 28] = [
        (|job| job.program = argv(&[]), "program.command.argv", "it is empty; name a program to run"),
        (|job| job.program = argv(&[""]), "program.command.argv", "it is empty; name a program to run"),
        (
            |job| job.program = argv(&["a\0b"]),
            "program.command.argv",
            "it holds a NUL byte, which no program can be given",
        ),
        (
            |job| job.program = argv(&["x", &"y".repeat(131_072)]),
            "program.command.argv",
            "it has 131072 bytes, at most 131071 are taken",
        ),
        (
            |job| job.program = argv(&vec!["x"; 10_001]),
            "program.command.argv",
            "10001 are too many, at most 10000 are taken",
        ),
        (
            |job| job.program = argv(&[&"x".repeat(100_000), &"y".repeat(100_000)]),
            "program",
            "program and environment have 200000 bytes, at most 163840 are taken; bring files instead",
        ),
        (
            |job| job.program = Program::Script { text: " \n".to_owned() },
            "program.script.text",
            "it is empty",
        ),
        (|job| job.env = vec![("A=B".to_owned(), String::new())], "env[0]", "'A=B' is not a variable name"),
        (
            |job| job.env = vec![("A".to_owned(), "\0".to_owned())],
            "env[0]",
            "it holds a NUL byte, which no program can be given",
        ),
        (|job| job.workdir = Some("tmp".to_owned()), "workdir", "'tmp' is not an absolute path"),
        (|job| job.user = Some(String::new()), "user", "use 1 to 128 bytes without control characters"),
        (
            |job| job.name = Some("a\u{1b}[2J".to_owned()),
            "name",
            "use 1 to 128 bytes without control characters",
        ),
        (|job| job.vcpus = Some(0), "vcpus", "0 is out of range, use 1 to 128"),
        (|job| job.memory_mib = Some(1), "memory_mib", "1 is out of range, use 64 to 1048576 MiB"),
        (
            |job| job.disk_mib = Some(u32::MAX),
            "disk_mib",
            "4294967295 is out of range, use 16 to 4194304 MiB",
        ),
        (|job| job.timeout_secs = Some(0), "timeout_secs", "0 is out of range, use 1 to 604800 seconds"),
        (
            |job| job.timeout_secs = Some(u64::MAX),
            "timeout_secs",
            "18446744073709551615 is out of range, use 1 to 604800 seconds",
        ),
        (|job| job.files = vec![file("etc/x", 0)], "files[0].dest", "'etc/x' is not an absolute path"),
        (
            |job| job.files = vec![file("/a/../b", 0)],
            "files[0].dest",
            "'/a/../b' holds '..'; give the path without it",
        ),
        (|job| job.files = vec![file("/a/", 0)], "files[0].dest", "'/a/' names a directory, not a file"),
        (|job| job.files = vec![file("/a", 0), file("/a", 0)], "files[1].dest", "'/a' is there twice"),
        (
            |job| job.files = vec![file("/a", u64::MAX), file("/b", u64::MAX)],
            "files",
            "they have 18446744073709551615 bytes together, at most 4294967296 are taken",
        ),
        (
            |job| job.files = vec![InputFile { mode: 0o010_644, ..file("/a", 0) }],
            "files[0].mode",
            "0o10644 is not the mode of a file, a directory or a symbolic link",
        ),
        (
            |job| job.files = vec![InputFile { mode: 0o040_755, ..file("/a", 1) }],
            "files[0].size",
            "a directory has no bytes of its own; use 0",
        ),
        (
            |job| job.files = vec![InputFile { mode: 0o120_777, ..file("/a", 0) }],
            "files[0].size",
            "the target of a symbolic link has 1 to 4095 bytes",
        ),
        (
            |job| job.image = Some(ImageRef::new("Ghcr.io/Acme/Img:1").unwrap()),
            "image",
            "it can never be pulled: a repository is lower-case letters, digits and . _ - between, parts separated by '/'",
        ),
        (
            |job| job.image = Some(ImageRef::new("oci:images/ci").unwrap()),
            "image",
            "it can never be pulled: use an absolute path: the server's working directory is not yours",
        ),
        (|job| job.artifacts = vec!["out".to_owned()], "artifacts[0]", "'out' is not an absolute path"),
    ];
    let temp = tempfile::tempdir().unwrap();
    let (forge, _store, _events) = forge(temp.path()).await;
    for (change, field, why) in cases {
        let mut job = spec("");
        change(&mut job);
        let SubmitError::Invalid(problems) = forge.begin(job).unwrap_err() else { panic!("{field}: {why}") };
        let found: Vec<_> = problems.iter().map(|one| (one.field.as_str(), one.why.as_str())).collect();
        assert_eq!(found, [(field, why)]);
    }

    // All at once, in one line.
    let mut job = spec("");
    (job.vcpus, job.workdir) = (Some(0), Some("x".to_owned()));
    let text = forge.submit(job, Vec::new()).await.unwrap_err().to_string();
    assert_eq!(
        text,
        "the job is not valid: workdir: 'x' is not an absolute path; vcpus: 0 is out of range, use 1 to 128"
    );
    assert!(forge.list(JobFilter::default()).await.unwrap().is_empty());
}

#[tokio::test]
async fn files_that_do_not_match_the_job_leave_nothing() {
    let temp = tempfile::tempdir().unwrap();
    let config = LocalConfig { max_queued: 1, ..LocalConfig::default() };
    let (forge, store, _events) = forge_with(temp.path(), config).await;
    let mut job = spec("");
    job.files = vec![file("/a", 3), file("/b", 3)];
    let bytes = |text: &str| FileSource::Bytes(text.as_bytes().to_vec());

    let error = forge.submit(job.clone(), vec![bytes("abc")]).await.unwrap_err();
    assert!(matches!(error, SubmitError::FileCount { announced: 2, given: 1 }), "{error}");
    let error = forge.submit(job.clone(), vec![bytes("abc"), bytes("abc"), bytes("")]).await.unwrap_err();
    assert!(matches!(error, SubmitError::FileCount { announced: 2, given: 3 }), "{error}");
    let error = forge.submit(job.clone(), vec![bytes("abc"), bytes("ab")]).await.unwrap_err();
    assert_eq!(error.to_string(), "input file /b has 2 bytes, but 3 were announced");
    let absent = FileSource::Path(temp.path().join("absent"));
    let error = forge.submit(job.clone(), vec![absent]).await.unwrap_err();
    assert!(matches!(error, SubmitError::Source { .. }), "{error}");
    // A source that never ends nor sends.
    {
        let temp = tempfile::tempdir().unwrap();
        let config = LocalConfig { upload_deadline: Duration::from_millis(50), ..LocalConfig::default() };
        let (forge, store, _events) = forge_with(temp.path(), config).await;
        let (stalled, _writer) = tokio::io::duplex(8);
        let source = FileSource::Reader(Box::new(stalled));
        let error = forge.submit(job.clone(), vec![source]).await.unwrap_err();
        assert!(matches!(error, SubmitError::Slow { .. }), "{error}");
        assert_eq!(std::fs::read_dir(store.dir().join("jobs")).unwrap().count(), 0);
    }
    assert_eq!(std::fs::read_dir(store.dir().join("jobs")).unwrap().count(), 0);

    submit(&forge, "").await;
    let error = forge.submit(job, vec![bytes("abc"), bytes("abc")]).await.unwrap_err();
    assert!(matches!(error, SubmitError::Store(StoreError::QueueFull(1))), "{error}");
    assert_eq!(std::fs::read_dir(store.dir().join("jobs")).unwrap().count(), 0);
}
