//! What must fit together, beyond each value on its own.

mod actions_cache;
mod api;
mod cluster;
mod driver;
mod forges;
mod gitea;
mod gitea_runner;
mod github;
mod github_runner;
mod guest;
mod listeners;
mod network;
mod oidc;
mod registry_cache;
mod runner;
mod started_by;
mod sticky;
mod telemetry;

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::ops::Range;

use fireactions_model::ImageSource;

use crate::problem::Problem;
use crate::schema::{Duration, kernel_args};
use crate::tree::{Node, Value};
use crate::{Config, Host, LogLevel, OnFailureSetting, PoolConfig};

/// A machine that is held for less is gone before anybody is there.
const SHORTEST_HOLD: Duration = Duration::secs(1);
/// A guest that is short of memory, or of its host's time, may say nothing for seconds.
const SHORTEST_SILENCE: Duration = Duration::secs(5);
/// One that is held for longer is forgotten, and its memory is missed.
const LONGEST_HOLD: Duration = Duration::secs(7 * 24 * 3600);

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) errors: Vec<Problem>,
    pub(crate) warnings: Vec<Problem>,
}

/// Checks a configuration that was read from `root`, some values of which were left out.
pub(crate) fn check(config: &Config, root: &Node, pruned: &HashSet<u32>, host: &Host) -> Found {
    let mut check = Check { root, pruned, found: Found::default() };
    check.api(config);
    check.oidc(config);
    check.server(config);
    check.listeners(config);
    check.telemetry(config);
    check.driver(config);
    check.cgroup_parent(config);
    check.network(config);
    check.registries(config);
    check.registry_cache(config);
    check.actions_cache(config);
    check.sticky(config);
    check.mirrors(config);
    check.forges(config);
    check.runners(config);
    check.cluster(config);
    check.pools(config);
    check.kernel_args(config);
    for (index, pool) in config.pools.iter().enumerate() {
        check.pool(config, &At::root().key("pools").index(index), pool, host);
    }
    check.found
}

/// Where a value is, as far as it is there at all.
#[derive(Clone)]
struct At(Vec<Part>);

#[derive(Clone)]
enum Part {
    Key(Cow<'static, str>),
    Index(usize),
}

impl At {
    fn root() -> Self {
        Self(Vec::new())
    }

    fn key(&self, key: impl Into<Cow<'static, str>>) -> Self {
        let mut parts = self.0.clone();
        parts.push(Part::Key(key.into()));
        Self(parts)
    }

    fn index(&self, index: usize) -> Self {
        let mut parts = self.0.clone();
        parts.push(Part::Index(index));
        Self(parts)
    }
}

/// As people write it: `github.webhook.path`.
impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, part) in self.0.iter().enumerate() {
            match part {
                Part::Key(key) if index == 0 => f.write_str(key)?,
                Part::Key(key) => write!(f, ".{key}")?,
                Part::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

struct Check<'a> {
    root: &'a Node,
    pruned: &'a HashSet<u32>,
    found: Found,
}

impl Check<'_> {
    /// The place to underline: the value, or the nearest thing around it that the file has. Nothing when the
    /// value was left out because it is wrong: whatever was checked then was not what the user wrote.
    fn place(&self, at: &At) -> Option<Range<usize>> {
        let mut node = self.root;
        // The head of a section stands for a key that it lacks.
        let mut span = 0..0;
        for part in &at.0 {
            match (part, &node.value) {
                (Part::Key(key), Value::Map(entries)) => {
                    let Some(entry) = entries.iter().find(|entry| entry.key == *key) else {
                        return Some(span);
                    };
                    if self.pruned.contains(&entry.value.id) {
                        return None;
                    }
                    node = &entry.value;
                    span = match node.value {
                        Value::Map(_) | Value::List(_) | Value::Null => entry.key_span.clone(),
                        _ => node.span.clone(),
                    };
                }
                (Part::Index(index), Value::List(items)) => {
                    let Some(item) = items.iter().filter(|item| !self.pruned.contains(&item.id)).nth(*index)
                    else {
                        return Some(span);
                    };
                    node = item;
                    span = match &node.value {
                        Value::Map(entries) => {
                            entries.first().map_or(node.span.clone(), |e| e.key_span.clone())
                        }
                        _ => node.span.clone(),
                    };
                }
                _ => return Some(span),
            }
        }
        Some(span)
    }

    /// Whether the file has a list there with anything in it, even if all of it was left out.
    fn listed(&self, at: &At) -> bool {
        let mut node = self.root;
        for part in &at.0 {
            let next = match (part, &node.value) {
                (Part::Key(key), Value::Map(entries)) => {
                    entries.iter().find(|entry| entry.key == *key).map(|entry| &entry.value)
                }
                (Part::Index(index), Value::List(items)) => {
                    items.iter().filter(|item| !self.pruned.contains(&item.id)).nth(*index)
                }
                _ => None,
            };
            let Some(next) = next else { return false };
            node = next;
        }
        matches!(&node.value, Value::List(items) if !items.is_empty())
    }

    fn problem(&self, at: &At, others: &[&At], message: String, help: &str) -> Option<Problem> {
        if others.iter().any(|other| self.place(other).is_none()) {
            return None;
        }
        Some(Problem::new(self.place(at)?, message).help(help))
    }

    /// An error at `at` that also depends on `others`.
    fn error(&mut self, at: &At, others: &[&At], message: impl Into<String>, help: impl AsRef<str>) {
        let problem = self.problem(at, others, message.into(), help.as_ref());
        self.found.errors.extend(problem);
    }

    fn warn(&mut self, at: &At, message: impl Into<String>, help: impl AsRef<str>) {
        let problem = self.problem(at, &[], message.into(), help.as_ref());
        self.found.warnings.extend(problem);
    }

    fn server(&mut self, config: &Config) {
        let root = At::root();
        // Below it come run/<machine>/agent.sock and the like: 29 bytes.
        if config.state_dir.as_os_str().len() > 70 {
            self.error(
                &root.key("state_dir"),
                &[],
                "state_dir is too long for the sockets of the machines in it",
                "use a path of at most 70 bytes",
            );
        }
        if config.debug && config.log_level > LogLevel::Debug && self.has(&["log_level"]) {
            self.warn(&root.key("debug"), "debug: true overrides log_level", "remove one of the two");
        }
    }

    /// Whether the file has this key.
    fn has(&self, keys: &[&str]) -> bool {
        self.find(keys).is_some()
    }

    /// Whether the file has entries in this list, also such that are wrong.
    fn has_entries(&self, key: &str) -> bool {
        matches!(self.find(&[key]), Some(Node { value: Value::List(entries), .. }) if !entries.is_empty())
    }

    fn find(&self, keys: &[&str]) -> Option<&Node> {
        keys.iter().try_fold(self.root, |node, key| {
            let Value::Map(entries) = &node.value else { return None };
            entries.iter().find(|entry| entry.key == *key).map(|entry| &entry.value)
        })
    }

    fn cgroup_parent(&mut self, config: &Config) {
        let vmm = At::root().key("vmm");
        let parent = &config.vmm.cgroup_parent;
        let fine = !parent.is_empty()
            && parent.len() <= 200
            && parent.split('/').all(|part| {
                !part.is_empty()
                    && part != "."
                    && part != ".."
                    && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-@:".contains(&b))
            });
        if !fine {
            self.error(
                &vmm.key("cgroup_parent"),
                &[],
                "vmm.cgroup_parent is not a relative control group path",
                "use names of letters, digits and . _ - separated by '/', such as fireactions",
            );
        }
    }

    fn registries(&mut self, config: &Config) {
        let list = At::root().key("images").key("insecure_registries");
        for (index, registry) in config.images.insecure_registries.iter().enumerate() {
            if !is_host(registry) {
                self.error(
                    &list.index(index),
                    &[],
                    format!("images.insecure_registries[{index}] is not a registry's address"),
                    "write host or host:port, without https:// and without a path",
                );
            }
        }
    }

    fn mirrors(&mut self, config: &Config) {
        let all = At::root().key("images").key("mirrors");
        for (registry, mirrors) in &config.images.mirrors {
            if !is_host(registry) {
                self.error(
                    &all,
                    &[],
                    format!("images.mirrors has '{registry}', which is not a registry's address"),
                    "write host or host:port as in references of images, and docker.io for Docker Hub",
                );
            }
            for (index, mirror) in mirrors.iter().enumerate() {
                let (host, path) = mirror.split_once('/').unwrap_or((mirror, "x"));
                let plain = |part: &str| {
                    !part.is_empty()
                        && part
                            .bytes()
                            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b))
                };
                if !is_host(host) || path.len() > 255 || !path.split('/').all(plain) {
                    self.error(
                        &all.key(registry.clone()).index(index),
                        &[],
                        format!("images.mirrors has '{mirror}' for {registry}, which is not a mirror's address"),
                        "write host or host:port, or host:port/path, without https:// and without a slash at the end",
                    );
                }
            }
        }
    }

    fn pools(&mut self, config: &Config) {
        let pools = At::root().key("pools");
        let mut first = HashMap::new();
        for (index, pool) in config.pools.iter().enumerate() {
            if first.insert(&pool.name, index).is_some() {
                self.error(
                    &pools.index(index).key("name"),
                    &[],
                    format!("there are two pools named '{}'", pool.name),
                    "give each pool its own name",
                );
            }
        }
        if config.pools.is_empty() && self.place(&pools).is_some() && !self.listed(&pools) {
            self.warn(&pools, "there are no pools, so no job will ever run", "add a pool below 'pools:'");
        }
    }

    fn pool(&mut self, config: &Config, at: &At, pool: &PoolConfig, host: &Host) {
        let name = &pool.name;
        match (pool.max_runners, pool.replicas) {
            (None, None) if pool.min() > 0 => self.error(
                at,
                &[&at.key("max_runners"), &at.key("replicas")],
                format!("pool '{name}' has min_runners, but no max_runners"),
                "add 'max_runners: N', the most machines it may have at once",
            ),
            (None, None | Some(0)) if self.place(&at.key("max_runners")).is_some() => self.warn(
                &at.key("replicas"),
                format!("pool '{name}' has no machines until it is scaled"),
                format!(
                    "add 'max_runners: N', the most machines it may have at once, or run 'fireactions pools scale {name} --max N'"
                ),
            ),
            (Some(_), Some(_)) => self.error(
                &at.key("replicas"),
                &[&at.key("max_runners")],
                format!("pool '{name}' has both replicas and max_runners"),
                "replicas sets both min_runners and max_runners: use either replicas or those two",
            ),
            _ => {}
        }
        if pool.replicas.is_none() && pool.max_runners.is_some() && pool.min() > pool.max() {
            self.error(
                &at.key("min_runners"),
                &[&at.key("max_runners")],
                format!(
                    "pool '{name}' keeps {} machines ready, but may have at most {}",
                    pool.min(),
                    pool.max()
                ),
                "lower min_runners or raise max_runners",
            );
        }
        if pool.firecracker.kernel_image_path.is_none() && config.kernel.image.is_none() {
            let kernel = At::root().key("kernel");
            self.error(
                at,
                &[&kernel.key("image"), &at.key("firecracker").key("kernel_image_path")],
                format!("pool '{name}' has no guest kernel"),
                "add 'image: /path/to/vmlinuz' below 'kernel:', or firecracker.kernel_image_path to the pool",
            );
        }
        for (place, args) in [
            (at.key("firecracker").key("kernel_args"), &pool.firecracker.kernel_args),
            (At::root().key("kernel").key("args"), &config.kernel.args),
        ] {
            // x86's COMMAND_LINE_SIZE is 2048, and the driver adds its own part.
            if args.len() > 1500 || args.chars().any(char::is_control) {
                self.error(
                    &place,
                    &[],
                    format!(
                        "the kernel arguments of pool '{name}' are too long or contain control characters"
                    ),
                    "use one line of at most 1500 bytes",
                );
            } else if args.split_whitespace().any(|arg| arg.starts_with("fireactions.")) {
                self.error(
                    &place,
                    &[],
                    format!("the kernel arguments of pool '{name}' contain a 'fireactions.' parameter"),
                    "remove it: these are reserved for the server",
                );
            }
        }
        if let Err(rule) = ImageSource::of(&pool.runner.image) {
            let message =
                format!("runner.image '{}' of pool '{name}' can never be pulled", pool.runner.image);
            self.error(&at.key("runner").key("image"), &[], message, rule);
        }
        self.guest(config, at, pool);
        self.machine_fits(config, at, pool, host);
        self.pool_driver(config, at, pool);
        self.pool_start(at, pool);
        self.pool_network(at, pool);
        self.deadlines(at, pool);
        self.on_failure(at, pool);
        if pool.runner.labels.is_empty() && !pool.runner.is_hosted() {
            self.warn(
                &at.key("runner"),
                format!("pool '{name}' has no labels, so it serves only jobs that ask for none"),
                "add 'labels:' below 'runner:'",
            );
        }
    }

    /// Told once, for all pools: existing files give the same words to each.
    fn kernel_args(&mut self, config: &Config) {
        let pools = At::root().key("pools");
        let of_pools = config.pools.iter().enumerate().map(|(index, pool)| {
            (pools.index(index).key("firecracker").key("kernel_args"), &pool.firecracker.kernel_args)
        });
        let common = (At::root().key("kernel").key("args"), &config.kernel.args);
        let mut words: Vec<&str> = Vec::new();
        let mut first = None;
        for (at, args) in std::iter::once(common).chain(of_pools) {
            for word in kernel_args::left_out(args) {
                first.get_or_insert_with(|| at.clone());
                if !words.contains(&word) {
                    words.push(word);
                }
            }
        }
        if let Some(at) = first {
            let words = words.join(" ");
            self.warn(
                &at,
                format!("these kernel arguments are not used: {words}"),
                "remove them: the server gives guests what their VMM needs",
            );
        }
    }

    fn machine_fits(&mut self, config: &Config, at: &At, pool: &PoolConfig, host: &Host) {
        let size = pool.firecracker.machine_config;
        let machine = at.key("firecracker").key("machine_config");
        let need = u64::from(size.mem_size_mib) + u64::from(config.host.machine_overhead_mib);
        let budget = config.budget(host);
        if budget.memory_mib > 0 && need > budget.memory_mib {
            self.error(
                &machine.key("mem_size_mib"),
                &[&At::root().key("host")],
                format!(
                    "a machine of pool '{}' needs {need} MiB with overhead, but the host's budget is {} MiB",
                    pool.name, budget.memory_mib
                ),
                "lower mem_size_mib, or raise host.memory_mib or host.memory_overcommit",
            );
        }
        if budget.vcpus > 0 && u32::from(size.vcpu_count) > budget.vcpus {
            self.error(
                &machine.key("vcpu_count"),
                &[&At::root().key("host")],
                format!(
                    "a machine of pool '{}' needs {} vCPUs, but the host's budget is {}",
                    pool.name, size.vcpu_count, budget.vcpus
                ),
                "lower vcpu_count, or raise host.vcpus or host.cpu_overcommit",
            );
        }
    }

    fn pool_network(&mut self, at: &At, pool: &PoolConfig) {
        let allow = at.key("network").key("allow");
        for (index, net) in pool.network.allow.iter().enumerate() {
            if net.addr() != net.network() {
                self.error(
                    &allow.index(index),
                    &[],
                    format!(
                        "network.allow[{index}] of pool '{}': {net} is the address of a host, not of a network",
                        pool.name
                    ),
                    format!("write {}, or {}/32 for this one address", net.trunc(), net.addr()),
                );
            } else if net.contains(&std::net::Ipv4Addr::new(169, 254, 169, 254)) {
                self.warn(
                    &allow.index(index),
                    format!(
                        "network.allow[{index}] of pool '{}' gives jobs access to the cloud's metadata service",
                        pool.name
                    ),
                    "jobs could read the host's own cloud credentials: allow a smaller network",
                );
            }
        }
    }

    fn on_failure(&mut self, at: &At, pool: &PoolConfig) {
        let OnFailureSetting::Hold(hold) = pool.on_failure else { return };
        if hold.for_ < SHORTEST_HOLD || hold.for_ > LONGEST_HOLD {
            self.error(
                &at.key("on_failure").key("hold").key("for"),
                &[],
                format!("on_failure.hold.for of pool '{}' cannot be {}", pool.name, hold.for_),
                "use a time from 1s to 7d, such as 30m",
            );
        }
    }

    fn deadlines(&mut self, at: &At, pool: &PoolConfig) {
        let place = at.key("deadlines");
        let set = &pool.deadlines;
        for (key, value) in [
            ("image", set.image),
            ("boot", set.boot),
            ("agent", set.agent),
            ("online", set.online),
            ("job", set.job),
            ("shutdown", set.shutdown),
        ] {
            if value.0.is_zero() {
                self.error(
                    &place.key(key),
                    &[],
                    format!(
                        "deadlines.{key} of pool '{}' is zero, so every machine would exceed it",
                        pool.name
                    ),
                    "use a longer time, such as 60s",
                );
            }
        }
        if set.silence < SHORTEST_SILENCE {
            self.error(
                &place.key("silence"),
                &[],
                format!(
                    "deadlines.silence of pool '{}' is {}, but a busy guest may be silent for longer",
                    pool.name, set.silence
                ),
                "use at least 5s; 90s is usual",
            );
        }
    }
}

/// The longest prefix with addresses for so many machines.
/// `host` or `host:port`.
fn is_host(text: &str) -> bool {
    (1..=255).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b".-:[]".contains(&b))
}
