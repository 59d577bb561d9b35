//! A submitted job, watched to its end: its output, what it waits for, and Ctrl-C.

use fireactions_api::Client;
use fireactions_model::{Event, JobId, JobRecord, JobState, MachineId, MachineState};
use futures::TryStreamExt;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::cli::follow::{self, Sink};
use crate::cli::progress::Bar;
use crate::cli::show;

/// How long a cancellation on its way is waited for when the user leaves.
const LEAVING: std::time::Duration = std::time::Duration::from_secs(3);
/// Before events that ended are asked for again.
const AGAIN: std::time::Duration = std::time::Duration::from_millis(500);

/// How watching ended.
pub(crate) enum End {
    /// The job is final.
    Final(Box<JobRecord>),
    /// The user does not wait any longer.
    Detached(JobId),
}

/// Streams until the job is final. The first Ctrl-C (or SIGTERM) cancels the job, the second stops waiting for its end.
pub(crate) async fn to_the_end(client: &Client, job: JobRecord) -> anyhow::Result<End> {
    let id = job.id.clone();
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let bar = Bar::new("");
    bar.say(&format!("{id}: queued"));
    let mut sink = Sink::default();
    // The first output ends the progress line, which would only get between.
    let following = follow::follow(client, &id, &mut sink, |_| bar.clear());
    let telling = tell(client, job, &bar);
    tokio::pin!(following, telling);
    let mut telling_ended = false;
    let mut cancelling = None;
    loop {
        tokio::select! {
            ended = &mut following => {
                bar.clear();
                return Ok(End::Final(Box::new(ended?)));
            }
            () = &mut telling, if !telling_ended => telling_ended = true,
            () = asked(&mut interrupt, &mut terminate) => match cancelling.take() {
                None => cancelling = Some(cancel(client, &id)),
                Some(request) => {
                    // Leaving must not take the request back that is still on its way.
                    let _ = tokio::time::timeout(LEAVING, request).await;
                    return Ok(End::Detached(id.clone()));
                }
            },
        }
    }
}

/// Returns when the user asks for the end.
async fn asked(interrupt: &mut Signal, terminate: &mut Signal) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

/// Cancels in a task of its own, so that output goes on meanwhile and a second Ctrl-C is heard.
fn cancel(client: &Client, id: &JobId) -> tokio::task::JoinHandle<()> {
    show::note(&format!("cancelling {id}; Ctrl-C again stops waiting for its end"));
    let (client, id) = (client.clone(), id.clone());
    tokio::spawn(async move {
        if let Err(error) = client.cancel(&id).await {
            show::note(&format!("{id} is not cancelled: {error}; try `fireactions jobs cancel {id}`"));
        }
    })
}

/// Says what the job waits for, until its program runs. Never an error: the output is what matters. A server that
/// restarts or hands over ends the events, which then go on at the next one.
async fn tell(client: &Client, job: JobRecord, bar: &Bar) {
    let id = job.id;
    let image = job.spec.image.map(|image| image.to_string());
    let mut machine: Option<MachineId> = None;
    loop {
        let Ok(mut events) = client.events().await else {
            tokio::time::sleep(AGAIN).await;
            continue;
        };
        while let Ok(Some(event)) = events.try_next().await {
            match event {
                Event::Job { job } if job.id == id => {
                    machine.clone_from(&job.machine);
                    match job.state {
                        JobState::Queued => {
                            let why = job.reason.as_deref().unwrap_or("waits for a machine");
                            bar.say(&format!("{id}: queued, {why}"));
                        }
                        JobState::Assigned => bar.say(&format!("{id}: a machine has it")),
                        _ => return bar.clear(),
                    }
                }
                Event::Machine { machine: seen }
                    if machine.as_ref() == Some(&seen.id) && seen.state == MachineState::Booting =>
                {
                    bar.say(&format!("{id}: {} boots", seen.id));
                }
                Event::Image { image: seen, done, total, status }
                    if image.as_ref().is_none_or(|image| *image == seen) =>
                {
                    bar.sized(&format!("{id}: {status} {seen}"), done, total);
                }
                _ => {}
            }
        }
        tokio::time::sleep(AGAIN).await;
    }
}
