//! The cache of registries as this host's configuration has it: for the server, its guests, and those who run it.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use fireactions_config::{CacheProgram, Config, SslBumpMode};
use fireactions_fleet::doctor::cache_program;
use fireactions_guest_proto::DropIn;
use fireactions_registry_cache::{Bump, Cache, Login, Program, Proxy, Status, Upstream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

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
        proxy: own.proxy.enabled.then(|| proxy(config)),
    })
}

fn proxy(config: &Config) -> Proxy {
    let (own, network) = (&config.registry_cache.proxy, &config.network);
    let domains = || own.ssl_bump.domains.iter().map(|domain| domain.as_str().to_owned()).collect();
    let six = network.ipv6.as_ref().map(|six| six.subnet.to_string());
    Proxy {
        port: own.port,
        bump: match own.ssl_bump.mode {
            SslBumpMode::Off => Bump::Off,
            SslBumpMode::Selective => Bump::Selective(domains()),
            SslBumpMode::All => Bump::All,
        },
        max_size_mib: own.max_size_mib,
        memory_cache_mib: own.memory_cache_mib,
        guests: std::iter::once(network.subnet.trunc().to_string()).chain(six).collect(),
    }
}

/// Most bytes of the proxy's certificate.
const CERTIFICATE_MAX: u64 = 64 << 10;

/// Between two looks at the proxy's certificate.
const LOOK: Duration = Duration::from_secs(5);

/// The environment of guests' jobs.
pub(crate) fn environment(config: &Config) -> Vec<(String, String)> {
    of(config).map(|cache| fireactions_registry_cache::environment(&cache)).unwrap_or_default()
}

/// What guests are given, and why they do not trust the proxy where they should.
pub(crate) fn drop_ins(config: &Config) -> (Vec<DropIn>, Option<String>) {
    let Some(cache) = of(config) else { return Default::default() };
    let mut files = fireactions_registry_cache::drop_ins(&cache);
    if !opens(&cache) {
        return (files, None);
    }
    let (path, _) = cache.authority();
    let mut text = String::new();
    let read = File::open(&path).and_then(|file| file.take(CERTIFICATE_MAX).read_to_string(&mut text));
    match read {
        Ok(_) => {
            files.extend(fireactions_registry_cache::trusted(&text));
            (files, None)
        }
        Err(error) => {
            let path = path.display();
            let why = format!(
                "guests do not trust the proxy yet: {path} cannot be read ({error}); `fireactions cache run` makes it"
            );
            (files, Some(why))
        }
    }
}

/// Whether the proxy opens connections, so that guests have to trust it.
fn opens(cache: &Cache) -> bool {
    cache.proxy.as_ref().is_some_and(|proxy| proxy.bump != Bump::Off)
}

/// Gives new guests the proxy's certificate as it is: `fireactions cache run` may make it only after this server has started, and
/// makes it anew before its end.
pub(crate) async fn keep_trust(
    config: Arc<Config>,
    given: watch::Sender<Vec<DropIn>>,
    stop: CancellationToken,
) {
    if !of(&config).is_some_and(|cache| opens(&cache)) {
        return;
    }
    while stop.run_until_cancelled(tokio::time::sleep(LOOK)).await.is_some() {
        let config = Arc::clone(&config);
        // One that cannot be read is being made: what guests were given before stays.
        let Ok((files, None)) = tokio::task::spawn_blocking(move || drop_ins(&config)).await else {
            continue;
        };
        let is_new = |known: &mut Vec<DropIn>| {
            let is_new = *known != files;
            *known = files;
            is_new
        };
        if given.send_if_modified(is_new) {
            tracing::info!("new guests trust the proxy's authority, which has just been made");
        }
    }
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
