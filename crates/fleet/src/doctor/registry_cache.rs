//! The cache of registries: the program that is there for it.

use std::path::PathBuf;

use fireactions_config::{CacheProgram, ProxyConfig, RegistryCacheConfig, SslBumpMode};

use super::checks::REGISTRY_CACHE;
use super::{Finding, look};

/// The program that caches on this host, and its file if it is there: the one that the configuration names, else Zot where it is
/// installed, else Debian's docker-registry.
pub fn cache_program(config: &RegistryCacheConfig) -> (CacheProgram, Option<PathBuf>) {
    let zot = look::locate(config.zot_binary.as_path());
    let program = config.program.unwrap_or(match zot {
        Some(_) => CacheProgram::Zot,
        None => CacheProgram::DockerRegistry,
    });
    match program {
        CacheProgram::Zot => (program, zot),
        CacheProgram::DockerRegistry => (program, look::locate(config.docker_registry_binary.as_path())),
    }
}

/// Squid's file, if it is there.
pub fn proxy_program(config: &ProxyConfig) -> Option<PathBuf> {
    look::locate(config.squid_binary.as_path())
}

/// What is not there for the proxy.
pub fn proxy_missing(config: &ProxyConfig) -> Option<&'static str> {
    let opens = config.ssl_bump.mode != SslBumpMode::Off;
    if proxy_program(config).is_none() {
        Some("Squid")
    } else if opens && look::locate(&config.certgen_binary).is_none() {
        Some("Squid's security_file_certgen, which opening https connections takes,")
    } else {
        None
    }
}

pub(super) fn look(config: &RegistryCacheConfig) -> Finding {
    if !config.enabled {
        return Finding::ok(&REGISTRY_CACHE, "off (registry_cache.enabled)");
    }
    let (program, file) = cache_program(config);
    let (name, advice) = match program {
        CacheProgram::Zot => (
            "Zot",
            "install Zot, or set registry_cache.zot_binary to it; without registry_cache.program, docker-registry is used instead",
        ),
        CacheProgram::DockerRegistry => (
            "docker-registry",
            "`apt-get install docker-registry`, then `systemctl disable --now docker-registry`: `fireactions cache run` starts its own",
        ),
    };
    if let Some(what) = proxy_missing(&config.proxy).filter(|_| config.proxy.enabled) {
        return Finding::error(
            &REGISTRY_CACHE,
            format!("{what} is not there for the proxy (registry_cache.proxy)"),
            "`apt-get install squid-openssl`, then `systemctl disable --now squid`: `fireactions cache run` starts its own",
        );
    }
    let proxy = if config.proxy.enabled { ", and Squid the web" } else { "" };
    match file {
        Some(file) => {
            let count = config.mirrors.len();
            let s = if count == 1 { "y" } else { "ies" };
            Finding::ok(
                &REGISTRY_CACHE,
                format!("{name} ({}) caches {count} registr{s}{proxy}", file.display()),
            )
        }
        None => Finding::error(&REGISTRY_CACHE, format!("{name} is not there to cache registries"), advice),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use fireactions_config::{Host, parse};

    use super::super::Severity;
    use super::*;

    fn config(section: &str) -> RegistryCacheConfig {
        let text = format!("kernel: {{image: /k}}\nregistry_cache: {section}\npools: []\n");
        parse(Path::new("c"), text.as_bytes(), &Host::unknown()).unwrap().config.registry_cache
    }

    #[test]
    fn zot_is_taken_where_it_is_and_docker_registry_elsewhere() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("program");
        std::fs::write(&file, "").unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
        let (here, nowhere) = (file.display(), "/no/such/program");
        let told = |section: String| {
            let finding = look(&config(&section));
            (finding.severity, finding.found)
        };
        let both = |zot: &str, registry: &str, more: &str| {
            told(format!(
                "{{enabled: true, zot_binary: {zot}, docker_registry_binary: {registry}, mirrors: {{docker.io: {{}}}}{more}}}"
            ))
        };
        let here = here.to_string();
        assert_eq!(both(&here, nowhere, ""), (Severity::Ok, format!("Zot ({here}) caches 1 registry")));
        assert_eq!(
            both(nowhere, &here, ""),
            (Severity::Ok, format!("docker-registry ({here}) caches 1 registry"))
        );
        assert_eq!(
            both(&here, &here, ", program: docker-registry").1,
            format!("docker-registry ({here}) caches 1 registry")
        );
        assert_eq!(both(nowhere, nowhere, "").0, Severity::Error);
        assert_eq!(both(nowhere, &here, ", program: zot").0, Severity::Error);
        assert_eq!(told("{}".to_owned()).0, Severity::Ok);
        let proxy = |squid: &str, more: &str| {
            both(
                nowhere,
                &here,
                &format!(
                    ", proxy: {{enabled: true, squid_binary: {squid}, certgen_binary: {nowhere}{more}}}"
                ),
            )
        };
        assert_eq!(
            proxy(&here, ""),
            (Severity::Ok, format!("docker-registry ({here}) caches 1 registry, and Squid the web"))
        );
        assert_eq!(proxy(nowhere, "").0, Severity::Error);
        let (severity, found) = proxy(&here, ", ssl_bump: {mode: all}");
        assert!(severity == Severity::Error && found.contains("security_file_certgen"), "{found}");
    }
}
