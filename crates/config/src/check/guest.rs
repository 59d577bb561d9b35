//! What the guests of a pool have set up.

use fireactions_model::ServiceSpec;

use super::{At, Check};
use crate::schema::Duration;
use crate::{Config, InitSetting, PoolConfig, ReadySetting, ServiceConfig};

/// Most bytes of it on the kernel command line, which has 2048, 1500 of them for arguments.
const MOST_WORDS: usize = 300;
/// How long a service may take to be ready.
const SHORTEST_TIMEOUT: Duration = Duration::secs(1);
const LONGEST_TIMEOUT: Duration = Duration::secs(600);

impl Check<'_> {
    fn services(&mut self, at: &At, pool: &PoolConfig) {
        let name = &pool.name;
        let services_at = at.key("runner").key("services");
        let services = &pool.runner.services;
        if pool.init == InitSetting::Image && !services.is_empty() {
            self.error(
                &services_at,
                &[&at.key("init")],
                format!("pool '{name}' has both runner.services and 'init: image'"),
                "let the image's init start them, or remove 'init: image'",
            );
        }
        for (index, ServiceConfig(service)) in services.iter().enumerate() {
            let one = services_at.index(index);
            if !ServiceSpec::is_name(&service.name) {
                self.error(
                    &one,
                    &[],
                    format!("'{}' is not the name of a service of pool '{name}'", service.name),
                    "use 1 to 64 letters, digits, '_' and '-', and write the program into 'command: [PROGRAM, ARGUMENT…]'",
                );
            }
            if services[..index].iter().any(|ServiceConfig(other)| other.name == service.name) {
                self.error(
                    &one,
                    &[],
                    format!("pool '{name}' has two services '{}'", service.name),
                    "give one of them another 'name', and its program as 'command'",
                );
            }
            let empty = |command: &Vec<String>| command.first().is_none_or(String::is_empty);
            let check = match &service.ready {
                Some(ReadySetting::Command(command)) => Some(command),
                _ => None,
            };
            if service.command.iter().chain(check).any(empty) {
                self.error(
                    &one,
                    &[],
                    format!("a command of service '{}' of pool '{name}' is empty", service.name),
                    "write the program and its arguments: [PROGRAM, ARGUMENT…]",
                );
            }
            if !(SHORTEST_TIMEOUT..=LONGEST_TIMEOUT).contains(&service.timeout) {
                self.error(
                    &one.key("timeout"),
                    &[],
                    format!(
                        "service '{}' of pool '{name}' cannot have so much time to be ready",
                        service.name
                    ),
                    "use 1s to 10m",
                );
            }
        }
    }

    pub(super) fn guest(&mut self, config: &Config, at: &At, pool: &PoolConfig) {
        let name = &pool.name;
        let inode = pool.disk_bytes_per_inode;
        if !inode.is_power_of_two() || !(1024..=65536).contains(&inode) {
            self.error(
                &at.key("disk_bytes_per_inode"),
                &[],
                format!("pool '{name}' cannot have {inode} bytes of its disk for each file"),
                "use a power of two from 1024 to 65536; 16384 is the default",
            );
        }
        if pool.swap_mib > pool.disk_size_mib / 2 {
            self.error(
                &at.key("swap_mib"),
                &[&at.key("disk_size_mib")],
                format!(
                    "pool '{name}' cannot have {} MiB of swap on a disk of {} MiB",
                    pool.swap_mib, pool.disk_size_mib
                ),
                "use half of disk_size_mib at most, or a larger disk_size_mib",
            );
        }
        let dirs_at = at.key("runner").key("data_dirs");
        let dirs = &pool.runner.data_dirs;
        for (index, dir) in dirs.iter().enumerate() {
            if dirs[..index].contains(dir) {
                let dir = dir.as_str();
                self.error(
                    &dirs_at.index(index),
                    &[],
                    format!("runner.data_dirs of pool '{name}' has '{dir}' twice"),
                    "remove one of them",
                );
            }
        }
        self.services(at, pool);
        self.sticky_dirs(config, at, pool);
        let modules = config.kernel.modules_load.iter().chain(&pool.firecracker.kernel_modules_load);
        // As `fireactions.data=DIR`, `fireactions.load=NAME`, and a space.
        let words = dirs.iter().map(|dir| dir.as_str().len() + 18).sum::<usize>()
            + modules.map(|module| module.as_str().len() + 18).sum::<usize>();
        if words > MOST_WORDS {
            let (place, what) = if dirs.is_empty() {
                (at.key("firecracker").key("kernel_modules_load"), "kernel modules")
            } else {
                (dirs_at, "data_dirs and kernel modules")
            };
            self.error(
                &place,
                &[&At::root().key("kernel").key("modules_load")],
                format!(
                    "the {what} of pool '{name}' take {words} bytes of the kernel command line, and {MOST_WORDS} are left for them"
                ),
                "name fewer: what is in /lib/modules is loaded by modprobe, and one data directory can hold others",
            );
        }
    }
}
