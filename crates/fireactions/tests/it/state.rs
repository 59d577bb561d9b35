//! `fireactions state` on a really damaged database, and the server's own words about it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use fireactions_model::{JobId, JobSpec};
use fireactions_store::Store;

struct World {
    temp: tempfile::TempDir,
}

impl World {
    /// A state with 50 jobs.
    fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        let config = format!(
            "state_dir: {0}/state\napi_socket: {0}/api.sock\nkernel: {{image: /k}}\npools: [{{name: p, max_runners: 1, runner: {{image: i}}}}]\n",
            temp.path().display()
        );
        fs::write(temp.path().join("config.yaml"), config).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let store = Store::open(temp.path().join("state")).unwrap();
            let spec: JobSpec =
                serde_json::from_str(r#"{"program": {"command": {"argv": ["true"]}}}"#).unwrap();
            for n in 0..50_u64 {
                let id = JobId::from_random(n.to_le_bytes());
                store.insert_job(&id, &spec, store.stage(&id), 100).await.unwrap();
            }
            store.close().await;
        });
        Self { temp }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.temp.path().join(name)
    }

    /// Overwrites the page that the row of job 20 is on.
    fn damage(&self) {
        let path = self.path("state/state.db");
        let mut bytes = fs::read(&path).unwrap();
        let id = JobId::from_random(20_u64.to_le_bytes()).to_string();
        let page = bytes
            .chunks(4096)
            .position(|page| page[0] == 13 && page.windows(id.len()).any(|at| at == id.as_bytes()))
            .unwrap();
        bytes[page * 4096..(page + 1) * 4096].fill(0xa5);
        fs::write(&path, bytes).unwrap();
    }

    /// Exit code, standard output and standard error.
    fn run(&self, args: &[&str]) -> (i32, String, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_fireactions"))
            .args(args)
            .arg("--config")
            .arg(self.path("config.yaml"))
            .output()
            .unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    }
}

#[test]
fn a_whole_state_is_left_as_it_is() {
    let world = World::new();
    let (code, out, err) = world.run(&["state", "check"]);
    assert_eq!((code, out.as_str()), (0, whole(&world.path("state/state.db")).as_str()), "{err}");
    let (code, out, _) = world.run(&["state", "rebuild"]);
    let expected = whole(&world.path("state/state.db")) + "There is nothing to rebuild.\n";
    assert_eq!((code, out), (0, expected));
}

fn whole(path: &Path) -> String {
    format!("{} is whole: 50 jobs, 0 machines.\n", path.display())
}

#[test]
fn a_damaged_state_is_refused_explained_and_rebuilt() {
    let world = World::new();
    world.damage();
    let before = fs::read(world.path("state/state.db")).unwrap();

    let (code, _, err) = world.run(&["server"]);
    assert_eq!(code, 1);
    assert!(err.contains("is damaged") && err.contains("fireactions state rebuild --config FILE"), "{err}");

    let (code, out, _) = world.run(&["state", "check"]);
    assert_eq!(code, 1);
    let command = format!("fireactions state rebuild --config {}", world.path("config.yaml").display());
    assert!(out.contains("is damaged:\n  - ") && out.contains(&command), "{out}");
    assert_eq!(fs::read(world.path("state/state.db")).unwrap(), before, "looking changed something");

    let (code, out, _) = world.run(&["state", "rebuild"]);
    assert_eq!(code, 0, "{out}");
    assert!(out.contains("jobs and 0 machines saved"), "{out}");
    let id = JobId::from_random(20_u64.to_le_bytes());
    assert!(out.contains(&format!("  - job {id}: its row is lost")), "{out}");
    let (_, aside) = out.split_once("  - ").unwrap();
    assert_eq!(fs::read(aside.lines().next().unwrap()).unwrap(), before);

    let (code, out, _) = world.run(&["state", "check"]);
    assert_eq!(code, 0, "{out}");
}

#[test]
fn a_running_server_is_named() {
    let world = World::new();
    let store = Store::open(world.path("state")).unwrap();
    for action in ["check", "rebuild"] {
        let (code, _, err) = world.run(&["state", action]);
        assert_eq!(code, 1);
        assert!(err.contains(&format!("in use by process {} (", std::process::id())), "{err}");
    }
    drop(store);
}
