//! What a machine runs to be a runner.

use std::time::Duration;

use fireactions_model::{InitMode, JobId, PoolSpec, Program, Secret, Work, WorkFile, WorkSource};

/// Where runner images have the runner, after the image's own working directory and the user's home.
const HOMES: &str = "/home/runner /actions-runner /opt/actions-runner /opt/runner";

/// The variable that both `run.sh` and `Runner.Listener run` read their JIT configuration from; the runner removes it from
/// its environment before any job begins.
const CREDENTIAL: &str = "ACTIONS_RUNNER_INPUT_JITCONFIG";

/// Marks the lines that the runner's hooks have written.
pub(super) const HOOK: &str = "fireactions hook: ";

/// Where the job finds the host's cache.
const CACHE: &str = "FIREACTIONS_ACTIONS_CACHE";

/// Leads what actions ask of GitHub's cache to the host's. The runner sets the address of the service for each action itself, and it
/// is that of artifacts and logs, too.
const PRELOAD: &str = include_str!("cache.cjs");

/// A memory file system of the guest.
const PRELOADED: &str = "/run/fireactions-runner/cache.cjs";

/// Starts the runner with hooks that tell when its job begins and ends, unless the image has hooks of its own, and returns
/// what the runner returned. `Runner.Listener` rather than `run.sh`, which hides the exit code; the codes 3 and 4 say that
/// the runner has updated itself and wants to be started again, as `run.sh` does.
const SCRIPT: &str = r#"
if [ "$#" -eq 0 ]; then
  for home in "$PWD" "$HOME" "$HOME/actions-runner" @HOMES@; do
    if [ -x "$home/bin/Runner.Listener" ]; then set -- "$home/bin/Runner.Listener" run
    elif [ -x "$home/run.sh" ]; then set -- "$home/run.sh"
    else continue; fi
    cd "$home"
    break
  done
fi
if [ "$#" -eq 0 ]; then
  echo "fireactions: the image has no GitHub runner (bin/Runner.Listener or run.sh) in $PWD, $HOME, @HOMES@; set runner.command" >&2
  exit 127
fi
dir=$(mktemp -d)
mkfifo -m 600 "$dir/signs"
for hook in started completed; do
  printf '#!/bin/sh\necho "%s run=$GITHUB_RUN_ID" > "%s"\n' "$hook" "$dir/signs" > "$dir/$hook.sh"
  chmod 700 "$dir/$hook.sh"
done
: "${ACTIONS_RUNNER_HOOK_JOB_STARTED:=$dir/started.sh}" "${ACTIONS_RUNNER_HOOK_JOB_COMPLETED:=$dir/completed.sh}"
export ACTIONS_RUNNER_HOOK_JOB_STARTED ACTIONS_RUNNER_HOOK_JOB_COMPLETED
if [ -r "@PRELOADED@" ]; then export NODE_OPTIONS="--require @PRELOADED@${NODE_OPTIONS:+ $NODE_OPTIONS}"; fi
while read -r sign; do echo "@HOOK@$sign"; done <> "$dir/signs" &
reader=$!
while :; do
  code=0
  "$@" || code=$?
  case $code in
    3|4) sleep 2 ;;
    *) break ;;
  esac
done
kill "$reader" 2>/dev/null || :
exit "$code"
"#;

/// How often a guest's processes are looked through, how long its service may take to start the runner, and how long there must
/// be none for it to be over: `run.sh` starts a runner that has updated itself again after a pause. In seconds.
const LOOK: u32 = 1;
const APPEARS: u32 = 600;
const GONE: u32 = 5;

/// The exit code when no runner came up.
const NO_RUNNER: i32 = 126;

/// Waits until the runner that a service of the image starts has come and gone. It is known by its processes' names. When the
/// service ends its guest with its runner, which systemd's `SuccessAction=reboot` does, this is ended with all others.
const WATCH: &str = r#"
trap 'exit 0' TERM
runs() {
  for file in /proc/[0-9]*/comm; do
    read -r name 2>/dev/null <"$file" || continue
    case $name in run.sh|run-helper.sh|Runner.Listener) return 0 ;; esac
  done
  return 1
}
waited=0
until runs; do
  if [ "$waited" -ge @APPEARS@ ]; then
    echo "fireactions: no service of the image has started a runner (run.sh, Runner.Listener) within @APPEARS@ s; it finds its JIT configuration at http://169.254.169.254/latest/meta-data/fireactions/runner_jit_config" >&2
    exit @NO_RUNNER@
  fi
  waited=$((waited + @LOOK@))
  sleep @LOOK@ & wait $!
done
echo "fireactions: a service of the image has started its runner"
gone=0
while [ "$gone" -lt @GONE@ ]; do
  if runs; then gone=0; else gone=$((gone + @LOOK@)); fi
  sleep @LOOK@ & wait $!
done
"#;

/// The work of a machine whose image starts the runner with this credential.
fn watched(job: &JobId, pool: &PoolSpec, credential: Secret) -> Work {
    let script = [("@LOOK@", LOOK), ("@APPEARS@", APPEARS), ("@GONE@", GONE)]
        .iter()
        .fold(WATCH.to_owned(), |script, (name, seconds)| script.replace(name, &seconds.to_string()))
        .replace("@NO_RUNNER@", &NO_RUNNER.to_string());
    Work {
        job: job.clone(),
        program: Program::Command { argv: ["/bin/sh", "-c", script.as_str()].map(str::to_owned).to_vec() },
        env: Vec::new(),
        secret_env: Vec::new(),
        metadata_credential: Some(credential),
        ends_with_guest: true,
        // It looks at processes of all users.
        user: Some("0".to_owned()),
        owner_of: Vec::new(),
        workdir: Some("/".to_owned()),
        timeout: pool.deadlines.job.max(Duration::from_secs(1)),
        files: Vec::new(),
        artifacts: Vec::new(),
    }
}

/// The work of a machine that is to be a runner with this credential. `cache` is where its job finds the host's cache of jobs.
pub(super) fn work(job: &JobId, pool: &PoolSpec, credential: Secret, cache: Option<&Secret>) -> Work {
    if pool.github().is_some_and(|runner| runner.by_image) {
        return watched(job, pool, credential);
    }
    let script = SCRIPT.replace("@HOMES@", HOMES).replace("@HOOK@", HOOK).replace("@PRELOADED@", PRELOADED);
    let mut argv = vec!["/bin/sh".to_owned(), "-e".to_owned(), "-c".to_owned(), script, "runner".to_owned()];
    let command = pool.github().and_then(|runner| runner.command.clone());
    argv.extend(command.iter().flatten().cloned());
    let set = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    Work {
        job: job.clone(),
        program: Program::Command { argv },
        env: vec![
            // A job in a machine of its own may be root there.
            set("RUNNER_ALLOW_RUNASROOT", "1"),
            set("ACTIONS_RUNNER_RETURN_VERSION_DEPRECATED_EXIT_CODE", "1"),
        ],
        secret_env: [(CREDENTIAL.to_owned(), credential.clone())]
            .into_iter()
            .chain(cache.map(|cache| (CACHE.to_owned(), cache.clone())))
            .collect(),
        // A service of the image that finds one there starts a second runner.
        metadata_credential: (pool.init == InitMode::Agent).then_some(credential),
        ends_with_guest: false,
        user: None,
        owner_of: if command.is_some() { Vec::new() } else { owned() },
        workdir: None,
        timeout: pool.deadlines.job.max(Duration::from_secs(1)),
        files: cache.map(|_| preload()).into_iter().collect(),
        artifacts: Vec::new(),
    }
}

/// What is the runner's, in the working directory and in its homes.
fn owned() -> Vec<String> {
    let files = ["bin/Runner.Listener", "run.sh"];
    let in_homes = HOMES.split(' ').flat_map(|home| files.map(|file| format!("{home}/{file}")));
    files.map(str::to_owned).into_iter().chain(in_homes).collect()
}

fn preload() -> WorkFile {
    let source = WorkSource::Secret(Secret::new(PRELOAD));
    WorkFile { source, dest: PRELOADED.to_owned(), mode: 0o644 }
}

/// What an exit code of the runner means, for people; nothing where it has no meaning of its own.
pub(super) fn meaning(code: i32) -> Option<&'static str> {
    Some(match code {
        1 => "the runner ended with an error; its log says why",
        2 => "the runner could not reach GitHub, or GitHub refused it temporarily",
        5 => "GitHub has another session of this runner",
        7 => "GitHub no longer accepts this version of the runner: rebuild the image with a newer runner",
        NO_RUNNER => "no service of the image started a runner",
        127 => "no GitHub runner was found in the image",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::fs::PermissionsExt;
    use std::process::{Command, Stdio};

    use super::*;

    /// Runs the script as the guest would, in a directory with this `run.sh`.
    fn run(run_sh: Option<&str>, command: &[&str]) -> (String, Option<i32>) {
        let dir = tempfile::tempdir().unwrap();
        if let Some(text) = run_sh {
            let path = dir.path().join("run.sh");
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        let preloaded = dir.path().join("cache.cjs");
        let script = SCRIPT
            .replace("@HOMES@", "/nowhere")
            .replace("@HOOK@", HOOK)
            .replace("@PRELOADED@", preloaded.to_str().unwrap());
        let mut child = Command::new("/bin/sh")
            .args(["-e", "-c", &script, "runner"])
            .args(command)
            .current_dir(dir.path())
            .env("HOME", "/nowhere")
            .env("TMPDIR", dir.path())
            .env_remove("ACTIONS_RUNNER_HOOK_JOB_STARTED")
            .env_remove("ACTIONS_RUNNER_HOOK_JOB_COMPLETED")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut text = String::new();
        child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
        child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
        (text, child.wait().unwrap().code())
    }

    #[test]
    fn the_runners_hooks_tell_and_its_exit_code_is_passed_on() {
        let runner = "#!/bin/sh\nGITHUB_RUN_ID=9 \"$ACTIONS_RUNNER_HOOK_JOB_STARTED\"\necho work\n\
                      GITHUB_RUN_ID=9 \"$ACTIONS_RUNNER_HOOK_JOB_COMPLETED\"\nsleep 0.3\nexit 7\n";
        let (text, code) = run(Some(runner), &[]);
        assert_eq!(code, Some(7), "{text}");
        for line in ["fireactions hook: started run=9", "work", "fireactions hook: completed run=9"] {
            assert!(text.lines().any(|found| found == line), "{line}: {text}");
        }
        assert!(meaning(7).unwrap().contains("rebuild the image"));
    }

    #[test]
    fn an_updated_runner_is_started_again() {
        let runner = "#!/bin/sh\n[ -e again ] && exit 0\n: > again\nexit 3\n";
        let (text, code) = run(Some(runner), &[]);
        assert_eq!((text.as_str(), code), ("", Some(0)));
    }

    #[test]
    fn an_image_without_a_runner_says_so_and_a_pools_command_is_taken_as_it_is() {
        let (text, code) = run(None, &[]);
        assert_eq!(code, Some(127));
        assert!(text.contains("no GitHub runner") && text.contains("runner.command"), "{text}");
        let (text, code) = run(None, &["sh", "-c", "echo \"mine $*\"; exit 5", "x", "a b"]);
        assert_eq!((text.as_str(), code), ("mine a b\n", Some(5)));
    }
}
