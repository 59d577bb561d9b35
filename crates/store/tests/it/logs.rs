//! Job logs: order, offsets, bounds, repair after a crash.

use std::fs;
use std::io::Write;

use crate::common::*;
use fireactions_model::Stream;
use fireactions_store::{LogRecord, LogSource, Store, StoreOptions};
use proptest::prelude::*;

async fn all(store: &Store, n: u64) -> Vec<LogRecord> {
    let (mut records, mut from) = (Vec::new(), 0);
    loop {
        let (more, next) = store.read_log(&job(n), from).await.unwrap();
        if more.is_empty() {
            return records;
        }
        records.extend(more);
        from = next;
    }
}

/// Logs of jobs without a row are swept at the next start.
async fn with_row(store: &Store) {
    store.insert_job(&job(1), &spec(), no_files(store, 1), 10).await.unwrap();
}

/// Appends the piece that comes next.
async fn append(store: &Store, stream: Stream, data: &[u8]) {
    let log = store.log(&job(1));
    let totals = log.totals().await.unwrap();
    let offset = totals.stdout + totals.stderr + totals.missing;
    log.append_at(offset, stream, data.to_vec()).await.unwrap();
}

fn text(records: &[LogRecord], source: LogSource) -> Vec<u8> {
    records.iter().filter(|record| record.source == source).flat_map(|record| record.data.clone()).collect()
}

#[tokio::test]
async fn records_come_back_in_order_from_any_of_their_offsets() {
    let temp = tempfile::tempdir().unwrap();
    let store = Store::open(temp.path()).unwrap();
    assert_eq!(store.read_log(&job(1), 0).await.unwrap(), (Vec::new(), 0));
    let big = vec![b'x'; 300 * 1024];
    append(&store, Stream::Stdout, b"one\n").await;
    append(&store, Stream::Stderr, b"two\n").await;
    append(&store, Stream::Stdout, &big).await;
    store.log(&job(1)).note("a note").await.unwrap();

    let records = all(&store, 1).await;
    assert_eq!((records[0].source, records[0].data.as_slice()), (LogSource::Stdout, b"one\n".as_slice()));
    assert_eq!((records[1].source, records[1].data.as_slice()), (LogSource::Stderr, b"two\n".as_slice()));
    assert_eq!(text(&records, LogSource::Stdout).len(), 4 + big.len());
    assert_eq!(text(&records, LogSource::Note), b"a note");
    assert!(records.iter().all(|record| record.data.len() <= 64 * 1024));
    for (n, record) in records.iter().enumerate() {
        let (rest, _) = store.read_log(&job(1), record.offset).await.unwrap();
        assert_eq!(rest[0], records[n]);
    }
    // Offsets that no record has give nothing, however they fall.
    for bogus in [1, 20, records[1].offset + 1, u64::MAX - 1, u64::MAX] {
        assert_eq!(store.read_log(&job(1), bogus).await.unwrap(), (Vec::new(), bogus));
    }
}

#[tokio::test]
async fn output_is_cut_visibly_and_a_new_attempt_has_its_own_room() {
    let temp = tempfile::tempdir().unwrap();
    let options = StoreOptions { max_log_bytes: 1000 };
    let store = Store::open_with(temp.path(), options).unwrap();
    with_row(&store).await;
    for _ in 0..30 {
        append(&store, Stream::Stdout, &[b'a'; 100]).await;
    }
    let records = all(&store, 1).await;
    assert_eq!(text(&records, LogSource::Stdout).len(), 1000);
    assert_eq!(text(&records, LogSource::Note), b"output cut here: a job's log holds 1000 bytes");
    store.close().await;

    let store = Store::open_with(temp.path(), options).unwrap();
    let log = store.log(&job(1));
    append(&store, Stream::Stdout, &[b'b'; 10]).await;
    let totals = log.totals().await.unwrap();
    assert_eq!((totals.stdout, totals.stderr, totals.cut), (1000, 0, true), "still cut after a restart");
    log.begin_attempt(2, "attempt 2 begins").await.unwrap();
    append(&store, Stream::Stderr, &[b'c'; 10]).await;
    let totals = log.totals().await.unwrap();
    assert_eq!((totals.stdout, totals.stderr, totals.cut), (0, 10, false));
    assert_eq!(text(&all(&store, 1).await, LogSource::Stderr), b"cccccccccc");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Whatever a crash left of the last record, the whole ones stay and the log goes on after them.
    #[test]
    fn a_torn_end_is_cut_off(
        pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 1..8),
        torn in 1_usize..60,
        zeros in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let temp = tempfile::tempdir().unwrap();
            let store = Store::open(temp.path()).unwrap();
            with_row(&store).await;
            for piece in &pieces {
                append(&store, Stream::Stdout, piece).await;
            }
            let whole = all(&store, 1).await;
            let path = store.job_dir(&job(1)).join("log");
            store.close().await;
            let bytes = fs::read(&path).unwrap();
            let last = whole.last().map_or(0, |record| record.offset);
            if zeros {
                fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(&vec![0; torn]).unwrap();
            } else {
                let keep = bytes.len().saturating_sub(torn).max(usize::try_from(last).unwrap());
                fs::write(&path, &bytes[..keep]).unwrap();
            }
            let store = Store::open(temp.path()).unwrap();
            let intact = if zeros { whole.len() } else { whole.len().saturating_sub(1) };
            assert_eq!(all(&store, 1).await, whole[..intact]);
            append(&store, Stream::Stderr, b"after").await;
            let records = all(&store, 1).await;
            assert_eq!(records.len(), intact + 1);
            assert_eq!(records.last().unwrap().data, b"after");
        });
    }
}

/// What the log shows of output: each byte once, in order, whatever was told how often.
fn output(records: &[LogRecord]) -> Vec<u8> {
    let output = records.iter().filter(|record| record.source != LogSource::Note);
    output.flat_map(|record| record.data.clone()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// A guest's output is told in pieces, some again from an earlier place, and the server is restarted in between.
    #[test]
    fn what_is_told_again_is_in_the_log_once(
        tellings in prop::collection::vec((0_usize..80, 1_usize..120, any::<bool>(), any::<bool>()), 1..20),
        limit in prop_oneof![Just(64_usize << 20), 1_usize..600],
        attempts in 1_u32..3,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let temp = tempfile::tempdir().unwrap();
            let options = StoreOptions { max_log_bytes: limit as u64 };
            let mut store = Store::open_with(temp.path(), options).unwrap();
            with_row(&store).await;
            let whole: Vec<u8> = (0..4000_u32).flat_map(u32::to_be_bytes).collect();
            let mut expected: Vec<u8> = Vec::new();
            for attempt in 1..=attempts {
                for _ in 0..2 {
                    // Also when it was begun already.
                    store.log(&job(1)).begin_attempt(attempt, "it begins").await.unwrap();
                }
                let mut told = 0;
                for (back, length, stderr, restart) in &tellings {
                    let from = told - (*back).min(told);
                    let stream = if *stderr { Stream::Stderr } else { Stream::Stdout };
                    let piece = whole[from..from + length].to_vec();
                    store.log(&job(1)).append_at(from as u64, stream, piece).await.unwrap();
                    told = told.max(from + length);
                    if *restart {
                        store.close().await;
                        store = Store::open_with(temp.path(), options).unwrap();
                    }
                }
                expected.extend(&whole[..told.min(limit)]);
                let totals = store.log(&job(1)).totals().await.unwrap();
                assert_eq!(totals.stdout + totals.stderr, told.min(limit) as u64);
                assert_eq!((totals.attempt, totals.missing, totals.cut), (attempt, 0, told > limit));
            }
            let records = all(&store, 1).await;
            assert_eq!(output(&records), expected);
            let begun = records.iter().filter(|record| record.data == b"it begins").count();
            assert_eq!(begun, attempts as usize - 1);
        });
    }
}

#[tokio::test]
async fn what_never_came_is_noted_and_the_log_goes_on() {
    let temp = tempfile::tempdir().unwrap();
    let store = Store::open(temp.path()).unwrap();
    with_row(&store).await;
    let log = store.log(&job(1));
    log.append_at(0, Stream::Stdout, b"abc".to_vec()).await.unwrap();
    log.append_at(3, Stream::Stdout, b"defghi".to_vec()).await.unwrap();
    drop(log);
    store.close().await;
    // As a power loss leaves it: the second record never reached the disk.
    let path = temp.path().join("jobs").join(job(1).as_str()).join("log");
    fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(21 + 3 + 10).unwrap();

    let mut store = Store::open(temp.path()).unwrap();
    store.log(&job(1)).append_at(9, Stream::Stdout, b"jk".to_vec()).await.unwrap();
    for restarted in [false, true] {
        if restarted {
            store.close().await;
            store = Store::open(temp.path()).unwrap();
        }
        let log = store.log(&job(1));
        let totals = log.totals().await.unwrap();
        assert_eq!((totals.stdout, totals.missing, totals.cut), (5, 6, false));
        // Too late: what comes after it is there.
        log.append_at(3, Stream::Stdout, b"defghi".to_vec()).await.unwrap();
        log.append_at(10, Stream::Stdout, b"k".to_vec()).await.unwrap();
        let records = all(&store, 1).await;
        assert_eq!(output(&records), b"abcjk");
        let note = String::from_utf8(text(&records, LogSource::Note)).unwrap();
        assert!(note.starts_with("6 bytes of output are missing here"), "{note}");
    }
    store.log(&job(1)).append_at(u64::MAX, Stream::Stdout, b"x".to_vec()).await.unwrap();
    store.log(&job(1)).append_at(11, Stream::Stdout, b"l".to_vec()).await.unwrap();
    assert_eq!(output(&all(&store, 1).await), b"abcjkx", "a lying guest harms its own log only");
}

#[tokio::test]
async fn single_bytes_do_not_make_a_log_many_times_its_limit() {
    let temp = tempfile::tempdir().unwrap();
    let store = Store::open_with(temp.path(), StoreOptions { max_log_bytes: 1 << 16 }).unwrap();
    let log = store.log(&job(1));
    // Each leaves a gap before it, for the most overhead.
    for n in 0..10_000 {
        log.append_at(n * 2 + 1, Stream::Stdout, b"x".to_vec()).await.unwrap();
    }
    assert!(log.totals().await.unwrap().cut);
    let size = fs::metadata(store.job_dir(&job(1)).join("log")).unwrap().len();
    assert!(size < (1 << 20) + (1 << 16) * 2 + 200, "{size} bytes");
}

#[tokio::test]
async fn logs_of_the_first_version_count_their_attempts() {
    let temp = tempfile::tempdir().unwrap();
    let store = Store::open(temp.path()).unwrap();
    store.make_job_dir(&job(1)).await.unwrap();
    let mut file = Vec::new();
    for (kind, data) in [(1_u8, "one"), (5, "attempt 2 begins"), (2, "two"), (3, "a note")] {
        file.extend((file.len() as u64).to_le_bytes());
        file.push(kind);
        file.extend(u32::try_from(data.len()).unwrap().to_le_bytes());
        file.extend(1_700_000_000_000_000_i64.to_le_bytes());
        file.extend(data.as_bytes());
    }
    fs::write(store.job_dir(&job(1)).join("log"), file).unwrap();
    let totals = store.log(&job(1)).totals().await.unwrap();
    assert_eq!((totals.attempt, totals.stdout, totals.stderr), (2, 0, 3));
    store.log(&job(1)).begin_attempt(2, "again").await.unwrap();
    store.log(&job(1)).append_at(2, Stream::Stderr, b"o!".to_vec()).await.unwrap();
    let records = all(&store, 1).await;
    assert_eq!(output(&records), b"onetwo!");
    assert_eq!(text(&records, LogSource::Note), b"attempt 2 beginsa note");
}

#[tokio::test]
async fn the_log_of_a_service_is_the_last_one_kept() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    with_row(&store).await;
    for log in ["first attempt", "second"] {
        store.keep_service_log(&job(1), "dockerd", log.into()).await.unwrap();
    }
    let of = async |name: &str| store.service_log(&job(1), name).await.unwrap();
    assert_eq!(of("dockerd").await.unwrap(), b"second");
    assert_eq!(of("cache").await, None);
    let outside = dir.path().join("jobs/service.x.log");
    fs::write(&outside, "of nobody").unwrap();
    assert_eq!(of("../service.x").await, None);
    store.keep_service_log(&job(1), "../../x", b"".to_vec()).await.unwrap();
    let names: Vec<_> =
        fs::read_dir(store.job_dir(&job(1))).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, ["service.dockerd.log"]);
}
