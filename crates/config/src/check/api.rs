//! The API: its sockets, and who may use them.

use super::{At, Check};
use crate::{ApiTokenConfig, Config};

impl Check<'_> {
    pub(super) fn api(&mut self, config: &Config) {
        let root = At::root();
        self.api_tokens(config);
        if let Some(address) = config.bind_address
            && !address.is_loopback()
            && config.api_token_file.is_none()
            && !self.has_entries("api_tokens")
            && config.api_oidc.is_none()
        {
            self.error(
                &root.key("bind_address"),
                &[&root.key("api_token_file"), &root.key("api_tokens"), &root.key("api_oidc")],
                format!(
                    "bind_address {} can be reached from other hosts, so the API needs a token",
                    address.0
                ),
                "add 'api_token_file: credential:api-token' (or an absolute path), or bind to 127.0.0.1",
            );
        }
        if config.api_socket_mode.0 & 0o007 != 0 {
            self.error(
                &root.key("api_socket_mode"),
                &[],
                format!(
                    "api_socket_mode {} lets every user of the host run jobs as root in machines",
                    config.api_socket_mode
                ),
                "use \"0660\" and name the users' group with api_socket_group",
            );
        }
        // A Unix socket's address has 108 bytes with its NUL (unix(7)).
        if config.api_socket.as_os_str().len() > 107 {
            self.error(
                &root.key("api_socket"),
                &[],
                "api_socket is too long for a Unix socket",
                "use a path of at most 107 bytes",
            );
        }
    }

    fn api_tokens(&mut self, config: &Config) {
        let at = At::root().key("api_tokens");
        for (index, token) in config.api_tokens.iter().enumerate() {
            let (one, name) = (at.index(index), &token.name);
            if !token.has_good_name() {
                self.error(
                    &one.key("name"),
                    &[],
                    format!("{one} has the name '{name}', which cannot stand in the log"),
                    "use 1 to 63 of a-z A-Z 0-9 . _ -",
                );
            }
            let before = &config.api_tokens[..index];
            if let Some(other) = before.iter().position(|other| other.name == *name) {
                self.error(
                    &one.key("name"),
                    &[&at.index(other).key("name")],
                    format!("two of api_tokens have the name '{name}'"),
                    "give each person and program a name of its own: the log tells them apart by it",
                );
            }
            let is_shared = |other: &&ApiTokenConfig| other.file == token.file;
            if before.iter().any(|other| is_shared(&other))
                || config.api_token_file.as_ref() == Some(&token.file)
            {
                self.error(
                    &one.key("file"),
                    &[],
                    format!("the token of '{name}' is in the file of another token"),
                    "give each its own file: a token has one name and one role",
                );
            }
        }
    }
}
