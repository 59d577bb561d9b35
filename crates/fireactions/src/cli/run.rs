//! `fireactions run`.

mod artifact;
mod watch;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use fireactions_api::Client;
use fireactions_model::{ImageRef, JobRecord, JobSpec, JobState, Label, Outcome, Program};

use super::edge::advise;
use super::{Ended, copy, jobs, session, show};
use artifact::Wanted;

/// Exit code for what is fireactions' fault and not the job's, as `docker run` has it.
const NOT_THE_JOB: u8 = 125;
/// Largest script: a specification is bounded by the server.
const MAX_SCRIPT: u64 = 128 * 1024 - 1;

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Root image [default: the pool's]
    #[arg(long, value_name = "REF")]
    image: Option<ImageRef>,
    /// Virtual CPUs [default: the pool's]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..))]
    vcpus: Option<u8>,
    /// Memory in MiB [default: the pool's]
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u32).range(1..))]
    memory: Option<u32>,
    /// Scratch disk in MiB [default: the pool's]
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u32).range(1..))]
    disk: Option<u32>,
    /// Kill the job after this time, e.g. 90s or 1h [default: the pool's]
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    timeout: Option<Duration>,
    /// Environment variable; NAME alone takes its value from the environment
    #[arg(short, long, value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// Copy a file or directory to an absolute path in the guest before the start
    #[arg(long, value_name = "SRC:DST")]
    copy: Vec<String>,
    /// Copy a file or directory of the guest out as a tar archive [default DEST: ./NAME.tar]; \: is a colon in PATH
    #[arg(long, value_name = "PATH[:DEST]")]
    artifact: Vec<Wanted>,
    /// A pool that has all of these labels runs the job
    #[arg(short, long, value_name = "LABEL")]
    label: Vec<Label>,
    /// A name for people
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// User in the guest [default: the image's]
    #[arg(short, long, value_name = "USER")]
    user: Option<String>,
    /// Working directory in the guest [default: the image's]
    #[arg(short, long, value_name = "PATH")]
    workdir: Option<String>,
    /// Run this script (- for standard input) instead of CMD, by what its #! line names or by /bin/sh -e
    #[arg(long, value_name = "FILE", conflicts_with = "command")]
    script: Option<PathBuf>,
    /// Pass CMD to the image's entrypoint instead of running it
    #[arg(long)]
    entrypoint: bool,
    /// Print the job's id and do not wait for its end
    #[arg(short, long)]
    detach: bool,
    /// Program and arguments [default: the image's]
    #[arg(value_name = "CMD", trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

pub(crate) async fn run(client: &Client, args: Args) -> Ended {
    // The codes of the job must not be mixed up with ours.
    match attempt(client, args).await {
        Ok(code) => Ok(code),
        Err(error) => {
            super::edge::report(&error);
            Ok(ExitCode::from(NOT_THE_JOB))
        }
    }
}

async fn attempt(client: &Client, args: Args) -> Ended {
    let detach = args.detach;
    let wanted = args.artifact.clone();
    let copies = copy::expand(&args.copy)?;
    let files: Vec<PathBuf> = copies.iter().map(|copy| copy.source.clone()).collect();
    let spec = specification(args, copies)?;
    let job = client.submit(&spec, &files).await?;
    if detach {
        show::line(&format!("{}\n", job.id))?;
        if let Some(waiting) = job.waiting.as_ref().filter(|waiting| watch::needs_somebody(waiting)) {
            show::note(&format!("{} is queued, but {waiting}", job.id));
        }
        return Ok(ExitCode::SUCCESS);
    }
    let job = match watch::to_the_end(client, job).await? {
        watch::End::Final(job) => *job,
        watch::End::Detached(job) => {
            show::note(&format!("detached; `fireactions jobs logs -f {job}` follows it"));
            return Ok(ExitCode::from(130));
        }
    };
    explain(&job);
    if let Some(machine) = jobs::one::held_machine(client, &job).await {
        show::note(&jobs::one::invitation(&machine));
    }
    let mut code = session::code(job.exit_code().unwrap_or(i32::from(NOT_THE_JOB)));
    for (index, wanted) in wanted.iter().enumerate() {
        if let Err(error) = artifact::fetch(client, &job.id, index, wanted).await {
            super::edge::report(&error.context(format!("cannot copy out {}", wanted.path)));
            if job.state == JobState::Succeeded {
                code = ExitCode::from(NOT_THE_JOB);
            }
        }
    }
    Ok(code)
}

/// Says what the exit code does not.
fn explain(job: &JobRecord) {
    if !matches!(job.outcome, Some(Outcome::Exited { .. })) {
        show::note(&format!("job {}: {}", job.id, jobs::one::ending(job)));
        // The reason may only say the same.
        if let Some(reason) =
            job.reason.as_ref().filter(|reason| !jobs::one::ending(job).contains(reason.as_str()))
        {
            show::note(reason);
        }
    }
    if job.usage.oom_kills > 0 {
        show::note(&format!("{} processes were killed for memory; --memory gives more", job.usage.oom_kills));
    }
    for note in &job.notes {
        show::note(note);
    }
}

fn specification(args: Args, copies: Vec<copy::Copy>) -> anyhow::Result<JobSpec> {
    let program = match (&args.script, args.command) {
        (Some(path), _) => Program::Script { text: script(path)? },
        (None, argv) if args.entrypoint || argv.is_empty() => Program::Image { args: argv },
        (None, argv) => Program::Command { argv },
    };
    Ok(JobSpec {
        name: args.name,
        image: args.image,
        program,
        env: environment(&args.env)?,
        labels: args.label,
        vcpus: args.vcpus,
        memory_mib: args.memory,
        disk_mib: args.disk,
        // A part of a second is still time to run in.
        timeout_secs: args.timeout.map(|time| time.as_secs() + u64::from(time.subsec_nanos() > 0)),
        user: args.user,
        workdir: args.workdir,
        files: copies.into_iter().map(|copy| copy.file).collect(),
        artifacts: args.artifact.into_iter().map(|wanted| wanted.path).collect(),
    })
}

fn script(path: &PathBuf) -> anyhow::Result<String> {
    use std::io::Read;
    let mut text = String::new();
    let read = if path.as_os_str() == "-" {
        std::io::stdin().lock().take(MAX_SCRIPT + 1).read_to_string(&mut text)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(MAX_SCRIPT + 1).read_to_string(&mut text))
    };
    let size = read.with_context(|| format!("cannot read the script {}", path.display()))?;
    if size as u64 > MAX_SCRIPT {
        return Err(advise(
            format!("the script {} has more than {MAX_SCRIPT} bytes", path.display()),
            "copy it with --copy and run that",
        ));
    }
    Ok(text)
}

/// Variables as given on the command line.
pub(super) fn environment(arguments: &[String]) -> anyhow::Result<Vec<(String, String)>> {
    arguments
        .iter()
        .map(|argument| match argument.split_once('=') {
            Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
            Some(_) => Err(advise(format!("'{argument}' has no variable name"), "write NAME=VALUE")),
            None => match std::env::var(argument) {
                Ok(value) => Ok((argument.clone(), value)),
                Err(_) => Err(advise(
                    format!("there is no variable '{argument}' in the environment"),
                    "write NAME=VALUE",
                )),
            },
        })
        .collect()
}
