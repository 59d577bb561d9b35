//! What a guest kernel was built with, as far as files say it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Most of a configuration or list that is read, in bytes.
const MAX: u64 = 8 << 20;

/// What is known of a kernel's features.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Where it was read, for people; empty when nowhere.
    pub(super) from: Vec<String>,
    /// `CONFIG_` names without the prefix, and `y`, `m` or another value. An option that is off has no line.
    pub(super) options: Option<BTreeMap<String, String>>,
    /// Modules by their names with `_`: those that are files, and those that are in the kernel.
    pub(super) modules: Option<Modules>,
}

/// From the lists that `make modules_install` and depmod leave.
#[derive(Debug, Default)]
pub(super) struct Modules {
    pub(super) files: BTreeSet<String>,
    /// Absent when the list is: then nothing is known of what is in the kernel.
    pub(super) builtin: Option<BTreeSet<String>>,
}

/// Whether a feature is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    BuiltIn,
    Module,
    /// Built as a module that is not among the files.
    ModuleMissing,
    Absent,
    Unknown,
}

impl Known {
    /// From the configuration in the image, or else beside it, and from the modules' directory.
    pub(super) fn of(
        image: &Path,
        release: Option<&str>,
        embedded: Option<&str>,
        modules: Option<&Path>,
    ) -> Self {
        let mut known = Self::default();
        if let Some(text) = embedded {
            known.from.push("the configuration in the image".to_owned());
            known.options = Some(options(text));
        } else if let Some((path, text)) = beside(image, release, modules) {
            known.from.push(path.display().to_string());
            known.options = Some(options(&text));
        }
        if let Some(dir) = modules
            && let Some(dep) = read(&dir.join("modules.dep"))
        {
            let builtin = read(&dir.join("modules.builtin")).map(|text| names(&text));
            known.from.push(format!("{}/modules.*", dir.display()));
            known.modules = Some(Modules { files: names(&dep), builtin });
        }
        known
    }

    /// The state of an option, and of the module that it makes where it can be one.
    pub(super) fn state(&self, option: &str, module: Option<&str>) -> State {
        let file = |modules: &Modules| module.is_some_and(|name| modules.files.contains(name));
        if let Some(options) = &self.options {
            return match options.get(option).map(String::as_str) {
                Some("y") => State::BuiltIn,
                Some("m") if self.modules.as_ref().is_some_and(file) => State::Module,
                Some("m") => State::ModuleMissing,
                _ => State::Absent,
            };
        }
        match (&self.modules, module) {
            (Some(modules), Some(_)) if file(modules) => State::Module,
            (Some(Modules { builtin: Some(builtin), .. }), Some(name)) if builtin.contains(name) => {
                State::BuiltIn
            }
            (Some(Modules { builtin: Some(_), .. }), Some(_)) => State::Absent,
            _ => State::Unknown,
        }
    }
}

/// The places where kernels' configurations are usually put.
fn beside(image: &Path, release: Option<&str>, modules: Option<&Path>) -> Option<(PathBuf, String)> {
    let dir = image.parent().unwrap_or(Path::new("/"));
    let name = image.file_name()?.to_string_lossy();
    let mut places = vec![dir.join(format!("{name}.config"))];
    places.extend(release.map(|release| dir.join(format!("config-{release}"))));
    places.extend(name.split_once('-').map(|(_, suffix)| dir.join(format!("config-{suffix}"))));
    places.extend(modules.map(|dir| dir.join("config")));
    places.push(dir.join("kernel.config"));
    places.into_iter().find_map(|path| {
        let text = read(&path)?;
        text.contains("CONFIG_").then_some((path, text))
    })
}

fn read(path: &Path) -> Option<String> {
    let meta = fs::metadata(path).ok().filter(|meta| meta.is_file() && meta.len() <= MAX)?;
    let mut text = String::with_capacity(usize::try_from(meta.len()).ok()?);
    std::io::Read::read_to_string(&mut std::io::Read::take(fs::File::open(path).ok()?, MAX), &mut text)
        .ok()?;
    Some(text)
}

fn options(text: &str) -> BTreeMap<String, String> {
    let lines = text.lines().filter_map(|line| line.trim().strip_prefix("CONFIG_")?.split_once('='));
    lines.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// The first path of each line, as a module's name: `kernel/fs/ext4/ext4.ko.xz: …` → `ext4`.
fn names(text: &str) -> BTreeSet<String> {
    let paths = text.lines().filter_map(|line| line.split(':').next());
    let names =
        paths.filter_map(|path| Some(path.trim().rsplit('/').next()?.split(".ko").next()?.replace('-', "_")));
    names.filter(|name| !name.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(dir: &Path, name: &str, text: &str) {
        fs::write(dir.join(name), text).unwrap();
    }

    #[test]
    fn the_configuration_counts_and_modules_must_be_files() {
        let dir = tempfile::tempdir().unwrap();
        let config = "# CONFIG_KVM is not set\nCONFIG_EXT4_FS=m\nCONFIG_OVERLAY_FS=m\nCONFIG_SQUASHFS=y\n";
        write(dir.path(), "modules.dep", "kernel/fs/ext4/ext4.ko.xz: kernel/lib/crc16.ko.xz\n");
        let known = Known::of(Path::new("/x/vmlinux"), None, Some(config), Some(dir.path()));
        assert_eq!(known.state("SQUASHFS", Some("squashfs")), State::BuiltIn);
        assert_eq!(known.state("EXT4_FS", Some("ext4")), State::Module);
        assert_eq!(known.state("OVERLAY_FS", Some("overlay")), State::ModuleMissing);
        assert_eq!(known.state("KVM", None), State::Absent);
    }

    #[test]
    fn modules_alone_say_something() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "modules.dep", "kernel/net/vmw_vsock/vmw-vsock.ko:\n");
        let of =
            |option, module| Known::of(Path::new("/x/y"), None, None, Some(dir.path())).state(option, module);
        assert_eq!(of("V", Some("vmw_vsock")), State::Module);
        assert_eq!(of("EXT4_FS", Some("ext4")), State::Unknown);
        write(dir.path(), "modules.builtin", "kernel/fs/ext4/ext4.ko\n");
        assert_eq!(of("EXT4_FS", Some("ext4")), State::BuiltIn);
        assert_eq!(of("SQUASHFS", Some("squashfs")), State::Absent);
        assert_eq!(of("SQUASHFS_ZSTD", None), State::Unknown);
    }

    #[test]
    fn a_configuration_beside_the_image_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let of =
            |name: &str, release| Known::of(&dir.path().join(name), release, None, None).options.is_some();
        write(dir.path(), "config-6.1.0-9-cloud", "CONFIG_X=y\n");
        assert!(
            of("vmlinuz-6.1.0-9-cloud", None) && of("vmlinuz", Some("6.1.0-9-cloud")) && !of("vmlinuz", None)
        );
        write(dir.path(), "vmlinux.config", "no configuration");
        assert!(!of("vmlinux", None));
        write(dir.path(), "vmlinux.config", "CONFIG_X=y\n");
        assert!(of("vmlinux", None));
    }
}
