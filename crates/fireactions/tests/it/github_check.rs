//! `fireactions github`, as an operator runs it, against a fake that is held to the published description.

#![allow(clippy::unwrap_used)]

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::Arc;

use fireactions_github::scaleset::{ScaleSetSpec, ScaleSets};
use fireactions_github::{App, Credentials, Github, Settings};
use fireactions_model::Secret;
use fireactions_testkit::github::{AppKey, FakeGithub, Scope};

/// What a run of the command line printed, and its exit code.
#[derive(Debug)]
struct Said {
    out: String,
    err: String,
    code: Option<i32>,
}

fn fireactions(arguments: &[&str]) -> Said {
    let output = Command::new(env!("CARGO_BIN_EXE_fireactions")).args(arguments).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Said { out: text(&output.stdout), err: text(&output.stderr), code: output.status.code() }
}

/// An organization with an App.
fn github() -> (FakeGithub, AppKey) {
    let fake = FakeGithub::local();
    fake.organization("acme");
    fake.repository("acme/widgets");
    let app = fake.app("runners");
    (fake, app)
}

fn secret_file(dir: &tempfile::TempDir, name: &str, text: &str) -> String {
    let path = dir.path().join(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path.display().to_string()
}

/// One pool for each of these runner fields.
fn check(fake: &FakeGithub, app: &AppKey, runners: &[&str], more: &str) -> Said {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| secret_file(&dir, name, text);
    let credential = format!("app_id: {}, app_private_key_file: {}", app.id, file("key.pem", &app.pkcs8));
    check_with(fake, &credential, &file, runners, more)
}

/// The same with these fields for the credential; `file` makes a file for the configuration.
fn check_with(
    fake: &FakeGithub,
    credential: &str,
    file: &dyn Fn(&str, &str) -> String,
    runners: &[&str],
    more: &str,
) -> Said {
    let mut pools = String::new();
    for (n, runner) in runners.iter().enumerate() {
        let runner = format!("image: 'oci-archive:/image.tar', labels: [linux, pool{n}], {runner}");
        writeln!(pools, "  - {{name: pool{n}, max_runners: 1, runner: {{{runner}}}}}").unwrap();
    }
    let config = format!(
        "github: {{url: '{}', {credential}{more}}}\nkernel: {{image: /vmlinuz}}\npools:\n{pools}",
        fake.url(),
    );
    let said = fireactions(&["github", "check", "--config", &file("config.yaml", &config)]);
    assert_eq!(fake.violations(), Vec::<String>::new());
    said
}

/// The lines that tell of a problem.
fn problems(said: &Said) -> Vec<&str> {
    said.out.lines().filter_map(|line| line.trim_start().strip_prefix("PROBLEM  ")).collect()
}

#[test]
fn a_right_app_is_said_to_be_right() {
    let (fake, app) = github();
    fake.install_fully(app.id, "acme");
    let group = fake.runner_group(&Scope::Organization("acme".into()), "ours");
    let group = format!("organization: acme, group_id: {group}");
    let runners =
        ["organization: acme", &group, "organization: acme, scale_set: fast", "repository: acme/widgets"];
    let said = check(&fake, &app, &runners, "");
    assert_eq!((said.code, said.err.as_str(), problems(&said).len()), (Some(0), "", 0), "{said:?}");
    for line in [
        "acme\n",
        "acme/widgets\n",
        "ok       App 'runners'",
        "is installed, for all repositories",
        "ok       runners can be listed; there are 0",
        "ok       pool 'pool0': runner group 'Default'",
        "ok       pool 'pool1': runner group 'ours'",
        "note     pool 'pool2': scale set 'fast' will be made when the server starts",
        "everything is in order",
    ] {
        assert!(said.out.contains(line), "{line} in:\n{}", said.out);
    }
    // A question changes nothing.
    assert_eq!(fake.runners().len(), 0);
}

#[test]
fn a_scale_set_of_another_host_is_a_problem_and_this_hosts_is_none() {
    let (fake, app) = github();
    fake.install_fully(app.id, "acme");
    let key = app.pkcs8.clone();
    let app_key = App { id: app.id.to_string(), key: Arc::new(move || Ok(Secret::new(key.clone()))) };
    let settings = Settings {
        url: fake.url().parse().unwrap(),
        credentials: Credentials::Apps(vec![app_key]),
        ca_pem: None,
        proxy: None,
    };
    let sets = ScaleSets::new(&Github::new(settings).unwrap(), "acme".parse().unwrap());
    let spec =
        ScaleSetSpec { name: "fast".into(), group_id: 1, labels: vec!["fast".into()], disable_update: true };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let set = runtime.block_on(sets.ensure(&spec)).unwrap();
    let runners = ["organization: acme, scale_set: fast"];

    let free = check(&fake, &app, &runners, "");
    assert!(free.out.contains("ok       pool 'pool0': scale set 'fast' is there\n"), "{}", free.out);
    assert_eq!(
        (problems(&free).len(), fake.session_owner(fake.scale_sets()[0].0)),
        (0, None),
        "nobody is kept out"
    );

    let other = runtime.block_on(sets.open_session(set.id, "other-host-k1")).unwrap();
    let taken = check(&fake, &app, &runners, "");
    let told = problems(&taken);
    assert!(told.len() == 1 && told[0].contains("another host listens to it"), "{}", taken.out);
    assert!(told[0].contains("other-host-k1") && taken.out.contains("set runner.scale_set"), "{}", taken.out);
    runtime.block_on(other.close()).unwrap();

    let host = rustix::system::uname().nodename().to_str().unwrap().to_owned();
    let _own = runtime.block_on(sets.open_session(set.id, &format!("{host}-k2"))).unwrap();
    let own = check(&fake, &app, &runners, "");
    assert!(own.out.contains("scale set 'fast' is there, and this host listens to it"), "{}", own.out);
    assert_eq!(own.code, Some(0));
}

#[test]
fn each_missing_permission_is_told_by_its_name() {
    let (fake, app) = github();
    let installation = fake.install(app.id, "acme", &[("metadata", "read")]);
    let said = check(&fake, &app, &["organization: acme"], "");
    let told = problems(&said);
    assert_eq!(said.code, Some(1), "{said:?}");
    let lacks = |permission: &str| told.iter().any(|line| line.contains(&format!("permission {permission}")));
    assert!(lacks("organization_self_hosted_runners: write (it has nothing)"), "{said:?}");
    assert!(lacks("actions: read (it has nothing)"), "{said:?}");
    assert!(said.out.contains("grant it at http") && said.out.ends_with("problems\n"), "{said:?}");

    fake.set_permissions(
        installation,
        &[("organization_self_hosted_runners", "read"), ("actions", "read"), ("metadata", "read")],
    );
    let said = check(&fake, &app, &["organization: acme"], "");
    let told = problems(&said);
    assert!(told[0].ends_with("organization_self_hosted_runners: write (it has read)"), "{said:?}");
    // What does not work for it is told as well.
    assert!(told.len() == 2 && told[1].contains("registration token"), "{said:?}");
}

#[test]
fn an_app_that_is_not_installed_or_has_another_key_is_told() {
    let (fake, app) = github();
    let said = check(&fake, &app, &["organization: acme"], "");
    assert_eq!((said.code, problems(&said).len()), (Some(1), 1), "{said:?}");
    assert!(problems(&said)[0].contains("not installed"), "{said:?}");

    fake.install_fully(app.id, "acme");
    fake.rotate_key(app.id);
    let said = check(&fake, &app, &["organization: acme"], "");
    assert_eq!((said.code, problems(&said).len()), (Some(1), 1), "{said:?}");
    assert!(problems(&said)[0].contains("check the App's id and key"), "{said:?}");
    assert!(!(said.out + &said.err).contains("PRIVATE KEY"));
}

#[test]
fn a_group_that_is_not_there_is_told_with_those_that_are() {
    let (fake, app) = github();
    fake.install_fully(app.id, "acme");
    let said = check(&fake, &app, &["organization: acme, group: nobody"], "");
    assert_eq!(said.code, Some(1), "{said:?}");
    assert_eq!(
        problems(&said),
        ["pool 'pool0': there is no such runner group; the existing ones are Default"],
        "{}",
        said.out
    );
}

#[test]
fn a_webhook_wants_the_event_and_a_scale_set_does_not() {
    let (fake, app) = github();
    fake.install_fully(app.id, "acme");
    fake.set_events(app.id, &[]);
    let said = check(&fake, &app, &["organization: acme"], "");
    assert_eq!(said.code, Some(0), "{said:?}");
    let secret = tempfile::NamedTempFile::new().unwrap();
    fs::write(secret.path(), "a secret of some length").unwrap();
    let more = format!(", webhook: {{listen: '127.0.0.1:1', secret_file: {}}}", secret.path().display());
    let said = check(&fake, &app, &["organization: acme"], &more);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(problems(&said).iter().any(|line| line.contains("workflow_job")), "{said:?}");
}

#[test]
fn a_token_that_lacks_a_scope_is_told_which() {
    let fake = FakeGithub::local();
    fake.enterprise("big", &["acme"]);
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| secret_file(&dir, name, text);
    for (scopes, problem) in [
        (&["manage_runners:enterprise"][..], None),
        (&["repo", "read:org"][..], Some("the token lacks the scope manage_runners:enterprise")),
    ] {
        let token = file("token", &fake.personal_token(scopes));
        let said = check_with(&fake, &format!("token_file: {token}"), &file, &["enterprise: big"], "");
        assert_eq!(problems(&said).first().copied(), problem, "{said:?}");
        assert!(said.out.contains(&format!("its scopes are {}", scopes.join(", "))), "{said:?}");
    }
}

#[test]
fn a_configuration_without_github_is_told_so() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.yaml");
    fs::write(&path, "pools: []\n").unwrap();
    let said = fireactions(&["github", "check", "--config", path.to_str().unwrap()]);
    assert!(said.code.is_some_and(|code| code != 0), "{said:?}");
    assert!(said.err.contains("no 'github:' section"), "{}", said.err);
}

#[test]
fn every_github_is_looked_at_or_the_one_that_is_named() {
    let (company, app) = github();
    company.install_fully(app.id, "acme");
    let cloud = FakeGithub::local();
    cloud.organization("acme");
    let dir = tempfile::tempdir().unwrap();
    let key = secret_file(&dir, "key.pem", &app.pkcs8);
    // It may not do what a pool needs.
    let token = secret_file(&dir, "token", &cloud.personal_token(&["repo"]));
    let config = format!(
        "github: {{url: '{}', token_file: {token}}}
forges:
  ghes: {{kind: github, url: '{}', app_id: {}, app_private_key_file: {key}}}
  spare: {{kind: github, token_file: /nowhere}}
kernel: {{image: /vmlinuz}}
pools:
  - {{name: one, max_runners: 1, runner: {{image: 'oci-archive:/i.tar', organization: acme}}}}
  - {{name: two, max_runners: 1, runner: {{image: 'oci-archive:/i.tar', forge: ghes, organization: acme, scale_set: fast}}}}
",
        cloud.url(),
        company.url(),
        app.id
    );
    let config = secret_file(&dir, "config.yaml", &config);

    let said = fireactions(&["forge", "check", "ghes", "--config", &config]);
    assert_eq!((said.code, said.err.as_str(), problems(&said).len()), (Some(0), "", 0), "{said:?}");
    assert!(said.out.contains("scale set 'fast'") && !said.out.contains("pool 'one'"), "{}", said.out);

    let said = fireactions(&["forge", "check", "github", "--config", &config]);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(problems(&said)[0].contains("lacks the scope admin:org"), "{}", said.out);
    assert!(!said.out.contains("scale set 'fast'"), "{}", said.out);

    let said = fireactions(&["github", "check", "--config", &config]);
    assert_eq!(said.code, Some(1), "{said:?}");
    for line in ["forge 'github'\n", "forge 'ghes'\n", "lacks the scope admin:org", "scale set 'fast'"] {
        assert!(said.out.contains(line), "{line} in:\n{}", said.out);
    }

    for (name, why) in [
        ("spare", "no pool serves 'spare'"),
        ("gitea", "no forge 'gitea'; its forges are github, ghes, spare"),
        ("GitHub", "not a valid forge name"),
    ] {
        let said = fireactions(&["forge", "check", name, "--config", &config]);
        assert!(said.code.is_some_and(|code| code != 0) && said.err.contains(why), "{said:?}");
    }
}

#[test]
fn the_address_of_a_right_app_is_printed() {
    let said =
        fireactions(&["github", "new-app", "acme", "--webhook", "https://ci.acme.example/webhook/github"]);
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""), "{said:?}");
    let link: url::Url = said.out.trim().parse().unwrap();
    assert_eq!(link.path(), "/organizations/acme/settings/apps/new");
    let has = |name: &str, value: &str| link.query_pairs().any(|(n, v)| n == name && v == value);
    assert!(has("organization_self_hosted_runners", "write") && has("actions", "read"), "{link}");
    assert!(has("webhook_active", "true") && has("events[]", "workflow_job"), "{link}");
    assert!(has("webhook_url", "https://ci.acme.example/webhook/github"), "{link}");

    let said = fireactions(&["github", "new-app", "ada/engine", "--personal"]);
    let link: url::Url = said.out.trim().parse().unwrap();
    assert_eq!(link.path(), "/settings/apps/new");
    assert!(link.query_pairs().any(|(n, v)| n == "administration" && v == "write"), "{link}");

    let said = fireactions(&["github", "new-app", "enterprises/acme"]);
    assert_ne!(said.code, Some(0));
    assert!(said.err.contains("manage_runners:enterprise"), "{}", said.err);
}
