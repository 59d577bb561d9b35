//! What the chosen VMM can do of what the file asks for.

use crate::schema::CommandName;
use crate::{Accel, Config, Driver, HugePagesSetting, InitSetting, PoolConfig, StartSetting};

use super::{At, Check};

/// Firecracker's limit (`max_supported_vcpus` of its machine configuration).
const FIRECRACKER_VCPUS: u8 = 32;
/// Firecracker's limit for the content of its metadata service, as JSON (`--mmds-size-limit`).
const METADATA_BYTES: usize = 51_200;
/// What the server keeps of it for its own part: a runner's credential, which is some KiB of base64 in both trees,
/// names, and the keys around them.
const METADATA_RESERVE: usize = 16_384;

impl Check<'_> {
    pub(super) fn driver(&mut self, config: &Config) {
        match config.vmm.driver {
            Driver::Firecracker => self.firecracker(config),
            Driver::Qemu => self.qemu(config),
        }
    }

    fn firecracker(&mut self, config: &Config) {
        let vmm = At::root().key("vmm");
        if config.vmm.accel == Accel::Tcg {
            self.error(
                &vmm.key("accel"),
                &[&vmm.key("driver")],
                "vmm.accel cannot be 'tcg' with driver 'firecracker': it runs guests with KVM only",
                "remove vmm.accel, or use 'driver: qemu' on a host without KVM",
            );
        }
        if !config.vmm.jailer {
            self.warn(
                &vmm.key("jailer"),
                "with jailer: false, nothing contains a guest that has broken out of Firecracker",
                "remove it, unless the server does not run as root",
            );
        }
        self.firecracker_binary(config);
        let pools = At::root().key("pools");
        for (index, pool) in config.pools.iter().enumerate() {
            self.metadata_at_boot(&pools.index(index), pool);
        }
    }

    /// A frozen machine has no metadata, so an image's own init that looks for some would find none in any clone.
    fn metadata_at_boot(&mut self, at: &At, pool: &PoolConfig) {
        let has_metadata = !pool.firecracker.metadata.is_empty() || pool.firecracker.user_data.is_some();
        // Said only to those who ask for clones: with the default nobody was promised one.
        let asked = pool.start == StartSetting::Snapshot && self.place(&at.key("start")) != self.place(at);
        if pool.init == InitSetting::Image && has_metadata && asked {
            self.warn(
                &at.key("start"),
                format!(
                    "machines of pool '{}' boot in spite of start: snapshot: with init: image and metadata of its own, the \
                     image's programs look for that when they come up, and a machine that is frozen then has none",
                    pool.name
                ),
                "write 'start: boot' to confirm it, or remove 'metadata' and 'user_data'",
            );
        }
    }

    /// One server has one Firecracker; existing files name it in every pool.
    fn firecracker_binary(&mut self, config: &Config) {
        let own = At::root().key("vmm").key("firecracker_binary");
        let pools = At::root().key("pools");
        let mut named: Vec<(At, &CommandName)> = Vec::new();
        for (index, pool) in config.pools.iter().enumerate() {
            let Some(binary) = &pool.firecracker.binary_path else { continue };
            let at = pools.index(index).key("firecracker").key("binary_path");
            if let Some(server) = &config.vmm.firecracker_binary {
                if server != binary {
                    self.warn(
                        &at,
                        format!(
                            "binary_path of pool '{}' is not used: vmm.firecracker_binary is '{}'",
                            pool.name,
                            server.as_path().display()
                        ),
                        "remove one of the two",
                    );
                }
            } else if let Some((first, other)) = named.first()
                && *other != binary
            {
                let message = format!(
                    "pools name different Firecracker binaries ('{}' and '{}'), but a server uses one for all",
                    other.as_path().display(),
                    binary.as_path().display()
                );
                let first = first.clone();
                self.error(
                    &at,
                    &[&own, &first],
                    message,
                    "set vmm.firecracker_binary, and remove binary_path",
                );
                return;
            }
            named.push((at, binary));
        }
        // The jailer refuses other names, since the jail's directory is called so.
        let binary = config.firecracker_binary();
        let name = binary.as_path().file_name().map(|name| name.to_string_lossy().into_owned());
        if config.vmm.jailer && !name.is_some_and(|name| name.contains("firecracker")) {
            let at = if config.vmm.firecracker_binary.is_some() { Some(&own) } else { None };
            let Some(at) = at.or(named.first().map(|(at, _)| at)) else { return };
            self.error(
                at,
                &[],
                format!(
                    "the jailer accepts only a binary with 'firecracker' in its file name, and '{}' has none",
                    binary.as_path().display()
                ),
                "rename it, or link it as firecracker",
            );
        }
    }

    fn qemu(&mut self, config: &Config) {
        let vmm = At::root().key("vmm");
        for key in ["firecracker_binary", "jailer_binary", "jailer"] {
            if self.has(&["vmm", key]) {
                self.warn(
                    &vmm.key(key),
                    format!("vmm.{key} is not used: vmm.driver is 'qemu'"),
                    "use 'driver: firecracker', or remove it",
                );
            }
        }
        let named = |pool: &PoolConfig| pool.firecracker.binary_path.is_some();
        if let Some(index) = config.pools.iter().position(named) {
            self.warn(
                &At::root().key("pools").index(index).key("firecracker").key("binary_path"),
                "firecracker.binary_path is not used: vmm.driver is 'qemu'",
                "add 'vmm: {driver: firecracker}' to run machines with Firecracker, or remove it",
            );
        }
    }

    pub(super) fn pool_driver(&mut self, config: &Config, at: &At, pool: &PoolConfig) {
        match config.vmm.driver {
            Driver::Firecracker => self.pool_of_firecracker(at, pool),
            Driver::Qemu => self.pool_of_qemu(at, pool),
        }
    }

    fn pool_of_firecracker(&mut self, at: &At, pool: &PoolConfig) {
        let own = at.key("firecracker");
        let driver = At::root().key("vmm").key("driver");
        if pool.firecracker.machine_config.vcpu_count > FIRECRACKER_VCPUS {
            self.error(
                &own.key("machine_config").key("vcpu_count"),
                &[&driver],
                format!(
                    "a machine of pool '{}' has {} vCPUs, but Firecracker supports at most {FIRECRACKER_VCPUS}",
                    pool.name, pool.firecracker.machine_config.vcpu_count
                ),
                format!("use {FIRECRACKER_VCPUS} or fewer, or 'driver: qemu'"),
            );
        }
        let size = pool.firecracker.machine_config;
        if size.huge_pages != HugePagesSetting::None && !size.mem_size_mib.is_multiple_of(2) {
            self.error(
                &own.key("machine_config").key("mem_size_mib"),
                &[&driver, &own.key("machine_config").key("huge_pages")],
                format!(
                    "a machine of pool '{}' has {} MiB, which is not a multiple of 2 MiB pages",
                    pool.name, size.mem_size_mib
                ),
                "use an even number, or 'huge_pages: none'",
            );
        }
        // Images look for it below `latest` or `2009-04-04`, so it stands there twice.
        let bytes = 2 * own_metadata_bytes(pool);
        if bytes > METADATA_BYTES - METADATA_RESERVE {
            let larger = if pool.firecracker.user_data.as_ref().is_some_and(|data| data.len() > bytes / 4) {
                "user_data"
            } else {
                "metadata"
            };
            self.error(
                &own.key(larger),
                &[&driver],
                format!(
                    "metadata and user_data of pool '{}' take {bytes} bytes of Firecracker's metadata service, which has {METADATA_BYTES} in total, {METADATA_RESERVE} of them reserved for the server",
                    pool.name
                ),
                "both of its trees contain them; put large files into the image, or fetch them in the job",
            );
        }
    }

    /// Said once for each key, so that nobody takes it for in force.
    fn pool_of_qemu(&mut self, at: &At, pool: &PoolConfig) {
        let own = at.key("firecracker");
        let set = &pool.firecracker;
        let unused = [
            ("user_data", set.user_data.is_some()),
            ("mmds_version", set.mmds_version != crate::MmdsSetting::default()),
            ("cpu_template", set.cpu_template.is_some()),
        ];
        for (key, _) in unused.iter().filter(|(_, given)| *given) {
            self.warn(
                &own.key(*key),
                format!("firecracker.{key} of pool '{}' is not used: vmm.driver is 'qemu'", pool.name),
                "use 'driver: firecracker', or remove it",
            );
        }
        if set.machine_config.huge_pages != HugePagesSetting::None {
            self.warn(
                &own.key("machine_config").key("huge_pages"),
                format!("huge_pages of pool '{}' is not used: vmm.driver is 'qemu'", pool.name),
                "use 'driver: firecracker', or remove it",
            );
        }
    }

    /// Clones that cannot be: such a pool boots, which is fine but not what was asked for.
    pub(super) fn pool_start(&mut self, at: &At, pool: &PoolConfig) {
        if pool.start != StartSetting::Snapshot {
            return;
        }
        if pool.firecracker.machine_config.huge_pages == HugePagesSetting::Hugetlbfs {
            self.warn(
                &at.key("firecracker").key("machine_config").key("huge_pages"),
                format!(
                    "machines of pool '{}' boot in spite of start: snapshot: clones cannot use hugetlbfs memory",
                    pool.name
                ),
                "write 'start: boot' to confirm it, or use 'huge_pages: transparent'",
            );
        }
    }
}

/// The length of what the pool itself puts into one tree, as JSON.
fn own_metadata_bytes(pool: &PoolConfig) -> usize {
    let length = |value: &serde_json::Value| value.to_string().len();
    let own = &pool.firecracker;
    let user_data = own.user_data.as_ref().map_or(0, |text| length(&serde_json::Value::from(text.as_str())));
    let metadata: usize = own.metadata.iter().map(|(key, value)| key.len() + 4 + length(value)).sum();
    user_data + metadata
}
