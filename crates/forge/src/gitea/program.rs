//! What a machine runs to be a runner of a Gitea or a Forgejo.

use std::time::Duration;

use fireactions_gitea::Kind;
use fireactions_model::{JobRecord, PoolSpec, Program, Secret, Work, WorkFile, WorkSource};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// Where the runner finds its files: a memory file system of the guest.
const DIRECTORY: &str = "/run/fireactions-runner";

/// Where images have the runner, after `PATH`, the working directory and the user's home.
const HOMES: &str = "/opt/act_runner /opt/gitea-runner /opt/forgejo-runner /opt/runner /home/runner";

/// Finds the runner, unless it is given, and runs it for one job. What it says goes through `log`, where the first word of a
/// runner that knows itself is waited for: from then on nobody needs the credential's file. A forgejo-runner that cannot be
/// given its credential by options reads the file that act_runner reads.
const SCRIPT: &str = r#"
dir=@DIRECTORY@
if [ "$#" -eq 0 ]; then
  for name in @NAMES@; do
    if found=$(command -v "$name"); then set -- "$found"; break; fi
    for home in "$PWD" "$HOME" @HOMES@; do
      if [ -x "$home/$name" ]; then set -- "$home/$name"; break 2; fi
    done
  done
fi
if [ "$#" -eq 0 ]; then
  echo "fireactions: the image has no runner (@NAMES@) in PATH, $PWD, $HOME, @HOMES@; set runner.command" >&2
  exit 127
fi
if [ "$FIREACTIONS_RUNNER_KIND" = forgejo ]; then
  if "$@" one-job --help 2>&1 | grep -q -e --token-url; then
    rm -f "$dir/.runner"
    set -- "$@" --config "$dir/options.yaml" one-job --url "$FIREACTIONS_RUNNER_URL" --uuid "$FIREACTIONS_RUNNER_UUID" \
      --token-url "file://$dir/token"
    for label in $FIREACTIONS_RUNNER_LABELS; do set -- "$@" --label "$label"; done
  else
    set -- "$@" --config "$dir/config.yaml" one-job
  fi
  if [ -n "$FIREACTIONS_RUNNER_HANDLE" ]; then set -- "$@" --handle "$FIREACTIONS_RUNNER_HANDLE"; else set -- "$@" --wait; fi
else
  set -- "$@" daemon --config "$dir/config.yaml" --once
fi
log=$(mktemp -d)/log
mkfifo -m 600 "$log"
while IFS= read -r line; do
  case $line in *' declare'*) rm -f "$dir/.runner" "$dir/token" ;; esac
  printf '%s\n' "$line"
done < "$log" &
reader=$!
code=0
"$@" > "$log" 2>&1 || code=$?
wait "$reader" || :
exit "$code"
"#;

/// A runner's credential, as rows keep it until its program runs.
#[derive(Serialize, Deserialize)]
pub(super) struct Credential {
    pub(super) id: u64,
    pub(super) uuid: String,
    pub(super) token: String,
    /// The forge forgets the runner after one job.
    pub(super) ephemeral: bool,
}

impl Credential {
    pub(super) fn to_secret(&self) -> Secret {
        Secret::new(json!(self).to_string())
    }

    /// What [`Credential::to_secret`] gave; nothing for a runner that has begun long ago, whose credential is forgotten.
    fn of(secret: &Secret) -> Option<Self> {
        serde_json::from_str(secret.expose()).ok()
    }
}

/// A pool's labels as runners take them: one without a scheme runs its jobs in the machine itself, for there is nothing else
/// in it to keep them from.
pub(super) fn labels(pool: &PoolSpec) -> Vec<String> {
    let of_pool = pool.gitea().map(|runner| runner.labels.as_slice()).unwrap_or_default();
    let complete = |label: &String| if label.contains(':') { label.clone() } else { format!("{label}:host") };
    of_pool.iter().map(complete).collect()
}

/// The work of a machine that is to be the runner of this row at the server of this address.
pub(super) fn work(
    (kind, address): (Kind, &str),
    record: &JobRecord,
    pool: &PoolSpec,
    credential: &Secret,
    cache: Option<&Secret>,
) -> Work {
    let (word, names) = match kind {
        Kind::Gitea => ("gitea", "act_runner gitea-runner"),
        Kind::Forgejo => ("forgejo", "forgejo-runner"),
    };
    let script = SCRIPT.replace("@DIRECTORY@", DIRECTORY).replace("@NAMES@", names).replace("@HOMES@", HOMES);
    let mut argv = vec!["/bin/sh".to_owned(), "-e".to_owned(), "-c".to_owned(), script, "runner".to_owned()];
    argv.extend(pool.gitea().and_then(|runner| runner.command.clone()).into_iter().flatten());
    let remote = record.remote.as_ref();
    let of_row = |text: Option<&String>| text.cloned().unwrap_or_default();
    let name = of_row(remote.and_then(|remote| remote.runner.as_ref()));
    let credential = Credential::of(credential);
    let longest = pool.deadlines.job.max(Duration::from_secs(1));
    let labels = labels(pool);
    let set = |name: &str, value: String| (format!("FIREACTIONS_RUNNER_{name}"), value);
    let file = |name: &str, mode: u32, text: String| WorkFile {
        source: WorkSource::Secret(Secret::new(text)),
        dest: format!("{DIRECTORY}/{name}"),
        mode,
    };
    // A forgejo-runner that is told by options who it is takes no configuration that tells it, too.
    let mut files = vec![
        file("config.yaml", 0o644, config(longest, Some(&labels), cache)),
        file("options.yaml", 0o644, config(longest, None, cache)),
    ];
    if let Some(Credential { id, uuid, token, ephemeral }) = &credential {
        let known = json!({
            "id": id, "uuid": uuid, "name": name, "token": token, "address": address, "labels": labels,
            "ephemeral": ephemeral,
        });
        files.push(file(".runner", 0o600, known.to_string()));
        files.push(file("token", 0o600, token.clone()));
    }
    Work {
        job: record.id.clone(),
        program: Program::Command { argv },
        env: vec![
            set("KIND", word.to_owned()),
            set("URL", address.to_owned()),
            set("UUID", credential.map(|credential| credential.uuid).unwrap_or_default()),
            set("HANDLE", of_row(remote.and_then(|remote| remote.handle.as_ref()))),
            set("LABELS", labels.join(" ")),
        ],
        secret_env: Vec::new(),
        metadata_credential: None,
        ends_with_guest: false,
        user: None,
        owner_of: Vec::new(),
        workdir: None,
        timeout: longest,
        files,
        artifacts: Vec::new(),
    }
}

/// The runner's configuration, as both programs read it; JSON is YAML. With `labels` it is that of a runner that knows itself by its
/// file. The cache of either listens on every address of the machine, and nothing of it outlives the machine; the host's does, and
/// jobs are told of it by the variable that the runners' own would set.
fn config(longest: Duration, labels: Option<&[String]>, cache: Option<&Secret>) -> String {
    let mut runner = json!({
        "capacity": 1,
        "timeout": format!("{}s", longest.as_secs()),
        "shutdown_timeout": "0s",
        "fetch_timeout": "5s",
        "fetch_interval": "1s",
    });
    if let Some(labels) = labels {
        runner["file"] = format!("{DIRECTORY}/.runner").into();
        runner["labels"] = json!(labels);
    }
    if let Some(cache) = cache {
        runner["envs"] = json!({"ACTIONS_CACHE_URL": cache.expose()});
    }
    json!({"log": {"level": "info"}, "runner": runner, "cache": {"enabled": false}}).to_string()
}

/// What an exit code of the runner means, for people; nothing where it has no meaning of its own.
pub(super) fn meaning(kind: Kind, code: i32) -> Option<&'static str> {
    Some(match (kind, code) {
        (_, 1) => "the runner could not be set up; its log says why",
        (Kind::Forgejo, NO_TASK) => "Forgejo had no job for the runner",
        (_, 127) => "no runner was found in the image",
        _ => return None,
    })
}

/// What `forgejo-runner one-job` returns when there is no job for it.
pub(super) const NO_TASK: i32 = 2;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;
    use std::process::Command;

    use super::*;

    /// Runs the script as the guest would, with this program as the image's runner, and its files there.
    fn run(kind: &str, program: Option<&str>, env: &[(&str, &str)]) -> (String, Option<i32>, Vec<String>) {
        let dir = tempfile::tempdir().unwrap();
        let bin = dir.path().join("bin");
        std::fs::create_dir(&bin).unwrap();
        let names = if kind == "gitea" { "act_runner gitea-runner" } else { "forgejo-runner" };
        if let Some(text) = program {
            let path = bin.join(names.split(' ').next().unwrap());
            std::fs::write(&path, format!("#!/bin/sh\n{text}")).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        let files = dir.path().join("files");
        std::fs::create_dir(&files).unwrap();
        for file in [".runner", "token", "config.yaml"] {
            std::fs::write(files.join(file), file).unwrap();
        }
        let script = SCRIPT
            .replace("@DIRECTORY@", files.to_str().unwrap())
            .replace("@NAMES@", names)
            .replace("@HOMES@", "/nowhere");
        let output = Command::new("/bin/sh")
            .args(["-e", "-c", &script, "runner"])
            .current_dir(dir.path())
            .env("PATH", format!("{}:/usr/bin:/bin", bin.display()))
            .env("HOME", "/nowhere")
            .env("TMPDIR", dir.path())
            .env("FIREACTIONS_RUNNER_KIND", kind)
            .envs(env.iter().copied())
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
        (text.replace(files.to_str().unwrap(), "DIR"), output.status.code(), names_in(&files))
    }

    #[test]
    fn jobs_find_the_cache_by_the_runners_own_configuration() {
        let url = "http://172.30.0.1:5080/token/";
        for labels in [None, Some(&["a:host".to_owned()][..])] {
            let of = |cache: Option<&Secret>| {
                let text = config(Duration::from_secs(60), labels, cache);
                serde_json::from_str::<serde_json::Value>(&text).unwrap()
            };
            let with = of(Some(&Secret::new(url)));
            assert_eq!(with["runner"]["envs"], json!({"ACTIONS_CACHE_URL": url}));
            assert_eq!(with["cache"], json!({"enabled": false}), "no cache of its own in the machine");
            assert_eq!(of(None)["runner"]["envs"], serde_json::Value::Null);
        }
    }

    fn names_in(dir: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(dir).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    const FORGEJO: [(&str, &str); 3] = [
        ("FIREACTIONS_RUNNER_URL", "https://git.example.org/"),
        ("FIREACTIONS_RUNNER_UUID", "u-1"),
        ("FIREACTIONS_RUNNER_LABELS", "a:host b:docker://node:22"),
    ];

    #[test]
    fn act_runner_has_one_job_and_its_credential_is_gone_once_it_knows_itself() {
        let (text, code, left) =
            run("gitea", Some("echo \"msg=runner: x, declare successfully\"; echo \"$*\" >&2; exit 7"), &[]);
        assert_eq!((code, left.as_slice()), (Some(7), ["config.yaml".to_owned()].as_slice()), "{text}");
        assert_eq!(text, "msg=runner: x, declare successfully\ndaemon --config DIR/config.yaml --once\n");
        let (text, code, left) = run("gitea", Some("exit 1"), &[]);
        assert_eq!((text.as_str(), code, left.len()), ("", Some(1), 3), "it never came so far");
        let (text, code, _) = run("gitea", None, &[]);
        assert!(code == Some(127) && text.contains("no runner (act_runner gitea-runner)"), "{text}");
    }

    #[test]
    fn forgejo_runner_is_bound_to_its_job_where_it_can_be() {
        let new = "case $* in *--help) echo ' --token-url string'; exit 0 ;; esac; echo \"$*\"";
        let handle = [("FIREACTIONS_RUNNER_HANDLE", "h-1")];
        let (text, code, _) = run("forgejo", Some(new), &[&FORGEJO[..], &handle].concat());
        assert_eq!(
            (text.as_str(), code),
            (
                "--config DIR/options.yaml one-job --url https://git.example.org/ --uuid u-1 --token-url file://DIR/token \
                 --label a:host --label b:docker://node:22 --handle h-1\n",
                Some(0)
            )
        );
        let old = "case $* in *--help) echo ' --wait'; exit 0 ;; esac; echo \"$*\"; exit 2";
        let (text, code, _) = run("forgejo", Some(old), &FORGEJO);
        assert_eq!((text.as_str(), code), ("--config DIR/config.yaml one-job --wait\n", Some(NO_TASK)));
    }
}
