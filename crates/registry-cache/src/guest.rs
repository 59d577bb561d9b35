//! What the programs of a guest are told, so that they take images from the cache. Each goes on to the registry itself when the cache
//! does not have what it wants, or does not answer.

use std::fmt::Write as _;

use fireactions_guest_proto::{DropIn, Form, Meets, Reload, Said};
use serde_json::json;

use crate::cache::HUB;
use crate::{Cache, Mirror};

/// The files that the agent puts into guests.
pub fn drop_ins(cache: &Cache) -> Vec<DropIn> {
    let mirrors = cache.mirrors();
    let mut files: Vec<_> = docker(&mirrors).into_iter().collect();
    for mirror in &mirrors {
        files.extend([containerd(mirror), podman(mirror)]);
        if mirror.registry != HUB {
            files.push(docker_with_containerd(mirror));
        }
    }
    files.extend(buildkit(&mirrors));
    files
}

fn words(list: &[&str]) -> Vec<String> {
    list.iter().map(|word| (*word).to_owned()).collect()
}

/// Docker's own mirrors are Docker Hub's alone. It does not start when an option is both in its file and on its command line.
fn docker(mirrors: &[Mirror]) -> Option<DropIn> {
    let hub = mirrors.iter().find(|mirror| mirror.registry == HUB)?;
    let mut hosts: Vec<&str> = mirrors.iter().map(|mirror| mirror.host.as_str()).collect();
    hosts.dedup();
    let config = json!({"registry-mirrors": [format!("http://{}", hub.host)], "insecure-registries": hosts});
    let options = |option: &str| Said {
        paths: words(&[
            "/etc/default/docker",
            "/etc/systemd/system/docker.service",
            "/etc/systemd/system/docker.service.d",
            "/usr/lib/systemd/system/docker.service",
            "/usr/lib/systemd/system/docker.service.d",
            "/etc/conf.d/docker",
        ]),
        words: words(&[option]),
    };
    Some(DropIn {
        path: "/etc/docker/daemon.json".to_owned(),
        text: format!("{config:#}\n"),
        meets: Meets::Json,
        readers: words(&["dockerd", "/etc/docker"]),
        unless: vec![options("--registry-mirror"), options("--insecure-registry")],
        // Both keys are among those that it takes while it runs, dockerd(8).
        reload: Some(Reload { program: "dockerd".to_owned(), pid_file: "/run/docker.pid".to_owned() }),
        form: Form::Text,
        variable: None,
    })
}

fn hosts_toml(mirror: &Mirror) -> String {
    let mut text = format!("server = \"{}\"\n\n", mirror.upstream);
    // A path is a prefix of the API only where it is said to be one.
    match mirror.prefix {
        None => {
            let _ =
                write!(text, "[host.\"http://{}\"]\n  capabilities = [\"pull\", \"resolve\"]\n", mirror.host);
        }
        Some(_) => {
            let _ = write!(
                text,
                "[host.\"{}\"]\n  capabilities = [\"pull\", \"resolve\"]\n  override_path = true\n",
                mirror.api()
            );
        }
    }
    text
}

fn containerd(mirror: &Mirror) -> DropIn {
    DropIn {
        path: format!("/etc/containerd/certs.d/{}/hosts.toml", mirror.registry),
        text: hosts_toml(mirror),
        meets: Meets::Stays,
        readers: words(&["containerd", "nerdctl", "/etc/containerd"]),
        unless: Vec::new(),
        reload: None,
        form: Form::Text,
        variable: None,
    }
}

/// Docker with containerd's image store has mirrors for every registry.
fn docker_with_containerd(mirror: &Mirror) -> DropIn {
    DropIn {
        path: format!("/etc/docker/certs.d/{}/hosts.toml", mirror.registry),
        readers: words(&["dockerd", "/etc/docker"]),
        ..containerd(mirror)
    }
}

/// Podman, Buildah and Skopeo. Files of this directory are merged by them, but not with a file of the first version.
fn podman(mirror: &Mirror) -> DropIn {
    let Mirror { registry, .. } = mirror;
    let said = |list: &[&str]| Said {
        paths: words(&["/etc/containers/registries.conf", "/etc/containers/registries.conf.d"]),
        words: words(list),
    };
    let name = format!("\"{registry}\"");
    DropIn {
        path: format!("/etc/containers/registries.conf.d/50-fireactions-{}.conf", registry.replace(':', "-")),
        text: format!(
            "[[registry]]\nprefix = \"{registry}\"\nlocation = \"{registry}\"\n\n[[registry.mirror]]\nlocation = \"{}\"\ninsecure = true\n",
            mirror.location()
        ),
        meets: Meets::Stays,
        readers: words(&["podman", "buildah", "skopeo", "/etc/containers"]),
        unless: vec![said(&["[registries."]), said(&["prefix", &name]), said(&["location", &name])],
        reload: None,
        form: Form::Text,
        variable: None,
    }
}

/// BuildKit's daemon has one file, so an image that has one keeps it.
fn buildkit(mirrors: &[Mirror]) -> Option<DropIn> {
    let mut text = String::new();
    for mirror in mirrors {
        let _ =
            write!(text, "[registry.\"{}\"]\n  mirrors = [\"{}\"]\n\n", mirror.registry, mirror.location());
    }
    let mut hosts: Vec<&str> = mirrors.iter().map(|mirror| mirror.host.as_str()).collect();
    hosts.dedup();
    for host in hosts {
        let _ = write!(text, "[registry.\"{host}\"]\n  http = true\n\n");
    }
    (!mirrors.is_empty()).then(|| DropIn {
        path: "/etc/buildkit/buildkitd.toml".to_owned(),
        text: format!("{}\n", text.trim_end()),
        meets: Meets::Stays,
        readers: words(&["buildkitd", "/etc/buildkit"]),
        unless: Vec::new(),
        reload: None,
        form: Form::Text,
        variable: None,
    })
}
