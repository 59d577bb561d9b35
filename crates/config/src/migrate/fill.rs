//! What a file of another program leaves out, because a script or a person fills it in, because it is only a part of a
//! file, or because it must be written down here.

use std::ops::Range;

use fireactions_model::ImageRef;

use crate::foreign::{Ids, Notes, lines};
use crate::schema::{ListenAddress, kernel_args};
use crate::tree::{Entry, Node, Value};

const APP: &str = "app_id: 12345";
const KERNEL: &str = "kernel: {image: /var/lib/fireactions/vmlinux}";

struct Fill<'a> {
    ids: &'a mut Ids,
    notes: &'a mut Notes,
    unfinished: usize,
}

/// Fills it in; gives how many lines are somebody's to finish.
pub(super) fn fill(root: &mut Node, all_other_keys: bool, ids: &mut Ids, notes: &mut Notes) -> usize {
    let mut fill = Fill { ids, notes, unfinished: 0 };
    fill.token(root);
    fill.forge(root);
    fill.kernel(root);
    fill.driver(root, all_other_keys);
    let Some(pools) = pools_mut(root) else { return fill.unfinished };
    for pool in pools {
        fill.pool(pool);
    }
    fill.unfinished
}

impl Fill<'_> {
    /// An address that other hosts reach needs a token.
    fn token(&mut self, root: &mut Node) {
        let address = root.get("bind_address").and_then(Node::text);
        let address = address.and_then(|text| ListenAddress::try_from(text.to_owned()).ok());
        if address.is_none_or(|address| address.is_loopback()) || is_given(root, "api_token_file") {
            return;
        }
        let comment = "Other hosts can reach bind_address, so requests need a token: `openssl rand -hex 32` makes one. \
                       Put it into this file, with mode 0600";
        self.add(root, Some("bind_address"), "api_token_file: /etc/fireactions/api-token", comment);
    }

    fn forge(&mut self, root: &mut Node) {
        if let Some(github) = child(root, "github")
            && github.get("app_id").is_none_or(|id| id.text().is_some_and(is_placeholder))
            && is_given(github, "app_private_key_file")
        {
            self.todo(github, "app_id", APP, "the number of the GitHub App, as its page shows it");
        }
        if let Some(gitea) = child(root, "gitea") {
            if gitea.get("url").is_none_or(|url| !url.is_given() || url.text().is_some_and(is_placeholder)) {
                self.todo(gitea, "url", "url: https://git.example.com", "the address of the Gitea");
            }
            if !is_given(gitea, "api_token_file") && !is_given(gitea, "runner_token_file") {
                let line = "api_token_file: /etc/fireactions/gitea-token";
                self.todo(
                    gitea,
                    "api_token_file",
                    line,
                    "put an access token into this file, with mode 0600",
                );
            }
        }
        let declared = ["github", "gitea", "forgejo", "forges"].iter().any(|key| is_given(root, key));
        let hosted = |pool: &Node| {
            let scopes = ["organization", "repository", "enterprise"];
            scopes.iter().any(|key| pool.at(&["runner", key]).is_some_and(Node::is_given))
        };
        if !declared && pools(root).iter().any(hosted) {
            let line = "github: {app_id: 12345, app_private_key_file: /etc/fireactions/github-app.pem}";
            self.unfinished += 1;
            self.add(
                root,
                None,
                line,
                "TODO: the number of the GitHub App, and the file with its private key, with mode 0600",
            );
        }
    }

    fn kernel(&mut self, root: &mut Node) {
        let own = |pool: &Node| pool.at(&["firecracker", "kernel_image_path"]).is_some_and(Node::is_given);
        let common = root.at(&["kernel", "image"]).is_some_and(Node::is_given);
        if common || is_given(root, "kernel") || pools(root).iter().all(own) {
            return;
        }
        self.unfinished += 1;
        self.add(root, None, KERNEL, "TODO: the guests' kernel");
    }

    /// The other programs know no VMM but Firecracker.
    fn driver(&mut self, root: &mut Node, all_other_keys: bool) {
        let named = |pool: &Node| pool.at(&["firecracker", "binary_path"]).is_some_and(Node::is_given);
        if !is_given(root, "vmm") && (all_other_keys || pools(root).iter().any(named)) {
            let comment = "As before. Without this line, machines run in QEMU, which needs no KVM";
            self.add(root, None, "vmm: {driver: firecracker}", comment);
        }
    }

    fn pool(&mut self, pool: &mut Node) {
        if !is_given(pool, "runner") {
            self.add(pool, Some("name"), "runner: {}", "What its machines are for");
        }
        let Some(runner) = child(pool, "runner") else { return };
        let image = runner.get("image").filter(|image| image.is_given());
        let usable = |text: &str| !is_placeholder(text) && ImageRef::new(text).is_ok();
        if image.is_none_or(|image| image.text().is_some_and(|text| !usable(text))) {
            self.todo(runner, "image", "image: registry.example.com/runner:latest", "the runner's image");
        }
        for (key, line) in [
            ("organization", "organization: your-organization"),
            ("repository", "repository: your-organization/repository"),
        ] {
            if runner.get(key).and_then(Node::text).is_some_and(is_placeholder) {
                self.todo(runner, key, line, "whose runners these are");
            }
        }
        let Some(own) = child(pool, "firecracker") else { return };
        if own.get("kernel_image_path").and_then(Node::text).is_some_and(is_placeholder) {
            self.unfinished += 1;
            self.notes.comment(own.id, Some("kernel_image_path"), "TODO: the kernel's path");
        }
        self.arguments(own);
        if own.at(&["metadata", "instance-id"]).is_some() && !is_given(own, "mmds_version") {
            let comment = "The cloud-init of these images asks the metadata service without a session token";
            self.add(own, Some("metadata"), "mmds_version: V1", comment);
        }
    }

    /// Arguments of the kernel that the server gives guests itself are left out.
    fn arguments(&mut self, own: &mut Node) {
        let (id, Value::Map(entries)) = (own.id, &mut own.value) else { return };
        let Some(index) = entries.iter().position(|entry| entry.key == "kernel_args") else { return };
        let Value::Text(args) = &entries[index].value.value else { return };
        let left_out = kernel_args::left_out(args).collect::<Vec<_>>().join(" ");
        if left_out.is_empty() {
            return;
        }
        let rest = kernel_args::appended(args);
        let why = "the server gives guests what their VMM needs";
        if rest.is_empty() {
            entries.remove(index);
            self.notes.comment(id, None, format!("kernel_args is gone: {why}"));
        } else {
            entries[index].value.value = Value::Text(rest);
            self.notes.comment(id, Some("kernel_args"), format!("Without {left_out}: {why}"));
        }
    }

    /// A line that somebody must finish, in the place of what stands there.
    fn todo(&mut self, section: &mut Node, key: &str, line: &str, what: &str) {
        self.unfinished += 1;
        self.notes.comment(section.id, Some(key), format!("TODO: {what}"));
        let Value::Map(entries) = &mut section.value else { return };
        let at = entries.first().map_or(section.span.clone(), |entry| entry.key_span.clone());
        let place = entries.iter().position(|entry| entry.key == key).unwrap_or(0);
        entries.retain(|entry| entry.key != key);
        self.insert(entries, place, line, &at);
    }

    /// A line after a key, or at the section's beginning.
    fn add(&mut self, section: &mut Node, after: Option<&str>, line: &str, comment: &str) {
        let Value::Map(entries) = &mut section.value else { return };
        let at = entries.first().map_or(section.span.clone(), |entry| entry.key_span.clone());
        let place = after.and_then(|key| entries.iter().position(|entry| entry.key == key));
        // `key:` without a value says nothing.
        let key = line.split(':').next().unwrap_or_default();
        entries.retain(|entry| entry.key != key);
        self.insert(entries, place.map_or(0, |place| place + 1), line, &at);
        self.notes.comment(section.id, Some(key), comment);
    }

    fn insert(&mut self, entries: &mut Vec<Entry>, place: usize, line: &str, at: &Range<usize>) {
        let place = place.min(entries.len());
        entries.splice(place..place, lines(line, at, self.ids));
    }
}

/// What a script or a person is to put something else for.
fn is_placeholder(text: &str) -> bool {
    let after_dollar = text
        .split_once('$')
        .is_some_and(|(_, rest)| rest.starts_with(|c: char| c == '{' || c == '_' || c.is_ascii_alphabetic()));
    after_dollar
        || text.contains('@') && text.ends_with('@')
        || text.contains('<')
        || text.starts_with("YOUR_")
}

fn is_given(section: &Node, key: &str) -> bool {
    section.get(key).is_some_and(Node::is_given)
}

fn pools(root: &Node) -> &[Node] {
    match root.get("pools").map(|pools| &pools.value) {
        Some(Value::List(pools)) => pools,
        _ => &[],
    }
}

fn pools_mut(root: &mut Node) -> Option<&mut Vec<Node>> {
    match &mut child(root, "pools")?.value {
        Value::List(pools) => Some(pools),
        _ => None,
    }
}

fn child<'a>(section: &'a mut Node, key: &str) -> Option<&'a mut Node> {
    let Value::Map(entries) = &mut section.value else { return None };
    entries.iter_mut().find(|entry| entry.key == key).map(|entry| &mut entry.value)
}
