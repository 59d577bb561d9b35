//! `fireactions jobs`.

mod forges;
pub(super) mod one;

use std::process::ExitCode;

use clap::Subcommand;
use fireactions_api::{Client, JobFilter};
use fireactions_model::{JobId, JobRecord, JobState, Program};
use futures::TryStreamExt;
use tokio::io::AsyncWriteExt;

use super::follow::{self, Sink};
use super::{Ended, show};

/// Arguments.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Clone, Subcommand)]
enum Action {
    /// List jobs, newest first
    #[command(alias = "ls")]
    List {
        /// Only jobs that are not final
        #[arg(long)]
        active: bool,
        /// Only jobs in this state
        #[arg(long, value_name = "STATE", value_parser = parse_state)]
        state: Option<JobState>,
        /// At most this many
        #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
        #[command(flatten)]
        format: show::Format,
    },
    /// Show a job
    Show {
        /// Job
        #[arg(value_name = "JOB")]
        job: JobId,
        #[command(flatten)]
        format: show::Format,
    },
    /// Cancel jobs
    Cancel {
        /// Jobs
        #[arg(value_name = "JOB", required = true)]
        jobs: Vec<JobId>,
        #[command(flatten)]
        format: show::Format,
    },
    /// Show a job's output
    Logs {
        /// Job
        #[arg(value_name = "JOB")]
        job: JobId,
        /// Follow the output until the job ends
        #[arg(short, long)]
        follow: bool,
        /// What this service of the job's pool (runner.services) has written, instead of the job
        #[arg(long, value_name = "NAME", conflicts_with = "follow")]
        service: Option<String>,
    },
}

impl Args {
    /// Whether it only lists, for people.
    pub(super) const fn lists(&self) -> bool {
        matches!(&self.action, Action::List { format, .. } if !format.json)
    }
}

pub(crate) async fn run(client: &Client, args: Args) -> Ended {
    match args.action {
        Action::List { active, state, limit, format } => {
            let jobs = client.jobs(&JobFilter { state, active, limit: Some(limit) }).await?;
            show::write(format, jobs.as_slice(), render)?;
        }
        Action::Show { job, format } => {
            let job = client.job(&job).await?;
            let held = if format.json { None } else { one::held_machine(client, &job).await };
            show::write(format, &job, |job| one::render(job, held.as_ref()))?;
        }
        Action::Cancel { jobs, format } => {
            let mut cancelled = Vec::new();
            for job in jobs {
                let job = client.cancel(&job).await?;
                if !format.json {
                    let how = if job.state.is_final() { job.state.as_str() } else { "being cancelled" };
                    show::line(&format!("{}: {how}\n", job.id))?;
                }
                cancelled.push(job);
            }
            if format.json {
                show::write(format, cancelled.as_slice(), |_| String::new())?;
            }
        }
        Action::Logs { job, service: Some(service), .. } => {
            let mut log = client.service_log(&job, &service).await?;
            let mut out = tokio::io::stdout();
            while let Some(bytes) = log.try_next().await? {
                out.write_all(&bytes).await?;
            }
            out.flush().await?;
        }
        Action::Logs { job, follow: true, .. } => {
            follow::follow(client, &job, &mut Sink::default(), |_| {}).await?;
        }
        Action::Logs { job, .. } => follow::present(client, &job, &mut Sink::default()).await?,
    }
    Ok(ExitCode::SUCCESS)
}

const STATES: [JobState; 8] = [
    JobState::Queued,
    JobState::Assigned,
    JobState::Running,
    JobState::Succeeded,
    JobState::Failed,
    JobState::Cancelled,
    JobState::TimedOut,
    JobState::Lost,
];

fn parse_state(text: &str) -> Result<JobState, String> {
    STATES
        .into_iter()
        .find(|state| state.as_str() == text)
        .ok_or_else(|| format!("use one of {}", STATES.map(JobState::as_str).join(", ")))
}

pub(super) fn render(jobs: &[JobRecord]) -> String {
    if jobs.iter().any(|job| job.remote.is_some()) {
        return forges::render(jobs);
    }
    let mut table = show::table([
        "JOB",
        "NAME",
        "STATE",
        "EXIT",
        "POOL",
        "MACHINE",
        "AGE",
        "TOOK",
        "PROGRAM",
        "WAITS FOR",
    ]);
    for job in jobs {
        table.add_row([
            show::cell(&job.id),
            show::maybe(job.spec.name.as_ref()),
            show::job_state(job.state),
            show::maybe(job.exit_code()),
            show::maybe(job.pool.as_ref()),
            show::maybe(job.machine.as_ref()),
            show::cell(show::ago(job.queued_at)),
            show::maybe(took(job)),
            show::cell(short(&program(&job.spec.program), 40)),
            show::cell(job.waiting.as_ref().map(ToString::to_string).unwrap_or_default()),
        ]);
    }
    show::finish(table)
}

fn took(job: &JobRecord) -> Option<String> {
    let time = job.finished_at?.duration_since(job.started_at?);
    u64::try_from(time.as_micros()).ok().map(show::micros)
}

fn program(program: &Program) -> String {
    match program {
        Program::Image { args } if args.is_empty() => "(the image's own)".to_owned(),
        Program::Image { args } => format!("(the image's entrypoint) {}", args.join(" ")),
        Program::Command { argv } => argv.join(" "),
        Program::Script { text } => text.lines().next().unwrap_or_default().to_owned(),
    }
}

fn short(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width - 1).chain(['…']).collect()
}
