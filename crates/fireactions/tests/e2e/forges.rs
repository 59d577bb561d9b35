//! Two forges at one server: each tells of its jobs at a path of its own of one listener, and no job of the one goes to a
//! machine of the other.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use fireactions_testkit::github::{Job, JobRequest, JobStatus};

use crate::gitea::{Forge, GiteaWorld, settled, workflow};
use crate::github::{Octo, WEBHOOK, open, open_to};
use crate::world::{BOOT, World};

const SECRET: &str = "Nobody else's secret";

/// Deliveries that a forge's path had this answer for.
pub(crate) fn deliveries(world: &World, forge: &str, result: &str) -> u64 {
    let name =
        format!("fireactions_forge_webhook_deliveries_total{{forge=\"{forge}\",result=\"{result}\"}} ");
    // What was never counted is not there.
    let metrics = world.get("/metrics");
    let line = metrics.lines().find_map(|line| line.strip_prefix(&name));
    line.map_or(0, |count| count.trim().parse().unwrap())
}

#[test]
fn a_real_gitea_and_a_github_at_one_listener_are_kept_apart() {
    let Octo { fake, files, pools, more } = Octo::new("127.0.0.1", 1);
    let started = GiteaWorld::start(Forge::Gitea, "a real Gitea and a GitHub at one listener", |given| {
        let secret = files.path().join("secret-of-gitea");
        fs::write(&secret, SECRET).unwrap();
        fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
        // Its queue is read so rarely that the webhook alone tells of the jobs.
        let own = format!(
            "  poll_interval: 5m\n  webhook: {{listen: '{WEBHOOK}', secret_file: {}}}\n",
            secret.display()
        );
        let mut setup = given.setup(Forge::Gitea, 1, &own);
        setup.pools += &pools;
        setup.more += &more;
        setup
    });
    let Some(GiteaWorld { world, gitea, .. }) = &started else { return };
    open(&fake, world);
    gitea.hook("orgs/acme", &format!("http://{WEBHOOK}/webhook/gitea"), SECRET, &["workflow_job"]);

    // Both forges have an organization of one name, and both jobs ask for one label.
    let job = workflow("  tea:\n    runs-on: Debian\n    steps:\n      - run: echo of Gitea\n");
    gitea.push_workflow("acme/app", "tea", &job);
    let wanted = |name: &str| JobRequest::new("acme/widgets", &["debian"], "echo of GitHub").named(name);
    let hub = fake.queue_job(wanted("hub"));
    let done: Job = world.wait(BOOT, "GitHub's job to end", || {
        Some(fake.job(hub)).filter(|job| job.status == JobStatus::Completed)
    });
    assert_eq!((done.conclusion.as_deref(), done.runs()), (Some("success"), 1), "{done:#?}");
    let rows = settled(world, 2);
    let found: BTreeSet<[&str; 4]> = rows
        .iter()
        .map(|row| {
            [&row["remote"]["forge"], &row["pool"], &row["remote"]["repository"], &row["state"]]
                .map(|value| value.as_str().unwrap())
        })
        .collect();
    let expected =
        [["gitea", "p", "acme/app", "succeeded"], ["github", "small", "acme/widgets", "succeeded"]];
    assert_eq!(found, expected.into(), "{rows:#?}");
    for forge in ["gitea", "github"] {
        // Of each job at least that it waits; of what comes after, some may still be on its way.
        assert!(deliveries(world, forge, "taken") >= 1, "{forge}");
        assert_eq!(deliveries(world, forge, "forged"), 0, "{forge}");
    }

    // What the one signs is nothing at the path of the other.
    for pool in ["p", "small", "large"] {
        assert!(world.cli(&["pools", "pause", pool]).status.success());
    }
    fake.remove_webhooks();
    open_to(&fake, "gitea");
    fake.queue_job(wanted("astray"));
    fake.wait_delivered(BOOT);
    assert_eq!(fake.delivered().last().unwrap().answer, Ok(401));
    gitea.hook("repos/acme/app", &format!("http://{WEBHOOK}/webhook/github"), SECRET, &["workflow_job"]);
    gitea.push_workflow("acme/app", "astray", &job);
    world.wait(BOOT, "Gitea's delivery to be refused at GitHub's path", || {
        (deliveries(world, "github", "forged") > 0).then_some(())
    });
    assert_eq!(deliveries(world, "gitea", "forged"), 1);
    started.unwrap().finish();
    drop(files);
}
