//! Whether a service of the image can start the runner, where it is to.

use crate::{Config, Driver, InitSetting, PoolConfig, StartedBySetting};

use super::{At, Check};

impl Check<'_> {
    /// `at` is the pool's.
    pub(super) fn started_by(&mut self, at: &At, config: &Config, pool: &PoolConfig) {
        if pool.runner.started_by != StartedBySetting::Image {
            return;
        }
        let name = &pool.name;
        let own = at.key("runner").key("started_by");
        if pool.init != InitSetting::Image {
            self.error(
                &own,
                &[&at.key("init")],
                format!("in pool '{name}', no service of the image can start the runner: with 'init: agent' none runs"),
                "add 'init: image' to the pool, or remove started_by: the agent starts the runner in any image",
            );
        }
        if config.vmm.driver != Driver::Firecracker {
            self.error(
                &own,
                &[&At::root().key("vmm").key("driver")],
                format!(
                    "in pool '{name}', a service of the image would find no JIT configuration: only Firecracker has a metadata \
                     service, and vmm.driver is 'qemu'"
                ),
                "use 'driver: firecracker', or remove started_by: the agent starts the runner in any image",
            );
        }
        if pool.runner.command.is_some() {
            self.warn(
                &at.key("runner").key("command"),
                format!(
                    "runner.command of pool '{name}' is not used: a service of the image starts the runner"
                ),
                "remove it, or remove started_by",
            );
        }
    }
}
