//! One job in full: how it stands or ended, why, and what was known of a machine that was lost.

use std::fmt::Write as _;

use fireactions_api::Client;
use fireactions_model::{Autopsy, JobRecord, JobState, MachineState, MachineView, Outcome};

use super::forges::{self, name};
use super::program;
use crate::cli::show;

/// The machine of a job that ended badly, if it is kept to be looked into. Not being able to ask is no reason not to
/// show the job.
pub(in crate::cli) async fn held_machine(client: &Client, job: &JobRecord) -> Option<MachineView> {
    let id = job.machine.as_ref().filter(|_| job.state.is_final())?;
    client.machine(id).await.ok().filter(|machine| machine.state == MachineState::Held)
}

/// Until when a machine is held and how to get in, on one line.
pub(in crate::cli) fn invitation(machine: &MachineView) -> String {
    let id = &machine.id;
    format!(
        "machine {id} is held {}; `fireactions login {id}` opens a shell in it, `fireactions machines \
         remove {id}` removes it",
        show::until(machine.held_until)
    )
}

/// How a job ended, for people.
pub(in crate::cli) fn ending(job: &JobRecord) -> String {
    match &job.outcome {
        Some(Outcome::Exited { code }) => format!("exit code {code}"),
        Some(Outcome::Signalled { signal }) => format!("killed by signal {signal}"),
        Some(Outcome::TimedOut) => "killed at its deadline".to_owned(),
        Some(Outcome::Cancelled) => "cancelled".to_owned(),
        Some(Outcome::Lost { reason }) => format!("its machine was lost: {reason}"),
        Some(Outcome::Unstartable { reason }) => format!("could not be started: {reason}"),
        None => job.state.to_string(),
    }
}

/// Why a job ended badly, or what happened to one before it was queued again.
fn reason(job: &JobRecord) -> Option<String> {
    let failed = job.state.is_final() && job.state != JobState::Succeeded;
    let mut reason = job.reason.clone().or_else(|| failed.then(|| ending(job)))?;
    // An agent that says so itself says more.
    if failed && job.usage.oom_kills > 0 && !reason.contains("killed for memory") {
        let _ = write!(reason, "; the guest killed {} of its processes for memory", job.usage.oom_kills);
    }
    Some(reason)
}

pub(in crate::cli) fn render(job: &JobRecord, held: Option<&MachineView>) -> String {
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let mut rows =
        vec![("Job", job.id.to_string()), ("Name", or_none(name(job))), ("State", job.state.to_string())];
    rows.extend(reason(job).map(|reason| ("Reason", reason)));
    rows.extend(job.waiting.as_ref().map(|waiting| ("Waits for", waiting.to_string())));
    rows.extend(held.map(|machine| ("Held", invitation(machine))));
    match &job.remote {
        Some(remote) => rows.extend(forges::rows(remote, job.state)),
        None => rows.push(("Program", program(&job.spec.program))),
    }
    rows.extend([
        ("Image", or_none(job.spec.image.as_ref().map(ToString::to_string))),
        ("Pool", or_none(job.pool.as_ref().map(ToString::to_string))),
        ("Machine", or_none(job.machine.as_ref().map(ToString::to_string))),
        ("Attempt", job.attempt.to_string()),
        ("Queued", job.queued_at.to_string()),
        ("Started", or_none(job.started_at.map(|time| time.to_string()))),
        ("Finished", or_none(job.finished_at.map(|time| time.to_string()))),
        ("Phases", show::phases(&job.phases)),
    ]);
    if job.state.is_final() {
        rows.push(("Ended", ended(job)));
        rows.push((
            "CPU",
            format!("{} user, {} system", show::micros(job.usage.user_us), show::micros(job.usage.system_us)),
        ));
        rows.push(("Peak memory", show::bytes(job.usage.max_rss_kib.saturating_mul(1024))));
        rows.push(("OOM kills", job.usage.oom_kills.to_string()));
    } else if job.cancel_requested {
        rows.push(("Cancelled", "asked for".to_owned()));
    }
    rows.extend(job.notes.iter().map(|note| ("Note", note.clone())));
    let mut text = show::rows(&rows);
    if let Some(autopsy) = &job.autopsy {
        text.push_str(&examined(autopsy));
    }
    text
}

/// How it ended, without what the reason says already.
fn ended(job: &JobRecord) -> String {
    match &job.outcome {
        Some(Outcome::Lost { .. }) => "its machine was lost".to_owned(),
        Some(Outcome::Unstartable { .. }) => "could not be started".to_owned(),
        _ => ending(job),
    }
}

/// What was known of the machine that was lost last.
fn examined(autopsy: &Autopsy) -> String {
    let kills = match autopsy.oom_kills {
        0 => "none".to_owned(),
        kills => format!("{kills} (by the host, for memory)"),
    };
    let rows = [
        ("  State", format!("{}, last step '{}'", autopsy.state, autopsy.step.as_str())),
        ("  VMM", autopsy.vmm.clone().unwrap_or_else(|| "no fault was found in it".to_owned())),
        ("  OOM kills", kills),
    ];
    let mut text = format!("\nThe lost machine:\n{}", show::rows(&rows));
    if autopsy.console_tail.trim().is_empty() {
        text.push_str("  Console:   nothing\n");
        return text;
    }
    text.push_str("  Console, its last lines:\n");
    for line in autopsy.console_tail.lines() {
        // Writing into a string cannot fail.
        let _ = writeln!(text, "    | {}", show::clean(line.trim_end()));
    }
    text
}
