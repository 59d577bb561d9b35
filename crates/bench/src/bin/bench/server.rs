//! The server that the bench measures.

use std::path::Path;

use crate::Args;
use fireactions_bench::server::{Server, Setup};

/// One pool `bench` of at most ten machines, none of them warm.
pub(crate) fn start(args: &Args, state: &Path) -> anyhow::Result<Server> {
    let more = format!(
        "shutdown: {{mode: kill}}\nvmm: {{cgroup_parent: fireactions-bench}}\nhost: {{vcpus: 16, memory_mib: 8192}}\n\
         network: {{bridge: fabench1, subnet: 172.31.242.0/24, dns: []}}\n\
         pools:\n  - name: bench\n    min_runners: 0\n    max_runners: 10\n    disk_size_mib: 2048\n\
         \x20   deadlines: {{boot: 5m, image: 10m}}\n\
         \x20   runner: {{image: 'oci-archive:{image}', labels: [bench]}}\n\
         \x20   firecracker: {{machine_config: {{vcpu_count: 1, mem_size_mib: 256}}}}\n",
        image = args.image().display(),
    );
    Server::start(Setup::new(&args.programs, state, &more)?)
}
