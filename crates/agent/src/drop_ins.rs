//! Configuration that the host has for programs of the image.
//!
//! None of it may harm an image: what the image says itself counts, and what cannot be put in is told and left out.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use fireactions_guest_proto::{DropIn, Form, Meets, Reload, Said, Service};
use serde_json::{Map, Value};

use crate::hang_up::hang_up;
use crate::key_store;
use crate::replace::replace;

/// Where programs usually are.
const PROGRAMS: [&str; 6] = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
/// A file that says more than this is not looked into, and one to be merged stays as it is.
const MOST: u64 = 256 * 1024;
/// The same of one that gets something at its end: a bundle of all authorities has a quarter of a million bytes.
const MOST_APPENDED: u64 = 4 << 20;
/// Files of a directory that are looked into.
const MOST_FILES: usize = 64;

/// What became of all of them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Put {
    /// Variables of jobs, name and value, that lead to what is there.
    pub(crate) variables: Vec<(String, String)>,
    /// For the log: what was not done, and why.
    pub(crate) left_out: Vec<String>,
}

/// Puts all of them in.
pub(crate) fn put(list: &[DropIn], services: &[Service]) -> Put {
    put_below(Path::new("/"), list, services)
}

fn put_below(root: &Path, list: &[DropIn], services: &[Service]) -> Put {
    let mut all = Put::default();
    for one in list {
        match put_one(root, one, services) {
            Ok(true) => all.variables.extend(one.variable.clone()),
            Ok(false) => {}
            Err(why) => all.left_out.push(format!("{} was not set up: {why}", one.path)),
        }
    }
    all
}

/// Whether it is there; not where it is of no use.
fn put_one(root: &Path, one: &DropIn, services: &[Service]) -> Result<bool, String> {
    let path = crate::files::checked(&one.path)?;
    if !one.readers.iter().any(|reader| is_there(root, reader)) {
        return Ok(false);
    }
    if let Some(place) = one.unless.iter().find_map(|said| said_in(root, said, services)) {
        return Err(format!("{place} says something itself"));
    }
    let mut path = inside(root, path);
    let there = std::fs::symlink_metadata(&path).is_ok();
    let content = match (there, one.meets) {
        (false, _) => match content(root, one)? {
            Some(content) => content,
            None => return Ok(false),
        },
        (true, Meets::Stays) => {
            // A host that asks again after a restart finds its own.
            let ours = content(root, one)?
                .is_some_and(|ours| bytes_within(&path, MOST_APPENDED).is_ok_and(|there| there == ours));
            return if ours { Ok(true) } else { Err("the image has its own".to_owned()) };
        }
        (true, Meets::Json) => merged(&path, &one.text)?.into_bytes(),
        (true, Meets::Appended) => {
            // RHEL's bundle is found by a link, which stays one.
            path = std::fs::canonicalize(&path).map_err(|error| error.to_string())?;
            match appended(&path, &one.text)? {
                Some(text) => text.into_bytes(),
                None => return Ok(true),
            }
        }
    };
    let mode = std::fs::metadata(&path).map_or(0o644, |found| found.permissions().mode() & 0o7777);
    let written = replace(&path, &content);
    let written = written.and_then(|()| std::fs::set_permissions(&path, Permissions::from_mode(mode)));
    written.map_err(|error| error.to_string())?;
    if let Some(Reload { program, pid_file }) = &one.reload {
        hang_up(&inside(root, crate::files::checked(pid_file)?), program);
    }
    Ok(true)
}

/// What a new file has in it; nothing where it would have too little to be of use.
fn content(root: &Path, one: &DropIn) -> Result<Option<Vec<u8>>, String> {
    let Form::JavaKeyStore { bundles } = &one.form else { return Ok(Some(one.text.clone().into_bytes())) };
    let mut bundles = bundles.iter().map(|bundle| inside(root, Path::new(bundle)));
    let Some(bundle) = bundles.find(|bundle| bundle.is_file()) else { return Ok(None) };
    let theirs = text_within(&bundle, MOST_APPENDED)
        .map_err(|error| format!("the image's certificates cannot be read: {error}"))?;
    // One that the host itself began has nobody else in it.
    if !theirs.replace(&one.text, "").contains(key_store::BEGIN) {
        return Ok(None);
    }
    key_store::of(&format!("{theirs}\n{}", one.text)).map(Some)
}

fn inside(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

/// Whether the image has a program or a directory.
fn is_there(root: &Path, reader: &str) -> bool {
    if reader.starts_with('/') {
        return inside(root, Path::new(reader)).is_dir();
    }
    PROGRAMS.iter().any(|dir| inside(root, Path::new(dir)).join(reader).is_file())
}

/// The place where the image says it.
fn said_in(root: &Path, said: &Said, services: &[Service]) -> Option<String> {
    let says = |line: &str| {
        let line = line.trim_start();
        !line.starts_with(['#', ';']) && said.words.iter().all(|word| line.contains(word.as_str()))
    };
    if let Some(service) = services.iter().find(|service| says(&service.argv.join(" "))) {
        return Some(format!("service '{}'", service.name));
    }
    let files = said.paths.iter().flat_map(|path| files_at(&inside(root, Path::new(path))));
    let mut files = files.filter(|file| text_of(file).is_ok_and(|text| text.lines().any(says)));
    files
        .next()
        .map(|file| Path::new("/").join(file.strip_prefix(root).unwrap_or(&file)).display().to_string())
}

/// The file, or the files of the directory, at a path.
fn files_at(path: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(path) else { return vec![path.to_owned()] };
    entries.flatten().map(|entry| entry.path()).take(MOST_FILES).collect()
}

/// The file at `path` with the text at its end; nothing if it has that.
fn appended(path: &Path, ours: &str) -> Result<Option<String>, String> {
    let unread = |error: io::Error| format!("the image's own cannot be read: {error}");
    let theirs = text_within(path, MOST_APPENDED).map_err(unread)?;
    let end = if theirs.is_empty() || theirs.ends_with('\n') { "" } else { "\n" };
    Ok((!theirs.contains(ours)).then(|| format!("{theirs}{end}{ours}")))
}

fn text_of(path: &Path) -> io::Result<String> {
    text_within(path, MOST)
}

fn text_within(path: &Path, most: u64) -> io::Result<String> {
    String::from_utf8(bytes_within(path, most)?).map_err(io::Error::other)
}

/// A device or a pipe would be waited for.
fn bytes_within(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let found = std::fs::metadata(path)?;
    if !found.is_file() || found.len() > most {
        return Err(io::Error::other("it is no file, or a very large one"));
    }
    std::fs::read(path)
}

/// The file at `path`, with what it lacks of `ours`.
fn merged(path: &Path, ours: &str) -> Result<String, String> {
    let theirs = text_of(path).map_err(|error| format!("the image's own cannot be read: {error}"))?;
    let ours: Map<String, Value> = serde_json::from_str(ours).map_err(|error| error.to_string())?;
    // An empty file is as none to those who read it.
    let mut theirs: Map<String, Value> = match theirs.trim() {
        "" => Map::new(),
        text => serde_json::from_str(text)
            .map_err(|error| format!("the image's own is no JSON object ({error})"))?,
    };
    merge(&mut theirs, ours);
    Ok(format!("{:#}\n", Value::Object(theirs)))
}

fn merge(theirs: &mut Map<String, Value>, ours: Map<String, Value>) {
    for (key, value) in ours {
        match (theirs.get_mut(&key), value) {
            (None, value) => {
                theirs.insert(key, value);
            }
            (Some(Value::Object(theirs)), Value::Object(ours)) => merge(theirs, ours),
            (Some(Value::Array(theirs)), Value::Array(ours)) => {
                let missing: Vec<_> = ours.into_iter().filter(|one| !theirs.contains(one)).collect();
                theirs.extend(missing);
            }
            (Some(_), _) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    const DAEMON: &str = "/etc/docker/daemon.json";

    fn daemon() -> DropIn {
        DropIn {
            path: DAEMON.to_owned(),
            text: r#"{"registry-mirrors": ["http://172.30.0.1:5000"], "insecure-registries": ["172.30.0.1:5000"]}"#
                .to_owned(),
            meets: Meets::Json,
            readers: vec!["dockerd".to_owned(), "/etc/docker".to_owned()],
            unless: vec![Said {
                paths: vec!["/etc/default/docker".to_owned(), "/etc/systemd/system/docker.service.d".to_owned()],
                words: vec!["--registry-mirror".to_owned()],
            }],
            reload: None,
            form: Form::Text,
            variable: None,
        }
    }

    /// An image with these files: paths and contents.
    fn image(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = inside(root.path(), Path::new(path));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    fn read(root: &tempfile::TempDir) -> Value {
        let text = fs::read_to_string(inside(root.path(), Path::new(DAEMON))).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    fn left_out(root: &Path, list: &[DropIn], services: &[Service]) -> Vec<String> {
        put_below(root, list, services).left_out
    }

    fn service(argv: &[&str]) -> Service {
        Service {
            name: "docker".to_owned(),
            argv: argv.iter().map(|word| (*word).to_owned()).collect(),
            user: String::new(),
            ready: None,
            restart: false,
            timeout_ms: 0,
        }
    }

    #[test]
    fn an_image_with_the_program_gets_the_file() {
        let root = image(&[("/usr/bin/dockerd", "")]);
        assert_eq!(left_out(root.path(), &[daemon()], &[]), Vec::<String>::new());
        assert_eq!(read(&root)["registry-mirrors"][0], "http://172.30.0.1:5000");
        let path = inside(root.path(), Path::new(DAEMON));
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o7777, 0o644);
    }

    #[test]
    fn an_image_without_it_stays_as_it_is() {
        let root = image(&[("/usr/bin/dockerd-rootless", "")]);
        assert_eq!(left_out(root.path(), &[daemon()], &[]), Vec::<String>::new());
        assert!(!root.path().join("etc").exists());
    }

    #[test]
    fn what_the_image_says_counts_and_lists_become_longer() {
        let own = r#"{"data-root": "/data", "registry-mirrors": ["https://own.example"], "insecure-registries": ["172.30.0.1:5000", "x"], "log-opts": {"max-size": "1m"}}"#;
        let root = image(&[(DAEMON, own)]);
        let path = inside(root.path(), Path::new(DAEMON));
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        assert_eq!(left_out(root.path(), &[daemon()], &[]), Vec::<String>::new());
        let expected = serde_json::json!({
            "data-root": "/data",
            "registry-mirrors": ["https://own.example", "http://172.30.0.1:5000"],
            "insecure-registries": ["172.30.0.1:5000", "x"],
            "log-opts": {"max-size": "1m"},
        });
        assert_eq!(read(&root), expected);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        // Once more changes nothing.
        assert_eq!(left_out(root.path(), &[daemon()], &[]), Vec::<String>::new());
        assert_eq!(read(&root), expected);
    }

    #[test]
    fn objects_are_merged_and_what_is_no_list_stays() {
        let mut theirs = serde_json::from_str(r#"{"a": {"x": 1, "l": [1]}, "b": "own", "c": null}"#).unwrap();
        let ours =
            serde_json::from_str(r#"{"a": {"x": 2, "y": 3, "l": [1, 2]}, "b": ["ours"], "c": {}, "d": 4}"#);
        merge(&mut theirs, ours.unwrap());
        let expected = serde_json::json!({"a": {"x": 1, "y": 3, "l": [1, 2]}, "b": "own", "c": null, "d": 4});
        assert_eq!(Value::Object(theirs), expected);
    }

    #[test]
    fn an_empty_file_is_as_none_and_a_broken_one_stays() {
        let root = image(&[(DAEMON, "\n")]);
        assert_eq!(left_out(root.path(), &[daemon()], &[]), Vec::<String>::new());
        assert_eq!(read(&root)["insecure-registries"][0], "172.30.0.1:5000");
        for broken in ["{\"a\": 1,}", "[]", "null", "\u{0}"] {
            let root = image(&[(DAEMON, broken)]);
            let told = left_out(root.path(), &[daemon()], &[]);
            assert!(told.len() == 1 && told[0].contains("no JSON object"), "{told:?}");
            assert_eq!(fs::read_to_string(root.path().join("etc/docker/daemon.json")).unwrap(), broken);
        }
    }

    #[test]
    fn a_bundle_gets_a_certificate_at_its_end_once_and_its_link_stays() {
        let bundle = DropIn { meets: Meets::Appended, text: "ours\n".to_owned(), ..daemon() };
        let root = image(&[("/etc/docker/extracted", "theirs")]);
        symlink("extracted", root.path().join("etc/docker/daemon.json")).unwrap();
        for _ in 0..2 {
            assert_eq!(left_out(root.path(), std::slice::from_ref(&bundle), &[]), Vec::<String>::new());
            assert_eq!(
                fs::read_to_string(root.path().join("etc/docker/extracted")).unwrap(),
                "theirs\nours\n"
            );
        }
        assert!(root.path().join("etc/docker/daemon.json").is_symlink());
        let root = image(&[("/usr/bin/dockerd", "")]);
        assert_eq!(left_out(root.path(), &[bundle], &[]), Vec::<String>::new());
        assert_eq!(fs::read_to_string(root.path().join("etc/docker/daemon.json")).unwrap(), "ours\n");
    }

    /// A certificate, as far as a key store is concerned.
    fn pem(letter: char) -> String {
        let body = String::from(letter).repeat(4);
        format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n")
    }

    #[test]
    fn java_gets_what_the_image_trusts_and_the_variable_only_with_it() {
        const BUNDLE: &str = "/etc/ssl/certs/ca-certificates.crt";
        let variable = ("JAVA_TOOL_OPTIONS".to_owned(), "-Dx".to_owned());
        let java = DropIn {
            path: "/etc/ssl/java.jks".to_owned(),
            text: pem('B'),
            meets: Meets::Stays,
            readers: vec!["/etc".to_owned()],
            unless: Vec::new(),
            form: Form::JavaKeyStore { bundles: vec!["/etc/pki/none.pem".to_owned(), BUNDLE.to_owned()] },
            variable: Some(variable.clone()),
            ..daemon()
        };
        let appended = DropIn {
            path: BUNDLE.to_owned(),
            text: pem('B'),
            meets: Meets::Appended,
            readers: vec!["/etc/ssl/certs".to_owned()],
            unless: Vec::new(),
            ..daemon()
        };
        let list = [java.clone(), appended];
        let root = image(&[(BUNDLE, &pem('A'))]);
        let store = root.path().join("etc/ssl/java.jks");
        // Asked again, as by a server that has just begun, it says the same.
        for _ in 0..2 {
            let put = put_below(root.path(), &list, &[]);
            assert_eq!(put, Put { variables: vec![variable.clone()], left_out: Vec::new() });
            assert_eq!(
                fs::read(&store).unwrap(),
                key_store::of(&format!("{}{}", pem('A'), pem('B'))).unwrap()
            );
        }
        fs::write(&store, "the image's").unwrap();
        let put = put_below(root.path(), &list, &[]);
        assert!(put.variables.is_empty() && put.left_out[0].ends_with("the image has its own"), "{put:?}");
        // Where the image trusts nobody that one can see, Java goes on by what it has itself.
        for files in [&[("/etc/ssl/certs/x", "")][..], &[("/etc/x", "")]] {
            let root = image(files);
            for _ in 0..2 {
                assert_eq!(put_below(root.path(), &list, &[]), Put::default());
            }
            assert!(!root.path().join("etc/ssl/java.jks").exists());
        }
        let root = image(&[(BUNDLE, "-----BEGIN CERTIFICATE-----\n")]);
        let put = put_below(root.path(), &[java], &[]);
        assert!(put.variables.is_empty() && put.left_out[0].contains("cannot be read"), "{put:?}");
    }

    /// A daemon that is told one thing twice does not start.
    #[test]
    fn what_is_said_elsewhere_is_not_said_again() {
        let flag = "DOCKER_OPTS=\"--registry-mirror=https://own.example\"\n";
        for path in ["/etc/default/docker", "/etc/systemd/system/docker.service.d/own.conf"] {
            let root = image(&[("/usr/bin/dockerd", ""), (path, flag)]);
            let told = left_out(root.path(), &[daemon()], &[]);
            assert_eq!(told, [format!("{DAEMON} was not set up: {path} says something itself")]);
            assert!(!root.path().join("etc/docker").exists());
        }
        let root = image(&[("/usr/bin/dockerd", ""), ("/etc/default/docker", &format!("  # {flag}"))]);
        let told = left_out(
            root.path(),
            &[daemon()],
            &[service(&["dockerd", "--registry-mirror=https://own.example"])],
        );
        assert_eq!(told, [format!("{DAEMON} was not set up: service 'docker' says something itself")]);
        assert_eq!(left_out(root.path(), &[daemon()], &[service(&["dockerd"])]), Vec::<String>::new());
        assert!(root.path().join("etc/docker").exists(), "a comment says nothing");
    }

    #[test]
    fn a_file_of_the_image_stays_whatever_it_is() {
        let hosts = DropIn { meets: Meets::Stays, ..daemon() };
        let root = image(&[(DAEMON, "own")]);
        let told = left_out(root.path(), std::slice::from_ref(&hosts), &[]);
        assert!(told[0].ends_with("the image has its own"), "{told:?}");
        assert_eq!(fs::read_to_string(root.path().join("etc/docker/daemon.json")).unwrap(), "own");
        // Also one that leads nowhere yet.
        let root = image(&[("/usr/bin/dockerd", ""), ("/etc/docker/other", "")]);
        symlink("/run/later.json", root.path().join("etc/docker/daemon.json")).unwrap();
        assert_eq!(left_out(root.path(), &[hosts], &[]).len(), 1);
        assert!(root.path().join("etc/docker/daemon.json").is_symlink());
    }

    #[test]
    fn odd_files_are_neither_waited_for_nor_read_whole() {
        let root = image(&[("/etc/docker/x", ""), ("/etc/default/x", "")]);
        let made = std::process::Command::new("mkfifo")
            .args([root.path().join("etc/default/docker"), root.path().join("etc/docker/daemon.json")])
            .status();
        assert!(made.unwrap().success());
        let told = left_out(root.path(), &[daemon()], &[]);
        assert!(told[0].contains("cannot be read"), "{told:?}");

        let odd = DropIn { path: "/etc/../etc/docker/y".to_owned(), ..daemon() };
        assert!(left_out(root.path(), &[odd], &[])[0].contains("'..'"));
    }
}
