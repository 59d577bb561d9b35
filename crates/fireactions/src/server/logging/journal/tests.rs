use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use tracing_subscriber::layer::SubscriberExt as _;

use super::*;

/// A message as the journal reads it.
fn decoded(mut entry: &[u8]) -> BTreeMap<String, String> {
    let mut fields = BTreeMap::new();
    while !entry.is_empty() {
        let end = entry.iter().position(|byte| matches!(byte, b'=' | b'\n')).unwrap();
        let name = String::from_utf8(entry[..end].to_vec()).unwrap();
        let (value, rest) = if entry[end] == b'=' {
            let rest = &entry[end + 1..];
            let length = rest.iter().position(|byte| *byte == b'\n').unwrap();
            (&rest[..length], &rest[length..])
        } else {
            let (length, rest) = entry[end + 1..].split_first_chunk::<8>().unwrap();
            rest.split_at(usize::try_from(u64::from_le_bytes(*length)).unwrap())
        };
        assert_eq!(rest[0], b'\n');
        assert!(fields.insert(name, String::from_utf8(value.to_vec()).unwrap()).is_none());
        entry = &rest[1..];
    }
    fields
}

fn logged(log: impl FnOnce()) -> BTreeMap<String, String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    assert!(Journal::at(&path).is_err(), "nobody listens");
    let listening = UnixDatagram::bind(&path).unwrap();
    listening.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let subscriber = tracing_subscriber::registry().with(Journal::at(&path).unwrap());
    let mut entry = vec![0; 1 << 20];
    assert_eq!(listening.recv(&mut entry).unwrap(), 0, "it looked whether somebody listens");
    tracing::subscriber::with_default(subscriber, log);
    let length = listening.recv(&mut entry).unwrap();
    decoded(&entry[..length])
}

#[test]
fn a_message_has_its_fields_twice_for_people_and_for_programs() {
    let fields = logged(|| {
        let error = std::io::Error::other("no room\nat all");
        let (machine, job) = ("m0123456789", "j0123456789");
        tracing::warn!(%machine, job, pid = 7, error = &error as &dyn std::error::Error, "the machine failed");
    });
    let expected = [
        ("FIREACTIONS_ERROR", "no room\nat all"),
        ("FIREACTIONS_JOB", "j0123456789"),
        ("FIREACTIONS_MACHINE", "m0123456789"),
        ("FIREACTIONS_PID", "7"),
        ("MESSAGE", "the machine failed machine=m0123456789 job=\"j0123456789\" pid=7 error=no room\nat all"),
        ("PRIORITY", "4"),
        ("SYSLOG_IDENTIFIER", "fireactions"),
    ];
    for (name, value) in expected {
        assert_eq!(fields.get(name).map(String::as_str), Some(value), "{name} in {fields:?}");
    }
    assert_eq!(fields.len(), expected.len() + 1, "and the target: {fields:?}");
}

#[test]
fn hostile_texts_stay_values() {
    let fields = logged(|| {
        let name = "x\nPRIORITY=0\nMESSAGE=owned";
        tracing::info!(name, long = "ä".repeat(100_000), "from a guest: {}", "a\n_PID=1");
    });
    assert_eq!(fields["FIREACTIONS_NAME"], "x\nPRIORITY=0\nMESSAGE=owned");
    assert_eq!((fields["FIREACTIONS_LONG"].len(), fields["PRIORITY"].as_str()), (LONGEST, "6"));
    assert!(fields["MESSAGE"].starts_with("from a guest: a\n_PID=1 name="));
    assert!(!fields.contains_key("_PID"));
}

#[test]
fn secrets_are_as_absent_as_in_lines() {
    let fields = logged(|| {
        let token = fireactions_model::Secret::new("hunter2");
        tracing::error!(?token, "refused");
    });
    assert_eq!(fields["FIREACTIONS_TOKEN"], "Secret(…)");
    assert!(!format!("{fields:?}").contains("hunter2"));
}

#[test]
fn only_what_systemd_has_connected_is_the_journal() {
    let file = tempfile::tempfile().unwrap();
    let meta = file.metadata().unwrap();
    let is = |stream: Option<String>| is_connected(&file, stream.as_deref());
    assert!(is(Some(format!("{}:{}", meta.dev(), meta.ino()))));
    for other in
        [None, Some(format!("{}:{}", meta.dev(), meta.ino() + 1)), Some(String::new()), Some("a:b".into())]
    {
        assert!(!is(other.clone()), "{other:?}");
    }
}
