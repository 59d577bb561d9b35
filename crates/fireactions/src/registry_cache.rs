//! The cache of registries as this host's configuration has it: for the server, its guests, and those who run it.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use anyhow::Context;
use fireactions_config::{CacheProgram, Config};
use fireactions_fleet::doctor::cache_program;
use fireactions_registry_cache::{Cache, Login, Program, Status, Upstream};

/// The cache, without the logins at its registries; nothing where it is off.
pub(crate) fn of(config: &Config) -> Option<Cache> {
    let own = &config.registry_cache;
    let upstream = |one: fireactions_config::Upstream<'_>| Upstream {
        name: one.name.as_str().to_owned(),
        url: one.url,
        port: one.port,
        login: None,
    };
    own.enabled.then(|| Cache {
        program: match cache_program(own).0 {
            CacheProgram::Zot => Program::Zot,
            CacheProgram::DockerRegistry => Program::DockerRegistry,
        },
        bridge: config.network.bridge.clone(),
        gateway: config.network.gateway(),
        port: own.port,
        storage: own.storage_dir.to_path_buf(),
        upstreams: own.upstreams().into_iter().map(upstream).collect(),
    })
}

/// Reads the logins. `credentials` is the value of `$CREDENTIALS_DIRECTORY`.
pub(crate) fn log_in(cache: &mut Cache, config: &Config, credentials: Option<&Path>) -> anyhow::Result<()> {
    for (upstream, own) in cache.upstreams.iter_mut().zip(config.registry_cache.upstreams()) {
        let Some(file) = own.credentials_file else { continue };
        let what = || format!("registry_cache.mirrors.{}.credentials_file", upstream.name);
        let secret = file.read(credentials).with_context(what)?;
        upstream.login = Some(Login::find(secret.expose(), &upstream.url).with_context(what)?);
    }
    Ok(())
}

/// Most bytes of what the running cache says.
const STATUS_MAX: u64 = 1 << 20;

/// What the running cache says of itself; nothing where it does not run, or is another's.
pub(crate) fn status(file: &Path) -> Option<Status> {
    let mut text = Vec::new();
    File::open(file).ok()?.take(STATUS_MAX).read_to_end(&mut text).ok()?;
    serde_json::from_slice(&text).ok()
}

/// Bytes that are free for others than root where this directory is.
pub(crate) fn free(directory: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(directory).ok()?;
    Some(disk.f_bavail.saturating_mul(disk.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_running_cache_says_is_read_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("status.json");
        assert_eq!(status(&file), None);
        let said = Status { evicted_bytes: 7, full: true, ..Status::default() };
        std::fs::write(&file, serde_json::to_vec(&said).unwrap()).unwrap();
        assert_eq!(status(&file), Some(said));
        // Of another version, with more in it and less.
        std::fs::write(&file, r#"{"evicted_bytes": 7, "new": []}"#).unwrap();
        assert_eq!(status(&file), Some(Status { evicted_bytes: 7, ..Status::default() }));
        std::fs::write(&file, "{").unwrap();
        assert_eq!(status(&file), None);
        assert!(free(directory.path()).is_some() && free(&file.join("no")).is_none());
    }
}
