//! The public keys of those who log in to a host: one that is installed without any lets nobody in.

use std::path::Path;

/// Most of a file of keys that is read, in bytes.
const MOST: usize = 256 << 10;

/// Kinds of keys that OpenSSH knows (sshd(8), AUTHORIZED_KEYS FILE FORMAT).
const KINDS: [&str; 3] = ["ssh-", "ecdsa-sha2-", "sk-"];

/// The keys in a file's text, each once. Lines with options are none: a cloud's `command="echo log in as another user"` lets nobody in.
pub fn parse(text: &str) -> Vec<String> {
    let mut keys: Vec<String> = Vec::new();
    for line in text.chars().take(MOST).collect::<String>().lines().map(str::trim) {
        let mut words = line.split_whitespace();
        let kind = words.next().is_some_and(|word| KINDS.iter().any(|kind| word.starts_with(kind)));
        let data = words.next().is_some_and(|word| word.starts_with("AAAA"));
        if kind && data && !line.contains(char::is_control) && !keys.iter().any(|key| key == line) {
            keys.push(line.to_owned());
        }
    }
    keys
}

/// The operator's own public keys: `*.pub` of a directory. None where there is no such directory.
pub fn own(dir: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let mut files: Vec<_> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "pub"))
        .collect();
    files.sort();
    let texts: String =
        files.iter().filter_map(|file| std::fs::read_to_string(file).ok()).map(|text| text + "\n").collect();
    parse(&texts)
}

/// Writes what nixos-anywhere copies into the new system (`--extra-files`): root's keys. The directory's own mode becomes that of `/`.
///
/// # Errors
/// When it cannot be written.
pub fn write(dir: &Path, keys: &[String]) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let ssh = dir.join("root/.ssh");
    std::fs::create_dir_all(&ssh)?;
    let file = ssh.join("authorized_keys");
    std::fs::write(&file, keys.join("\n") + "\n")?;
    for (path, mode) in [(dir.to_path_buf(), 0o755), (dir.join("root"), 0o700), (ssh, 0o700), (file, 0o600)] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_lines_that_let_somebody_in() {
        let text = "# mine\nssh-ed25519 AAAAC3one me@here\n\n  sk-ssh-ed25519@openssh.com AAAAGtwo\n\
            command=\"echo 'log in as debian'\" ssh-rsa AAAAB3three\nssh-ed25519 AAAAC3one me@here\nssh-rsa\n\
            -----BEGIN OPENSSH PRIVATE KEY-----\n";
        assert_eq!(parse(text), ["ssh-ed25519 AAAAC3one me@here", "sk-ssh-ed25519@openssh.com AAAAGtwo"]);
        assert!(parse("").is_empty());
    }

    #[test]
    fn the_operator_s_keys_are_the_public_ones() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("id_ed25519.pub"), "ssh-ed25519 AAAAC3one").unwrap();
        std::fs::write(dir.path().join("id_rsa.pub"), "ssh-rsa AAAAB3two\n").unwrap();
        std::fs::write(dir.path().join("id_ed25519"), "ssh-ed25519 AAAAno\n").unwrap();
        assert_eq!(own(dir.path()), ["ssh-ed25519 AAAAC3one", "ssh-rsa AAAAB3two"]);
        assert!(own(&dir.path().join("absent")).is_empty());
    }

    #[test]
    fn root_s_keys_are_root_s_alone_and_the_root_directory_is_everybody_s() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), &["ssh-ed25519 AAAAC3one".to_owned(), "ssh-rsa AAAAB3two".to_owned()]).unwrap();
        let mode =
            |name: &str| std::fs::metadata(dir.path().join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!(
            ["", "root", "root/.ssh", "root/.ssh/authorized_keys"].map(mode),
            [0o755, 0o700, 0o700, 0o600]
        );
        let text = std::fs::read_to_string(dir.path().join("root/.ssh/authorized_keys")).unwrap();
        assert_eq!(text, "ssh-ed25519 AAAAC3one\nssh-rsa AAAAB3two\n");
    }
}
