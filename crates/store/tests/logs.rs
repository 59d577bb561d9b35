//! Job logs: order, offsets, bounds, repair after a crash.

// A failed setup is a failed test.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::fs;
use std::io::Write;

use common::*;
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

fn text(records: &[LogRecord], source: LogSource) -> Vec<u8> {
    records.iter().filter(|record| record.source == source).flat_map(|record| record.data.clone()).collect()
}

#[tokio::test]
async fn records_come_back_in_order_from_any_of_their_offsets() {
    let temp = tempfile::tempdir().unwrap();
    let store = Store::open(temp.path()).unwrap();
    assert_eq!(store.read_log(&job(1), 0).await.unwrap(), (Vec::new(), 0));
    let big = vec![b'x'; 300 * 1024];
    store.append_log(&job(1), Stream::Stdout, b"one\n").await.unwrap();
    store.append_log(&job(1), Stream::Stderr, b"two\n").await.unwrap();
    store.append_log(&job(1), Stream::Stdout, &big).await.unwrap();
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
        store.append_log(&job(1), Stream::Stdout, &[b'a'; 100]).await.unwrap();
    }
    let records = all(&store, 1).await;
    assert_eq!(text(&records, LogSource::Stdout).len(), 1000);
    assert_eq!(text(&records, LogSource::Note), b"output cut here: a job's log holds 1000 bytes");
    store.close().await;

    let store = Store::open_with(temp.path(), options).unwrap();
    let log = store.log(&job(1));
    log.append(Stream::Stdout, vec![b'b'; 10]).await.unwrap();
    let totals = log.totals().await.unwrap();
    assert_eq!((totals.stdout, totals.stderr, totals.cut), (1000, 0, true), "still cut after a restart");
    log.end_attempt("attempt 2 begins").await.unwrap();
    log.append(Stream::Stderr, vec![b'c'; 10]).await.unwrap();
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
                store.append_log(&job(1), Stream::Stdout, piece).await.unwrap();
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
            store.append_log(&job(1), Stream::Stderr, b"after").await.unwrap();
            let records = all(&store, 1).await;
            assert_eq!(records.len(), intact + 1);
            assert_eq!(records.last().unwrap().data, b"after");
        });
    }
}
