//! The demo's server.

use anyhow::Context;

use crate::Args;
use fireactions_bench::server::{Server, Setup};

pub(crate) fn start(args: &Args) -> anyhow::Result<Server> {
    let more = format!(
        "log_level: debug\nshutdown: {{mode: kill}}\nvmm: {{cgroup_parent: fireactions-demo}}\n\
         network: {{bridge: fademo0, subnet: 172.31.240.0/24, dns: []}}\n\
         pools:\n  - name: demo\n    min_runners: 1\n    max_runners: 4\n    disk_size_mib: 2048\n\
         \x20   deadlines: {{boot: 5m, image: 10m}}\n\
         \x20   runner: {{image: 'oci-archive:{inputs}/image.tar', labels: [demo]}}\n\
         \x20   firecracker: {{machine_config: {{vcpu_count: 1, mem_size_mib: 512}}}}\n",
        inputs = args.inputs.display(),
    );
    let setup = Setup::new(&args.programs, &args.state, &more)?;
    // A run's log is its own, and the template's news are read from it.
    match std::fs::remove_file(setup.log()) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).context(setup.log().display().to_string());
        }
        _ => {}
    }
    let server = Server::start(setup)?;
    forget_old_jobs(&server)?;
    Ok(server)
}

/// An interrupted demo leaves its queue, as it should; this one wants only its own jobs.
fn forget_old_jobs(server: &Server) -> anyhow::Result<()> {
    let jobs = server.json(&["jobs", "list", "--active"])?;
    for job in jobs.as_array().into_iter().flatten() {
        let id = job["id"].as_str().context("a job without an id")?;
        server.command().args(["jobs", "cancel", id]).output()?;
    }
    Ok(())
}

/// Which accelerator the server took, and why.
pub(crate) fn accelerator(server: &Server) -> anyhow::Result<String> {
    let version = server.json(&["version"])?;
    Ok(version["server"]["accel"].as_str().unwrap_or("accelerator unknown").to_owned())
}
