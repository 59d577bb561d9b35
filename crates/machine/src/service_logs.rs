//! What a machine's services have written, brought out of the guest.

use std::future::Future;
use std::io::Read;
use std::time::Duration;

use fireactions_guest_proto::Service;
use fireactions_guest_proto::host::{Link, LinkError};
use fireactions_model::{JobId, ServiceSpec};
use fireactions_store::Store;
use tokio::time::timeout;

/// Most of one service's log, in bytes: its end.
const MOST: u64 = 1 << 20;
/// What an archive has beside the bytes of its one file.
const AROUND: u64 = 64 << 10;
/// Reading one.
const DEADLINE: Duration = Duration::from_secs(15);

/// The end of a service's log, as it is in the guest now: whole lines.
///
/// # Errors
/// [`LinkError::Guest`] when there is none, or it cannot be read.
pub async fn service_log(link: &Link, name: &str) -> Result<Vec<u8>, LinkError> {
    let (path, mut tar) = (Service::log(name), Vec::new());
    let read = link.get_tail_tar(&path, MOST, &mut tar, MOST + AROUND);
    match timeout(DEADLINE, read).await {
        Ok(read) => read.and_then(|_| content(&tar).map_err(LinkError::Guest)),
        Err(_) => Err(LinkError::Local(format!("not read within {DEADLINE:?}"))),
    }
}

/// Of an archive of one file. The guest made it: it may be anything.
fn content(tar: &[u8]) -> Result<Vec<u8>, String> {
    let unreadable = |error| format!("the guest's archive cannot be read: {error}");
    let mut archive = tar::Archive::new(tar);
    let mut entries = archive.entries().map_err(unreadable)?;
    let Some(entry) = entries.next().transpose().map_err(unreadable)? else {
        return Err("the guest's archive is empty".to_owned());
    };
    let mut bytes = Vec::new();
    entry.take(MOST).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 == MOST
        && let Some(end) = bytes.iter().position(|byte| *byte == b'\n')
    {
        bytes.drain(..=end);
    }
    Ok(bytes)
}

/// Keeps the logs of all services with their job, which has ended, until `over` says why there are no more to be had. Returns the
/// notes.
pub(crate) async fn keep(
    services: &[ServiceSpec],
    link: &Link,
    store: &Store,
    job: &JobId,
    over: impl Future<Output = String>,
) -> Vec<String> {
    let keep_all = async {
        let mut notes = Vec::new();
        for service in services {
            let kept = match service_log(link, &service.name).await {
                Ok(log) => store.keep_service_log(job, &service.name, log).await.map_err(|e| e.to_string()),
                Err(error) => Err(error.to_string()),
            };
            if let Err(why) = kept {
                notes.push(format!("log of service {}: {why}", service.name));
            }
        }
        notes
    };
    tokio::select! {
        notes = keep_all => notes,
        why = over => vec![format!("logs of services: {why}")],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(text: &[u8]) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        tar.append_data(&mut header, "dockerd.log", text).unwrap();
        tar.into_inner().unwrap()
    }

    #[test]
    fn a_log_begins_with_a_whole_line() {
        assert_eq!(content(&archive(b"one\ntwo\n")).unwrap(), b"one\ntwo\n");
        let long = b"0123456789\n".repeat(usize::try_from(MOST / 11 + 2).unwrap());
        let end = &long[long.len() - usize::try_from(MOST).unwrap()..];
        let kept = content(&archive(end)).unwrap();
        assert!(kept.starts_with(b"0123456789\n") && kept.len() > end.len() - 11);
        let one_line = vec![b'x'; usize::try_from(MOST).unwrap()];
        assert_eq!(content(&archive(&one_line)).unwrap(), one_line, "a line without an end is not nothing");
    }

    #[test]
    fn a_guest_that_sends_something_else_is_told_of() {
        assert_eq!(content(&[0; 1024]).unwrap_err(), "the guest's archive is empty");
        assert!(content(&[0xff; 1024]).unwrap_err().starts_with("the guest's archive cannot be read: "));
        assert_eq!(
            content(&archive(&[b'x'; 2048])[..1024]).unwrap(),
            [b'x'; 512],
            "of what is cut, what came"
        );
    }
}
