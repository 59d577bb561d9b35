//! What a job leaves behind in its guest, taken out. The outcome is known by then and nothing here changes it: what cannot be
//! had any more is a note.

use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;

use fireactions_guest_proto::host::Link;
use fireactions_model::{ARTIFACT_NOTE, Artifact};
use futures::FutureExt;
use futures::future::FusedFuture;
use tokio::time::{Instant, sleep_until, timeout};

/// Taking one artifact out.
const ONE_DEADLINE: Duration = Duration::from_secs(120);
/// Taking all of them out.
const ALL_DEADLINE: Duration = Duration::from_secs(600);
/// Having them on the disk: 1 GiB on a slow one.
const SYNC_DEADLINE: Duration = Duration::from_secs(120);

/// Takes artifacts out of the guest to where they belong, until `over` says why there are no more to be had, ten minutes at
/// most. `max`: bytes of one. Returns the notes.
pub(crate) async fn take_out(
    artifacts: &[Artifact],
    link: &Link,
    max: u64,
    over: impl Future<Output = String>,
) -> Vec<String> {
    let mut over = pin!(over.fuse());
    let notes = one_by_one(artifacts, |artifact| fetch(link, artifact, max), &mut over).await;
    if !over.is_terminated() {
        tokio::select! {
            // The forge answers only once they are on the disk. What the disk does not take in time, it takes there.
            _ = timeout(SYNC_DEADLINE, sync(artifacts)) => {}
            _ = over => {}
        }
    }
    notes
}

/// What was written goes to the disk. Whether it got there is its forge's affair.
async fn sync(artifacts: &[Artifact]) {
    for artifact in artifacts {
        if let Ok(file) = tokio::fs::File::open(&artifact.dest).await {
            let _ = file.sync_all().await;
        }
    }
}

async fn one_by_one<'a, T: Future<Output = Result<(), String>>>(
    artifacts: &'a [Artifact],
    take: impl Fn(&'a Artifact) -> T,
    over: impl Future<Output = String>,
) -> Vec<String> {
    let note = |artifact: &Artifact, why: &str| format!("{ARTIFACT_NOTE}{}: {why}", artifact.path);
    let until = Instant::now() + ALL_DEADLINE;
    let mut over = pin!(over);
    let mut notes = Vec::new();
    for (index, artifact) in artifacts.iter().enumerate() {
        let why = tokio::select! {
            out = timeout(ONE_DEADLINE, take(artifact)) => {
                let Err(why) = out.unwrap_or_else(|_| Err(format!("not out after {ONE_DEADLINE:?}"))) else {
                    continue;
                };
                discard(artifact).await;
                notes.push(note(artifact, &why));
                continue;
            }
            why = &mut over => why,
            () = sleep_until(until) => format!("all together took over {ALL_DEADLINE:?}"),
        };
        discard(artifact).await;
        notes.extend(artifacts[index..].iter().map(|artifact| note(artifact, &why)));
        break;
    }
    notes
}

/// Where an artifact is written before it is renamed to its place: a half one is never seen.
fn partial(artifact: &Artifact) -> PathBuf {
    artifact.dest.with_extension("partial")
}

async fn discard(artifact: &Artifact) {
    let _ = tokio::fs::remove_file(partial(artifact)).await;
}

async fn fetch(link: &Link, artifact: &Artifact, max: u64) -> Result<(), String> {
    let partial = partial(artifact);
    let file = tokio::fs::File::create(&partial).await.map_err(|e| e.to_string())?;
    link.get_tar(&artifact.path, file, max).await.map_err(|e| e.to_string())?;
    tokio::fs::rename(&partial, &artifact.dest).await.map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    fn artifacts(dir: &tempfile::TempDir, names: &[&str]) -> Vec<Artifact> {
        let artifact = |name: &&str| Artifact {
            path: format!("/{name}"),
            dest: dir.path().join(name).with_extension("tar"),
        };
        names.iter().map(artifact).collect()
    }

    /// Begins to write each artifact; those named `lost` are never out.
    async fn take(artifact: &Artifact) -> Result<(), String> {
        std::fs::write(partial(artifact), "a part").unwrap();
        match artifact.path.as_str() {
            path if path.starts_with("/lost") => pending().await,
            "/none" => Err("there is none".to_owned()),
            _ => std::fs::rename(partial(artifact), &artifact.dest).map_err(|e| e.to_string()),
        }
    }

    fn there(dir: &tempfile::TempDir) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[tokio::test(start_paused = true)]
    async fn each_has_its_time_and_the_others_go_on() {
        let dir = tempfile::tempdir().unwrap();
        let began = Instant::now();
        let notes = one_by_one(&artifacts(&dir, &["a", "lost", "none", "b"]), take, pending()).await;
        assert_eq!(notes, ["artifact /lost: not out after 120s", "artifact /none: there is none"]);
        assert_eq!(began.elapsed().as_secs(), 120);
        assert_eq!(there(&dir), ["a.tar", "b.tar"], "a half one is never left");
    }

    #[tokio::test(start_paused = true)]
    async fn all_together_have_one_deadline() {
        let dir = tempfile::tempdir().unwrap();
        let names: Vec<String> = (1..=64).map(|n| format!("lost-{n}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let began = Instant::now();
        let notes = one_by_one(&artifacts(&dir, &names), take, pending()).await;
        assert_eq!(began.elapsed().as_secs(), 600, "not 64 times two minutes");
        assert_eq!(notes.len(), 64);
        assert_eq!(notes[3], "artifact /lost-4: not out after 120s");
        assert_eq!(notes[5], "artifact /lost-6: all together took over 600s");
        assert_eq!(there(&dir), Vec::<String>::new());
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_waited_for_once_no_more_are_to_be_had() {
        let dir = tempfile::tempdir().unwrap();
        let began = Instant::now();
        let over = async {
            tokio::time::sleep(Duration::from_secs(7)).await;
            "the VMM is dead".to_owned()
        };
        let notes = one_by_one(&artifacts(&dir, &["a", "lost-1", "lost-2", "b"]), take, over).await;
        assert_eq!(began.elapsed().as_secs(), 7);
        let expected = ["/lost-1", "/lost-2", "/b"].map(|path| format!("artifact {path}: the VMM is dead"));
        assert_eq!(notes, expected);
        assert_eq!(there(&dir), ["a.tar"]);
    }
}
