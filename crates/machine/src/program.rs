//! What a job's program means inside its image, by the rules of the OCI image configuration.

use fireactions_guest_proto::RunRequest;
use fireactions_image::ImageConfig;
use fireactions_model::{Program, Secret, Work, WorkFile, WorkSource};

/// Where a script is that names its interpreter: it reads it from there.
const SCRIPT: &str = "/run/fireactions-job/script";

/// Resolves a program against the image's configuration. The error says what is missing.
pub(crate) fn resolve(work: &Work, image: &ImageConfig) -> Result<RunRequest, String> {
    let argv = match &work.program {
        Program::Command { argv } => argv.clone(),
        Program::Script { text } => match interpreter(text) {
            Some(mut argv) => {
                argv.push(SCRIPT.into());
                argv
            }
            None => vec!["/bin/sh".into(), "-e".into(), "-c".into(), text.clone()],
        },
        Program::Image { args } => {
            let rest = if args.is_empty() { &image.cmd } else { args };
            image.entrypoint.iter().chain(rest).cloned().collect()
        }
    };
    if argv.is_empty() {
        return Err(
            "there is nothing to run: the job names no command and the image has neither entrypoint nor \
                    command; add a command to the job"
                .into(),
        );
    }
    let secret = work.secret_env.iter().map(|(key, value)| (key.clone(), value.expose().to_owned()));
    let env = environment(image, work.env.iter().cloned().chain(secret));
    let workdir = work.workdir.clone().unwrap_or_else(|| image.workdir.clone());
    let owner_of = work.owner_of.iter().filter_map(|file| {
        let is_whole = file.starts_with('/');
        let below = || (!workdir.is_empty()).then(|| format!("{workdir}/{file}"));
        if is_whole { Some(file.clone()) } else { below() }
    });
    let owner_of = owner_of.collect();
    Ok(RunRequest {
        run: work.job.to_string(),
        argv,
        env,
        user: work.user.clone().unwrap_or_else(|| image.user.clone()),
        owner_of,
        workdir,
    })
}

/// The script's file, where it has to be one.
pub(crate) fn script(work: &Work) -> Option<WorkFile> {
    let Program::Script { text } = &work.program else { return None };
    interpreter(text)?;
    Some(WorkFile {
        source: WorkSource::Secret(Secret::new(text.clone())),
        dest: SCRIPT.to_owned(),
        mode: 0o755,
    })
}

/// What the first line of a script says that runs it: a program, and what follows as one argument, as Linux has it.
fn interpreter(script: &str) -> Option<Vec<String>> {
    let line = script.strip_prefix("#!")?.lines().next()?.trim();
    let (program, argument) = line.split_once([' ', '\t']).unwrap_or((line, ""));
    let words = [program, argument.trim()];
    (!program.is_empty())
        .then(|| words.into_iter().filter(|word| !word.is_empty()).map(String::from).collect())
}

/// The image's environment with `over` over it; of two values of a name, the last counts.
pub fn environment(
    image: &ImageConfig,
    over: impl IntoIterator<Item = (String, String)>,
) -> Vec<(String, String)> {
    let own = image.env.iter().filter_map(|pair| pair.split_once('='));
    let own = own.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let mut env: Vec<(String, String)> = Vec::new();
    for (key, value) in own.chain(over) {
        env.retain(|(have, _)| *have != key);
        env.push((key, value));
    }
    env
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use fireactions_model::{JobId, Secret};

    use super::*;

    fn work(program: Program) -> Work {
        Work {
            job: JobId::from_random([1; 8]),
            program,
            env: vec![("A".into(), "job".into())],
            secret_env: vec![("TOKEN".into(), Secret::new("s3cret"))],
            metadata_credential: None,
            ends_with_guest: false,
            user: None,
            owner_of: vec![],
            workdir: None,
            timeout: Duration::from_secs(1),
            files: vec![],
            artifacts: vec![],
        }
    }

    fn image() -> ImageConfig {
        ImageConfig {
            env: vec!["A=image".into(), "B=image=2".into()],
            user: "runner".into(),
            workdir: "/home/runner".into(),
            entrypoint: vec!["/entry".into()],
            cmd: vec!["default".into()],
            ..ImageConfig::default()
        }
    }

    #[test]
    fn image_program_uses_entrypoint_and_default_command() {
        let request = resolve(&work(Program::Image { args: vec![] }), &image()).unwrap();
        assert_eq!(request.argv, ["/entry", "default"]);
        let request = resolve(&work(Program::Image { args: vec!["x".into()] }), &image()).unwrap();
        assert_eq!(request.argv, ["/entry", "x"]);
    }

    #[test]
    fn job_environment_wins_and_values_keep_their_equals_signs() {
        let request = resolve(&work(Program::Command { argv: vec!["true".into()] }), &image()).unwrap();
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(request.env, [pair("B", "image=2"), pair("A", "job"), pair("TOKEN", "s3cret")]);
        assert_eq!((request.user.as_str(), request.workdir.as_str()), ("runner", "/home/runner"));
    }

    #[test]
    fn a_scripts_first_line_says_what_runs_it() {
        let ran = |text: &str| {
            let work = work(Program::Script { text: text.into() });
            let argv = resolve(&work, &image()).unwrap().argv;
            assert_eq!(script(&work).is_some(), argv.last().unwrap() == SCRIPT, "{text}");
            argv
        };
        assert_eq!(ran("#!/bin/bash\nset -euo pipefail\n"), ["/bin/bash", SCRIPT]);
        assert_eq!(ran("#!/usr/bin/env python3\nprint()"), ["/usr/bin/env", "python3", SCRIPT]);
        assert_eq!(ran("#! /usr/bin/env  -S awk -f \r\n"), ["/usr/bin/env", "-S awk -f", SCRIPT]);
        for plain in ["echo a", "# !/bin/bash\n", "#!\necho", " #!/bin/bash\n"] {
            assert_eq!(ran(plain), ["/bin/sh", "-e", "-c", plain]);
        }
    }

    #[test]
    fn scripts_of_the_case_are_run_by_what_they_name() {
        let test = "scripts_of_the_case_are_run_by_what_they_name";
        let Some(case) = fireactions_testkit::beside::case(test, "script-ignores-its-shebang") else {
            return;
        };
        for (file, argv) in
            [("bashism.sh", &["/bin/bash", SCRIPT][..]), ("py.sh", &["/usr/bin/env", "python3", SCRIPT])]
        {
            let text = std::fs::read_to_string(case.join(file)).unwrap();
            let request = resolve(&work(Program::Script { text }), &image()).unwrap();
            assert_eq!(request.argv, argv, "{file}");
        }
    }

    #[test]
    fn nothing_to_run_is_said() {
        let error = resolve(&work(Program::Image { args: vec![] }), &ImageConfig::default()).unwrap_err();
        assert!(error.starts_with("there is nothing to run"), "{error}");
    }
}
