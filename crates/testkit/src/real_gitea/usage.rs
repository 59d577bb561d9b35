//! What a user and an operator do, in words.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};

use super::server::{ADMIN, RealGitea};

/// A runner that is registered.
#[derive(Debug, Clone)]
pub struct Registered {
    /// The server's number of it.
    pub id: u64,
    /// The server's name of it, in the protocol.
    pub uuid: String,
    /// Its secret.
    pub token: String,
    /// The name that it was given.
    pub name: String,
    labels: Vec<String>,
    ephemeral: bool,
}

impl Registered {
    /// The content of the `.runner` file, for a runner that finds the server at this address.
    pub fn file(&self, address: &str) -> String {
        let labels: Vec<String> = self.labels.iter().map(|label| format!("{label}:host")).collect();
        json!({
            "id": self.id, "uuid": self.uuid, "name": self.name, "token": self.token, "address": address,
            "labels": labels, "ephemeral": self.ephemeral,
        })
        .to_string()
    }

    /// As the protocol's calls want it.
    pub fn credential(&self) -> (&str, &str) {
        (&self.uuid, &self.token)
    }
}

impl RealGitea {
    /// A new organization.
    pub fn organization(&self, name: &str) {
        self.post("orgs", &json!({"username": name}));
    }

    /// A new user who is no administrator.
    pub fn user(&self, name: &str) {
        let user = json!({
            "username": name, "email": format!("{name}@example.invalid"), "password": ADMIN.1,
            "must_change_password": false,
        });
        self.post("admin/users", &user);
    }

    /// A new token of a user with scopes such as `read:organization`.
    pub fn token_of(&self, user: &str, scopes: &[&str]) -> String {
        // Each name once.
        let name = format!("{} {:?}", scopes.join(" "), std::time::SystemTime::now());
        text(&self.make_token(user, &json!({"name": name, "scopes": scopes}))["sha1"])
    }

    /// A new, empty repository of an organization: `OWNER/NAME`.
    pub fn repository(&self, repository: &str) {
        let (owner, name) = repository.split_once('/').expect("OWNER/NAME");
        self.post(&format!("orgs/{owner}/repos"), &json!({"name": name, "default_branch": "main"}));
    }

    /// Commits these files to `main` and pushes, with git. Gives the commit.
    ///
    /// # Panics
    ///
    /// When a file is as it was: then there is nothing to push.
    pub fn push(&self, repository: &str, files: &[(&str, &str)]) -> String {
        let tree = self.dir.path().join("work").join(repository);
        if !tree.exists() {
            fs::create_dir_all(&tree).unwrap();
            self.git(&tree, &["init", "--quiet", "--initial-branch=main"]);
            self.git(&tree, &["remote", "add", "origin", &format!("{}/{repository}.git", self.local())]);
        }
        for (path, text) in files {
            let path = tree.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        self.git(&tree, &["add", "--all"]);
        self.git(&tree, &["commit", "--quiet", "--message", "what the test wants"]);
        self.git(&tree, &["push", "--quiet", "origin", "main"]);
        self.git(&tree, &["rev-parse", "HEAD"])
    }

    /// Pushes one workflow: `.gitea/workflows/NAME.yml`.
    pub fn push_workflow(&self, repository: &str, name: &str, text: &str) -> String {
        self.push(repository, &[(&format!(".gitea/workflows/{name}.yml"), text)])
    }

    fn git(&self, tree: &Path, args: &[&str]) -> String {
        let mut command = self.command("git");
        // In the environment: arguments are for everybody to see.
        let header = format!("Authorization: token {}", self.token());
        let given = [
            ("GIT_CONFIG_COUNT", "3"),
            ("GIT_CONFIG_KEY_0", "http.extraHeader"),
            ("GIT_CONFIG_VALUE_0", &header),
            ("GIT_CONFIG_KEY_1", "user.name"),
            ("GIT_CONFIG_VALUE_1", ADMIN.0),
            ("GIT_CONFIG_KEY_2", "user.email"),
            ("GIT_CONFIG_VALUE_2", "boss@example.invalid"),
            ("GIT_CONFIG_NOSYSTEM", "1"),
            ("GIT_SSL_NO_VERIFY", "1"),
            ("GIT_TERMINAL_PROMPT", "0"),
        ];
        command.envs(given).current_dir(tree).args(args);
        let output = self.inside.run(move |_| command.output()).expect("git is needed");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "git {args:?}: {said}\n{}", self.log());
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Starts a workflow that has `on: workflow_dispatch`.
    pub fn dispatch(&self, repository: &str, workflow: &str, inputs: &Value) {
        let path = format!("repos/{repository}/actions/workflows/{workflow}.yml/dispatches");
        self.post(&path, &json!({"ref": "main", "inputs": inputs}));
    }

    /// All jobs of a scope (`admin`, `user`, `orgs/O`, `repos/O/R`), the oldest first.
    pub fn jobs(&self, scope: &str) -> Vec<Value> {
        self.listed(&format!("{scope}/actions/jobs"), "jobs")
    }

    /// All runners of a scope.
    pub fn runners(&self, scope: &str) -> Vec<Value> {
        self.listed(&format!("{scope}/actions/runners"), "runners")
    }

    fn listed(&self, path: &str, field: &str) -> Vec<Value> {
        let mut all = Vec::new();
        for page in 1.. {
            let answer = self.get(&format!("{path}?limit=50&page={page}"));
            // Forgejo's lists are bare.
            let some = answer.as_array().or(answer[field].as_array()).cloned().unwrap_or_default();
            if some.is_empty() {
                break;
            }
            all.extend(some);
        }
        all
    }

    /// Waits until a scope has this many jobs and all are over; gives them.
    pub fn completed(&self, scope: &str, count: usize, within: Duration) -> Vec<Value> {
        wait_for(within, &format!("{count} jobs of {scope} to be over"), || {
            let jobs = self.jobs(scope);
            (jobs.len() >= count && jobs.iter().all(|job| job["status"] == "completed")).then_some(jobs)
        })
    }

    /// A job's log, each line with its time.
    pub fn job_log(&self, repository: &str, job: u64) -> String {
        let (status, text) =
            self.call(Method::GET, &format!("repos/{repository}/actions/jobs/{job}/logs"), None);
        assert_eq!(status, 200, "{text}");
        self::text(&text)
    }

    /// Cancels a run in the web, as a person does; there is no API for it.
    pub fn cancel_run(&self, repository: &str, run: u64) {
        let status = self.browse(&format!("{repository}/actions/runs/{run}/cancel"), &[]);
        assert_eq!(status, 200, "{}", self.log());
    }

    /// The registration token of a scope. It is the same, until somebody resets it.
    pub fn registration_token(&self, scope: &str) -> String {
        text(&self.post(&format!("{scope}/actions/runners/registration-token"), &Value::Null)["token"])
    }

    /// Registers a runner of a scope, as a host does.
    pub fn register(&self, scope: &str, name: &str, labels: &[&str], ephemeral: bool) -> Registered {
        let token = self.registration_token(scope);
        let asked = json!({"name": name, "token": token, "version": "v0.0.1", "labels": labels, "ephemeral": ephemeral});
        let (status, answer) = self.rpc("Register", None, &asked);
        assert_eq!(status, 200, "{answer}");
        let runner = &answer["runner"];
        Registered {
            id: text(&runner["id"]).parse().unwrap(),
            uuid: text(&runner["uuid"]),
            token: text(&runner["token"]),
            name: name.to_owned(),
            labels: labels.iter().map(|label| (*label).to_owned()).collect(),
            ephemeral,
        }
    }

    /// Registers a runner of a scope for one job, as a host does at Forgejo. It tells its labels itself.
    pub fn register_at_forgejo(&self, scope: &str, name: &str) -> Registered {
        let answer =
            self.post(&format!("{scope}/actions/runners"), &json!({"name": name, "ephemeral": true}));
        Registered {
            id: answer["id"].as_u64().expect("a runner's number"),
            uuid: text(&answer["uuid"]),
            token: text(&answer["token"]),
            name: name.to_owned(),
            labels: Vec::new(),
            ephemeral: true,
        }
    }

    /// The queue of a scope at Forgejo: what waits and what runs, the newest first.
    pub fn forgejo_queue(&self, scope: &str) -> Vec<Value> {
        let queue = self.get(&format!("{scope}/actions/runners/jobs"));
        queue.as_array().cloned().unwrap_or_default()
    }

    /// A webhook of a scope (`orgs/O`, `repos/O/R`, `admin`) for events such as `workflow_job`. Gives its number.
    pub fn hook(&self, scope: &str, url: &str, secret: &str, events: &[&str]) -> u64 {
        let config =
            json!({"url": url, "content_type": "json", "secret": secret, "is_system_webhook": "true"});
        let hook = json!({"type": "gitea", "active": true, "events": events, "config": config});
        self.post(&format!("{scope}/hooks"), &hook)["id"].as_u64().expect("a hook's number")
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

/// Asks again and again until there is an answer.
///
/// # Panics
///
/// When there is none in time.
pub fn wait_for<T>(within: Duration, what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + within;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited {within:?} for {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}
