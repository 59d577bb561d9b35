//! A real Gitea, a server, and real microVMs with a runner in them. The runner is the stand-in for act_runner and
//! forgejo-runner, or the real ones (see `testkit::job_runner`).

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use fireactions_testkit::job_runner;
use fireactions_testkit::real_gitea::{Place, RealGitea, available};

use crate::world::{BOOT, Setup, World, pool_of};

const PORT: u16 = 8097;
/// The host, as guests reach it.
const HOST: &str = "172.30.0.1";

/// What a configuration is made from.
pub(crate) struct Given {
    /// Gitea for whoever is in the server's namespace.
    pub(crate) local: String,
    /// Gitea for guests, and as it calls itself.
    pub(crate) url: String,
    /// A file with the administrator's token.
    pub(crate) token_file: PathBuf,
    /// An image with both runners.
    pub(crate) image: String,
    /// YAML of a pool whose guests may reach Gitea, indented by four.
    pub(crate) network: String,
}

/// A world with a real Gitea in it, with the organization `acme` and its repository `acme/app`.
pub(crate) struct GiteaWorld {
    pub(crate) world: World,
    pub(crate) gitea: RealGitea,
    /// The token.
    files: tempfile::TempDir,
}

impl GiteaWorld {
    /// Starts Gitea and then a server with what `setup` makes of it. Nothing where no Gitea is built, and `test` is said to be
    /// skipped.
    pub(crate) fn start(test: &str, setup: impl FnOnce(&Given) -> Setup) -> Option<Self> {
        let program = available(test)?;
        let files = tempfile::tempdir().unwrap();
        let given = Given {
            local: format!("http://127.0.0.1:{PORT}"),
            url: format!("http://{HOST}:{PORT}"),
            token_file: files.path().join("token"),
            image: job_runner::image(),
            network: format!("    network: {{host_ports: [tcp/{PORT}]}}\n"),
        };
        let mut world = World::new(setup(&given));
        let place = Place { listen: ([0, 0, 0, 0], PORT).into(), host: HOST.to_owned(), ..Place::default() };
        let gitea = world.namespace.inside(move || RealGitea::start(&program, &place));
        gitea.organization("acme");
        gitea.repository("acme/app");
        fs::write(&given.token_file, gitea.token()).unwrap();
        fs::set_permissions(&given.token_file, fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!((gitea.url(), gitea.local()), (given.url.as_str(), given.local.clone()));
        world.boot();
        Some(Self { world, gitea, files })
    }

    /// Ends Gitea and the server, and proves that nothing is left.
    pub(crate) fn finish(self) {
        let Self { world, gitea, files } = self;
        drop(gitea);
        world.finish();
        drop(files);
    }
}

/// The way from a guest to Gitea and back, without any forge: the runner is a job of the command line.
#[test]
fn a_runner_in_a_guest_takes_a_job_of_a_real_gitea() {
    let started = GiteaWorld::start("a runner in a guest, of a real Gitea", |given| Setup {
        pools: pool_of("default", 1, 1, &given.image, &given.network),
        ..Setup::default()
    });
    let Some(GiteaWorld { world, gitea, .. }) = &started else { return };
    gitea.push_workflow(
        "acme/app",
        "ci",
        "on: push\njobs:\n  build:\n    runs-on: debian\n    steps:\n      - run: echo ran on $(uname -n)\n",
    );
    let runner = gitea.register("orgs/acme", "one", &["debian"], true);
    let script = format!(
        "cd /tmp; cat >.runner <<'END'\n{}\nEND\necho 'cache: {{enabled: false}}' >config.yaml; HOME=/tmp act_runner \
         daemon -c config.yaml",
        runner.file(gitea.url())
    );
    let job = world.submit(&[], &script);
    let done = &gitea.completed("orgs/acme", 1, BOOT)[0];
    assert_eq!((&done["conclusion"], &done["runner_name"]), (&"success".into(), &"one".into()), "{done}");
    let log = gitea.job_log("acme/app", done["id"].as_u64().unwrap());
    assert!(log.contains("ran on "), "{log}");
    let ended = world.wait_job(&job, &["succeeded", "failed"], BOOT);
    assert_eq!(ended["state"], "succeeded", "{ended}");
    assert_eq!(gitea.runners("orgs/acme"), Vec::<serde_json::Value>::new());
    started.unwrap().finish();
}
